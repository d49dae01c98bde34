"""Kinds of processors that kernels are compiled for, and which of them this one is."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from typing import Final, NamedTuple


class Flavour(NamedTuple):
    """A kind of processor.

    Attributes
    ----------
    machine : {"x86_64", "aarch64"}
    cpu : str
        LLVM's name of the least capable processor of the kind.
    features : tuple[str, ...]
        What a processor must have besides, and LLVM may use; LLVM's names.
    implied : tuple[str, ...]
        Features of ``cpu`` by which it is recognised.
    """

    name: str
    machine: str
    cpu: str
    features: tuple[str, ...] = ()
    implied: tuple[str, ...] = ()


_V3: Final = ("avx2", "bmi2", "f16c", "fma", "movbe")
_V4: Final = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

# From the most capable to the least: a processor is of the first kind that it can run. Kinds, not
# processors, so that finding the machine code needs no LLVM, and a build can make it for others.
FLAVOURS: Final = {
    flavour.name: flavour
    for flavour in (
        Flavour("x86-64-v4-vnni", "x86_64", "x86-64-v4", ("avx512vnni",), _V4),
        Flavour("x86-64-v4", "x86_64", "x86-64-v4", (), _V4),
        Flavour("x86-64-v3-vnni", "x86_64", "x86-64-v3", ("avxvnni",), _V3),
        Flavour("x86-64-v3", "x86_64", "x86-64-v3", (), _V3),
        Flavour("aarch64-i8mm", "aarch64", "generic", ("i8mm",)),
        Flavour("aarch64", "aarch64", "generic"),
    )
}
_MACHINES: Final = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_CPUINFO_BYTES: Final = 16_384  # the first processor's entry; a large machine's file has hundreds


def processors() -> int:
    """Return how many processors this process may use."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    return os.cpu_count() or 1


def machine() -> str:
    """Return this machine's architecture, by LLVM's name."""
    name = platform.machine().lower()
    return _MACHINES.get(name, name)


@cache
def host_flavour() -> Flavour | None:
    """Return the kind of this processor, None if there is no machine code for it."""
    if sys.maxsize < 2**32:  # a 32-bit Python on such a processor
        return None
    features = _host_features()
    for flavour in FLAVOURS.values():
        if flavour.machine == machine() and features.issuperset(
            (*flavour.features, *flavour.implied)
        ):
            return flavour
    return None


def _host_features() -> frozenset[str]:
    """Return what this processor has, by LLVM's names."""
    if platform.system() == "Linux":
        # LLVM would be asked in 50 ms. The kernel's names are LLVM's, but for underscores.
        return _linux_features()
    import llvmlite.binding as llvm

    return frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)


def _linux_features() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", "rb") as file:
            text = file.read(_CPUINFO_BYTES).decode("ascii", "replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.replace("_", "").split())
    return frozenset()
