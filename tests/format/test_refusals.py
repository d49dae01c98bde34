"""Files with fitting checksums that break one rule each: refused when used, named by a check.

The rules are those of `format-spec.md` that say what a reader must reject.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pytest

import vstore
from tests.crash.answers import attempt, checked
from tests.crash.forgery import Block, assemble, blocks_of, newest_slot
from tests.small_store import rows
from vstore.api.opening import open_store
from vstore.errors import CorruptionError, VstoreError
from vstore.manifest.delta import replaces_segments
from vstore.storage.layout import BlockKind
from vstore.storage.memory import MemoryMedium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vstore import Store
    from vstore.types import Array

SEALED = 12  # documents in segments; of them d1 is deleted, and d3 changed, by a delta


def written() -> bytes:
    """Write a file with segments, deltas, routes, jobs, tags and a history."""
    medium = MemoryMedium()
    with open_store(medium) as store:
        docs = store.create_collection("docs", fields={"tenant": "keyword", "extra": "json"})
        docs.create_version("v1", vstore.EmbeddingSpec("old", 4))
        docs.create_version("v2", vstore.EmbeddingSpec("new", 3, metric="l2"), stale_policy="serve")
        ids = [f"d{i}" for i in range(SEALED)]
        docs.upsert(
            ids,
            texts=[f"text {i}" for i in range(SEALED)],
            metadata=[{"tenant": "acme", "extra": {"n": i}} for i in range(SEALED)],
            vectors={"v1": rows(SEALED), "v2": [rows(2, 3, seed=i) for i in range(SEALED)]},
        )
        store.tag("begun", note="kept")
        docs.routes.set(vstore.Dual("v2"))
        docs.scoped(vstore.field("tenant") == "acme").routes.cutover(
            "v2", force=True, reason="first"
        )
        docs.migration.backfill("v2", lambda found: rows(len(found), 3))
        store.vacuum(keep_epochs=[])
        docs.upsert(["d3"], texts=["changed"], vectors={"v1": rows(1, seed=3)})
        docs.delete(["d1"])
        docs.upsert(["e1", "e2"], metadata=[{"tenant": "t"}] * 2, vectors={"v1": rows(2, seed=5)})
    return medium.tobytes()


class Forged:
    """A file whose values are changed one by one."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.blocks = blocks_of(image)
        self.values: dict[int, Any] = {}
        self.number_at = {block.ref.offset: i for i, block in enumerate(self.blocks)}

    def at(self, ref: list[Any]) -> Any:
        """Return the value of a block, to be changed in place."""
        number = self.number_at[ref[0]]
        if number not in self.values:
            payload = self.blocks[number].payload
            self.values[number] = msgpack.unpackb(payload, strict_map_key=False)
        return self.values[number]

    def commits(self) -> Iterator[dict[str, Any]]:
        """Yield the commits, newest first."""
        ref: list[Any] | None = [newest_slot(self.image).manifest_offset]
        while ref:
            commit = self.at(ref)
            ref = commit["previous"]
            yield commit

    def delta(self, part: str) -> dict[str, Any]:
        """Return the newest delta that has documents, or rows."""
        return next(commit for commit in self.commits() if part in commit)

    @property
    def manifest(self) -> dict[str, Any]:
        """The newest full manifest."""
        found: dict[str, Any] = next(c for c in self.commits() if c["kind"] == "full")["manifest"]
        return found

    @property
    def docs(self) -> dict[str, Any]:
        """The collection in it."""
        found: dict[str, Any] = self.manifest["collections"]["docs"]
        return found

    def segment(self, label: str | None = None) -> dict[str, Any]:
        """Return the reference to the first segment of a version, or of the documents."""
        segments = (
            self.docs["segments"] if label is None else self.docs["versions"][label]["segments"]
        )
        found: dict[str, Any] = segments[0]
        return found

    def array(self, name: str, label: str | None = None) -> Array:
        """Return an array of a segment, to be changed in place."""
        dtype, shape, *ref = self.at(self.segment(label)["header"])["arrays"][name]
        number = self.number_at[ref[0]]
        payload = self.blocks[number].payload
        array = np.frombuffer(bytearray(payload), dtype).reshape(shape)
        self.values[number] = array
        return array

    def bytes(self) -> bytes:
        """Return the file, every checksum made to fit."""
        values = {
            number: value.tobytes() if isinstance(value, np.ndarray) else value
            for number, value in self.values.items()
        }
        return assemble(self.image, values, {})


