"""What the scripted migration met, at the end of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print what tests recorded under "figures"."""
    for report in terminalreporter.getreports("passed"):
        for name, figures in report.user_properties:
            if name == "figures" and report.when == "call":
                terminalreporter.section(report.nodeid.rsplit("::", 1)[-1])
                for what, value in figures.items():
                    terminalreporter.write_line(f"{what}: {value}")
