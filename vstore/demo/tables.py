"""The demo's tables, from measured values to rich's renderables."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from vstore.demo.narrator import printable
from vstore.demo.quality import METHODS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vstore.demo.quality import Moment
    from vstore.engine.history import HistoryEntry
    from vstore.searching.results import SearchResult

_STYLES: Final = {"mixed": "red", "slots": "green", "evidence": "green"}
_TITLE_WIDTH: Final = 50


def hits_table(result: SearchResult, relevant: Mapping[str, int], *, encoding: str) -> Table:
    """Show hits with their titles; those that people judged relevant are marked."""
    table = _table()
    table.add_column("", justify="right")
    table.add_column("score", justify="right")
    table.add_column("version", no_wrap=True)
    table.add_column("title")
    table.add_column("judged", no_wrap=True)
    for rank, hit in enumerate(result, 1):
        title = printable(_shortened(str(hit.metadata["title"])), encoding)
        is_relevant = str(hit.id) in relevant
        table.add_row(
            str(rank),
            f"{hit.score:z.3f}",
            hit.version,
            title,
            "relevant" if is_relevant else "",
            style="green" if is_relevant else "",
        )
    return table


def ndcg_table(moments: Sequence[Moment]) -> Table:
    """Show nDCG@10 of every way to read at each moment, and the mixed-version rates."""
    table = _quality_columns("nDCG@10")
    table.add_column("explicit", justify="right")
    table.add_column("silent", justify="right")
    for moment in moments:
        cells = [f"{moment.quality[method].ndcg:.3f}" for method in METHODS]
        table.add_row(
            f"{moment.coverage:.0%}", *cells, f"{moment.explicit:.1%}", f"{moment.silent:.1%}"
        )
    return table


def recall_table(moments: Sequence[Moment]) -> Table:
    """Show recall@10 of every way to read at each moment."""
    table = _quality_columns("recall@10")
    for moment in moments:
        cells = [f"{moment.quality[method].recall:.3f}" for method in METHODS]
        table.add_row(f"{moment.coverage:.0%}", *cells)
    return table


def legend(meanings: Mapping[str, str]) -> Table:
    """Show names and what they mean."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, meaning in meanings.items():
        table.add_row(name, meaning)
    return table


def history_table(history: Iterable[HistoryEntry]) -> Table:
    """Show what the commits did, oldest first; a row for each run of equal operations."""
    table = _table()
    for name in ("epochs", "operation", "what"):
        table.add_column(name)
    oldest_first = sorted(history, key=lambda entry: entry.epoch)
    for (operation, note), run in groupby(oldest_first, key=lambda e: (e.operation, e.note)):
        entries = list(run)
        first, last = entries[0].epoch, entries[-1].epoch
        counts: dict[str, int] = {}
        for entry in entries:
            for name, value in entry.counts.items():
                counts[name] = counts.get(name, 0) + value
        counted = ", ".join(f"{value:,} {name}" for name, value in counts.items())
        table.add_row(
            f"{first}" if first == last else f"{first}-{last}",
            operation,
            "; ".join(part for part in (note, counted) if part),
        )
    return table


def _quality_columns(measure: str) -> Table:
    table = _table()
    table.title, table.title_justify = measure, "left"
    table.title_style = "bold"
    table.add_column("coverage", justify="right")
    for method in METHODS:
        table.add_column(method, justify="right", style=_STYLES.get(method, ""))
    return table


def _table() -> Table:
    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _shortened(title: str) -> str:
    return title if len(title) <= _TITLE_WIDTH else title[: _TITLE_WIDTH - 3].rstrip() + "..."
