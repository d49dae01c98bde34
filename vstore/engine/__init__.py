"""What is the state of an open store, and who may change it?

In: edits of the state and changes of documents, from `writing` and `migration`. Out: snapshots, the
views of collections in them, and published epochs.

- A snapshot never changes. Once a commit is in the file, the open file replaces the snapshot that
  reads see, so readers take no lock.
- One thread at a time has the turn to write, and it writes from the newest snapshot.
- A scope is applied in `scoped_view.py` and nowhere else.

May touch files, but only through `storage`. May not know what vectors mean or a caller intends.
"""
