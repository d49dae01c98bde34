"""Fusion: pure functions from ranked lists to one list. They know nothing of stores.

- `symmetric`: `rrf`, `zscore`, `dbsf`, `min_max` treat all lists alike and add up a document's
  contributions. A dual read feeds them disjoint lists, so that each document speaks through its
  newest version.
- `slots` is for a dual read: an *old* version that ranks every document with an old row, and a
  *new* one that ranks those already migrated.
- `expected_gain`, `imputed`: for a dual read too. They estimate what the new version would make of
  a document that is not migrated, by what recent queries taught. The rule "evidence" is `imputed`
  with nothing learnt: each query is estimated from its own documents.

Every rule but "evidence" and "imputed" gives exactly the old ranking before the first document is
migrated, and exactly the new one after the last. (Equal scores count as ranked by key.)

With ``bridged-`` before it, a rule gets an old ranking by the old query and half of the new one,
pulled back over a bridge (`query.bridge_map.BridgeMap.blended`).

Lists are trusted to be what they are called; only what would put a document twice into an answer is
refused. ``k`` is at least 1.
"""

from __future__ import annotations

from vstore.query.expected_gain import NO_CURVE as NO_CURVE
from vstore.query.expected_gain import GainCurve as GainCurve
from vstore.query.expected_gain import expected_gain as expected_gain
from vstore.query.imputed import NO_IMPUTATION as NO_IMPUTATION
from vstore.query.imputed import Imputation as Imputation
from vstore.query.imputed import imputed as imputed
from vstore.query.slots import Candidates as Candidates
from vstore.query.slots import slots as slots
from vstore.query.symmetric import dbsf as dbsf
from vstore.query.symmetric import min_max as min_max
from vstore.query.symmetric import rrf as rrf
from vstore.query.symmetric import zscore as zscore
