"""``vstore get``."""

from typing import Annotated

import typer

from vstore.api.collection import Collection
from vstore.cli.opening import open_to_read, pick_collection
from vstore.cli.options import AsJson, CollectionName, Epoch, StorePath, Tag
from vstore.cli.plain_text import one_line
from vstore.cli.report import Report, View, facts, heading, table
from vstore.engine.handle import handle_of
from vstore.errors import NotFoundError
from vstore.segment.user_document import Document
from vstore.types import DocumentId

TextId = Annotated[str, typer.Argument(metavar="ID", help="The document's id.", show_default=False)]
IsNumber = Annotated[
    bool, typer.Option("--int", help="The id is a number, even if there is a text like it.")
]
Vectors = Annotated[
    list[str] | None,
    typer.Option("--vectors", metavar="LABEL", help="Its vectors of a version too; repeatable."),
]


def get(
    store: StorePath,
    text_id: TextId,
    *,
    is_number: IsNumber = False,
    vectors: Vectors = None,
    collection: CollectionName = None,
    epoch: Epoch = None,
    tag: Tag = None,
    as_json: AsJson = False,
) -> Report:
    """Show a document, and what each version holds of it.

    The id is looked up as text, and where there is none and it reads as a number, as a number.
    """
    with open_to_read(store, epoch=epoch, tag=tag) as opened:
        docs = pick_collection(opened, collection)
        document = _find(docs, text_id, is_number=is_number)
        held = _held(docs, document.id)
        data: dict[str, object] = {
            "id": document.id,
            "created": document.created,
            "revision": document.revision,
            "source_hash": document.source_hash,
            "metadata": document.metadata,
            "text": document.text,
            "versions": held,
        }
        arrays = {label: docs.get_vectors(document.id, label) for label in vectors or ()}
        if arrays:
            data["vectors"] = arrays
        view: View = [
            heading(f"document {document.id!r} of {docs.name}"),
            facts(_facts(document)),
            "",
            table(
                ["version", "vectors", "#chunks"],
                [(label, one["vectors"], one["chunks"]) for label, one in held.items()],
            ),
        ]
        view += [
            facts({f"{label} chunk {i}": _numbers(row.tolist()) for i, row in enumerate(rows)})
            for label, rows in arrays.items()
        ]
        return Report(data, view)


def _find(docs: Collection, text: str, *, is_number: bool) -> Document:
    candidates: list[DocumentId] = [] if is_number else [text]
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) < 20:
        candidates.append(int(text))
    for id_ in candidates:
        document = docs.get(id_)
        if document is not None:
            return document
    raise NotFoundError(f"collection {docs.name!r} has no document {text!r:.80}")


def _held(docs: Collection, id_: DocumentId) -> dict[str, dict[str, object]]:
    view = handle_of(docs).view()
    docno = int(view.documents.find([id_])[0])
    held: dict[str, dict[str, object]] = {}
    for label in view.state.versions:
        rows = view.rows(label)
        state = "fresh" if rows.has_fresh[docno] else "stale" if rows.has_rows[docno] else "none"
        held[label] = {"vectors": state, "chunks": len(rows.rows_of(docno))}
    return held


def _facts(document: Document) -> dict[str, object]:
    shown: dict[str, object] = {
        "created": f"epoch {document.created}",
        "revision": f"epoch {document.revision}",
        "source hash": "none" if document.source_hash is None else document.source_hash.hex(),
    }
    shown |= {str(name): value for name, value in document.metadata.items()}
    if document.text is not None:
        shown["text"] = one_line(document.text, width=400)
    return shown


def _numbers(values: list[float]) -> str:
    shown = " ".join(f"{value:.4g}" for value in values[:8])
    return shown if len(values) <= 8 else f"{shown} ... ({len(values)} numbers)"
