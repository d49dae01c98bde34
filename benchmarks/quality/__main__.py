"""Measure what each rule is worth during a migration.

    python -m benchmarks.quality [--data FOLDER] [--seeds 5] [--pairs TEXT]

Without a folder, the demo's SciFact. A folder has `scifact` and `cranfield`, each with
`vectors.npz` and judgments. Writes `results/quality-NAME.json` and, with matplotlib, a picture.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.compare.plot import plot_quality
from benchmarks.measure import RESULTS, machine, save
from benchmarks.quality.measured import checks, measure
from benchmarks.quality.pairs import pairs
from benchmarks.quality.table import rules_of

PLOTTED = ("old alone", "rrf", "zscore", "slots", "evidence", "imputed", "bridged imputed", "auto")


def main() -> None:
    parser = argparse.ArgumentParser(description="Quality during a migration, rule by rule.")
    parser.add_argument("--data", type=Path, help="folder with scifact/ and cranfield/")
    parser.add_argument("--seeds", type=int, default=5, help="random orders of backfill")
    parser.add_argument("--pairs", default="", help="only pairs whose name has this text")
    options = parser.parse_args()
    for pair in pairs(options.data):
        if options.pairs not in pair.name:
            continue
        started = time.perf_counter()
        report = measure(pair, options.seeds)
        report["seconds"] = time.perf_counter() - started
        report["data"] = "packaged" if options.data is None else "folder"
        if pair.role == "real":
            report["checks"] = checks(report)
        name = f"quality-{file_name(pair.name)}"
        save(name, {"name": name, "machine": machine(["matplotlib"]), **report})
        show(report)
        plot(report, RESULTS / f"{name}.png")


def file_name(pair: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in pair).lower().split())


def show(report: dict[str, Any]) -> None:
    points = report["points"]
    console = Console(width=200)
    for figure, title in (
        ("ndcg", "nDCG@10, and against the line ± half its 95 % interval"),
        ("recall", "recall@10 (95 % interval)"),
    ):
        table = Table(title=f"{report['pair']} ({report['role']}): {title}")
        table.add_column("rule")
        for point in points:
            table.add_column(f"{point['coverage']:.0%}", justify="right")
        if figure == "ndcg":
            table.add_row("linear interpolation", *(f"{point['line']:.3f}" for point in points))
        for rule in rules_of(report):
            table.add_row(rule, *(_cell(point["rules"].get(rule), figure) for point in points))
        console.print(table)
    console.print(f"chosen by auto: {report['chosen']}")
    for check in report.get("checks", ()):
        verdict = "ok" if check["passed"] else "MISSED"
        console.print(
            f"{check['what']}: worst {check['measured']:+.4f}, must be >= "
            f"{check['at_least']:+.3f}: {verdict}"
        )


def _cell(figures: dict[str, Any] | None, figure: str) -> str:
    if figures is None:
        return "-"
    if figure == "ndcg":
        low, high = figures["to_line_interval"]
        return f"{figures['ndcg']:.3f} {figures['to_line']:+.3f}±{(high - low) / 2:.3f}"
    low, high = figures["recall_interval"]
    return f"{figures['recall']:.3f} ({low:.2f}-{high:.2f})"


def plot(report: dict[str, Any], path: Path) -> None:
    try:
        plot_quality(report, PLOTTED, path)
    except ImportError:
        print("no picture: matplotlib is not installed")


if __name__ == "__main__":
    main()
