"""Fusion: pure functions from ranked lists to one list. They know nothing of stores.

- `symmetric`: `rrf`, `zscore`, `dbsf`, `min_max` treat all lists alike and add up a document's
  contributions. A dual read feeds them `disjoint` lists, so that each document speaks through its
  newest version.
- `slots` is for a dual read: an *old* version that ranks every document with an old row, and a
  *new* one that ranks those already migrated.
- `expected_gain`, `imputed`, `evidence`: for a dual read too. They learn how far what is not
  migrated can be expected to hold its place: from recent queries, `evidence` from each alone.

Every rule but `evidence` and `imputed` gives exactly the old ranking before the first document is
migrated, and exactly the new one after the last. (Equal scores count as ranked by key.)

With ``bridged-`` before it, a rule gets an old ranking by the old query and half of the new one,
pulled back over a bridge (`migration.bridge.Bridge.blended`).

Lists are trusted to be what they are called; only what would put a document twice into an answer is
refused. ``k`` is at least 1.
"""

from __future__ import annotations

from vstore.query.expected_gain import NO_CURVE as NO_CURVE
from vstore.query.expected_gain import GainCurve as GainCurve
from vstore.query.expected_gain import expected_gain as expected_gain
from vstore.query.imputed import NO_IMPUTATION as NO_IMPUTATION
from vstore.query.imputed import Imputation as Imputation
from vstore.query.imputed import evidence as evidence
from vstore.query.imputed import imputed as imputed
from vstore.query.ranking import Fused as Fused
from vstore.query.ranking import Ranking as Ranking
from vstore.query.ranking import disjoint as disjoint
from vstore.query.slots import NEW_WEIGHT as NEW_WEIGHT
from vstore.query.slots import Candidates as Candidates
from vstore.query.slots import slots as slots
from vstore.query.slots import slots_by_evidence as slots_by_evidence
from vstore.query.symmetric import RRF_CONSTANT as RRF_CONSTANT
from vstore.query.symmetric import dbsf as dbsf
from vstore.query.symmetric import min_max as min_max
from vstore.query.symmetric import rrf as rrf
from vstore.query.symmetric import zscore as zscore
