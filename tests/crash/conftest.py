"""Counts of what the sweeps tried, at the end of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the numbers that tests recorded under "points"."""
    counted = [
        (report.nodeid.rsplit("::", 1)[-1], value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "points" and report.when == "call"
    ]
    if counted:
        terminalreporter.section("points tried")
        for test, value in counted:
            terminalreporter.write_line(f"{value:>9,}  {test}")
