"""Texts that are embedded as they are upserted: what a caller gives, checked, and the batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from vstore.embedding.calls import Caller
from vstore.embedding.embedder import Embedder, require_embedder
from vstore.errors import InvalidArgumentError, LimitExceededError
from vstore.guarding import spec_check as guard
from vstore.guarding.canary_checks import require_no_drift
from vstore.names import check_choice
from vstore.numbers import check_switch
from vstore.segment.ids import validate_ids
from vstore.segment.sequences import listed, one_per_id
from vstore.writing.counts import UpsertCounts
from vstore.writing.input import metadata_rows, text_column
from vstore.writing.text_batches import TextBatches, TextEmbedder, Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vstore.embedding.calls import Calls
    from vstore.engine.handle import Handle
    from vstore.manifest.state import VersionState
    from vstore.types import DocumentId, Metadata

OnError: TypeAlias = Literal["raise", "skip"]
ON_ERRORS: Final[tuple[OnError, ...]] = get_args(OnError)
Embedders: TypeAlias = "Embedder | Sequence[Embedder] | Mapping[str, Embedder]"


def upsert_texts(
    handle: Handle,
    ids: Iterable[DocumentId],
    texts: Iterable[str],
    *,
    embedder: Embedders,
    metadata: Metadata | None,
    calls: Calls,
    progress: Callable[[int, int], None] | None,
    trust_geometry: bool,
    on_error: OnError,
) -> UpsertCounts:
    """Embed texts in batches and upsert them, one commit per batch.

    A version is the collection's that has the embedder's fingerprint. Texts whose stored source
    hash is unchanged and whose vectors are fresh are not embedded again, and equal texts once.

    Others may write while an embedder works. A document that they change or delete meanwhile keeps
    what they gave it: a batch counts as written when its embedding began.

    Parameters
    ----------
    ids, texts : iterables of the same length
    embedder : Embedder, sequence of Embedder, or mapping of version label to Embedder
        Several: each document gets vectors of all their versions, in the same commit.
    metadata : sequence of mappings, or mapping of field to sequence, optional
    on_error : {"raise", "skip"}
        What becomes of a text that cannot be embedded: None, one that the embedder refuses or
        makes no vector of. "raise" names the first one; batches before its own are written.
        "skip" leaves such documents as they are, goes on, and returns them as ``failed``. Either
        way an embedder that fails for everything, or does not answer, raises.
    calls : Calls
        How each embedder is called. A batch is one commit.

    Raises
    ------
    EmbeddingError
        A text cannot be embedded and ``on_error`` is "raise", an embedder fails for everything, or
        the service that it calls does not answer. Batches before are written.
    InvalidVectorError
        Likewise, of a text whose vector the version cannot hold; ``row`` is the caller's.
    EmbedderDriftError
        The version has canaries, and the embedder makes other vectors of them now.
    MissingVectorsError
        The collection requires vectors of a version that no embedder is given for.
    """
    if progress is not None and not callable(progress):
        raise InvalidArgumentError(f"progress: expected a function, found {progress!r:.60}")
    on_error = check_choice(on_error, ON_ERRORS, what="on_error")
    trust_geometry = check_switch(trust_geometry, what="trust_geometry")
    named = _named(embedder)
    callers = [Caller(handle.clock, calls) for _ in named]
    batch_size = callers[0].batch_size
    handle.require_writable()
    view = handle.view()
    # Everything is checked before the first batch is embedded and committed.
    checked_ids = validate_ids(ids)
    column, failed = _texts_to_embed(listed(texts, what="texts"), checked_ids, on_error)
    rows = None if metadata is None else metadata_rows(view.field_types, metadata, checked_ids)
    given = Texts(checked_ids, column, rows)
    versions = _versions(handle, named)
    for (version, one), caller in zip(versions, callers, strict=True):
        require_no_drift(handle, version.label, one, caller)
    batches = TextBatches(
        handle,
        given,
        [
            TextEmbedder(
                handle,
                version,
                one,
                caller,
                given,
                skip=on_error == "skip",
                trust_geometry=trust_geometry,
            )
            for (version, one), caller in zip(versions, callers, strict=True)
        ],
        trust_geometry=trust_geometry,
    )
    batches.failed.update({checked_ids[row]: why for row, why in failed.items()})
    for start in range(0, len(checked_ids), batch_size):
        end = min(start + batch_size, len(checked_ids))
        batches.run([row for row in range(start, end) if row not in failed])
        if progress is not None:
            progress(end, len(checked_ids))
    put_off, batches.put_off = batches.put_off, []
    for start in range(0, len(put_off), batch_size):
        batches.run(put_off[start : start + batch_size], last=True)
    return UpsertCounts(
        batches.inserted,
        batches.updated,
        batches.unchanged,
        batches.written,
        batches.skipped,
        batches.failed,
        tuple(batches.overtaken),
    )


def _named(embedder: Embedders) -> list[tuple[str | None, Embedder]]:
    if isinstance(embedder, Mapping):
        named = [(label, require_embedder(one)) for label, one in embedder.items()]
    elif isinstance(embedder, list | tuple):
        return _some([(None, require_embedder(one)) for one in embedder])
    else:
        return [(None, require_embedder(embedder))]
    return _some(list(named))


def _some(named: list[tuple[str | None, Embedder]]) -> list[tuple[str | None, Embedder]]:
    if not named:
        raise InvalidArgumentError("embedder: expected at least one, found none")
    return named


def _versions(
    handle: Handle, named: list[tuple[str | None, Embedder]]
) -> list[tuple[VersionState, Embedder]]:
    """Return each embedder with its version.

    Raises
    ------
    VersionMismatchError, NotFoundError, StateError
        No version has an embedder's spec; there is no version of the label; it is retired.
    InvalidArgumentError
        Two embedders of one version.
    """
    view, state = handle.view(), handle.snapshot().state
    found: dict[str, tuple[VersionState, Embedder]] = {}
    for label, embedder in named:
        if label is None:
            version = guard.version_of(view.state, embedder.spec, state, where="upsert_texts")
        else:
            version = view.version(label)
            fix = f"Pass an embedder of {version.spec.model!r}."
            guard.require_version(
                version, embedder.spec, state, where=f"embedder[{label!r}]", fix=fix
            )
        if version.label in found:
            raise InvalidArgumentError(f"embedder: two of them for version {version.label!r}")
        found[version.label] = version, embedder
    return list(found.values())


def _texts_to_embed(
    texts: Sequence[str | None], ids: Sequence[DocumentId], on_error: OnError
) -> tuple[list[str], dict[int, str]]:
    """Return the texts, and by row why some are none; in their place stands an empty text.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        A text is missing or no str; it is too long.
    """
    texts = one_per_id("texts", texts, len(ids))
    try:
        column = text_column(texts, len(ids))
    except (InvalidArgumentError, LimitExceededError):
        column = []
    whole = [text for text in column if text is not None]
    if len(whole) == len(ids):
        return whole, {}
    checked: list[str] = []
    failed: dict[int, str] = {}
    for row, text in enumerate(texts):
        try:
            (one,) = text_column([text], 1)
            if one is None:
                raise InvalidArgumentError("texts[0]: expected a str, found None")
        except (InvalidArgumentError, LimitExceededError) as error:
            why = str(error).replace("texts[0]", f"texts[{row}], of {ids[row]!r:.80}", 1)
            if on_error == "raise":
                error.args = (why,)
                raise
            failed[row], one = why, ""
        checked.append(one)
    return checked, failed
