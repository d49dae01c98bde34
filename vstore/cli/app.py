"""The application: which commands there are, and how a command line is run."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer

import vstore
from vstore.cli.backfill import backfill
from vstore.cli.check import check
from vstore.cli.delete import delete
from vstore.cli.demo import demo
from vstore.cli.exit_code import MEANINGS, ExitCode
from vstore.cli.export import export
from vstore.cli.failure import fail
from vstore.cli.get import get
from vstore.cli.history import history, tag
from vstore.cli.info import info, versions
from vstore.cli.ingest import ingest
from vstore.cli.init import init
from vstore.cli.metrics import metrics
from vstore.cli.migrate import cutover, retire, rollback, route
from vstore.cli.optimize import optimize
from vstore.cli.report import Report, print_report
from vstore.cli.search import explain, search
from vstore.cli.vacuum import vacuum
from vstore.cli.warmup import warmup
from vstore.errors import InvalidArgumentError

COMMANDS: Final[dict[str, tuple[Callable[..., Report], ...]]] = {
    "Begin": (demo, init),
    "Look": (info, versions, search, explain, get, history, metrics),
    "Write": (ingest, delete, export),
    "Migrate": (backfill, route, cutover, rollback, retire),
    "Keep": (check, vacuum, optimize, tag, warmup),
}

# typer raises the usage errors of the click it is built on, which is not everywhere the package
# of that name; this is their base class in any of its versions.
_UsageError: Final[type[Exception]] = typer.BadParameter.__mro__[1]

_EXIT_CODES: Final = "  \n".join(f"{code:d} {meaning}" for code, meaning in MEANINGS.items())


def make_app() -> typer.Typer:
    """Return the application."""
    app = typer.Typer(
        name="vstore",
        help="An embedded single-file vector store that keeps embedding versions apart.",
        epilog=f"Exit codes:\n\n{_EXIT_CODES}",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for panel, functions in COMMANDS.items():
        for function in functions:
            app.command(function.__name__, rich_help_panel=panel)(function)
    return app


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        print(f"vstore {vstore.__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show vstore's version and exit.",
        ),
    ] = False,
) -> None:
    pass


def _told_in_one_line(error: Exception) -> InvalidArgumentError:
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    command = "vstore" if context is None else context.command_path
    return InvalidArgumentError(f"{message.rstrip('.')}; see {command} --help")


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    as_json = "--json" in arguments
    for stream in (sys.stdout, sys.stderr):
        # A character that a Windows console's code page lacks must not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        # Without arguments, the help is the answer to a command line that is not complete.
        given = list(arguments) or ["--help"]
        report = make_app()(given, prog_name="vstore", standalone_mode=False)
        if not isinstance(report, Report):  # --help, --version: typer printed and says how it ended
            sys.stdout.flush()
            if not arguments:
                return ExitCode.USAGE
            return report if isinstance(report, int) else ExitCode.OK
        print_report(report, as_json=as_json)
    except (BrokenPipeError, SystemExit):  # the latter is typer's answer to the former
        # Python flushes stdout once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PIPE_CLOSED
    except (typer.Abort, KeyboardInterrupt) as error:
        return fail(error, as_json=as_json, code=ExitCode.INTERRUPTED)
    except _UsageError as error:
        return fail(_told_in_one_line(error), as_json=as_json)
    except Exception as error:
        return fail(error, as_json=as_json)
    return report.exit_code
