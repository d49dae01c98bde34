"""``vstore demo``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vstore.cli.report import Report, console

DemoPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="[STORE]",
        help="Where to leave the demo's store; by default nowhere.",
        show_default=False,
    ),
]


def demo(store: DemoPath = None) -> Report:
    """Watch a model upgrade from beginning to end, in a minute, on a store made up for it."""
    from vstore.demo.story import run_demo

    run_demo(store, console(sys.stdout))
    return Report(None, [])
