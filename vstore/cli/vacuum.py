"""``vstore vacuum``."""

from typing import Annotated

import typer

from vstore.cli.opening import open_to_write
from vstore.cli.options import AsJson, StorePath, Wait
from vstore.cli.plain_text import size
from vstore.cli.report import Report, facts, heading

KeepEpochs = Annotated[
    list[int] | None,
    typer.Option(
        "--keep-epoch", metavar="N", help="Keep this commit readable, as a tag would; repeatable."
    ),
]


def vacuum(
    store: StorePath,
    *,
    keep_epoch: KeepEpochs = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Rewrite the file without what is dead, and put the new one in its place.

    Deleted documents, stale and superseded vectors, retired versions past their grace, and commits
    that no tag names are gone afterwards. Until it ends there are two files.
    """
    with open_to_write(store, wait=wait) as opened:
        done = opened.vacuum(keep_epochs=keep_epoch or ())
        data = {
            "path": opened.path,
            "epoch": opened.epoch,
            "bytes_before": done.bytes_before,
            "bytes_after": done.bytes_after,
            "epochs_kept": list(done.epochs_kept),
        }
        shown = {
            "size": f"{size(done.bytes_before)} before, {size(done.bytes_after)} now",
            "older epochs kept": ", ".join(map(str, done.epochs_kept)) or "none",
        }
        return Report(data, [heading(f"{opened.path}: epoch {opened.epoch}"), facts(shown)])
