"""JSON on the command line: inline, or in a file after an @."""

from __future__ import annotations

import json
from pathlib import Path

from vstore.errors import InvalidArgumentError


def json_argument(value: str, *, name: str) -> object:
    """Return the JSON value of an argument, which is JSON or ``@FILE``.

    Raises
    ------
    InvalidArgumentError
        It is not JSON, or the file is not UTF-8.
    """
    if value.startswith("@"):
        return json_file(Path(value[1:]))
    return _parsed(value, where=name)


def json_file(path: Path) -> object:
    """Return the JSON value in a file."""
    try:
        return _parsed(path.read_text("utf-8-sig"), where=str(path))
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path}: not UTF-8 ({error})") from error


def _parsed(text: str, *, where: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{where}: not JSON ({error}): {text!r:.60}") from error
    return value
