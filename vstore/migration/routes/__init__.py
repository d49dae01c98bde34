"""Which version answers a query that names none?

In: a `Handle`, a version, a read mode, and a reason. Out: one commit that changes the default
route, or through a handle scoped to one tenant, that tenant's own.

- A cutover counts under the turn to write, so that nothing comes between its gates and its commit;
  gates that search do so just before.
- A cutover past a gate that fails needs ``force=True`` and a reason; the route keeps both.
- A route knows what served before, so a rollback is one commit.

Not here: reading by a route (`searching/resolving.py`), and the measuring itself (`gates`).
"""
