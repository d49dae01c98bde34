"""May this version serve alone?

In: `Gates`, the required bounds, and a `Handle`. Out: a `GateResult` for each gate, with the
measured value, the required one, and the amount of evidence.

- `gates.py` decides and is pure; `measurements.py` reads and searches, which counts as no traffic.
- A gate without evidence does not pass.
- Through a scoped handle gates measure that tenant's documents.

Not here: letting the version serve. Measuring changes nothing.
"""
