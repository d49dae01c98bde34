"""How well can one version answer queries that were embedded for another?

In: documents with rows in both versions, and perhaps real queries with both vectors. Out: a
`BridgeMap`, an affine map, stored with its measured recall.

- A bridge is judged by documents or queries that it was not fitted on.
- One whose recall is below ``min_recall`` is refused and leaves nothing in the file.

Not here: applying the map to queries (`query/bridge_map.py`, `searching/bridging.py`).
"""
