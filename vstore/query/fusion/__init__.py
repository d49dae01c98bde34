"""How do two ranked lists become one?

In: two `Ranking`s of a dual read, and what the versions say of each other. Out: documents in their
order, each with the version that answers for it. Nothing here knows of stores, files or vectors.

- `rules.py` is the registry: every rule by its name, and how a caller's own function becomes one.
- `slots.py`: migrated documents keep the slots they win in the old ranking, in new order.
- `imputed.py`: all documents compete; what an unmigrated one lacks is estimated.
- `reciprocal_rank.py`: reciprocal rank fusion. `cascade.py`: one list, rescored.

Every rule but "evidence" and "imputed" gives exactly the old ranking before the first document is
migrated, and exactly the new one after the last. (Equal scores count as ranked by key.)

With ``bridged-`` before its name, a rule gets an old ranking by the old query and half of the new
one, pulled back over a bridge (`bridge_map.BridgeMap.blended`).

Lists are trusted to be what they are called; only what would put a document twice into an answer is
refused. ``k`` is at least 1.

Not here: choosing a rule by judged queries (`evaluation/choice.py`), and searching.
"""
