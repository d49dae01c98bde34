"""How is a model called?

In: texts or documents, and somebody else's function or `Embedder`. Out: stamped vectors
(`Embeddings`), and for each document without one whether the document or the service is to blame.

- What a function returns is checked before anybody uses it.
- The errors of a service that is down are told from those of a text: they make no document a
  failure.
- `calls.py` alone paces calls, gives up on them and tries them again.

Not here: which documents are embedded, and what becomes of the vectors (`writing`, `migration`).
Nothing here opens a store or takes the turn to write.
"""
