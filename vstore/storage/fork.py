"""Which process something was opened in: forked children may not use what their parent opened."""

from __future__ import annotations

import os

_forks = 0


def generation() -> int:
    """Return how many forks lie between the first process and this one."""
    return _forks


def _after_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
