"""``vstore search`` and ``vstore explain``."""

import math
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from vstore.cli.opening import open_to_read, pick_collection
from vstore.cli.options import AsJson, CollectionName, Epoch, StorePath, Tag
from vstore.cli.plain_text import counted, one_line
from vstore.cli.query import QueryOptions, search_arguments
from vstore.cli.report import Report, View, heading, table
from vstore.searching.hits import Hit
from vstore.searching.results import SearchResult

QueryVector = Annotated[
    str | None,
    typer.Option("--query", "-q", metavar="VECTOR", help="A FILE.npy, or a JSON list of numbers."),
]
OldQuery = Annotated[
    str | None,
    typer.Option(metavar="VECTOR", help="The same query, embedded for the old version."),
]
QueryText = Annotated[
    str | None,
    typer.Option("--text", "-t", metavar="TEXT", help="A text, for versions of vstore/hashing."),
]
Row = Annotated[int | None, typer.Option(metavar="N", min=0, help="Row of a FILE.npy with many.")]
Version = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="The version to read; a text may leave it to the route."),
]
OldVersion = Annotated[
    str | None, typer.Option(metavar="LABEL", help="Read this version too, and fuse the two lists.")
]
Fusion = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="Of a dual read: slots, evidence, imputed, auto ...; see `vstore.Dual`.",
    ),
]
HitCount = Annotated[int, typer.Option("--k", "-k", metavar="N", help="Hits wanted.")]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="JSON",
        help='A filter, or @FILE with one: {"field": "year", "op": ">=", "value": 2020}.',
    ),
]
Chunks = Annotated[bool, typer.Option("--chunks", help="A hit per chunk, not per document.")]
Key = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Whose query it is: a canary sends each key one way."),
]
Analyze = Annotated[bool, typer.Option("--analyze", help="Run it, and add what happened.")]


def search(
    store: StorePath,
    *,
    query: QueryVector = None,
    text: QueryText = None,
    version: Version = None,
    k: HitCount = 10,
    where: Where = None,
    old_version: OldVersion = None,
    old_query: OldQuery = None,
    fusion: Fusion = None,
    row: Row = None,
    chunks: Chunks = False,
    key: Key = None,
    collection: CollectionName = None,
    epoch: Epoch = None,
    tag: Tag = None,
    as_json: AsJson = False,
) -> Report:
    """Find the nearest documents to a vector or a text."""
    options = QueryOptions(
        query, old_query, text, row, version, old_version, fusion, k, where, chunks, key
    )
    with open_to_read(store, epoch=epoch, tag=tag) as opened:
        docs = pick_collection(opened, collection)
        result = docs.search(**search_arguments(docs, options))
        view: View = [_found(result), *([_hits(result)] if result.hits else [])]
        return Report(_described(docs.name, result), view)


def explain(
    store: StorePath,
    *,
    query: QueryVector = None,
    text: QueryText = None,
    version: Version = None,
    k: HitCount = 10,
    where: Where = None,
    old_version: OldVersion = None,
    old_query: OldQuery = None,
    fusion: Fusion = None,
    row: Row = None,
    chunks: Chunks = False,
    key: Key = None,
    analyze: Analyze = False,
    collection: CollectionName = None,
    epoch: Epoch = None,
    tag: Tag = None,
    as_json: AsJson = False,
) -> Report:
    """Show the plan of a search: which versions, in which order, and why."""
    options = QueryOptions(
        query, old_query, text, row, version, old_version, fusion, k, where, chunks, key
    )
    with open_to_read(store, epoch=epoch, tag=tag) as opened:
        docs = pick_collection(opened, collection)
        explanation = docs.explain(analyze=analyze, **search_arguments(docs, options))
        lines = str(explanation).splitlines()
        return Report(explanation.to_dict(), [Text(_indented(line)) for line in lines])


def _indented(line: str) -> str:
    return " " * (len(line) - len(line.lstrip(" "))) + one_line(line)


def _described(collection: str, result: SearchResult) -> dict[str, object]:
    trace = result.trace
    return {
        "collection": collection,
        "epoch": trace.epoch,
        "mode": trace.mode,
        "versions": list(trace.versions),
        "matches": trace.matches,
        "seconds": trace.seconds,
        "hits": [_hit(hit) for hit in result],
    }


def _hit(hit: Hit) -> dict[str, object]:
    return {
        "id": hit.id,
        "score": _finite(hit.score),
        "scores": {label: _finite(score) for label, score in hit.scores.items()},
        "version": hit.version,
        "chunk": hit.chunk,
        "stale": hit.stale,
        "metadata": hit.metadata,
        "text": hit.text,
    }


def _finite(score: float) -> float | None:
    return score if math.isfinite(score) else None


def _found(result: SearchResult) -> Text:
    trace = result.trace
    passed = "" if trace.matches is None else f" of {trace.matches:,} that pass the filter"
    return heading(
        f"{counted(len(result), 'hit')}{passed}, {trace.mode} read of "
        f"{' + '.join(trace.versions)} at epoch {trace.epoch}, {trace.seconds * 1e3:.1f} ms"
    )


def _hits(result: SearchResult) -> RenderableType:
    # Columns that say the same on every line are left out.
    chunked = any(hit.chunk for hit in result)
    stale = any(hit.stale for hit in result)
    columns = ["#", "id", "#score", "version"]
    columns += ["#chunk"] * chunked + ["stale"] * stale + ["document"]
    rows = []
    for rank, hit in enumerate(result, 1):
        row: list[object] = [str(rank), str(hit.id), f"{hit.score:z.4f}", hit.version]
        row += [hit.chunk] * chunked + [hit.stale] * stale + [_shown(hit)]
        rows.append(row)
    return table(columns, rows)


def _shown(hit: Hit) -> str:
    document = hit.document
    metadata = " ".join(f"{name}={value}" for name, value in document.metadata.items())
    return one_line(f"{metadata}  {document.text or ''}", width=80)