def with_payload(image: bytes, kind: BlockKind, change: Callable[[Block], bytes]) -> bytes:
    """Return a file whose last block of a kind has other bytes."""
    blocks = blocks_of(image)
    number = max(i for i, block in enumerate(blocks) if block.kind == kind)
    return assemble(image, {number: change(blocks[number])}, {})


def use(image: bytes, *, verify: Any = "lazy") -> list[object]:
    """Ask a file everything; return the errors."""
    opened = attempt(lambda: open_store(MemoryMedium(image), mode="r", verify=verify))
    if isinstance(opened, type):
        return [opened]
    store: Store = opened
    docs = attempt(lambda: store.collection("docs"))
    if isinstance(docs, type):
        return [docs]
    tenant = docs.scoped(vstore.field("tenant") == "acme")
    questions: list[Callable[[], object]] = [
        lambda: docs.search(rows(1)[0], version="v1", k=5, recall=1).ids,
        lambda: docs.search(rows(1, 3)[0], version="v2", k=5, recall=1).ids,
        lambda: tenant.search(rows(1, 3)[0], version="v2", k=5).ids,
        lambda: [list(map(repr, docs.documents()))],
        lambda: [docs.get(f"d{i}") for i in range(SEALED)],
        lambda: [[a.tolist() for *_, a in docs.vectors(label)] for label in ("v1", "v2")],
        lambda: store.history(limit=100),
        lambda: store.info(),
        lambda: store.snapshot(max(0, store.epoch - 2)).collections,
        lambda: list(docs.versions),
    ]
    found = [attempt(question) for question in questions]
    store.close()
    return [answer for answer in found if isinstance(answer, type)]


@pytest.fixture(scope="module")
def image() -> bytes:
    return written()


def test_the_file_itself_is_sound(image: bytes) -> None:
    again = Forged(image).bytes()
    assert checked(again).problems == ()
    assert use(again) == []
    assert use(again, verify="full") == []


# What a reader meets as it opens or uses a file.

FORGERIES: dict[str, Callable[[Forged], object]] = {}


def forgery(function: Callable[[Forged], object]) -> Callable[[Forged], object]:
    """Name a way to break a file."""
    FORGERIES[function.__name__.replace("_", " ")] = function
    return function


@forgery
def two_documents_of_one_id_in_a_delta(file: Forged) -> None:
    documents = file.delta("documents")["documents"]["docs"]
    documents[1][1] = documents[0][1]


@forgery
def two_documents_of_one_id_in_two_deltas(file: Forged) -> None:
    file.delta("documents")["documents"]["docs"][0][1] = "d3"


@forgery
def a_document_with_a_second_id(file: Forged) -> None:
    newest = file.delta("documents")["documents"]["docs"]
    newest[1][0], newest[1][1] = 3, "other"


@forgery
def a_docno_twice_in_a_delta(file: Forged) -> None:
    documents = file.delta("documents")["documents"]["docs"]
    documents.append(list(documents[0]))


@forgery
def created_above_revision_in_a_delta(file: Forged) -> None:
    document = file.delta("documents")["documents"]["docs"][0]
    document[3] = document[2] - 1


@forgery
def created_at_epoch_0(file: Forged) -> None:
    file.delta("documents")["documents"]["docs"][0][2] = 0


@forgery
def created_above_revision_in_a_segment(file: Forged) -> None:
    file.array("created")[5] = file.array("revision")[5] + np.uint64(1)


@forgery
def a_document_of_a_later_epoch_in_a_segment(file: Forged) -> None:
    file.array("revision")[5] = 1_000


@forgery
def a_document_created_at_epoch_0_in_a_segment(file: Forged) -> None:
    file.array("created")[5] = 0


@forgery
def a_row_of_revision_0_in_a_segment(file: Forged) -> None:
    file.array("revision", "v2")[5] = 0


@forgery
def a_segment_of_another_dimension(file: Forged) -> None:
    file.at(file.segment("v1")["header"])["attributes"]["dimension"] = 5


@forgery
def a_document_of_a_later_epoch(file: Forged) -> None:
    document = file.delta("documents")["documents"]["docs"][0]
    document[2] = document[3] = 1_000


@forgery
def rows_of_a_later_epoch(file: Forged) -> None:
    file.delta("rows")["rows"]["docs"]["v1"][2] = np.array([1_000, 1_000], "<u8").tobytes()


@forgery
def rows_of_revision_0(file: Forged) -> None:
    file.delta("rows")["rows"]["docs"]["v1"][2] = bytes(16)


