"""Finding, loading and if need be making the kernels' machine code.

`kernels` never fails and never waits: it returns None until there is machine code, and NumPy
answers meanwhile. Machine code comes from the package (made when it was built), from the user's
cache, or from a compiler that runs in a process of its own and writes to the cache.

`cache.py` says where the cache is and whether it may be trusted. A file is named after a hash of
the kernels' source and the flavour of the processor, and begins with a hash of itself: what is
stale, cut or damaged is never loaded. The versions of numba and LLVM are not in the name: code once
made needs neither, and stays right. Without a cache the compiler writes to a file that has no name,
for this process alone; nothing is left of it, however the process ends.

``VSTORE_NATIVE`` says ``off`` (NumPy only), ``wait`` (compile now, if need be) or ``auto``.
``VSTORE_CACHE_DIR`` is where the cache is.

Paths are text here and in `storage.file`: importing `pathlib` would be a tenth of a cold search.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from vstore.deferred import Deferred
from vstore.locked import let_go
from vstore.native.cache import (
    UnusableCacheError,
    cache_directory,
    code_in,
    is_writable,
    read_code,
)
from vstore.native.calls import NativeKernels
from vstore.native.flavour import host_flavour

if TYPE_CHECKING:
    import logging
    import subprocess
    import tempfile
    from typing import BinaryIO

    from vstore.native import reference as references
    from vstore.native.flavour import Flavour
    from vstore.native.reference import ReferenceKernels
else:  # only without machine code are they needed
    references = Deferred("vstore.native.reference")
    logging = Deferred("logging")
    subprocess = Deferred("subprocess")
    tempfile = Deferred("tempfile")

_SOURCES: Final = ("arrays.py", "compiler.py", "instructions.py", "kernels.py", "signatures.py")
_COMPILE_S_MAX: Final = 300.0
_PACKAGE: Final = os.path.dirname(__file__)


class _State:
    """What this process knows; one for all stores."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.kernels: NativeKernels | None = None
        self.compiler: subprocess.Popen[bytes] | None = None
        self.output: str | BinaryIO = ""
        self.parents: object = None  # of a fork: the parent's compiler and output, not to be ended
        self.reason = ""
        self.cache_problem = ""
        self.final = False  # no use to look again


_state = _State()


def _after_fork() -> None:
    # Held, maybe, by a thread that is not there any more.
    _state.lock = threading.RLock()
    # The parent's child: nobody else can wait for it, or read what it made.
    _state.parents = (_state.compiler, _state.output)
    _state.compiler, _state.output = None, ""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@cache
def reference() -> ReferenceKernels:
    """Return the kernels in NumPy."""
    return references.ReferenceKernels()


def kernels(*, wait: bool = False) -> NativeKernels | None:
    """Return the kernels as machine code, None if there are none (yet).

    Parameters
    ----------
    wait : bool
        Wait for the compiler, if this processor has a flavour at all: what takes longer than that
        without machine code, building a graph, say, should.
    """
    if _state.final:
        return _state.kernels
    wait = wait or os.environ.get("VSTORE_NATIVE") == "wait"
    try:
        try:
            if not _state.lock.acquire(blocking=wait):
                return None  # another thread waits for the compiler
            if not _state.final:
                _find(wait=wait)
        except (OSError, ValueError) as error:
            _give_up(f"{type(error).__name__}: {error}")
        finally:
            let_go(_state.lock)
    finally:
        let_go(_state.lock)  # an interrupt may have come before the other one
    return _state.kernels


def status() -> dict[str, object]:
    """Return whether there is machine code, for which processor, and why not; so of the cache."""
    found = kernels()
    flavour = host_flavour()
    return {
        "kernels": "numpy" if found is None else found.name,
        "processor": None if flavour is None else flavour.name,
        "cache": _cache(),
        "cache_problem": _state.cache_problem,
        "reason": _state.reason,
    }


def _give_up(reason: str) -> None:
    _state.final, _state.reason = True, reason
    logging.getLogger("vstore").info("vstore: no machine code, NumPy is used: %s", reason)


