"""``vstore info`` and ``vstore versions``: the manifest, for people and for incidents."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from vstore.cli.job import job_facts
from vstore.cli.opening import open_to_read, pick_collection
from vstore.cli.options import AsJson, CollectionName, Epoch, StorePath, Tag
from vstore.cli.plain_text import counted, moment, one_line, share, size
from vstore.cli.report import Report, View, facts, heading, table
from vstore.engine.version_info import VersionInfo

OnlyVersion = Annotated[
    str | None, typer.Option("--version", metavar="LABEL", help="Only this one.")
]


def info(
    store: StorePath, *, epoch: Epoch = None, tag: Tag = None, as_json: AsJson = False
) -> Report:
    """Show the manifest: collections, routes, versions, tags, and what state each is in."""
    with open_to_read(store, epoch=epoch, tag=tag) as opened:
        data = opened.info()
        view = _store(data)
        for name in opened.collections:
            versions = tuple(opened.collection(name).versions.values())
            collections: Any = data["collections"]
            view += ["", *_collection(name, collections[name]), "", version_table(versions)]
            for one in versions:
                if one.backfill is not None:
                    view += ["", heading(f"{one.label}"), facts(job_facts(one.backfill))]
        return Report(data, view)


def versions(
    store: StorePath,
    *,
    collection: CollectionName = None,
    version: OnlyVersion = None,
    epoch: Epoch = None,
    tag: Tag = None,
    as_json: AsJson = False,
) -> Report:
    """Show all there is to know about each embedding version."""
    with open_to_read(store, epoch=epoch, tag=tag) as opened:
        docs = pick_collection(opened, collection)
        shown = docs.versions.values() if version is None else (docs.versions[version],)
        data = {"collection": docs.name, "versions": [one.to_dict() for one in shown]}
        view: View = [heading(f"{docs.name}: {counted(len(shown), 'version')}")]
        for one in shown:
            view += ["", heading(f"{one.label}: {one.state}"), facts(_version_facts(one))]
        return Report(data, view)


def version_table(versions: tuple[VersionInfo, ...]) -> RenderableType:
    """Return a line per version: what it is, and how far it is."""
    if not versions:
        return Text("  no version yet")
    return table(
        [
            *("version", "=state", "#coverage", "#stale", "#rows", "#size"),
            *("#fingerprint", "model"),
        ],
        [
            (
                one.label,
                one.state,
                share(one.coverage.share),
                one.stale_documents,
                one.rows,
                "unsealed" if one.rows and not one.segments else size(one.size_bytes),
                one.fingerprint[:12],
                f"{_model(one)}, {one.spec.dimension} {one.spec.metric}",
            )
            for one in versions
        ],
    )


def route_text(route: Mapping[str, Any]) -> str:
    """Return a route of the manifest in words."""
    versions = route["versions"]
    old, new = versions[0], versions[-1]
    text: str = {
        "matched": new,
        "dual": f"dual read of {old} (old) and {new} (new) by {route['fusion']}",
        "cascade": f"candidates of {old}, ordered by {new}",
        "bridge": f"{new}, also for queries of {old} over a bridge",
        "canary": f"{old}, and {new} for {route['percent']} % of the queries",
    }[route["mode"]]
    if route["shadow"]:
        text += f", {route['shadow']} in the shadow of {route['shadow_percent']} %"
    text += f", since epoch {route['since_epoch']}"
    if route["forced"]:
        text += ", forced"
    if route["by"]:
        text += f", by {route['by']}"
    if route["reason"]:
        text += f": {route['reason']}"
    if route["previous"]:
        text += f" (before: {', '.join(route['previous'])})"
    return text


def _store(data: Mapping[str, Any]) -> View:
    shown = {
        "epoch": f"{data['epoch']}, committed {moment(data['time_us'])}",
        "size": size(data["size_bytes"]),
        "format": data["format"],
        "uuid": data["uuid"],
    }
    if data["recovery"]:
        shown["recovery"] = data["recovery"]
    for name, tag in data["tags"].items():
        note = f": {tag['note']}" if tag["note"] else ""
        shown[f"tag {name}"] = f"epoch {tag['epoch']}{note}"
    for pair in data["equivalences"]:
        shown[f"{pair['first'][:12]} is"] = f"{pair['second'][:12]}: {pair['reason']}"
    return [heading(data["path"]), facts(shown)]


def _collection(name: str, data: Mapping[str, Any]) -> View:
    fields = ", ".join(f"{field} {kind}" for field, kind in data["fields"].items())
    shown = {
        "documents": f"{data['documents']:,}",
        "fields": fields or "none",
        "segments": f"{data['segments']}, and {counted(data['memtable_documents'], 'document')} "
        "unsealed",
    }
    for key, route in data["routes"].items():
        shown[f"route {key}"] = route_text(route)
    return [heading(f"collection {name}"), facts(shown)]


def _model(one: VersionInfo) -> str:
    return f"{one.spec.model} {one.spec.model_version}".strip()


def _version_facts(one: VersionInfo) -> dict[str, object]:
    identity = {
        name.replace("_", " "): value
        for name, value in one.spec.identity().items()
        if name not in ("model", "model_version", "dimension", "metric", "extras") and value
    }
    spec = one.spec
    shown: dict[str, object] = {
        "model": _model(one),
        "geometry": f"{spec.dimension} dimensions, {spec.metric}",
        **identity,
        **{f"extra {name}": value for name, value in spec.extras.items()},
        "fingerprint": one.fingerprint,
        "provenance": one.provenance,
        "created": f"epoch {one.created_epoch}, {moment(one.created_us)}",
        "coverage": f"{share(one.coverage.share)}: {one.coverage.fresh:,} of "
        f"{one.coverage.live:,} documents fresh, {one.stale_documents:,} stale",
        "stored": f"{counted(one.rows, 'row')} as {one.storage}, "
        f"{counted(one.segments or 0, 'segment')}, {size(one.size_bytes)}, "
        f"lengths {one.norm_min:.4g} to {one.norm_max:.4g}",
        "graphs": "none: every search is a scan"
        if one.graph is None
        else f"{counted(one.graphs or 0, 'segment')} of {one.segments or 0:,}; from "
        f"{one.graph.rows_min:,} rows on, M {one.graph.M}, "
        f"ef_construction {one.graph.ef_construction}",
        "stale vectors": "are hidden" if one.stale_policy == "hide" else "are served, marked",
        "deletion": "deleted documents hidden at once, bytes gone after a vacuum; "
        f"{one.retire_grace_s:,} s of grace after retirement",
    }
    if one.retired_us is not None:
        shown["retired"] = moment(one.retired_us)
    if one.backfill is not None:
        shown.update(job_facts(one.backfill))
    return {name: one_line(str(value)) for name, value in shown.items()}