@forgery
def a_tombstone_with_a_text(file: Forged) -> None:
    for commit in file.commits():
        for document in commit.get("documents", {}).get("docs", ()):
            if document[3] == 0:
                document[6] = "left"


@forgery
def the_base_of_the_newest_delta_is_another(file: Forged) -> None:
    newest = next(iter(file.commits()))
    newest["base"] = newest["previous"]


@forgery
def the_base_of_an_older_delta_is_another(file: Forged) -> None:
    _, second, *_ = file.commits()
    assert second["kind"] == "delta"
    second["base"] = second["previous"]


@forgery
def a_delta_leaves_out_an_epoch(file: Forged) -> None:
    newest, second, *_ = file.commits()
    del newest
    second["epoch"] -= 1


@forgery
def time_goes_back(file: Forged) -> None:
    _, second, *_ = file.commits()
    second["time_us"] = 2**62


@forgery
def a_delta_of_depth_0(file: Forged) -> None:
    next(iter(file.commits()))["depth"] = 0


@forgery
def edits_that_are_no_list(file: Forged) -> None:
    next(iter(file.commits()))["edits"] = 0


@forgery
def a_delta_that_replaces_segments(file: Forged) -> None:
    next(iter(file.commits()))["edits"] = [[["collections", "docs", "segments"], []]]


@forgery
def a_delta_that_removes_a_version(file: Forged) -> None:
    next(iter(file.commits()))["edits"] = [[["collections", "docs", "versions", "v2"]]]


@forgery
def a_delta_that_changes_a_field(file: Forged) -> None:
    edit = [["collections", "docs", "fields", "extra"], "keyword"]
    next(iter(file.commits()))["edits"] = [edit]


@forgery
def a_delta_that_changes_a_spec(file: Forged) -> None:
    edit = [["collections", "docs", "versions", "v1", "spec", "model"], "x"]
    next(iter(file.commits()))["edits"] = [edit]


@forgery
def a_delta_that_changes_history(file: Forged) -> None:
    next(iter(file.commits()))["edits"] = [[["history"], None]]


@forgery
def a_segment_comes_twice(file: Forged) -> None:
    segments = file.docs["versions"]["v1"]["segments"]
    segments.append(dict(segments[0]))


@forgery
def a_segment_that_ends_elsewhere(file: Forged) -> None:
    file.segment("v1")["docno_end"] -= 1


@forgery
def a_segment_of_documents_that_ends_elsewhere(file: Forged) -> None:
    file.segment()["docno_end"] -= 1


@forgery
def an_empty_segment_of_documents(file: Forged) -> None:
    file.segment()["rows"] = 0


@forgery
def a_segment_of_a_later_epoch(file: Forged) -> None:
    file.segment("v2")["epoch"] = 1_000


@forgery
def a_version_of_a_later_epoch(file: Forged) -> None:
    file.docs["versions"]["v2"]["created_epoch"] = 1_000


@forgery
def a_tag_of_a_later_epoch(file: Forged) -> None:
    file.manifest["tags"]["begun"]["epoch"] = 1_000


@forgery
def a_route_of_a_later_epoch(file: Forged) -> None:
    file.docs["routes"][""]["since_epoch"] = 1_000


@forgery
def a_route_of_no_version(file: Forged) -> None:
    file.docs["routes"][""]["shadow"] = "v9"


@forgery
def a_route_that_reads_a_retired_version(file: Forged) -> None:
    file.docs["versions"]["v1"]["retired_us"] = 5


@forgery
def a_route_that_reads_one_version_twice(file: Forged) -> None:
    route = file.docs["routes"][""]
    route["old_version"] = route["version"]


@forgery
def a_dual_route_without_fusion(file: Forged) -> None:
    file.docs["routes"][""]["fusion"] = ""


@forgery
def a_percentage_of_no_canary(file: Forged) -> None:
    file.docs["routes"][""]["percent"] = 5


@forgery
def a_route_of_no_field(file: Forged) -> None:
    file.docs["routes"]["nothing=acme"] = file.docs["routes"].pop("tenant=acme")


@forgery
def a_route_of_a_field_that_is_no_keyword(file: Forged) -> None:
    file.docs["routes"]["extra=acme"] = file.docs["routes"].pop("tenant=acme")


@forgery
def a_job_of_no_version(file: Forged) -> None:
    file.docs["jobs"]["v9"] = file.docs["jobs"].pop("v2")


