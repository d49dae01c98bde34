"""What a file holds, as vstore says and as the independent reader says, in one comparable form.

The JSON files beside the golden files have it too: plain JSON values only, bytes as hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.format.independent_reader import read_file
from vstore.manifest.codec import plain_store

if TYPE_CHECKING:
    from vstore import Store

Plain = dict[str, Any]


def answers_of_reader(data: bytes, epoch: int | None = None) -> Plain:
    """Return what the independent reader finds."""
    state = read_file(data, epoch)
    for collection in state["collections"].values():
        for version in collection["versions"].values():
            version["rows"] = [[*row, vector.tolist()] for *row, vector in version["rows"]]
    return _comparable(state)


def answers_of_vstore(store: Store, epoch: int | None = None) -> Plain:
    """Return what vstore answers through its public API, and its manifest."""
    snapshot = store.snapshot(epoch)
    shown = store._open_file.current() if epoch is None else store._open_file.at(epoch)
    state = plain_store(shown.state)
    collections: Any = state["collections"]
    for name in snapshot.collections:
        collection = snapshot.collection(name)
        documents = list(collection.documents())
        revisions = {(type(d.id), d.id): d.revision for d in documents}
        order = {key: place for place, key in enumerate(revisions)}
        collections[name]["documents"] = [
            {
                "id": d.id,
                "created": d.created,
                "revision": d.revision,
                "source_hash": d.source_hash,
                "metadata": {key: _stored(value) for key, value in d.metadata.items()},
                "text": d.text,
            }
            for d in documents
        ]
        for version in collection.versions.values():
            rows: list[Any] = []
            for ids, chunks, made_from, vectors in collection.vectors(version.label):
                columns = zip(ids, chunks.tolist(), made_from.tolist(), vectors, strict=True)
                rows += [
                    [id_, chunk, revision, revision != revisions[type(id_), id_], vector.tolist()]
                    for id_, chunk, revision, vector in columns
                ]
            rows.sort(key=lambda row: (order[type(row[0]), row[0]], row[1]))
            plain = collections[name]["versions"][version.label]
            plain |= {"fingerprint": version.fingerprint, "rows": rows}
    dropped = [entry for entry in store.history(limit=10**6) if not entry.readable]
    info = {"epoch": shown.epoch, "time_us": shown.time_us, "uuid": store.info()["uuid"]}
    return _comparable({**state, **info, "dropped": [entry.epoch for entry in dropped]})


def _stored(value: Any) -> Any:
    """Return a datetime as microseconds, everything else as it is."""
    if hasattr(value, "utcoffset"):
        import datetime as dt

        epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return (value - epoch) // dt.timedelta(microseconds=1)
    return value


def _comparable(state: Plain) -> Plain:
    """Leave out where things stand in the file; bytes become hex."""
    kept = ("epoch", "time_us", "uuid", "tags", "equivalences", "collections")
    result: Plain = _hex({key: state[key] for key in kept})
    for collection in result["collections"].values():
        for holder in (collection, *collection["versions"].values()):
            del holder["segments"]
    return result


def _hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _hex(inner) for key, inner in value.items()}
    return [_hex(inner) for inner in value] if isinstance(value, list | tuple) else value
