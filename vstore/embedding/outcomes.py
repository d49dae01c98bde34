"""What comes of embedding documents: vectors, those that are to blame, and those put off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vstore.errors import EmbeddingError
from vstore.limits import ERROR_BYTES_MAX
from vstore.manifest.job_edits import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.segment.user_document import Document
    from vstore.types import Array

_NAMED_MAX: Final = 3  # documents that a message names


class Item(NamedTuple):
    """A document to embed.

    Attributes
    ----------
    rows : float32 (chunks, dimension) or None
        Its vectors in the source version, where they are to be mapped.
    """

    document: Document
    rows: Array | None = None


class Failure(NamedTuple):
    """A document that could not be embedded, after so many calls that it was part of."""

    item: Item
    attempts: int
    error: Exception

    @property
    def document(self) -> Document:
        """The document."""
        return self.item.document

    @property
    def text(self) -> str:
        """What its last error says."""
        return error_text(self.error)


class EmbeddingOutcome(NamedTuple):
    """Vectors of a batch, the documents that failed, and those put off.

    Attributes
    ----------
    documents : list[Document]
        Those with vectors.
    vectors : list of (chunks, dimension)
        By document, as they will be stored.
    failures : list[Failure]
        Documents that are to blame.
    put_off : list[Failure]
        Documents that failed, but for all that is known because the function did not work.
    """

    documents: list[Document]
    vectors: list[Array]
    failures: list[Failure]
    put_off: list[Failure]


def put_off_error(failures: Sequence[Failure], label: str) -> EmbeddingError:
    """Return the error that ends a run whose last documents were put off."""
    last = failures[-1]
    error = EmbeddingError(
        f"{len(failures):,} documents could not be embedded for {label!r}, and nothing shows that "
        f"it is their fault: {named([failure.item for failure in failures])}; the last error was "
        f"{last.text}. They are left as they were. Run it again when the function works."
    )
    error.__cause__ = last.error
    return error


def named(items: Sequence[Item]) -> str:
    """Return the ids of some documents, for a message."""
    ids = ", ".join(f"{item.document.id!r:.80}" for item in items[:_NAMED_MAX])
    return ids if len(items) <= _NAMED_MAX else f"{ids} and {len(items) - _NAMED_MAX:,} more"


def error_text(error: BaseException) -> str:
    """Return what a dead letter says of an error."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return cut(text, ERROR_BYTES_MAX)
