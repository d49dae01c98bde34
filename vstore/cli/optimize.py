"""``vstore optimize``."""

from vstore.cli.opening import open_to_write
from vstore.cli.options import AsJson, StorePath, Wait
from vstore.cli.report import Report, heading


def optimize(store: StorePath, *, wait: Wait = 0.0, as_json: AsJson = False) -> Report:
    """Seal recent commits and build the graphs that are due, in one commit."""
    with open_to_write(store, wait=wait) as opened:
        opened.optimize()
        graphs = {
            name: {label: one.graphs for label, one in opened.collection(name).versions.items()}
            for name in opened.collections
        }
        data = {"path": opened.path, "epoch": opened.epoch, "graphs": graphs}
        return Report(data, [heading(f"{opened.path}: epoch {opened.epoch}")])
