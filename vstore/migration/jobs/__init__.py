"""How do documents get the vectors of a version that they lack?

In: the job's options, and an embedding function or a map of another version's rows. Out: one commit
per batch with its vectors and the job's progress; dead letters for documents that cannot be
embedded.

- What is left is found by a scan over the documents, not by a cursor. So a runner may be killed
  anywhere, and the next one goes on at once.
- A job has one run at a time; the writer's lock keeps other processes out.
- Vectors of a document that changed meanwhile are thrown away; so is a batch of a cancelled job.

Not here: whether the version may serve (`gates`, `routes`).
"""
