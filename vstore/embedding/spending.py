"""What embedding a document costs: units, for example characters or tokens, and a price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.errors import InvalidArgumentError
from vstore.names import check_name
from vstore.numbers import check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.segment.user_document import Document


class Spending:
    """How documents are counted and paid for.

    Parameters
    ----------
    unit : str
        Empty if nothing is to be counted.
    count : callable, optional
        From a document to its units; default: the characters of its text.
    price_per_unit : float
    capped : bool
        Units or cost have a cap, so a document that cannot be counted is refused.
    """

    def __init__(
        self,
        *,
        unit: str = "characters",
        count: Callable[[Document], int] | None = None,
        price_per_unit: float = 0.0,
        capped: bool = False,
    ) -> None:
        self.unit = check_name(unit, what="unit") if unit else ""
        if count is None and (capped or unit) and unit != "characters":
            raise InvalidArgumentError(
                f"unit={unit!r:.60} needs count_units=, which counts those of a document"
            )
        if count is not None and not callable(count):
            raise InvalidArgumentError(f"count_units: no function: {count!r:.60}")
        self.price_per_unit = check_number(
            price_per_unit, what="price_per_unit", least=0.0, most=1e18
        )
        self._count = count
        self._capped = capped

    def units(self, document: Document) -> int:
        """Return how many units a document has.

        Raises
        ------
        InvalidArgumentError
            It has no text, and a cap is to be kept.
        """
        if self._count is None and document.text is None and self._capped:
            raise InvalidArgumentError(
                f"document {document.id!r:.80} has no text whose characters could be counted, and "
                "units_max= or cost_max= is to be kept; pass count_units="
            )
        return self.estimated(document)

    def estimated(self, document: Document) -> int:
        """Return how many units a document has, 0 of characters that cannot be counted.

        Raises
        ------
        InvalidArgumentError
            The caller's function returned no count.
        """
        if self._count is not None:
            what = f"count_units of document {document.id!r:.80}"
            return check_whole(self._count(document), what=what, least=0, most=2**53)
        return len(document.text or "") if self.unit else 0