@forgery
def a_job_from_no_version(file: Forged) -> None:
    file.docs["jobs"]["v2"]["source"] = "v9"


@forgery
def two_dead_letters_of_one_document(file: Forged) -> None:
    file.docs["jobs"]["v2"]["dead"] = [["d1", 1, 1, 1, "error"], ["d1", 1, 2, 2, "again"]]


@forgery
def a_dead_letter_of_a_later_epoch(file: Forged) -> None:
    file.docs["jobs"]["v2"]["dead"] = [["d1", 1_000, 1, 1, "error"]]


@forgery
def a_negative_count(file: Forged) -> None:
    file.docs["jobs"]["v2"]["units"] = -1


@forgery
def an_infinite_cost(file: Forged) -> None:
    file.docs["jobs"]["v2"]["cost"] = math.inf


@forgery
def an_empty_name(file: Forged) -> None:
    file.docs["versions"][""] = dict(file.docs["versions"]["v2"])


@forgery
def more_rows_than_there_can_be(file: Forged) -> None:
    file.segment("v1")["rows"] = 2**40


@forgery
def history_out_of_order(file: Forged) -> None:
    file.at(file.manifest["history"]).reverse()


@forgery
def history_with_a_negative_epoch(file: Forged) -> None:
    file.at(file.manifest["history"])[-1][0] = -1


@forgery
def norms_that_are_nan(file: Forged) -> None:
    file.array("norms", "v2")[:] = np.nan


@forgery
def one_norm_that_is_nan(file: Forged) -> None:
    file.array("norms", "v1")[3] = np.nan


@forgery
def an_infinite_norm(file: Forged) -> None:
    file.array("norms", "v1")[3] = np.inf


@forgery
def a_negative_norm(file: Forged) -> None:
    file.array("norms", "v2")[3] *= -1


@forgery
def a_norm_of_0_under_cosine(file: Forged) -> None:
    file.array("norms", "v1")[3] = 0


@forgery
def chunk_numbers_that_do_not_ascend(file: Forged) -> None:
    file.array("chunk", "v2")[:] = 0


@forgery
def a_chunk_number_beyond_all(file: Forged) -> None:
    file.array("chunk", "v2")[-1] = 2**31


@forgery
def an_empty_id(file: Forged) -> None:
    file.array("id_offsets")[1:2] = 0


@forgery
def docnos_that_do_not_ascend(file: Forged) -> None:
    file.array("docno", "v1")[1] = 3


@forgery
def a_row_made_from_a_revision_that_its_document_does_not_have_yet(file: Forged) -> None:
    delta = file.delta("documents")
    document = delta["documents"]["docs"][1]
    delta["rows"]["docs"]["v1"][2] = np.array([document[3]] * 2, "<u8").tobytes()
    document[2] = document[3] = document[3] - 1


@forgery
def a_row_of_a_sealed_document_made_from_a_later_revision(file: Forged) -> None:
    delta = file.delta("rows")
    rows_ = delta["rows"]["docs"]["v1"]
    rows_[0] = np.array([5, 6], "<u4").tobytes()  # which the delta does not change


@forgery
def a_document_that_goes_back_to_an_earlier_revision(file: Forged) -> None:
    _, record = changed_again(file)
    record[2] = record[3] = 2


@forgery
def a_document_that_was_created_earlier_than_before(file: Forged) -> None:
    earlier, record = changed_again(file)
    earlier[2] = earlier[3]
    record[2] = earlier[3] - 1


def changed_again(file: Forged) -> tuple[list[Any], list[Any]]:
    """Let the newest delta change the document that an older one changed; both records."""
    older = next(
        document
        for commit in file.commits()
        for document in commit.get("documents", {}).get("docs", ())
        if document[0] == 3
    )
    newest = file.delta("documents")
    record = [*older[:3], newest["epoch"], *older[4:]]
    newest["documents"]["docs"].append(record)
    return older, record


@pytest.mark.parametrize("name", FORGERIES)
def test_a_file_that_breaks_a_rule_is_refused_and_named(image: bytes, name: str) -> None:
    file = Forged(image)
    FORGERIES[name](file)
    forged = file.bytes()
    found = use(forged)
    assert found, "opened and answered"
    assert all(issubclass(error, VstoreError) for error in found)  # type: ignore[arg-type]
    assert any(issubclass(error, CorruptionError) for error in found)  # type: ignore[arg-type]
    assert not checked(forged).ok
    assert use(forged, verify="full")


# Missing keys.


