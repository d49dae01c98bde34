"""The pictures: one curve for each library, or one for vstore."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextlib.contextmanager
def picture(path: Path) -> Iterator[Any]:
    """Give axes to draw on, and write them to a file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), dpi=110)
    shades = plt.get_cmap("tab20").colors  # type: ignore[attr-defined]
    axes.set_prop_cycle(color=[*shades[::2], *shades[1::2]])
    yield axes
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _curve(axes: Any, name: str, x: list[float], y: list[float]) -> None:
    ours = name == "vstore"
    width, order = (2.2, 3) if ours else (1.1, 2)
    axes.plot(x, y, marker="o", markersize=3, linewidth=width, label=name, zorder=order)


def plot_curves(report: dict[str, Any], path: Path) -> None:
    """Draw queries per second against recall."""
    with picture(path) as axes:
        for name, curve in report["curves"].items():
            recalls = [point["recall"] for point in curve]
            _curve(axes, name, recalls, [point["qps"] for point in curve])
        axes.set(
            yscale="log",
            xlim=(0.8, 1.003),
            xlabel="recall@10",
            ylabel="queries per second, one thread",
            title=report["data"],
        )


def plot_filtered(report: dict[str, Any], path: Path) -> None:
    """Draw queries per second against the share of rows that pass, where recall was reached."""
    with picture(path) as axes:
        for name in report["build_s"]:
            points = [
                (float(percent), row[name]["qps"])
                for percent, row in report["results"].items()
                if row[name]["reached"]
            ]
            if points:
                _curve(axes, name, *map(list, zip(*points, strict=True)))
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="per cent of the rows that pass the filter",
            ylabel="queries per second at recall@10 >= 0.95, one thread",
            title=report["data"],
        )


def plot_growth(report: dict[str, Any], path: Path) -> None:
    """Draw time against rows, and the line fitted to it."""
    rows = [point["rows"] for point in report["points"]]
    times = [point["query_us"] for point in report["points"]]
    line = report["fit"]
    with picture(path) as axes:
        _curve(axes, "vstore", rows, times)
        fitted = line["us_at_one_row"] + line["us_per_tenfold"] * np.log10(rows)
        axes.plot(
            rows,
            fitted,
            linestyle="--",
            label=f"{line['us_per_tenfold']:.1f} us for ten times the rows",
        )
        axes.set(
            xscale="log",
            ylim=(0, 1.15 * max(times)),
            xlabel="rows",
            ylabel="us per query, batch of 1,000, one thread",
            title=f"{report['data']}, recall {report['recall_wanted']}",
        )


def plot_quality(report: dict[str, Any], rules: Sequence[str], path: Path) -> None:
    """Draw nDCG against coverage, and the line between old and new."""
    points = report["points"]
    with picture(path) as axes:
        for rule in rules:
            shown = [point for point in points if rule in point["rules"]]
            _curve(
                axes,
                rule,
                [100 * point["coverage"] for point in shown],
                [point["rules"][rule]["ndcg"] for point in shown],
            )
        axes.plot(
            [100 * point["coverage"] for point in points],
            [point["line"] for point in points],
            linestyle="--",
            color="black",
            label="linear interpolation",
        )
        axes.set(
            xlabel="per cent of the documents that are migrated",
            ylabel="nDCG@10",
            title=report["pair"],
        )
