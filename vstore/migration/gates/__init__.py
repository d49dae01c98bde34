"""May this version serve alone?

In: `Gates`, which say what must hold, and a `Handle`. Out: a `GateResult` for each gate, with what
was measured, what was required, and how much evidence that stands on.

- `gates.py` decides and is pure; `measurements.py` reads and searches, which counts as no traffic.
- A gate without evidence does not pass.
- Through a scoped handle gates measure that tenant's documents.

Not here: letting the version serve. Measuring changes nothing.
"""
