"""The current state of an open store, and the commits that change it.

Input: edits of the state and changes of documents, from `writing` and `migration`. Output:
snapshots, the views of collections in them, and published epochs.

- A snapshot never changes. Once a commit is in the file, the open file replaces the snapshot that
  reads see, so readers take no lock.
- One thread at a time has the turn to write, and it writes from the newest snapshot.
- A scope is applied in `scoped_view.py` and nowhere else.

Touches files only through `storage`. Knows neither the meaning of vectors nor a caller's intent.
"""
