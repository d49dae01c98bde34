"""The choice behind ``fusion="auto"``, measured on judged queries at the current coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.errors import InvalidArgumentError, NotFoundError, StateError
from vstore.evaluation.choice import choose_fusion
from vstore.limits import BRIDGES_MAX
from vstore.manifest.commit import Operation
from vstore.manifest.edits import require_count
from vstore.manifest.job_state import FusionChoice
from vstore.migration.gates.judged_documents import checked_judgments, require_documents
from vstore.migration.gates.judged_queries import checked_queries
from vstore.native import loader
from vstore.query.depths import asked_of_both
from vstore.query.fetching import VersionRead, VersionSearch
from vstore.query.fusion.imputed import IMPUTED_DEPTH, ScoredQuery, fit_imputation
from vstore.query.fusion.rules import rule_of
from vstore.query.fusion.slots import Candidates
from vstore.query.two_reads import FusedReads, score
from vstore.searching.bridging import blended

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.evaluation.choice import RuleChoice
    from vstore.manifest.state import CollectionState
    from vstore.types import Array, DocumentId, Judgments

CANDIDATES: Final = ("slots", "evidence", "imputed", "rrf")
BRIDGED_CANDIDATES: Final = ("bridged-slots", "bridged-evidence", "bridged-imputed")
_K: Final = 10


def choose(
    handle: Handle,
    old: str,
    new: str,
    queries: Mapping[str, Array],
    judgments: Judgments,
) -> RuleChoice:
    """Measure fusion rules on judged queries, and record the best one.

    The default rule stays unless another one is better with statistical significance, corrected
    for the number of rules tried. Rules with parameters are fitted to the same queries, without
    judgments.

    Raises
    ------
    InvalidArgumentError
        The numbers of queries and judgments differ, a gain is not a finite number of at least 0,
        nothing is judged, a judged document does not exist, or no rule finds any.
    StateError
        The new version has no fresh vectors: there is nothing to fuse.
    ScopeError
        The handle is scoped, but the rule would apply to the whole collection.
    """
    handle.require_unscoped("choose_fusion")
    if old == new:
        raise InvalidArgumentError(f"choose_fusion: {old!r} is both versions; expected two")
    judgments = checked_judgments(judgments, where="choose_fusion")
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    versions = [view.version(label) for label in (old, new)]
    asked = checked_queries(queries, versions, snapshot.state, where="choose_fusion")
    native = loader.kernels() is not None
    reads = [
        VersionRead(view.rows(one.label), one.spec.metric, _K, native=native) for one in versions
    ]
    if set(map(len, asked)) != {len(judgments)}:
        raise InvalidArgumentError(
            "choose_fusion: expected as many queries for each version as judgments "
            f"({len(judgments):,})"
        )
    require_documents(view, judgments, where="choose_fusion")
    fresh = view.rows(new).fresh_count
    if not fresh:
        raise StateError(
            f"choose_fusion: version {new!r} has no fresh vectors yet, so that there is nothing to "
            "fuse; migrate a part of the collection first"
        )
    coverage = fresh / view.documents.live_count
    both = (reads[0], reads[1])
    curves = _learnt(both, asked)
    ranked: dict[str, list[list[DocumentId]]] = {}
    candidates: tuple[str, ...] = CANDIDATES
    bridged = _over_bridge(snapshot, view, (old, new), asked)
    if bridged is not None:
        candidates += BRIDGED_CANDIDATES
    for rule in candidates:
        plain = rule_of(rule)
        queries_of = asked if bridged is None or plain.name == rule else bridged
        curve = curves.get(plain.name, ())
        asked_of = asked_of_both(plain, *both)
        fused = FusedReads(plain, asked_of, k=_K, coverage=coverage, curve=curve)
        answers = fused.fused(queries_of)
        ranked[rule] = [[view.documents.id(hit.docno) for hit in one.hits] for one in answers]
    measured = choose_fusion(ranked, judgments, coverage=coverage, k=_K)
    means = {one.rule: float(one.ndcg) for one in measured.measured}
    means[measured.default] = float(measured.default_ndcg)

    def edit(state: CollectionState) -> CollectionState:
        moment = handle.moment()
        made = FusionChoice(
            old,
            new,
            measured.rule,
            float(coverage),
            measured.queries,
            means,
            curves.get(rule_of(measured.rule).name, ()),
            moment.epoch,
            moment.time_us,
        )
        others = [c for c in state.choices if (c.old_version, c.version) != (old, new)]
        require_count("choices", len(others) + 1, "BRIDGES_MAX", BRIDGES_MAX)
        return state._replace(choices=(*others, made))

    operation = Operation("choose_fusion", f"{old} and {new}: {measured.rule}")
    handle.change(edit, operation)
    return measured


def _over_bridge(
    snapshot: Snapshot, view: CollectionView, labels: tuple[str, str], asked: Sequence[Array]
) -> list[Array] | None:
    """Return the queries of both versions, the old ones blended; None without a bridge."""
    old, new = asked
    try:
        return [blended(snapshot, view, labels, old, new), new]
    except NotFoundError:
        return None


def _learnt(
    both: tuple[VersionRead, VersionRead], asked: Sequence[Array]
) -> dict[str, tuple[float, ...]]:
    """Fit the rules' parameters to the queries, by rule, as `FusionChoice` records them."""
    old, new = both
    migrated, in_old = new.table.has_fresh, old.table.has_served
    deep = old._replace(k=IMPUTED_DEPTH), new._replace(k=IMPUTED_DEPTH, matching=migrated)
    olds, news = (
        VersionSearch(read).fetch(queries).each() for read, queries in zip(deep, asked, strict=True)
    )
    scored = []
    for i, (from_old, from_new) in enumerate(zip(olds, news, strict=True)):
        moved = migrated[from_old.docno]
        keys = np.union1d(from_old.docno[moved], from_new.docno[in_old[from_new.docno]])
        candidates = Candidates(
            keys, score(old, asked[0][i], keys).score, score(new, asked[1][i], keys).score
        )
        scored.append(ScoredQuery(from_old.ranking(), moved, candidates))
    imputation = fit_imputation(scored)
    if not len(imputation.spread):
        return {}
    curve = imputation.intercept, imputation.slope, *imputation.spread.tolist()
    return {"imputed": curve}
