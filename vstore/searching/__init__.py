"""How is a query answered?

In: a caller's query, and a `Handle`. Out: a result that outlives the store, with its plan.

- One snapshot serves one search.
- The caller, the query's a route decides which versions are read; a hit is of a version
  that the plan names.
- Queries pass the guard before they are scored, and are counted after they are answered.

Not here: scoring and plans (`query`, `index`), choosing a route (`migration/routes`), writing.
"""
