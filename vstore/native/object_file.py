"""Loading an ELF object file of x86-64 into memory, without a linker and without LLVM.

LLVM's own loader takes 50 ms to import and start; this takes one. It knows just what the kernels'
objects contain: code and constants, references between them, and calls of functions that are not
there. Those belong to error paths that a kernel never takes, and end in a trap; but for ``memset``,
which LLVM makes of loops, and which is here as machine code.

The references are described in the x86-64 psABI, section 4.4, and the layout in the ELF
specification, chapter 1.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QIIq")
_TYPE_SYMBOLS, _TYPE_RELOCATIONS, _TYPE_ZEROS = 2, 4, 8
_FLAG_LOADED: Final = 2
_RELOCATABLE, _X86_64 = 1, 62
_COMMON: Final = 0xFFF2
_RELATIVE_32, _PROCEDURE_32, _TABLE, _TABLE_X, _TABLE_REX = 2, 4, 9, 41, 42
_SECTIONS_MAX, _SYMBOLS_MAX, _RELOCATIONS_MAX = 4_096, 65_536, 1_048_576

_TRAP: Final = b"\x0f\x0b".ljust(16, b"\xcc")  # ud2
_MEMSET: Final = (  # mov r8, rdi; mov eax, esi; mov rcx, rdx; rep stosb; mov rax, r8; ret
    b"\x49\x89\xf8\x89\xf0\x48\x89\xd1\xf3\xaa\x4c\x89\xc0\xc3"
).ljust(16, b"\xcc")
_STUBS: Final = {"": 0, "memset": 16}  # offsets, by name; any other name traps


class _Section(NamedTuple):
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int


class LoadedObject:
    """Machine code in memory that may be run and no longer be written.

    Parameters
    ----------
    data : bytes
        An object file that this program compiled.

    Raises
    ------
    ValueError
        It is damaged, or has something in it that this does not know.
    OSError
        The system refuses memory that can be run.
    """

    def __init__(self, data: bytes) -> None:
        try:
            image, offsets = _link(data)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"object file: {error}") from error
        # Written first and made executable then: never both.
        self._memory = mmap.mmap(-1, len(image))
        self._memory.write(bytes(image))
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        if protect(base, len(image), mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), "mprotect refused to make code executable")
        self._offsets = {name: base + offset for name, offset in offsets.items()}

    def address(self, name: str) -> int:
        """Return the address of a function.

        Raises
        ------
        ValueError
            The object file has no such function.
        """
        if name not in self._offsets:
            raise ValueError(f"object file: no function {name!r}")
        return self._offsets[name]


def _link(data: bytes) -> tuple[bytearray, dict[str, int]]:
    """Return the image, whose references are all relative, and the functions' offsets in it."""
    sections = _sections(data)
    image = bytearray(_TRAP + _MEMSET)
    placed: dict[int, int] = {}
    for number, section in enumerate(sections):
        if section.flags & _FLAG_LOADED:
            alignment = max(1, min(section.alignment, 4_096))
            image += bytes(-len(image) % alignment)
            placed[number] = len(image)
            zeros = section.kind == _TYPE_ZEROS
            image += bytes(section.size) if zeros else _part(data, section)
    table = next(section for section in sections if section.kind == _TYPE_SYMBOLS)
    symbols, functions = _symbols(data, table, sections[table.link], placed, image)
    image += bytes(-len(image) % 8)
    for section in sections:
        if section.kind == _TYPE_RELOCATIONS and section.info in placed:
            _relocate(image, _part(data, section), placed[section.info], symbols)
    image += bytes(-len(image) % mmap.PAGESIZE)
    return image, functions


def _sections(data: bytes) -> list[_Section]:
    header = _HEADER.unpack_from(data)
    identity, kind, machine, start, count = header[0], header[1], header[2], header[6], header[12]
    if identity[:6] != b"\x7fELF\x02\x01" or (kind, machine) != (_RELOCATABLE, _X86_64):
        raise ValueError("object file: not an ELF object of x86-64")
    if count > _SECTIONS_MAX:
        raise ValueError(f"object file: {count} sections")
    sections = []
    for number in range(count):
        _, kind, flags, _, offset, size, link, info, alignment, _ = _SECTION.unpack_from(
            data, start + number * _SECTION.size
        )
        sections.append(_Section(kind, flags, offset, size, link, info, alignment))
    return sections


def _part(data: bytes, section: _Section) -> bytes:
    part = data[section.offset : section.offset + section.size]
    if len(part) != section.size:
        raise ValueError("object file: cut short")
    return part


def _symbols(
    data: bytes, table: _Section, names: _Section, placed: dict[int, int], image: bytearray
) -> tuple[list[int], dict[str, int]]:
    """Return each symbol's offset in the image, and those of named ones; common ones get room."""
    strings = _part(data, names)
    offsets: list[int] = []
    named: dict[str, int] = {}
    for _, (name_at, _, _, section, value, size) in zip(
        range(_SYMBOLS_MAX), _SYMBOL.iter_unpack(_part(data, table)), strict=False
    ):
        name = strings[name_at : strings.index(b"\0", name_at)].decode("ascii")
        if section == _COMMON:
            image += bytes(-len(image) % 16)
            offsets.append(len(image))
            image += bytes(size)
        elif section in placed:
            offsets.append(placed[section] + value)
            named[name] = offsets[-1]
        else:
            offsets.append(_STUBS.get(name, 0))
    return offsets, named


def _relocate(image: bytearray, entries: bytes, base: int, symbols: list[int]) -> None:
    for _, (offset, kind, symbol, addend) in zip(
        range(_RELOCATIONS_MAX), _RELOCATION.iter_unpack(entries), strict=False
    ):
        place, target = base + offset, symbols[symbol]
        if kind in (_TABLE, _TABLE_X, _TABLE_REX):
            # An address read from a table; in a dead path, so that its value does not matter.
            target = len(image)
            image += bytes(8)
        elif kind not in (_RELATIVE_32, _PROCEDURE_32):
            raise ValueError(f"object file: reference of unknown kind {kind}")
        struct.pack_into("<i", image, place, target + addend - place)
