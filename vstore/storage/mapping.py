"""Views of a file: few maps, and none of them holds a descriptor.

One map, a window, covers the file from its start to a power of two beyond its end, so that a file
which doubles while it is open needs one more. Views are slices of a window, and keep it. Behind the
end of the file there is nothing to read; what is written there later shows in the window.

`mmap.mmap` cannot do this: it maps no more than the file has, and keeps a descriptor for each map
(its ``trackfd=False`` came with Python 3.13). Windows maps no more than the file has either; but a
map costs no descriptor there, so each view has its own.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import Final

import numpy as np

from vstore.limits import WINDOW_BYTES_MIN
from vstore.storage.descriptor import Descriptor

if sys.platform == "win32":

    class FileMaps:
        """The maps of one file."""

        def view(self, fd: int, offset: int, length: int) -> memoryview:
            """Return a read-only view of bytes that the file has.

            Raises
            ------
            OSError, ValueError
                The operating system refuses to map; the file is shorter than the range.
            """
            start = offset - offset % mmap.ALLOCATIONGRANULARITY
            mapped = mmap.mmap(fd, offset - start + length, access=mmap.ACCESS_READ, offset=start)
            return memoryview(mapped)[offset - start :]

    def let_go(view: memoryview) -> None:
        """Take the pages of a view out of this process's memory: not on this system."""

else:
    _libc: Final = ctypes.CDLL(None, use_errno=True)
    _mmap, _munmap, _madvise = _libc.mmap, _libc.munmap, _libc.madvise
    _mmap.restype = ctypes.c_void_p
    _mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    )
    _munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    _madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    _FAILED: Final = ctypes.c_void_p(-1).value

    class _Window:
        """A map of bytes ``start`` to ``end`` of a file; it goes with its last view."""

        __slots__ = ("address", "end", "start")

        def __init__(self, fd: int, start: int, end: int) -> None:
            self.start, self.end = start, end
            self.address: int | None = None
            address = _mmap(None, end - start, mmap.PROT_READ, mmap.MAP_SHARED, fd, start)
            if address == _FAILED or address is None:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
            self.address = int(address)

        # What a destructor needs is bound here: modules are emptied before the last objects go.
        def __del__(self, munmap: ctypes._NamedFuncPointer = _munmap) -> None:
            address, self.address = self.address, None
            if address is not None:
                munmap(address, self.end - self.start)

    class _WindowView:
        """Some bytes of a window, for NumPy to make an array of.

        Their pages leave the process's memory with it, as they would with a map of their own.
        """

        __slots__ = ("_length", "_start", "_window")

        def __init__(self, window: _Window, offset: int, length: int) -> None:
            assert window.start <= offset <= offset + length <= window.end
            self._window, self._start, self._length = window, offset - window.start, length

        @property
        def __array_interface__(self) -> dict[str, object]:
            assert self._window.address is not None
            return {
                "version": 3,
                "typestr": "|u1",
                "shape": (self._length,),
                "data": (self._window.address + self._start, True),  # read-only
            }

        def let_go(
            self,
            madvise: ctypes._NamedFuncPointer = _madvise,
            advice: int = mmap.MADV_DONTNEED,
            page_bytes: int = mmap.PAGESIZE,
        ) -> None:
            address = self._window.address
            if address is not None:  # else what is there now may be anything
                before = self._start % page_bytes
                madvise(address + self._start - before, self._length + before, advice)

        __del__ = let_go

    class FileMaps:
        """The maps of one file."""

        def __init__(self) -> None:
            self._window: _Window | None = None

        def view(self, fd: int, offset: int, length: int) -> memoryview:
            """Return a read-only view of bytes that the file has.

            Raises
            ------
            OSError, ValueError
                The operating system refuses to map; the file is shorter than the range.
            """
            window, end, size = self._window, offset + length, os.fstat(fd).st_size
            if end > size:
                raise ValueError(f"the file has {size:,} bytes, not {end:,}")
            if window is None or window.end < end:
                other = _reopened(fd)
                unlocked = fd if other is None else other.fd
                try:
                    window = self._window = _Window(unlocked, 0, _window_bytes(size))
                except OSError:  # address space may be limited: then only these bytes
                    start = offset - offset % mmap.ALLOCATIONGRANULARITY
                    window = _Window(unlocked, start, end)
            return np.asarray(_WindowView(window, offset, length)).data

    def _reopened(fd: int) -> Descriptor | None:
        """Return another descriptor of the file; None where there can be no other.

        On Linux a map keeps what it was made by open, and open with a lock of the writer: a forked
        child, which has all maps of its parent, would keep the store locked when the parent dies.
        """
        if sys.platform == "linux":
            try:
                return Descriptor(f"/proc/self/fd/{fd}", os.O_RDONLY)
            except OSError:  # no /proc, or no descriptor left
                pass
        return None

    def _window_bytes(size: int) -> int:
        return 1 << (max(size, WINDOW_BYTES_MIN) - 1).bit_length()

    def let_go(view: memoryview) -> None:
        """Take the pages of a view out of this process's memory, where the system can.

        They come back from the file when they are read next.
        """
        mapped = getattr(view.obj, "base", None)
        if isinstance(mapped, _WindowView):
            mapped.let_go()
