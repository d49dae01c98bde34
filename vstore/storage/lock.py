"""The writer lock: held by the operating system on the store file itself, gone with its process.

Own code, because no library fits: filelock keeps a second file, and portalocker locks the start of
the file, which on Windows would stop readers from reading it. POSIX record locks are no choice: the
process loses them when it closes *any* descriptor of the file. `flock` belongs to the open file
description, so two handles of one process exclude each other as two processes do.

On Windows a lock is mandatory for the bytes it covers, so it covers one far beyond any data.
Network file systems may not honour either; vstore does not support them.
"""

from __future__ import annotations

import contextlib
import os
import sys

_WINDOWS_LOCK_OFFSET = 1 << 62

if sys.platform == "win32":
    import msvcrt

    def try_lock(fd: int) -> bool:
        """Take the lock without waiting; False if another handle holds it."""
        os.lseek(fd, _WINDOWS_LOCK_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(fd: int) -> None:
        """Release the lock, if it is held."""
        with contextlib.suppress(OSError):
            os.lseek(fd, _WINDOWS_LOCK_OFFSET, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def try_lock(fd: int) -> bool:
        """Take the lock without waiting; False if another handle holds it."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(fd: int) -> None:
        """Release the lock, if it is held."""
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
