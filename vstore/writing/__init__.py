"""What may become a commit?

In: documents, vectors, texts and declarations as a caller gives them. Out: a `Draft`, in canonical
form, that `engine` commits in one piece.

- Input is checked whole before any of it counts; after a call that is refused the draft goes on.
- Texts are embedded before the turn to write is taken, so a slow model stops no other writer.
- A document keeps its revision unless its source changed; vectors of an older revision are stale.
- A scoped handle writes inside its scope only (`scope.py`).

Not here: blocks and segments (`engine`, `segment`), and the queue of a backfill (`migration/jobs`).
"""
