"""An open file's descriptor, closed when nobody uses it any more.

A thread may read while another closes the file. Were the number freed under the read, the system
could give it to the next file that is opened, and the read would return that file's bytes.
"""

from __future__ import annotations

import contextlib
import os


class Descriptor:
    """Owner of a descriptor: who uses the number holds the owner meanwhile."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close it now, whoever may use it: only where no other thread can."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # nothing is lost: commits were synced
                os.close(fd)
