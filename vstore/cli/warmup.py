"""``vstore warmup``."""

from vstore.cli.options import AsJson
from vstore.cli.report import Report, facts, heading
from vstore.native import loader


def warmup(*, as_json: AsJson = False) -> Report:
    """Compile the machine code of graph searches now, into this user's cache.

    Otherwise that happens by itself when it is first of use: searches go on without it, and
    building a graph waits for it, ten seconds or so. Say it when an image is made, for example.
    """
    loader.kernels(wait=True)
    data = loader.status()
    shown = {
        "kernels": str(data["kernels"]),
        "processor": str(data["processor"] or "not supported: NumPy does everything"),
        "cache": str(data["cache"] or f"none: {data['cache_problem']}"),
    }
    if data["reason"]:
        shown["because"] = str(data["reason"])
    ready = data["kernels"] == "native"
    return Report(data, [heading("ready" if ready else "NumPy only"), facts(shown)])
