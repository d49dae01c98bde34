"""What is the store now, and who may change it?

In: edits of the state and changes of documents, from `writing` and `migration`. Out: snapshots, the
views of collections in them, and epochs that are published.

- A snapshot never changes. The open file replaces the one that reads see once the commit is in the
  file, so readers take no lock.
- One thread at a time has the turn to write, and it writes from the newest snapshot.
- A scope is applied in `scoped_view.py` and nowhere else.

May touch files, through `storage` only. May not know what a vector means or what a caller meant.
"""
