"""Errors on stderr: one line for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
import traceback

from vstore.cli.exit_code import ExitCode, exit_code
from vstore.cli.plain_text import one_line
from vstore.errors import GateError, VersionMismatchError


def fail(error: BaseException, *, as_json: bool, code: ExitCode | None = None) -> ExitCode:
    """Report what ended a command and return its exit code.

    Parameters
    ----------
    code : ExitCode, optional
        Default: the one that belongs to the error.
    """
    code = exit_code(error) if code is None else code
    if code is ExitCode.INTERRUPTED:
        return code
    if as_json:
        print(json.dumps({"error": _described(error, code)}), file=sys.stderr)
        return code
    if code is ExitCode.BUG:
        traceback.print_exception(error)
    print(f"vstore: {one_line(_message(error))}", file=sys.stderr)
    return code


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _described(error: BaseException, code: ExitCode) -> dict[str, object]:
    described: dict[str, object] = {
        "type": type(error).__name__,
        "message": _message(error),
        "exit_code": int(code),
    }
    if isinstance(error, GateError):
        described["measured"] = error.measured
    if isinstance(error, VersionMismatchError):
        described["differences"] = {
            name: [repr(expected), repr(found)]
            for name, (expected, found) in error.differences.items()
        }
    if code is ExitCode.BUG:
        described["traceback"] = "".join(traceback.format_exception(error))
    return described