def _find(*, wait: bool) -> None:
    flavour = host_flavour()
    if os.environ.get("VSTORE_NATIVE") == "off":
        _give_up("VSTORE_NATIVE is off")
        return
    if flavour is None:
        _give_up("this processor is not supported")
        return
    name = file_name(flavour)
    for path, private in ((os.path.join(_PACKAGE, "prebuilt", name), False), (_cached(name), True)):
        code = None if path is None else read_code(path, private=private)
        if code is not None:
            _load(code)
            return
    _compile(flavour.name, name, wait=wait)


def _is_python(executable: str | None) -> bool:
    """Whether this is an interpreter, and not a program that has one in it.

    Such a program would start once more.
    """
    name = os.path.basename(executable or "").lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


def _load(code: bytes) -> None:
    if sys.platform == "linux" and code[:4] == b"\x7fELF" and code[18:20] == b"\x3e\0":
        from vstore.native.object_file import LoadedObject

        _state.kernels = NativeKernels(LoadedObject(code).address)
    else:
        from vstore.native.llvm_loader import LlvmObject

        _state.kernels = NativeKernels(LlvmObject(code).address)
    _state.final, _state.reason = True, ""


def _made(output: str | BinaryIO) -> bytes | None:
    """Return what the compiler has made."""
    if isinstance(output, str):
        return read_code(output, private=True)
    with output:
        output.seek(0)
        return code_in(output)


def _stop_compiler(state: _State, pid: int) -> None:
    """End a compiler whose work nobody would see; it is not a forked child's to end."""
    if state.compiler is not None and pid == os.getpid() and state.compiler.poll() is None:
        state.compiler.kill()


def _compile(flavour: str, name: str, *, wait: bool) -> None:
    """Start the compiler, or see how far it is; load what it made."""
    if _state.compiler is None:
        if not _is_python(sys.executable):
            _give_up("no Python to run the compiler with")
            return
        directory = _cache()
        if directory is None:
            _state.output = tempfile.TemporaryFile()
            atexit.register(_stop_compiler, _state, os.getpid())
        else:
            _state.output = os.path.join(directory, name)
        logging.getLogger("vstore").info(
            "vstore: compiling machine code into %s; NumPy answers meanwhile",
            directory or f"this process's memory, since {_state.cache_problem}",
        )
        _state.reason = "the compiler is running"
        # With this process's own modules, and none from wherever it was started (-P): else another
        # vstore's kernels, called the way this one's are, would end the process.
        paths = os.pathsep.join(
            path or os.getcwd()  # empty in an interactive session
            for path in map(str, sys.path)  # others than text are in some, and do nothing there
            if os.pathsep not in path
        )
        output = _state.output
        arguments = [output] if isinstance(output, str) else [name, "--to-stdout"]
        _state.compiler = subprocess.Popen(
            [sys.executable, "-P", "-m", "vstore.native.compiler", flavour, *arguments],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if isinstance(output, str) else output,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not meant for it
        )
    if wait:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _state.compiler.wait(_COMPILE_S_MAX)
    if _state.compiler.poll() is None:
        return
    code = _made(_state.output)
    if code is None:
        _give_up(f"the compiler failed (exit code {_state.compiler.returncode})")
    else:
        _load(code)


# The cache.


def file_name(flavour: Flavour) -> str:
    """Return the name of the file with the machine code for a kind of processor."""
    return f"kernels-{source_hash()}-{sys.platform}-{flavour.name}.bin"


def source_hash() -> str:
    """Return a hash of what the machine code is made from."""
    hasher = blake3()
    for name in _SOURCES:
        with open(os.path.join(_PACKAGE, name), "rb") as file:
            hasher.update(file.read())
    return hasher.hexdigest()[:16]


def _cache() -> str | None:
    """Return the folder of the cache that can be written to; None, and why, if there is none."""
    directory = _trusted_cache()
    if directory is not None and not is_writable(directory):
        _state.cache_problem = f"{directory}: cannot be written to"
        return None
    return directory


def _trusted_cache() -> str | None:
    """Return the folder of the cache, also one that can only be read."""
    try:
        directory = cache_directory()
    except UnusableCacheError as error:
        if not _state.cache_problem and os.environ.get("VSTORE_CACHE_DIR"):
            logging.getLogger("vstore").warning("vstore: VSTORE_CACHE_DIR is not used: %s", error)
        _state.cache_problem = str(error)
        return None
    _state.cache_problem = ""
    return directory


def _cached(name: str) -> str | None:
    directory = _trusted_cache()
    return None if directory is None else os.path.join(directory, name)
