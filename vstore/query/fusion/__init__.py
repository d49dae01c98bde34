"""Fusion rules: making one ranked list of two.

Input: two `Ranking`s of a dual read, and the migration state of their documents. Output: documents
in fused order, each with the version that answers for it. Nothing here knows of stores, files or
vectors.

- `rules.py` is the registry: every rule by its name, and adapters for a caller's own functions.
- `slots.py`: migrated documents keep the slots they win in the old ranking, in new order.
- `imputed.py`: all documents compete; an unmigrated document's missing new score is estimated.
- `reciprocal_rank.py`: reciprocal rank fusion. `cascade.py`: one list, rescored.

Every rule but "evidence" and "imputed" gives exactly the old ranking before the first document is
migrated, and exactly the new one after the last. (Equal scores count as ranked by key.)

With the prefix ``bridged-``, a rule takes an old ranking by the old query blended with half of the
new one, pulled back over a bridge (`bridge_map.BridgeMap.blended`).

Input lists are trusted; only a document that would be in an answer twice is refused. ``k`` is at
least 1.

Not here: choosing a rule by judged queries (`evaluation/choice.py`), and searching.
"""
