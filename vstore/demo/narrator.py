"""How the demo speaks: chapters, prose, code as a user would type it, and bars on a terminal.

This module, and `tables`, need rich (extra ``cli``). Nothing is printed that the stream's encoding
cannot hold, and no bar moves where there is no terminal.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

_PROSE_WIDTH: Final = 92
_INDENT: Final = 3


def printable(text: str, encoding: str) -> str:
    """Return a text with a question mark for each character that an encoding lacks."""
    return text.encode(encoding, "replace").decode(encoding)


class Narrator:
    """Prints the story to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._chapters = 0

    @property
    def encoding(self) -> str:
        """Encoding of the stream."""
        return self._console.encoding

    def chapter(self, title: str) -> None:
        """Begin the next chapter."""
        self._chapters += 1
        self._console.print()
        self._console.print(self._text(f"{self._chapters}. {title}", "bold"))

    def say(self, text: str, *, style: str = "") -> None:
        """Print a paragraph."""
        self._padded(self._text(text, style))

    def code(self, *lines: str) -> None:
        """Print what a user would type for what happens next."""
        for line in lines:
            self._padded(self._text(f">>> {line}", "cyan"))

    def refusal(self, error: Exception) -> None:
        """Print an error that was to be expected."""
        text = self._text(f"{type(error).__name__}: ", "bold red")
        text.append_text(self._text(str(error), "red"))
        self._padded(text)

    def show(self, renderable: RenderableType) -> None:
        """Print a table."""
        self._console.print(Padding(renderable, (0, 0, 0, _INDENT - 1), expand=False))

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:
        """Show a progress bar while the block runs, where there is a terminal."""
        progress = Progress(
            TextColumn(" " * (_INDENT - 1) + "{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        with progress:
            yield Bar(progress, what, total)

    def _padded(self, text: Text) -> None:
        width = min(self._console.width, _PROSE_WIDTH) - _INDENT
        for line in text.wrap(self._console, max(width, 1)):
            line.rstrip()
            self._console.print(Text(" " * _INDENT).append_text(line) if line else "")

    def _text(self, text: str, style: str) -> Text:
        return Text(printable(text, self.encoding), style)


class Bar:
    """A progress bar."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=total)

    def reach(self, done: int) -> None:
        """Move to a number of things done."""
        self._progress.update(self._task, completed=done)
