"""``vstore metrics``."""

from typing import Annotated, Any

import typer

from vstore.cli.info import version_table
from vstore.cli.opening import open_to_read
from vstore.cli.options import AsJson, StorePath
from vstore.cli.plain_text import counted, size
from vstore.cli.report import Report, View, facts, heading

Prometheus = Annotated[
    bool,
    typer.Option(
        "--prometheus",
        help="The stored counters, as text for Prometheus; needs vstore[prometheus].",
    ),
]


def metrics(store: StorePath, *, prometheus: Prometheus = False, as_json: AsJson = False) -> Report:
    """Show figures to watch: by version from the file, and counters of searches.

    Coverage, stale documents, rows and size of each version are of the file as it is. Counters are
    those that services have stored in it, with Store.flush_metrics(): a process that opens a store,
    looks and ends has counted no query of its own.
    """
    with open_to_read(store) as opened:
        if prometheus:
            from vstore.adapters.prometheus import text as prometheus_text

            text = prometheus_text(opened, stored=True)
            return Report({"prometheus": text}, [], text=text)
        bytes_on_disk: Any = opened.info()["size_bytes"]
        view: View = [
            heading(f"{opened.path}: epoch {opened.epoch}"),
            facts({"size": size(bytes_on_disk)}),
        ]
        collections = {}
        for name in opened.collections:
            docs = opened.collection(name)
            versions = tuple(docs.versions.values())
            collections[name] = {
                "documents": len(docs),
                "versions": {
                    one.label: {
                        "state": one.state,
                        "coverage": one.coverage.share,
                        "fresh_documents": one.coverage.fresh,
                        "stale_documents": one.stale_documents,
                        "rows": one.rows,
                        "segments": one.segments,
                        "size_bytes": one.size_bytes,
                    }
                    for one in versions
                },
            }
            view += [
                "",
                heading(f"{name}: {counted(len(docs), 'document')}"),
                version_table(versions),
            ]
        counters = opened.metrics().to_dict()
        stored = opened.metrics(stored=True).to_dict()
        view += ["", heading("searches, as stored"), facts(_stored(stored))]
        view += ["", heading("this process"), facts(_counters(counters))]
        data = {
            "path": opened.path,
            "epoch": opened.epoch,
            "size_bytes": bytes_on_disk,
            "collections": collections,
            "stored": stored,
            "process": counters,
        }
        return Report(data, view)


def _stored(counters: dict[str, object]) -> dict[str, object]:
    counts, rates, latency = (
        counters[name] for name in ("counts", "mixed_version_rate", "latency")
    )
    assert isinstance(counts, dict), "Metrics.to_dict makes it"
    assert isinstance(rates, dict), "Metrics.to_dict makes it"
    assert isinstance(latency, dict), "Metrics.to_dict makes it"
    if not counts.get("queries"):
        return {"counters": "none: no writer has flushed any"}
    return {
        **counts,
        "mixed versions, explicit": f"{rates['explicit']:.2%}",
        "mixed versions, silent": f"{rates['silent']:.2%}",
        "p50, p99 below": f"{latency['p50_below_s']:.6f} s, {latency['p99_below_s']:.6f} s",
    }


def _counters(counters: dict[str, object]) -> dict[str, object]:
    counts = counters["counts"]
    assert isinstance(counts, dict), "Metrics.to_dict makes it"
    return {**counts} or {"counters": "none: this process has neither searched nor written"}
