"""Gates from a caller, checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vstore.errors import InvalidArgumentError
from vstore.migration.gates.gates import Gates, Judged
from vstore.migration.gates.judged_documents import checked_judgments
from vstore.numbers import check_number, check_whole
from vstore.searching.parameters import check_k

_SHARES: Final = ("coverage", "traffic_coverage", "stale", "recall")


def checked_gates(gates: object) -> Gates:
    """Return gates with bounds as Python numbers.

    Raises
    ------
    InvalidArgumentError
        The argument is not a `Gates`, or a bound is not a number or outside its range.
    """
    if not isinstance(gates, Gates):
        raise InvalidArgumentError(f"gates: expected Gates, found {gates!r:.60}")
    numbers: dict[str, float] = {
        name: check_number(getattr(gates, name), what=f"gates: {name}", least=0.0, most=1.0)
        for name in _SHARES
        if name == "coverage" or getattr(gates, name) is not None
    }
    if gates.dead_letters is not None:
        dead = check_whole(gates.dead_letters, what="gates: dead_letters", least=0)
        numbers["dead_letters"] = dead
    given: object = gates.quality  # callers without a type checker pass anything
    judged = None
    if given is not None:
        if not isinstance(given, Judged):
            raise InvalidArgumentError(f"gates: quality: expected Judged, found {given!r:.60}")
        judged = _checked_judged(given)
    return replace(gates, quality=judged, **numbers)  # type: ignore[arg-type]  # an int is one


def _checked_judged(judged: Judged) -> Judged:
    margin = check_number(judged.margin, what="gates: quality: margin", least=0.0, most=1.0)
    judgments = checked_judgments(judged.judgments, where="gates: quality")
    return Judged(judged.queries, judgments, margin, check_k(judged.k))
