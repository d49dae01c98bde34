"""The writer lock: held by the operating system on the store file itself, gone with its process.

Own code, because no library fits: filelock keeps a second file, and portalocker locks the start of
the file, which on Windows would stop readers from reading it. POSIX record locks are no choice: the
process loses them when it closes *any* descriptor of the file. ``flock`` belongs to the open file
description, so two handles of one process exclude each other as two processes do.

On Windows a lock is mandatory for the bytes it covers, so it covers one far beyond any data.
Network file systems may not honour either; vstore does not support them.
"""

from __future__ import annotations

import contextlib
import os
import sys

_WINDOWS_LOCK_OFFSET = 1 << 62
_LOCKS = "/proc/locks"  # Linux says there who holds which


def holder(device: int, inode: int) -> int | None:
    """Return the process that holds a file's lock; None where the system does not say."""
    try:
        with open(_LOCKS, encoding="ascii") as lines:
            for line in lines:
                # "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; "->" marks those that wait
                words = line.split()
                if len(words) > 5 and words[1] == "FLOCK":
                    major, minor, number = words[5].split(":")
                    place = os.makedev(int(major, 16), int(minor, 16))
                    if (place, int(number)) == (device, inode):
                        return int(words[4]) if int(words[4]) > 0 else None  # of a container
    except (OSError, ValueError, AttributeError):
        pass
    return None


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
