"""How everything here is measured: contenders take turns in one run, medians are compared."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "msgpack", "blake3", "sqlite-vec")


@dataclass
class Comparison:
    """One row of a table: what vstore took against what something else took.

    ``ratio`` is vstore over baseline for times and sizes; ``bound`` says what it must be.
    """

    name: str
    ours: float
    baseline: float
    baseline_name: str
    unit: str
    bound: str
    passed: bool
    ratio: float
    notes: dict[str, object] = field(default_factory=dict)


def alternate(contenders: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, float]:
    """Run each contender once per round, in turns, and return the median of what each returned."""
    seen: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            seen[name].append(run())
    return {name: statistics.median(values) for name, values in seen.items()}


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs another one and returns the seconds it took."""

    return lambda: seconds_of(run)


def seconds_of(run: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def resident_mib() -> float:
    """Return the memory of this process that is in RAM; NaN where that is not known."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return float("nan")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def machine(more_packages: Sequence[str] = ()) -> dict[str, object]:
    """Describe where and with what this was measured."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    versions = {}
    for package in (*PACKAGES, *more_packages):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": sys.version.split()[0],
        "packages": versions,
    }


def report(name: str, title: str, rows: list[Comparison]) -> None:
    """Print a table and write the JSON."""
    table = Table(title=title)
    for column in ("what", "vstore", "baseline", "", "ratio", "bound", ""):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.ours:.4g} {row.unit}",
            f"{row.baseline:.4g} {row.unit}",
            row.baseline_name,
            f"{row.ratio:.2f}",
            row.bound,
            "ok" if row.passed else "MISSED",
        )
    Console(width=140).print(table)
    rows_of_report = [vars(row) for row in rows]
    save(name, {"name": name, "title": title, "machine": machine(), "rows": rows_of_report})


def save(name: str, document: Mapping[str, object]) -> None:
    """Write the JSON of a benchmark."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
