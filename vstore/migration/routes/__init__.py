"""Which version answers a query that names none?

In: a `Handle`, a version, a read mode, and a reason. Out: one commit that changes the default
route, or through a handle scoped to one tenant, that tenant's own.

- A cutover measures its counts during the writer's turn, so that nothing changes between gates and
  commit; gates that search run just before.
- A cutover past a failing gate needs ``force=True`` and a reason; the route records both.
- A route records what served before, so a rollback is one commit.

Not here: reading by a route (`searching/resolving.py`), and the measurements (`gates`).
"""
