"""``vstore metrics``."""

from vstore.cli.info import version_table
from vstore.cli.opening import open_to_read
from vstore.cli.options import AsJson, StorePath
from vstore.cli.plain_text import counted, size
from vstore.cli.report import Report, View, facts, heading


def metrics(store: StorePath, *, as_json: AsJson = False) -> Report:
    """Show figures to watch: by version from the file, and this process's counters.

    A process that opens a store, looks and ends has counted no query: the counters of a service are
    in that service, from Store.metrics(). What the file itself tells, anyone can read: coverage,
    stale documents, rows and size of each version.
    """
    with open_to_read(store) as opened:
        view: View = [
            heading(f"{opened.path}: epoch {opened.epoch}"),
            facts({"size": size(opened.current().container.committed_length)}),
        ]
        collections = {}
        for name in opened.collections:
            docs = opened.collection(name)
            versions = docs.versions
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
        counters = opened.metrics()
        view += ["", heading("this process"), facts(_counters(counters))]
        data = {
            "path": opened.path,
            "epoch": opened.epoch,
            "size_bytes": opened.current().container.committed_length,
            "collections": collections,
            "process": counters,
        }
        return Report(data, view)


def _counters(counters: dict[str, object]) -> dict[str, object]:
    counts = counters["counts"]
    assert isinstance(counts, dict), "Metrics.to_dict makes it"
    return {**counts} or {"counters": "none: this process has neither searched nor written"}
