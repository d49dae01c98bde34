"""``vstore history`` and ``vstore tag``."""

from collections.abc import Mapping
from typing import Annotated

import typer

from vstore.api.store import Store
from vstore.cli.opening import open_to_read, open_to_write
from vstore.cli.options import AsJson, StorePath, Wait
from vstore.cli.plain_text import counted, moment
from vstore.cli.report import Report, heading, table
from vstore.engine.history import HistoryEntry
from vstore.errors import InvalidArgumentError

Limit = Annotated[int, typer.Option(metavar="N", min=1, help="Newest commits to show.")]
TagName = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="Name to give; without it tags are listed."),
]
TagEpoch = Annotated[
    int | None, typer.Option("--epoch", metavar="N", help="The commit; default: the newest.")
]
Note = Annotated[str, typer.Option(metavar="TEXT", help="Kept with the tag.", show_default=False)]
Delete = Annotated[bool, typer.Option("--delete", help="Remove the tag instead.")]


def history(store: StorePath, *, limit: Limit = 100, as_json: AsJson = False) -> Report:
    """Show what each commit did, newest first, also of those a vacuum dropped."""
    with open_to_read(store) as opened:
        entries = opened.history(limit=limit)
        tags = opened.tags
        rows = [
            (
                str(entry.epoch),
                moment(entry.time_us),
                entry.operation,
                ", ".join(f"{count:,} {what}" for what, count in entry.counts.items()),
                _note(entry, tags),
                entry.readable,
            )
            for entry in entries
        ]
        data = {"history": [entry.to_dict() for entry in entries], "tags": tags}
        columns = ["#epoch", "=committed", "operation", "counts", "note", "readable"]
        title = f"{opened.path}: the newest {counted(len(entries), 'commit')}"
        return Report(data, [heading(title), table(columns, rows)])


def tag(
    store: StorePath,
    name: TagName = None,
    *,
    epoch: TagEpoch = None,
    note: Note = "",
    delete: Delete = False,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """List tags, or name an epoch so that a vacuum keeps it."""
    if name is None:
        if epoch is not None or note or delete:
            raise InvalidArgumentError("tag: --epoch, --note and --delete need a NAME")
        with open_to_read(store) as opened:
            return _tags(opened)
    if delete and (epoch is not None or note):
        raise InvalidArgumentError("tag: --delete takes neither --epoch nor --note")
    with open_to_write(store, wait=wait) as opened:
        if delete:
            opened.untag(name)
        else:
            opened.tag(name, epoch=epoch, note=note)
        return _tags(opened)


def _tags(store: Store) -> Report:
    tags = store._open_file.current().state.tags
    data = {"tags": {n: {"epoch": t.epoch, "note": t.note} for n, t in tags.items()}}
    rows = [(n, str(t.epoch), moment(t.created_us), t.note) for n, t in tags.items()]
    if not rows:
        return Report(data, [heading(f"{store.path}: no tags")])
    title = f"{store.path}: {counted(len(rows), 'tag')}"
    return Report(data, [heading(title), table(["tag", "#epoch", "made", "note"], rows)])


def _note(entry: HistoryEntry, tags: Mapping[str, int]) -> str:
    tagged = [f"tagged {name}" for name, epoch in tags.items() if epoch == entry.epoch]
    return "; ".join([*tagged, *([entry.note] if entry.note else [])])
