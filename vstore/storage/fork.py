"""What happens to open files in a forked child: they are closed there, and only there."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Abandonable(Protocol):
    """An open file that can be given up without a trace in the parent process."""

    def abandon(self) -> None:
        """Close without unlocking: the lock belongs to the parent process."""
        ...


_open_files: weakref.WeakSet[Abandonable] = weakref.WeakSet()


def abandon_in_children(file: Abandonable) -> None:
    """Close a file in every child forked from now on."""
    _open_files.add(file)


def _after_fork() -> None:
    # A child shares the parent's open file description and with it the lock: if it kept the
    # descriptor, the lock would outlive a parent that dies. In memory it would be a second writer,
    # whose commits its parent never sees.
    for file in list(_open_files):
        file.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
