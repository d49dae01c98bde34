"""What a command answers, and how it is printed."""

from __future__ import annotations

import datetime as dt
import errno
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vstore.cli.exit_code import ExitCode
from vstore.cli.plain_text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.console import RenderableType

View: TypeAlias = "list[RenderableType]"
_PIPE_WIDTH: Final = 120  # columns where there is no terminal to ask


@dataclass(frozen=True, slots=True)
class Report:
    """What a command found or did.

    Attributes
    ----------
    data : object
        What ``--json`` prints: plain data.
    view : sequence
        What people see, from top to bottom.
    text : str | None
        What is printed instead of the view, byte for byte: a format that programs read.
    """

    data: object
    view: Sequence[RenderableType]
    exit_code: ExitCode = ExitCode.OK
    text: str | None = None


class _PlainConsole(Console):
    def on_broken_pipe(self) -> None:
        # rich would end the process with code 1, which here means "the answer is no".
        raise BrokenPipeError


def console(file: TextIO) -> Console:
    """Return a console that prints text as it is: no markup, no highlighting, no emoji codes."""
    width = None if file.isatty() else max(_PIPE_WIDTH, Console(file=file).width)
    return _PlainConsole(file=file, width=width, markup=False, highlight=False, emoji=False)


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a report on stdout.

    Raises
    ------
    BrokenPipeError
        Whoever reads it has stopped.
    """
    if as_json:
        # Whole before the first byte goes out: half a document would be worse than none.
        text = json.dumps(report.data, indent=2, default=_plain, allow_nan=False) + "\n"
    elif report.text is not None:
        text = report.text
    elif sys.stdout.isatty():
        out = console(sys.stdout)
        for part in report.view:
            out.print(part)
        return
    else:
        out = console(sys.stdout)
        with out.capture() as captured:
            for part in report.view:
                out.print(part)
        # rich fills lines up with blanks, which only a terminal has a use for.
        text = "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EINVAL):  # the latter is what Windows says
            raise BrokenPipeError from error
        raise


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"not plain data: {value!r}")


def heading(text: str) -> Text:
    """Return a line that stands over what follows."""
    return Text(one_line(text), style="bold")


def facts(pairs: Mapping[str, object]) -> Table:
    """Return names and values, one pair a line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs.items():
        grid.add_row("  " + one_line(name), Text(one_line(str(value))))
    return grid


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table.

    Parameters
    ----------
    columns : sequence of str
        ``#`` before a name: numbers, to the right. ``=``: not to be broken into lines.
    """
    made = Table(box=SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), show_edge=False)
    for name in columns:
        made.add_column(
            name.lstrip("#="),
            justify="right" if name.startswith("#") else "left",
            no_wrap=name.startswith(("#", "=")),
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(Text(one_line(_cell(value))) for value in row))
    return made


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
