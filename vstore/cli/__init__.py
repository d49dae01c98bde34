"""The command line: ``vstore COMMAND STORE ...``.

A command is a function from its arguments to a `Report`; `main` prints it. With ``--json`` stdout
holds one JSON document or nothing at all, and an error is one JSON object on stderr:
``{"error": {"type": ..., "message": ..., "exit_code": ...}}``. Without it an error is one line on
stderr. Progress bars go to stderr, and only to a terminal. Nothing ever asks a question.

Exit codes::

      0  done
      1  the answer is no: `check` found problems, or a gate refused the cutover
      2  usage: an option, a value, a vector or a filter that can never be right
      3  not found: a file, collection, version, document, epoch or tag
      4  locked: another writer holds the store
      5  corrupt: not a store, a damaged one, or one of a newer format
      6  storage: the operating system refused
      7  state: a name that is taken, or a legal request at the wrong moment
      8  mismatch: vectors of two geometries were about to meet
      9  an optional dependency is not installed
     70  a bug in vstore; the traceback is on stderr
    130  interrupted
    141  whoever read the output stopped reading

typer and rich come with the extra ``cli`` and are imported only here.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vstore.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, that of the process by default, and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    for package in ("typer", "rich"):
        if find_spec(package) is None:
            from vstore.cli.failure import fail

            return fail(MissingDependencyError(package, extra="cli"), as_json="--json" in given)
    from vstore.cli.app import run

    return run(given)
