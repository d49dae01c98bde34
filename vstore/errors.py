"""Every error vstore raises, as a tree.

::

    VstoreError
    ├── InvalidArgumentError (ValueError)   a call that can never succeed as written
    │   ├── InvalidVectorError              wrong shape, dtype, NaN, zero, not normalized
    │   ├── FilterError                     unknown field, wrong type, malformed filter
    │   ├── MissingQueryVectorError         a search reads a version its query has no vector for
    │   ├── MissingVectorsError             a write without vectors the collection requires
    │   └── ScopeError                      outside the handle's mandatory scope
    ├── LimitExceededError                  a documented bound, see limits.py
    ├── NotFoundError (LookupError)         no such collection, version, document, epoch, tag, file
    ├── AlreadyExistsError                  a name that is taken
    ├── VersionMismatchError                vectors of two geometries were about to meet
    │   ├── SuspectGeometryError            by what the vectors are like, whatever their stamp says
    │   └── EmbedderDriftError              by what an embedder makes of a version's canaries
    ├── StateError                          legal call, wrong moment (a retired version, say)
    │   ├── GateError                       a cutover whose gates do not pass
    │   └── TransactionError                a transaction used after it ended
    ├── EmbeddingError                      vectors could not be made, or the service is down
    ├── MissingDependencyError              an optional extra is not installed
    ├── ClosedError                         the handle is closed, or belongs to another process
    ├── NotPicklableError (TypeError)       a handle that was pickled or copied
    ├── ReadOnlyError                       a write through a read-only handle
    ├── LockedError                         another writer holds the store
    ├── StorageError                        the operating system refused; carries the OSError
    │   └── FileMovedError                  the path names another file than the one that is open
    └── CorruptionError                     bytes that a correct writer never wrote
        ├── NotAStoreError                  no vstore magic, or an interrupted creation
        ├── BlockChecksumError              a block's bytes do not have its hash
        └── FormatVersionError              written by a newer format than this reader knows

A message names the object and place, what was expected and found, and what to do next.
The data stay on attributes. Every error can be pickled and copied with text, attributes, notes and
cause, whatever the ``__init__`` of its class takes: a worker process sends it home.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from vstore.sending import sendable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

E = TypeVar("E", bound="VstoreError")


class VstoreError(Exception):
    """Root of all vstore errors."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class, whose arguments are not the text. Whatever cannot come back
        # from a pickle (a provider's exception, say) must not keep the error from coming back.
        args = tuple(sendable(arg, VstoreError) for arg in self.args)
        state = {name: sendable(value, VstoreError) for name, value in vars(self).items()}
        # In this order: to set a cause suppresses the context.
        state["__cause__"] = sendable(self.__cause__, VstoreError)
        state["__suppress_context__"] = self.__suppress_context__
        return _made, (type(self), args), state

    def __copy__(self) -> Self:
        return self._copied(self.args, vars(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        import copy  # few errors are copied

        return self._copied(*copy.deepcopy((self.args, vars(self)), memo))

    def _copied(self, args: tuple[object, ...], state: Mapping[str, object]) -> Self:
        error = _made(type(self), args)
        vars(error).update(state)
        error.__cause__ = self.__cause__  # shared: others' exceptions need not be made for copying
        error.__suppress_context__ = self.__suppress_context__
        return error


def _made(kind: type[E], args: tuple[object, ...]) -> E:
    error = kind.__new__(kind, *args)
    super(VstoreError, error).__init__(*args)  # ImportError keeps its text apart from the arguments
    return error


class InvalidArgumentError(VstoreError, ValueError):
    """A call that can never succeed as written."""


class InvalidVectorError(InvalidArgumentError):
    """A vector or batch the version cannot hold.

    Attributes
    ----------
    row : int | None
        Index of the first offending row of the batch, where one row is to blame.
    """

    def __init__(self, message: str, *, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


class FilterError(InvalidArgumentError):
    """A filter that names an unknown field, compares wrong types, or is malformed."""


class LimitExceededError(VstoreError):
    """A documented bound was exceeded.

    Attributes
    ----------
    limit : str
        Name of the bound in ``vstore.limits``.
    found : int or None
        None where it would count what a scoped handle knows nothing of.
    allowed : int
    """

    def __init__(self, what: str, *, limit: str, found: int | None, allowed: int) -> None:
        many = "no room for more" if found is None else f"found {found:,}"
        super().__init__(f"{what}: {many}, at most {allowed:,} allowed (limits.{limit})")
        self.limit = limit
        self.found = found
        self.allowed = allowed


class NotFoundError(VstoreError, LookupError):
    """No such collection, version, document, epoch, tag or file."""


class AlreadyExistsError(VstoreError):
    """A name that is already taken."""


class VersionMismatchError(VstoreError):
    """Vectors of two geometries were about to meet.

    Attributes
    ----------
    expected, found : str
        Labels or short fingerprints of the two sides.
    differences : Mapping[str, tuple[object, object]]
        Identity fields that differ: name -> (expected, found).
    """

    def __init__(
        self,
        where: str,
        *,
        expected: str,
        found: str,
        differences: Mapping[str, tuple[object, object]],
        fix: str,
    ) -> None:
        fields = "; ".join(
            f"{name}: {left!r} is not {right!r}" for name, (left, right) in differences.items()
        )
        super().__init__(
            f"{where}: expected version {expected}, found {found} "
            f"({fields or 'unknown spec'}). {fix}"
        )
        self.expected = expected
        self.found = found
        self.differences = dict(differences)


class SuspectGeometryError(VersionMismatchError):
    """Vectors that cannot be told from those of an unrelated space.

    A mismatch of versions, since that is what it means, though the evidence is statistics.

    Attributes
    ----------
    departure : float
        Average of the vectors: 0 as the version's own rows, 1 as unrelated vectors.
    limit : float or None
        The departure from which on as many are refused; None through a scoped handle, since it was
        learned from everybody's rows.
    rows : int
        Vectors judged.
    fits : str | None
        Which other version they look like.
    """

    def __init__(
        self,
        message: str,
        *,
        version: str,
        departure: float,
        limit: float | None,
        rows: int,
        fits: str | None,
    ) -> None:
        VstoreError.__init__(self, message)
        self.expected = version
        self.found = fits or "an unknown space"
        self.differences = {}
        self.departure = departure
        self.limit = limit
        self.rows = rows
        self.fits = fits


class EmbedderDriftError(VersionMismatchError):
    """An embedder that no longer makes what a version's canaries were.

    Attributes
    ----------
    report : CanaryReport
        What `Guards.verify_embedder` found.
    """

    def __init__(self, message: str, *, version: str, model: str, report: object) -> None:
        VstoreError.__init__(self, message)
        self.expected = version
        self.found = model
        self.differences = {}
        self.report = report


class MissingQueryVectorError(InvalidArgumentError):
    """A search reads a version for which its query has no vector.

    Attributes
    ----------
    version : str
        Label of that version.
    """

    def __init__(self, version: str, *, model: str, found: str) -> None:
        self.version = version
        super().__init__(
            f"query: the search reads version {version!r}, the query has vectors for {found}; "
            f"embed it with {model!r} too, or register an embedder and pass the text"
        )


class MissingVectorsError(InvalidArgumentError):
    """A write lacks vectors that the collection's dual-write policy requires.

    Attributes
    ----------
    missing : Mapping[str, int]
        Documents without vectors, by version.
    """

    def __init__(self, collection: str, missing: Mapping[str, int]) -> None:
        self.missing = dict(missing)
        counts = ", ".join(f"{count:,} of version {label!r}" for label, count in missing.items())
        super().__init__(
            f"collection {collection!r} requires vectors of every version in use; documents lack "
            f"them: {counts}. Pass them in the same transaction, or "
            "migration.set_dual_write('queue')."
        )


class ScopeError(InvalidArgumentError):
    """A call that would reach outside the mandatory scope bound to the handle."""


class StateError(VstoreError):
    """A legal call at the wrong moment."""


class GateError(StateError):
    """A cutover whose gates do not pass.

    Attributes
    ----------
    measured : Mapping[str, float]
        What each gate measured.
    """

    def __init__(self, message: str, *, measured: Mapping[str, float]) -> None:
        super().__init__(message)
        self.measured = dict(measured)


class TransactionError(StateError):
    """A transaction used after it was committed or abandoned."""


class EmbeddingError(VstoreError):
    """Vectors could not be made; the cause is the last error of what should have made them.

    The function fails whatever the documents are, the service that it calls does not answer, or
    documents failed and nothing shows that it is their fault. `Collection.upsert_texts` raises it
    for one text too. Nothing of the batch under way was written; what was written before stays.
    """


class MissingDependencyError(VstoreError, ImportError):
    """An optional extra is not installed."""

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"{package} is not installed. Run: pip install 'vstore[{extra}]'")
        self.package = package
        self.extra = extra


class ClosedError(VstoreError):
    """The handle is closed, or was opened by another process (before a fork)."""


class NotPicklableError(VstoreError, TypeError):
    """A handle on an open store was pickled or copied, which stays in its process."""


class ReadOnlyError(VstoreError):
    """A write through a read-only handle."""


class LockedError(VstoreError):
    """Another writer holds the store: another handle, or another thread's transaction.

    Attributes
    ----------
    path : str
    waited_s : float
    pid : int | None
        The process whose handle that is, where the system says so.
    own : bool
        Whether it is the process that was refused.
    """

    def __init__(
        self,
        path: str,
        *,
        waited_s: float,
        pid: int | None = None,
        own: bool = False,
        by_thread: bool = False,
    ) -> None:
        if by_thread:
            text = (
                f"{path}: another thread writes through this handle (waited {waited_s:g} s). Wait "
                "until it has ended its transaction, or pass a larger timeout_s."
            )
        elif own:
            text = (
                f"{path}: another writer holds the store: this process already has it open for "
                f"writing (waited {waited_s:g} s). Use that handle, which threads may share, or "
                "close it first; or open with mode='r'."
            )
        else:
            process = "" if pid is None else f", process {pid},"
            text = (
                f"{path}: another writer{process} holds the store (waited {waited_s:g} s). "
                "Close it, pass a larger timeout_s, or open with mode='r'."
            )
        super().__init__(text)
        self.path = path
        self.waited_s = waited_s
        self.pid = pid
        self.own = own


class StorageError(VstoreError):
    """The operating system refused an operation; the cause is the OSError."""


class FileMovedError(StorageError):
    """The path no longer names the file that is open, or another program has written over it.

    What was committed is in the file that was open, wherever it is now; nothing more is.

    Attributes
    ----------
    path, problem : str
    """

    def __init__(self, path: str, problem: str, *, lost: str = "Nothing was written") -> None:
        super().__init__(
            f"{path}: {problem}. {lost}. Close this handle, see which file is the right one, and "
            "open the store again."
        )
        self.path = path
        self.problem = problem


class CorruptionError(VstoreError):
    """Bytes that a correct writer never wrote.

    Attributes
    ----------
    path : str
    offset : int | None
        Byte offset of the damage, where it is known.
    """

    def __init__(self, path: str, problem: str, *, offset: int | None = None) -> None:
        place = f" at byte {offset:,}" if offset is not None else ""
        super().__init__(
            f"{path}{place}: {problem}. "
            f"Run `vstore check {path}` to see what is damaged and which epochs are readable."
        )
        self.path = path
        self.problem = problem
        self.offset = offset


class NotAStoreError(CorruptionError):
    """No vstore magic, or a creation that was interrupted before anything was stored."""


class BlockChecksumError(CorruptionError):
    """A block's bytes do not have the hash that names them."""

    def __init__(self, path: str, *, offset: int, stored: bytes, computed: bytes) -> None:
        super().__init__(
            path,
            f"block fails its checksum (stored {stored.hex()[:16]}, "
            f"computed {computed.hex()[:16]})",
            offset=offset,
        )
        self.stored = stored
        self.computed = computed


class FormatVersionError(CorruptionError):
    """Written by a newer format, or with a feature this version does not know."""