def keys_of(image: bytes) -> list[tuple[str, tuple[Any, ...]]]:
    """Return every key of the newest full commit that a table of the specification lists."""
    file = Forged(image)
    manifest, docs = ("manifest",), ("manifest", "collections", "docs")
    version, route = (*docs, "versions", "v1"), (*docs, "routes", "")
    job, segment = (*docs, "jobs", "v2"), (*docs, "versions", "v1", "segments", 0)
    found = []
    commit = next(c for c in file.commits() if c["kind"] == "full")
    for place in ((), manifest, docs, version, route, job, segment, (*manifest, "tags", "begun")):
        value: Any = commit
        for key in place:
            value = value[key]
        found += [(f"{'.'.join(map(str, place))}.{key}", (*place, key)) for key in value]
    return found


def test_a_missing_key_is_refused_wherever_it_is(image: bytes) -> None:
    keys = keys_of(image)
    assert len(keys) > 70
    unnoticed = []
    for name, (*place, key) in keys:
        file = Forged(image)
        value: Any = next(c for c in file.commits() if c["kind"] == "full")
        for step in place:
            value = value[step]
        del value[key]
        forged = file.bytes()
        if not use(forged) or checked(forged).ok:
            unnoticed.append(name)
    assert unnoticed == []


@pytest.mark.parametrize("key", ["kind", "rows", "attributes", "arrays"])
@pytest.mark.parametrize("label", [None, "v1"])
def test_a_missing_key_of_a_segment_is_refused(image: bytes, key: str, label: str | None) -> None:
    file = Forged(image)
    del file.at(file.segment(label)["header"])[key]
    assert CorruptionError in use(file.bytes())
    assert not checked(file.bytes()).ok


# Keys that come twice.


@pytest.mark.parametrize(
    ("kind", "key"),
    [(BlockKind.COMMIT, "epoch"), (BlockKind.SEGMENT, "rows"), (BlockKind.COMMIT, "docs")],
)
def test_a_key_that_comes_twice_is_refused_wherever_it_is(
    image: bytes, kind: BlockKind, key: str
) -> None:
    def twice(block: Block) -> bytes:
        payload = block.payload
        if key == "docs":  # inside: a map of one collection becomes one of two
            at = payload.index(msgpack.packb("documents")) + len(msgpack.packb("documents"))
            entry = bytes(msgpack.packb({"docs": []}))[1:]
            assert payload[at] == 0x81
            return payload[:at] + b"\x82" + entry + payload[at + 1 :]
        value = msgpack.unpackb(payload, strict_map_key=False)
        entry = bytes(msgpack.packb({key: value[key]}))[1:]
        assert payload[0] & 0xF0 == 0x80
        return bytes([payload[0] + 1]) + payload[1:] + entry

    forged = with_payload(image, kind, twice)
    assert CorruptionError in use(forged)
    report = checked(forged)
    assert any("comes twice in a map" in str(problem) for problem in report.problems)


def test_a_key_that_comes_twice_in_json_metadata_is_refused(image: bytes) -> None:
    file = Forged(image)
    data = file.array("field.extra.bytes")
    packed = data.tobytes()
    one = msgpack.packb({"n": 0})
    assert packed.startswith(one * 1)
    # Two documents' values become one of two keys, and an empty one: the same length in all.
    value = b"\x82" + (msgpack.packb("n") + b"\x00") * 2
    offsets = file.array("field.extra.offsets")
    length = len(one) * 2
    data[:length] = np.frombuffer(value + msgpack.packb(7)[: length - len(value)], np.uint8)
    offsets[1] = len(value)
    assert CorruptionError in use(file.bytes())
    assert not checked(file.bytes()).ok


# States between the newest one and the full commits.


def between() -> bytes:
    """Write a file whose newest chain has deltas of every kind, each put right by a later one."""
    medium = MemoryMedium()
    with open_store(medium) as store:
        docs = store.create_collection("docs", fields={"tenant": "keyword"})
        docs.create_version("v1", vstore.EmbeddingSpec("old", 4))
        docs.create_version("v2", vstore.EmbeddingSpec("new", 4))
        docs.upsert(range(8), texts=[f"{i}" for i in range(8)], vectors={"v1": rows(8)})
        store.vacuum(keep_epochs=[])
        store.tag("first")
        docs.routes.set(vstore.Dual("v2"))
        docs.upsert([1, 20], texts=["anew", "new"], vectors={"v1": rows(2)})
        docs.add_field("later", "int")
        docs.routes.cutover("v2", force=True, reason="so")
        docs.upsert([1], texts=["once more"], vectors={"v1": rows(1)}, metadata=[{"later": 1}])
        store.untag("first")
        docs.delete([20])
        docs.routes.cutover("v1", force=True, reason="back")
        docs.upsert([1], texts=["for good"], vectors={"v1": rows(1)})
    return medium.tobytes()


