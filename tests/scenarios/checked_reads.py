"""Readers that check every answer against the model of the epoch it was given at."""

from __future__ import annotations

import traceback
from collections import Counter
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import vstore
from tests.scenarios.two_spaces import NEW, OLD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.journal import History, Model
    from vstore import Collection, SearchResult
    from vstore.types import Array, BoolArray

K: Final = 10
QUERIES: Final = 4  # a read
SAME: Final = 2e-5  # scores of one vector, summed in another order, differ by less
TIED: Final = 1e-6  # scores so close may change places with the order of summing
KINDS: Final = ("route", "route", "old", "new", "graph")


class WrongAnswerError(AssertionError):
    """An answer that the model does not explain."""


def require(what: bool, message: str) -> None:
    if not what:
        raise WrongAnswerError(message)


def check_hits(result: SearchResult, scores: dict[str, Array], model: Model) -> None:
    """Check what holds of any answer: alive, each document once, its own vector's score."""
    require(len(set(result.ids)) == len(result), f"a document twice in {result.ids}")
    for hit in result:
        row = int(hit.id)
        require(bool(model.alive[row]), f"{row} was deleted, {hit}")
        require(hit.version in hit.scores, f"no score of its version in {hit}")
        for label, score in hit.scores.items():
            expected = float(scores[label][row])
            require(abs(score - expected) < SAME, f"expected {expected:.6f} in {label} of {hit}")
    require(bool((np.diff(result.scores) <= 0).all()), f"scores rise: {result.scores}")


def check_exact(result: SearchResult, scores: Array, among: BoolArray) -> None:
    """Check that an answer is the K best of some documents."""
    count = min(K, int(among.sum()))
    require(len(result) == count, f"{len(result)} hits, expected {count}")
    best = np.sort(scores[among])[::-1][:count]
    found = np.array([hit.scores[hit.version] for hit in result])
    require(np.allclose(found, best, rtol=0, atol=SAME), f"scores {found}, the best are {best}")


def check_slots(result: SearchResult, scores: dict[str, Array], model: Model, new: Array) -> None:
    """Check a dual read: the old answer, its migrated places taken by the best of the new one."""
    ranked = np.where(model.alive, scores[OLD], -np.inf)
    old_best = np.argsort(-ranked)[: K + 1]
    if np.diff(ranked[old_best]).max() > -TIED:
        return  # either order of the old answer is right
    old_best = old_best[:K]
    new_best = np.sort(scores[NEW][new])[::-1]
    places = new[old_best]
    expected = scores[OLD][old_best]
    expected[places] = new_best[: int(places.sum())]
    found = np.array([hit.scores[hit.version] for hit in result])
    require([hit.version == NEW for hit in result] == places.tolist(), f"{places} in {result}")
    require(np.allclose(found, expected, rtol=0, atol=SAME), f"scores {found}, not {expected}")


def covered(docs: Collection, version: str, model: Model) -> BoolArray:
    """Return by id which documents have vectors of a version; each must be the current one's."""
    found = np.zeros(len(model.alive), np.bool_)
    for ids, _, _, vectors in docs.vectors(version):
        rows = np.array(ids)
        require(not found[rows].any(), f"two vectors of one document in {version}")
        found[rows] = True
        same = np.allclose(vectors, model.vectors[version][rows], rtol=0, atol=1e-6)
        require(same, f"vectors in {version} that are not of the documents' current text")
    require(bool(model.alive[found].all()), f"vectors of deleted documents in {version}")
    return found


class CheckedReader(Thread):
    """A thread with a handle of its own, reading until it is stopped.

    Attributes
    ----------
    problems : list of str
    reads : Counter
        Searches by kind of read and route.
    epochs : set of int
        Those it read at.
    """

    def __init__(
        self, path: Path, history: History, model: Model, *, number: int, pause_s: float
    ) -> None:
        super().__init__(name=f"reader {number}")
        self._path = path
        self._history = history
        self._model = model
        self._spaces = model.spaces
        self._rng = np.random.default_rng([model.spaces.seed, 100 + number])
        self._pause_s = pause_s
        self._stopped = Event()
        self._number = number
        self.problems: list[str] = []
        self.reads: Counter[str] = Counter()
        self.epochs: set[int] = set()
        self.mixed: dict[str, float] = {}

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def run(self) -> None:
        try:
            with vstore.open(self._path, mode="r") as store:
                asked = 0
                while not self._stopped.wait(self._pause_s):
                    store.refresh()
                    asked += QUERIES
                    queries = self._spaces.queries(self._number * 100_000 + asked, QUERIES)
                    self._read(store.snapshot(), queries)
                self.mixed = store.metrics().to_dict()["mixed_version_rate"]  # type: ignore[assignment]
        except BaseException:
            self.problems.append(traceback.format_exc())

    def _read(self, snapshot: vstore.Reader, queries: dict[str, Array]) -> None:
        docs, model = snapshot.collection("docs"), self._model
        self._history.follow()
        model.advance(self._history, snapshot.epoch)
        self.epochs.add(snapshot.epoch)
        kind = str(self._rng.choice(KINDS))
        options: dict[str, Any] = {"recall": None if kind == "graph" else 1}
        if kind in ("old", "new"):
            options["version"] = OLD if kind == "old" else NEW
            asked: Any = queries[options["version"]]
        else:
            asked = queries
        results = docs.search_batch(asked, k=K, **options)
        mode = model.route["mode"] if kind in ("route", "graph") else "version"
        by_old = OLD in (
            options.get("version"),
            model.route["version"] if mode == "matched" else "",
        )
        new = covered(docs, NEW, model) if options["recall"] and not by_old else None
        for number, result in enumerate(results):
            scores = {v: model.vectors[v] @ queries[v][number] for v in (OLD, NEW)}
            try:
                self._check(result, scores, mode, new, options)
            except WrongAnswerError as error:
                shown = f"epoch {snapshot.epoch}, {kind}, {model.route}, query {number} of {self}"
                raise WrongAnswerError(f"{shown}: {error}\n{result.explain()}") from None
        self.reads[f"{kind} {mode}"] += len(results)

    def _check(
        self,
        result: SearchResult,
        scores: dict[str, Array],
        mode: str,
        new: BoolArray | None,
        options: dict[str, Any],
    ) -> None:
        model, route = self._model, self._model.route
        check_hits(result, scores, model)
        versions = {hit.version for hit in result}
        if mode == "version":
            allowed = [{options["version"]}]
        elif mode == "matched":
            allowed = [{route["version"]}]
        elif mode == "canary":
            allowed = [{OLD}, {NEW}]
        else:
            allowed = [{OLD}, {NEW}, {OLD, NEW}]
        require(versions in allowed or not result, f"{versions} answered")
        if not options["recall"]:
            require(len(result) == min(K, int(model.alive.sum())), f"{len(result)} hits")
        elif mode == "dual":
            assert new is not None
            check_slots(result, scores, model, new)
        else:
            version = next(iter(versions), options.get("version", OLD))
            among = model.alive if version == OLD else new
            assert among is not None
            check_exact(result, scores[version], among)
