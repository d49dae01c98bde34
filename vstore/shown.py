"""Values as error messages show them."""

from __future__ import annotations

import reprlib
from typing import Final


class _ShortRepr(reprlib.Repr):
    """A repr of bounded length that also survives integers too long to print."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60
        self.maxlevel = 3  # six items a level multiply; the text is cut only once it is made

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 128:  # repr() itself raises above 4,300 digits
            return f"<{x.bit_length()}-bit int>"
        return super().repr_int(x, level)


_REPR_CHARACTERS: Final = 100
_SHORT_REPR: Final = _ShortRepr()


def short_repr(value: object) -> str:
    """Return ``repr(value)`` shortened to fit in a message: at most 100 characters."""
    text = _SHORT_REPR.repr(value)
    return text if len(text) <= _REPR_CHARACTERS else text[: _REPR_CHARACTERS - 3] + "..."