def made_by(file: Forged, operation: str, *, number: int = 0) -> dict[str, Any]:
    """Return a commit by its operation, the newest first."""
    return [c for c in file.commits() if c["operation"][0].startswith(operation)][number]


BETWEEN: dict[str, Callable[[Forged], object]] = {}


def state_between(function: Callable[[Forged], object]) -> Callable[[Forged], object]:
    """Name a way to break a state that is neither the newest one nor a full manifest."""
    BETWEEN[function.__name__.replace("_", " ")] = function
    return function


def edited(commit: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return the value that a delta sets at a path."""
    found: dict[str, Any] = next(edit[1] for edit in commit["edits"] if edit[0] == list(path))
    return found


@state_between
def a_tag_that_names_a_later_epoch(file: Forged) -> None:
    tag = made_by(file, "tag")
    edited(tag, "tags", "first")["epoch"] = tag["epoch"] + 1


@state_between
def a_route_of_a_later_epoch_for_a_while(file: Forged) -> None:
    commit = made_by(file, "cutover", number=1)
    place = ["collections", "docs", "routes", "", "since_epoch"]
    edit = next(edit for edit in commit["edits"] if edit[0] == place)
    edit[1] = commit["epoch"] + 2


@state_between
def a_route_of_no_version_for_a_while(file: Forged) -> None:
    place = ["collections", "docs", "routes", "", "shadow"]
    made_by(file, "dual read")["edits"].append([place, "v9"])
    made_by(file, "untag")["edits"].append([place, ""])


@state_between
def a_field_before_it_is_declared(file: Forged) -> None:
    made_by(file, "upsert", number=2)["documents"]["docs"][0][5] = {"later": 1}


@state_between
def a_row_ahead_of_its_document_until_that_changes(file: Forged) -> None:
    commit = made_by(file, "upsert", number=2)
    document = commit["documents"]["docs"][0]
    document[3] -= 1


@state_between
def a_row_ahead_of_a_document_that_is_deleted_later(file: Forged) -> None:
    commit = made_by(file, "upsert", number=2)
    document = commit["documents"]["docs"][1]
    document[2] = document[3] = document[3] - 1


@state_between
def a_collection_that_is_broken_for_a_while(file: Forged) -> None:
    place = ["collections", "docs", "dual_write"]
    made_by(file, "dual read")["edits"].append([place, "sometimes"])
    made_by(file, "untag")["edits"].append([place, "allow"])


@pytest.fixture(scope="module")
def image_between() -> bytes:
    return between()


def test_a_file_of_many_deltas_is_sound(image_between: bytes) -> None:
    assert checked(Forged(image_between).bytes()).problems == ()


@pytest.mark.parametrize("name", BETWEEN)
def test_a_check_looks_at_the_states_in_between(image_between: bytes, name: str) -> None:
    file = Forged(image_between)
    BETWEEN[name](file)
    forged = file.bytes()
    newest = attempt(lambda: open_store(MemoryMedium(forged), mode="r"))
    assert not isinstance(newest, type), "the newest state is sound"
    newest.close()
    report = checked(forged)
    assert len(report.problems) == 1
    assert report.problems[0].offset is not None


def test_a_check_sees_a_document_that_falls_behind_its_row_for_a_while() -> None:
    """The row is of an earlier commit: nothing but its document changes."""
    medium = MemoryMedium()
    with open_store(medium) as store:
        docs = store.create_collection("docs")
        docs.create_version("v1", vstore.EmbeddingSpec("old", 4))
        docs.upsert(["a"], texts=["1"], vectors={"v1": rows(1)})
        created = store.epoch
        docs.upsert(["a"], texts=["2"], vectors={"v1": rows(1)})
        docs.delete(["a"])
        docs.upsert(["a"], texts=["3"])
        docs.upsert(["a"], texts=["4"], vectors={"v1": rows(1)})
    file = Forged(medium.tobytes())
    assert checked(file.bytes()).ok
    document = made_by(file, "upsert", number=1)["documents"]["docs"][0]
    assert document[6] == "3"
    document[2] = document[3] = created
    report = checked(file.bytes())
    assert len(report.problems) == 1
    assert "a row made from revision" in report.problems[0].what


def test_a_check_looks_at_each_commit_once() -> None:
    def work(commits: int) -> int:
        medium = MemoryMedium()
        with open_store(medium) as store:
            docs = store.create_collection("docs")
            docs.create_version("v1", vstore.EmbeddingSpec("old", 4))
            for number in range(commits):
                docs.upsert([number], vectors={"v1": rows(1)})
        image = medium.tobytes()
        calls = 0

        def count(_frame: object, _event: str, _argument: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            report = checked(image)
        finally:
            sys.setprofile(None)
        assert report.ok
        return calls

    # Twice the commits are twice the work, and less than that with what every check costs.
    assert work(400) < 2.1 * work(200)


# What only a check of all the data can see.

FOR_A_CHECK: dict[str, Callable[[Forged], object]] = {}


def for_a_check(function: Callable[[Forged], object]) -> Callable[[Forged], object]:
    """Name a way to break a file that a search does not meet."""
    FOR_A_CHECK[function.__name__.replace("_", " ")] = function
    return function


@for_a_check
def norms_that_are_not_of_the_vectors(file: Forged) -> None:
    file.array("norms", "v1")[3] *= 1.01


@for_a_check
def a_vector_that_is_nan(file: Forged) -> None:
    file.array("vectors", "v1")[3, 0] = np.nan


@for_a_check
def an_id_of_a_segment_again_in_a_delta(file: Forged) -> None:
    file.delta("documents")["documents"]["docs"][0][1] = "d5"


@for_a_check
def another_id_for_a_document_of_a_segment(file: Forged) -> None:
    for commit in file.commits():
        for document in commit.get("documents", {}).get("docs", ()):
            if document[0] == 3:
                document[1] = "d33"


@for_a_check
def a_dead_letter_of_no_document(file: Forged) -> None:
    file.docs["jobs"]["v2"]["dead"] = [["nobody", 1, 1, 1, "error"]]


@for_a_check
def a_text_of_a_document_that_has_none(file: Forged) -> None:
    file.array("text_present")[2] = 0


@for_a_check
def a_segment_of_another_size(file: Forged) -> None:
    file.segment("v1")["size_bytes"] += 64


@forgery
def rows_of_a_later_epoch_in_a_segment(file: Forged) -> None:
    file.array("revision", "v1")[3] = 1_000


@for_a_check
def history_after_the_state(file: Forged) -> None:
    file.at(file.manifest["history"])[0][0] = 1_000


@for_a_check
def a_row_of_a_segment_made_from_a_later_revision(file: Forged) -> None:
    file.array("revision", "v1")[5] += np.uint64(1)


@for_a_check
def a_document_of_a_segment_that_goes_back_in_a_delta(file: Forged) -> None:
    for commit in file.commits():
        for document in commit.get("documents", {}).get("docs", ()):
            if document[0] == 3:
                document[2] = document[3] = 1


@for_a_check
def a_tag_of_an_epoch_that_the_file_does_not_have(file: Forged) -> None:
    file.manifest["tags"]["begun"]["epoch"] += 1


@pytest.mark.parametrize("name", FOR_A_CHECK)
def test_a_check_names_what_a_search_does_not_meet(image: bytes, name: str) -> None:
    file = Forged(image)
    FOR_A_CHECK[name](file)
    forged = file.bytes()
    assert all(issubclass(error, VstoreError) for error in use(forged))  # type: ignore[arg-type]
    assert not checked(forged).ok


@pytest.mark.parametrize("what", ["norms", "vectors"])
@pytest.mark.parametrize("label", ["v1", "v2"])
def test_what_is_no_number_ends_a_vacuum_by_name(image: bytes, what: str, label: str) -> None:
    file = Forged(image)
    file.array(what, label)[:] = np.nan
    with open_store(MemoryMedium(file.bytes())) as store, pytest.raises(CorruptionError):
        store.vacuum()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("what", ["norms", "vectors"])
@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
def test_what_is_no_number_ends_the_building_of_a_graph_by_name(
    metric: Any, what: str, value: float
) -> None:
    medium = MemoryMedium()
    with open_store(medium, indexing="manual") as store:
        docs = store.create_collection("docs")
        docs.create_version("v1", vstore.EmbeddingSpec("m", 4, metric), graph_rows_min=4)
        docs.upsert(list(range(2_000)), vectors={"v1": rows(2_000)})
    file = Forged(medium.tobytes())
    file.array(what, "v1")[7] = value
    with open_store(MemoryMedium(file.bytes())) as store, pytest.raises(CorruptionError):
        store.optimize()


def points_of(attributes: dict[str, Any]) -> list[Any]:
    """Return what was measured for one hit."""
    points: list[Any] = attributes["graph"]["recall"][0][3]
    return points


GRAPH_FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "recall above 1": lambda a: points_of(a)[0].__setitem__(1, 1.5),
    "recall below 0": lambda a: points_of(a)[0].__setitem__(1, -0.5),
    "recall that is NaN": lambda a: points_of(a)[0].__setitem__(1, math.nan),
    "negative error": lambda a: points_of(a)[0].__setitem__(2, -0.1),
    "negative distances": lambda a: points_of(a)[0].__setitem__(3, -1.0),
    "ef out of order": lambda a: points_of(a).insert(
        0, [points_of(a)[0][0] + 1, *points_of(a)[0][1:]]
    ),
    "ef twice": lambda a: points_of(a).append(points_of(a)[-1]),
    "ef of 0": lambda a: points_of(a)[0].__setitem__(0, 0),
    "no points": lambda a: points_of(a).clear(),
    "curves out of order": lambda a: a["graph"]["recall"].reverse(),
    "a curve of another k": lambda a: a["graph"]["recall"][0].__setitem__(0, 2),
    "a curve that is cut short": lambda a: a["graph"]["recall"][0].pop(),
    "documents of no rows": lambda a: a["graph"].update(document_recall=[[1]]),
    "entry beyond the nodes": lambda a: a["graph"].update(entry=10_000),
    "no entry": lambda a: a["graph"].pop("entry"),
    "no curve": lambda a: a["graph"].pop("recall"),
    "no codes": lambda a: a.pop("codes"),
    "codes without a kind": lambda a: a["codes"].pop("kind"),
    "codes of no kind": lambda a: a["codes"].update(kind=8),
    "codes without unit": lambda a: a["codes"].pop("unit"),
    "ef_construction of 0": lambda a: a["graph"].update(ef_construction=0),
    "scale of 0": lambda a: a["codes"].update(scale=0.0),
    "infinite radius": lambda a: a["codes"].update(radius=math.inf),
    "refine out of range": lambda a: a["graph"]["recall"][0].__setitem__(2, 10**9),
    "keep out of range": lambda a: a["graph"]["recall"][0].__setitem__(1, 0),
    "another dimension": lambda a: a.update(dimension=5),
}


@pytest.fixture(scope="module")
def graph_image() -> bytes:
    medium = MemoryMedium()
    with open_store(medium) as store:
        docs = store.create_collection("docs")
        docs.create_version("v1", vstore.EmbeddingSpec("m", 4, "l2"), graph_rows_min=100)
        docs.upsert(list(range(2_000)), vectors={"v1": rows(2_000)})
    assert checked(medium.tobytes()).ok
    return medium.tobytes()


@pytest.mark.parametrize("name", GRAPH_FORGERIES)
def test_what_a_graph_says_of_itself_is_checked(graph_image: bytes, name: str) -> None:
    file = Forged(graph_image)
    GRAPH_FORGERIES[name](file.at(file.segment("v1")["header"])["attributes"])
    forged = file.bytes()
    assert not checked(forged).ok
    with pytest.raises(CorruptionError):
        open_store(MemoryMedium(forged), mode="r", verify="full")


def test_a_graph_of_codes_of_another_kind_is_ignored(graph_image: bytes) -> None:
    file = Forged(graph_image)
    file.at(file.segment("v1")["header"])["attributes"]["codes"].update(kind="bits")  # as long
    forged = file.bytes()
    assert checked(forged).ok
    answers, graphs = [], []
    for image in (graph_image, forged):
        with open_store(MemoryMedium(image), mode="r", verify="full") as store:
            docs = store.collection("docs")
            answers.append(docs.search(rows(1)[0], version="v1", recall=1).ids)
            graphs.append(docs.versions["v1"].graphs)
    assert answers[0] == answers[1]
    assert graphs == [1, 0]
    medium = MemoryMedium(forged)
    with open_store(medium) as store:  # a writer that does not know it makes its own
        store.optimize()
        assert store.collection("docs").versions["v1"].graphs == 1
        assert store.check().ok


def test_an_edit_without_a_path_replaces_no_segments() -> None:
    """A check looks at edits of deltas before anything has read them."""
    assert not replaces_segments([[]])
    assert not replaces_segments([[], 3, None])
    assert not replaces_segments({})
