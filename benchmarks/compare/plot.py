"""Recall against queries per second, one curve for each library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def plot_curves(report: dict[str, Any], path: Path) -> None:
    """Write a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), dpi=110)
    for name, curve in report["curves"].items():
        axes.plot(
            [point["recall"] for point in curve],
            [point["qps"] for point in curve],
            marker="o",
            markersize=3,
            linewidth=2.2 if name == "vstore" else 1.1,
            label=name,
            zorder=3 if name == "vstore" else 2,
        )
    axes.set(
        yscale="log",
        xlim=(0.8, 1.003),
        xlabel="recall@10",
        ylabel="queries per second, one thread",
        title=report["data"],
    )
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
