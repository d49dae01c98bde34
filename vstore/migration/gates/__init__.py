"""May this version serve alone?

In: `Gates`, the required bounds, and a `Handle`. Out: a `GateResult` for each gate, with the
measured value, the required one, and the amount of evidence.

- `gates.py` decides and is pure; `measurements.py` reads and searches, without counting as traffic.
- A gate without evidence does not pass.
- Through a scoped handle, gates measure that tenant's documents.

Not here: the cutover itself. Measuring changes nothing.
"""
