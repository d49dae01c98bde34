"""How is a query answered?

In: a caller's query, and a `Handle`. Out: a result that outlives the store, with its plan.

- One snapshot serves one search.
- The caller, the query's stamp or a route chooses the versions; every hit's version is in the plan.
- Queries pass the guard before they are scored, and are counted after they are answered.

Not here: scoring and plans (`query`, `index`), choosing a route (`migration/routes`), writing.
"""
