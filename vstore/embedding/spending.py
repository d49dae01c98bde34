"""What embedding a document costs: units, for example characters or tokens, and a price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vstore.errors import InvalidArgumentError
from vstore.names import check_name
from vstore.numbers import check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.segment.user_document import Document


@dataclass(frozen=True, slots=True)
class Price:
    """What embedding a document costs.

    Attributes
    ----------
    unit : str
        What is counted of a document, for people; empty if nothing is.
    count : callable, optional
        From a document to its units; by default the characters of its text.
    per_unit : float
        Price of one unit.
    """

    unit: str = "characters"
    count: Callable[[Document], int] | None = None
    per_unit: float = 0.0


class Spending:
    """How documents are counted and paid for.

    Parameters
    ----------
    capped : bool
        Units or cost have a cap, so a document that cannot be counted is refused.

    Raises
    ------
    InvalidArgumentError
        It is no `Price`, its price is no number, or nothing counts its unit.
    """

    def __init__(self, price: Price, *, capped: bool = False) -> None:
        if not isinstance(price, Price):
            raise InvalidArgumentError(f"price: expected Price, found {price!r:.60}")
        unit, count = price.unit, price.count
        self.unit = check_name(unit, what="price: unit") if unit else ""
        if count is None and (capped or unit) and unit != "characters":
            raise InvalidArgumentError(
                f"price: unit={unit!r:.60} needs count=, which counts those of a document"
            )
        if count is not None and not callable(count):
            raise InvalidArgumentError(f"price: count: no function: {count!r:.60}")
        self.price_per_unit = check_number(
            price.per_unit, what="price: per_unit", least=0.0, most=1e18
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
                "units or cost have a cap; pass price=Price(count=...)"
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
            what = f"price: count of document {document.id!r:.80}"
            return check_whole(self._count(document), what=what, least=0, most=2**53)
        return len(document.text or "") if self.unit else 0
