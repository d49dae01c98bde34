"""``vstore delete``."""

from typing import Annotated

import typer

from vstore.cli.json_argument import json_argument
from vstore.cli.opening import open_to_write, pick_collection
from vstore.cli.options import AsJson, CollectionName, StorePath, Wait
from vstore.cli.report import Report, heading
from vstore.errors import InvalidArgumentError
from vstore.query.filter import filter_from_dict
from vstore.types import DocumentId

TextIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of documents.")]
AreNumbers = Annotated[bool, typer.Option("--int", help="The ids are numbers.")]
WhereDelete = Annotated[
    str | None,
    typer.Option("--where", metavar="JSON", help="All that pass a filter, or @FILE with one."),
]


def delete(
    store: StorePath,
    ids: TextIds = None,
    *,
    are_numbers: AreNumbers = False,
    where: WhereDelete = None,
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Delete documents: all chunks of all versions, in one commit."""
    if bool(ids) == (where is not None):
        raise InvalidArgumentError("delete: pass ids or --where, one of the two")
    with open_to_write(store, wait=wait) as opened:
        docs = pick_collection(opened, collection)
        if where is not None:
            counts = docs.delete(where=filter_from_dict(json_argument(where, name="--where")))
        else:
            counts = docs.delete([_id(value, are_numbers=are_numbers) for value in ids or ()])
        data = {
            "collection": docs.name,
            "deleted": counts.deleted,
            "missing": counts.missing,
            "epoch": opened.epoch,
        }
        title = f"{docs.name}: {counts.deleted:,} deleted, {counts.missing:,} not there"
        return Report(data, [heading(f"{title}; epoch {opened.epoch}")])


def _id(value: str, *, are_numbers: bool) -> DocumentId:
    if not are_numbers:
        return value
    try:
        return int(value)
    except ValueError as error:
        raise InvalidArgumentError(f"--int: expected a number, found {value!r:.60}") from error
