"""Exit codes: one per kind of trouble that a script would handle differently."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from vstore import errors


class ExitCode(IntEnum):
    """What the process returns; the package's docstring says when."""

    OK = 0
    NO = 1
    USAGE = 2
    NOT_FOUND = 3
    LOCKED = 4
    CORRUPT = 5
    STORAGE = 6
    STATE = 7
    MISMATCH = 8
    MISSING_DEPENDENCY = 9
    BUG = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.NO: "the answer is no: check found problems, or a gate refused the cutover",
    ExitCode.USAGE: "usage: an option, a value, a vector or a filter that can never be right",
    ExitCode.NOT_FOUND: "not found: a file, collection, version, document, epoch or tag",
    ExitCode.LOCKED: "locked: another writer holds the store",
    ExitCode.CORRUPT: "corrupt: not a store, a damaged one, or one of a newer format",
    ExitCode.STORAGE: "storage: the operating system refused",
    ExitCode.STATE: "state: a name that is taken, or a legal request at the wrong moment",
    ExitCode.MISMATCH: "mismatch: vectors of two geometries were about to meet",
    ExitCode.MISSING_DEPENDENCY: "an optional dependency is not installed",
    ExitCode.BUG: "a bug in vstore; the traceback is on stderr",
    ExitCode.INTERRUPTED: "interrupted",
    ExitCode.PIPE_CLOSED: "whoever read the output stopped reading",
}

# The first class that fits decides, so a subclass stands before its base.
_BY_ERROR: Final[tuple[tuple[type[BaseException], ExitCode], ...]] = (
    (errors.GateError, ExitCode.NO),
    (errors.InvalidArgumentError, ExitCode.USAGE),
    (errors.LimitExceededError, ExitCode.USAGE),
    (errors.ScopeError, ExitCode.USAGE),
    (errors.NotFoundError, ExitCode.NOT_FOUND),
    (errors.LockedError, ExitCode.LOCKED),
    (errors.CorruptionError, ExitCode.CORRUPT),
    (errors.StorageError, ExitCode.STORAGE),
    (errors.VersionMismatchError, ExitCode.MISMATCH),
    (errors.MissingDependencyError, ExitCode.MISSING_DEPENDENCY),
    (errors.VstoreError, ExitCode.STATE),
    (FileNotFoundError, ExitCode.NOT_FOUND),
    (OSError, ExitCode.STORAGE),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
)


def exit_code(error: BaseException) -> ExitCode:
    """Return the exit code of an exception that ended a command."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), ExitCode.BUG)
