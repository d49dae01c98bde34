"""Checked reading of structured data that came from a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from vstore.limits import NAME_BYTES_MAX
from vstore.storage.block import BlockRef, ref_from, ref_to_list
from vstore.storage.packing import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Plain: TypeAlias = dict[str, object]
T = TypeVar("T")
U64_MAX = 2**64 - 1
_ABSENT = object()


def plain_ref(ref: BlockRef | None) -> list[object] | None:
    """Return a reference as structured data, None if there is none."""
    return None if ref is None else list(ref_to_list(ref))


class PlainReader:
    """A map from a file, read key by key; every mistake says where it stands.

    A key must be there unless its method says otherwise: were a missing list of segments read as an
    empty one, a version would lose its rows in silence. Unknown keys are ignored: a newer writer
    that adds one which must be understood sets an incompatible feature bit.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: expected a map, found {shown(value)}")
        self._map: dict[str, object] = value
        self.where = where

    @classmethod
    def listed(cls, value: object, names: tuple[str, ...], where: str) -> PlainReader:
        """Return a reader of a list that stands for a map with the given keys."""
        if not isinstance(value, list) or len(value) != len(names):
            raise ValueError(f"{where}: expected {list(names)}, found {shown(value)}")
        return cls(dict(zip(names, value, strict=True)), where)

    def _get(self, key: str, kind: type[T], expected: str, default: object = _ABSENT) -> T:
        value = self._map.get(key, default)
        if type(value) is not kind:
            found = "nothing" if value is _ABSENT else shown(value)
            raise ValueError(f"{self.where}.{key}: expected {expected}, found {found}")
        return value

    def has(self, key: str) -> bool:
        """Whether a key that may be absent is there."""
        return key in self._map

    def given(self, key: str) -> bool:
        """Whether the value of a key is not nil."""
        if key not in self._map:
            raise ValueError(f"{self.where}.{key}: expected a value or nil, found nothing")
        return self._map[key] is not None

    def integer(self, key: str, *, minimum: int = 0, maximum: int = U64_MAX) -> int:
        """Return a whole number from ``minimum`` to ``maximum``."""
        value = self._get(key, int, "a whole number")
        if not minimum <= value <= maximum:
            raise ValueError(f"{self.where}.{key}: {value} is not in {minimum}..{maximum}")
        return value

    def optional_integer(self, key: str) -> int | None:
        """Return a whole number, None if the value is nil."""
        return self.integer(key) if self.given(key) else None

    def real(self, key: str, *, least: float = 0.0, most: float = math.inf) -> float:
        """Return a finite number of 64 bits, from ``least`` to ``most``."""
        value = self._get(key, float, "a number")
        if not (math.isfinite(value) and least <= value <= most):
            raise ValueError(
                f"{self.where}.{key}: expected a finite number from {least} to {most}, "
                f"found {value}"
            )
        return value

    def text(self, key: str, *, bytes_max: int, default: str | None = None) -> str:
        """Return a string of at most ``bytes_max`` bytes of UTF-8."""
        value = self._get(key, str, "a string", _ABSENT if default is None else default)
        if len(value.encode()) > bytes_max:
            raise ValueError(f"{self.where}.{key}: longer than {bytes_max} bytes")
        return value

    def choice(self, key: str, choices: tuple[T, ...]) -> T:
        """Return one of the given values."""
        value = self._map.get(key)
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        raise ValueError(f"{self.where}.{key}: expected one of {choices}, found {shown(value)}")

    def boolean(self, key: str, *, default: bool | None = None) -> bool:
        """Return a truth value; ``default`` if the key may be absent and is."""
        return self._get(key, bool, "a truth value", _ABSENT if default is None else default)

    def binary(self, key: str, *, length: int | None = None) -> bytes:
        """Return bytes, of exactly ``length`` if that is given."""
        value = self._get(key, bytes, "bytes")
        if length is not None and len(value) != length:
            raise ValueError(f"{self.where}.{key}: expected {length} bytes, found {len(value)}")
        return value

    def raw(self, key: str, *, default: object = None) -> object:
        """Return the value unchecked; ``default`` if the key is absent."""
        return self._map.get(key, default)

    def ref(self, key: str) -> BlockRef:
        """Return a block reference."""
        try:
            return ref_from(self._map.get(key))
        except ValueError as error:
            raise ValueError(f"{self.where}.{key}: {error}") from error

    def optional_ref(self, key: str) -> BlockRef | None:
        """Return a block reference, None if the value is nil."""
        return self.ref(key) if self.given(key) else None

    def sequence(
        self, key: str, read: Callable[[object, str], T], *, count_max: int
    ) -> tuple[T, ...]:
        """Return a list, each item read by ``read(item, where)``."""
        value = self._get(key, list, "a list")
        if len(value) > count_max:
            raise ValueError(f"{self.where}.{key}: {len(value)} items, at most {count_max}")
        return tuple(read(item, f"{self.where}.{key}[{i}]") for i, item in enumerate(value))

    def mapping(
        self,
        key: str,
        read: Callable[[str, object, str], T],
        *,
        count_max: int,
        name_bytes_min: int = 1,
        name_bytes_max: int = NAME_BYTES_MAX,
    ) -> Mapping[str, T]:
        """Return a map of names, each value read by ``read(name, value, where)``."""
        value = self._get(key, dict, "a map")
        if len(value) > count_max:
            raise ValueError(f"{self.where}.{key}: {len(value)} entries, at most {count_max}")
        result = {}
        for name, item in value.items():
            if not name_bytes_min <= len(name.encode()) <= name_bytes_max:
                raise ValueError(
                    f"{self.where}.{key}: a name of {len(name.encode())} bytes, "
                    f"expected {name_bytes_min} to {name_bytes_max}"
                )
            result[name] = read(name, item, f"{self.where}.{key}[{name!r}]")
        return result
