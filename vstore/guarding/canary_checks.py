"""Canaries of a version: stored with their vectors, embedded again before an embedder writes."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vstore.embedding.calls import may_pass
from vstore.embedding.embedder import Embedder, Embeddings, require_embedder
from vstore.embedding.results import vectors_from
from vstore.errors import (
    EmbedderDriftError,
    EmbeddingError,
    InvalidArgumentError,
    InvalidVectorError,
    LimitExceededError,
    StateError,
    VstoreError,
)
from vstore.guarding import spec_check as versions
from vstore.guarding.alarms import LOGGER
from vstore.guarding.canaries import compare_canaries
from vstore.guarding.guard_changes import change_guard
from vstore.guarding.guard_record import Canaries, is_usable
from vstore.guarding.loaded_guards import guard_of
from vstore.limits import CANARIES_MAX, CANARY_BYTES_MAX
from vstore.manifest.commit import Operation
from vstore.manifest.edits import require_count
from vstore.numbers import check_switch
from vstore.segment.sequences import listed
from vstore.segment.validation import as_array, check_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.embedding.calls import Caller
    from vstore.engine.handle import Handle
    from vstore.guarding.canaries import CanaryVerdict
    from vstore.manifest.state import VersionState
    from vstore.types import Array

_VERIFIED_MAX: Final = 64  # embedders, and versions that each writes to


class _VerifiedEmbedders:
    """Embedders that made of a version's canaries what they were, through one open file.

    Attributes
    ----------
    latest : deque
        The embedder, the collection and version, and the canaries.
    """

    def __init__(self) -> None:
        self.latest: deque[tuple[Embedder, tuple[str, str], tuple[str, ...], Array]] = deque(
            maxlen=_VERIFIED_MAX
        )


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """What an embedder makes of a version's canaries, beside what they were.

    Attributes
    ----------
    version, model : str
    verdict : {"same", "rescaled", "drifted", "other model"}
    texts : int
    cosine_min : float
        Of a canary's stored and fresh vector.
    length_ratio_min, length_ratio_max : float
        Fresh over stored.
    kept : float
        How much nearer texts are to themselves than to other texts: 1 as it was, 0 not at all.
    worst : str
        The text with the smallest cosine; empty where a scoped handle met it as it wrote.
    sentence : str
        What that means, and what to do.
    """

    version: str
    model: str
    verdict: CanaryVerdict
    texts: int
    cosine_min: float
    length_ratio_min: float
    length_ratio_max: float
    kept: float
    worst: str
    sentence: str

    @property
    def ok(self) -> bool:
        """Whether the embedder may write to the version."""
        return self.verdict == "same"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {**asdict(self), "ok": self.ok}


def set_canaries(
    handle: Handle, label: str, texts: Sequence[str], made: Embedder | Embeddings | Array
) -> None:
    """Keep texts with their vectors; without texts, keep none. `Guards.set_canaries` says more."""
    handle.require_whole("set_canaries")
    version = handle.view().version(label)
    checked = _checked_texts(texts)
    canaries = Canaries(checked, _checked_vectors(handle, version, checked, made))
    change_guard(
        handle,
        label,
        lambda guard: guard._replace(canaries=canaries if checked else None),
        Operation("set_canaries", f"{label}: {len(checked)} texts"),
    )


def _checked_texts(texts: Sequence[str]) -> tuple[str, ...]:
    checked = listed(texts, what="texts")
    require_count("canaries", len(checked), "CANARIES_MAX", CANARIES_MAX)
    for i, text in enumerate(checked):
        if not isinstance(text, str):
            raise InvalidArgumentError(f"texts[{i}]: expected a str, found {text!r:.60}")
        try:
            size_bytes = len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(f"texts[{i}]: not valid Unicode ({error})") from error
        if size_bytes > CANARY_BYTES_MAX:
            raise LimitExceededError(
                f"texts[{i}] in bytes",
                limit="CANARY_BYTES_MAX",
                found=size_bytes,
                allowed=CANARY_BYTES_MAX,
            )
    if len(set(checked)) < len(checked):
        raise InvalidArgumentError("texts: one comes twice")
    return tuple(checked)


def _checked_vectors(
    handle: Handle,
    version: VersionState,
    texts: tuple[str, ...],
    made: Embedder | Embeddings | Array,
) -> Array:
    where = "canaries"
    if not texts:
        return np.zeros((0, version.spec.dimension), np.float32)
    if not isinstance(made, np.ndarray | Embeddings) and isinstance(made, Embedder):
        require_embedder(made)
        made = Embeddings(made.spec, _embedded(made, texts))
    if isinstance(made, Embeddings):
        state = handle.snapshot().state
        fix = f"Embed canaries with {version.spec.model!r}."
        versions.require_version(version, made.spec, state, where=where, fix=fix)
        made = made.vectors
    vectors = check_vectors(made, version.spec, storage="float32", where=where).vectors
    if len(vectors) != len(texts):
        raise InvalidVectorError(f"{where}: {len(texts)} texts, {len(vectors)} vectors")
    if not is_usable(vectors):
        raise InvalidVectorError(f"{where}: a zero vector tells nothing; leave out that text")
    return vectors.copy()


def _embedded(embedder: Embedder, texts: Sequence[str]) -> Array:
    """Return the vectors of texts as documents, as they are when documents are written."""
    prompt = embedder.spec.document_prompt
    where = f"embed_documents of {embedder.spec.model!r:.60}"
    made = vectors_from(embedder.embed_documents, [prompt + text for text in texts], what=where)
    return as_array(made, where=where)


def verify_embedder(
    handle: Handle, embedder: Embedder, label: str | None, *, raise_on_drift: bool
) -> CanaryReport:
    """Embed a version's canaries again, and compare.

    Raises
    ------
    EmbedderDriftError
        They are not what they were, and ``raise_on_drift``.
    StateError
        The version has no canaries.
    VersionMismatchError
        No version has the embedder's spec, and none was named.
    """
    handle.require_whole("verify_embedder")
    require_embedder(embedder)
    raise_on_drift = check_switch(raise_on_drift, what="raise_on_drift")
    snapshot = handle.snapshot()
    view = handle.view_at(snapshot)
    if label is None:
        version = versions.version_of(
            view.state, embedder.spec, snapshot.state, where="verify_embedder"
        )
    else:
        version = view.version(label)
    canaries = guard_of(snapshot, version).record.canaries
    if canaries is None:
        raise StateError(
            f"version {version.label!r} has no canaries to compare; keep some with "
            "guards.set_canaries()"
        )
    report = _compared(version, canaries, embedder)
    if raise_on_drift and not report.ok:
        raise drift_error(report)
    return report


def _compared(version: VersionState, canaries: Canaries, embedder: Embedder) -> CanaryReport:
    fresh = _embedded(embedder, canaries.texts)
    label, model = version.label, embedder.spec.model
    if fresh.shape != canaries.vectors.shape or fresh.dtype.kind not in "fiu":
        problem = (
            f"expected {canaries.vectors.shape} numbers for the canaries, found {fresh.dtype} "
            f"{fresh.shape}: another model answers to the name."
        )
    elif not is_usable(fresh):
        problem = "a canary's vector is zero or not finite: the embedder is broken."
    else:
        found = compare_canaries(canaries.vectors, fresh, metric=version.spec.metric)
        return CanaryReport(
            label,
            model,
            found.verdict,
            len(canaries.texts),
            float(found.cosines.min()),
            float(found.length_ratios.min()),
            float(found.length_ratios.max()),
            found.kept,
            canaries.texts[found.worst],
            found.sentence,
        )
    count = len(canaries.texts)
    return CanaryReport(
        label, model, "other model", count, 0.0, 0.0, 0.0, 0.0, canaries.texts[0], problem
    )


def drift_error(report: CanaryReport) -> EmbedderDriftError:
    """Return the error of an embedder that may not write."""
    return EmbedderDriftError(
        f"embedder {report.model!r} is not what version {report.version!r} was made with "
        f"(verdict: {report.verdict}): {report.sentence} Nothing was written. If the change is "
        "meant, guards.set_canaries() anew.",
        version=report.version,
        model=report.model,
        report=report,
    )


def require_no_drift(handle: Handle, label: str, embedder: Embedder, caller: Caller) -> None:
    """Refuse an embedder that makes other vectors of a version's canaries than it did.

    Once per handle, embedder and canaries; nothing is asked of a version without any.

    Raises
    ------
    EmbedderDriftError
        It makes other vectors now.
    EmbeddingError
        The embedder cannot embed the canaries, which it could.
    """
    version = handle.view().version(label)
    canaries = guard_of(handle.snapshot(), version).record.canaries
    if canaries is None:
        return
    verified = handle.file.companions.of(_VerifiedEmbedders).latest
    for known, place, texts, vectors in verified:
        if (
            known is embedder
            and place == (handle.name, label)
            and texts == canaries.texts
            and np.array_equal(vectors, canaries.vectors)
        ):
            return
    try:
        report = caller.retried(lambda: caller.once(lambda: _compared(version, canaries, embedder)))
    except Exception as error:
        if isinstance(error, VstoreError) or not may_pass(error):
            raise
        raise EmbeddingError(
            f"the canaries of version {label!r} could not be embedded: "
            f"{type(error).__name__}: {error}. Nothing was written. Run it again when the embedder "
            "works."
        ) from error
    if not report.ok:
        LOGGER.warning("%s: %s", handle.name, report.sentence)
        if handle.scope is not None:  # it may be anybody's text
            report = replace(report, worst="")
        raise drift_error(report)
    verified.append((embedder, (handle.name, label), *canaries))
