"""How often the guards find another model, and how often they are wrong.

``python -m benchmarks.geometry DATA``: DATA is a folder that holds scifact, cranfield, movies-msrd,
wordnet-minilm, two-models-peliculas, two-models-msmarco-queries, ann-sift5k and ann-deep-cohere.
A version learns from up to 1,024 of its rows; what arrives then is of the same model (held-out
rows, its queries, other texts) or of another (another model's vectors, and this one's after a
random rotation, a permutation of dimensions, or flipped signs).
"""

from __future__ import annotations

import argparse
import re
import timeit
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine, save
from vstore.demo.corpus import load_scifact
from vstore.guarding import canaries, geometry
from vstore.testing import HashingEmbedder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vstore.types import Array

BATCHES = (1, 8, 32, 256)
DRAWS = 300  # batches of a size and set: half of them neighbours in the file, half picked at random
SINGLES = 2_000
LEARN_ROWS = 1_024
FIRST_ROWS = (64, 256, 1_024, 4_096)
ADA, SMALL = "text-embedding-ada-002", "text-embedding-3-small-1536"


class Space(NamedTuple):
    """Vectors of one model over one collection; ``model`` says which can be told apart."""

    name: str
    model: str
    vectors: Array
    queries: bool


class Arrival(NamedTuple):
    """What arrives at a version: ``group`` is a column, ``alarm`` what is right."""

    group: str
    name: str
    vectors: Array
    queries: bool
    alarm: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    folder: Path = parser.parse_args().data
    spaces = list(load(folder))
    results: list[dict[str, Any]] = []
    for version in spaces:
        if not version.queries or version.name.startswith("msmarco"):
            results += measure(version, spaces)
    show(results)
    document = {
        "name": "geometry",
        "machine": machine(),
        "learn_rows": LEARN_ROWS,
        "results": results,
        "cost": costs(spaces),
        "first_rows": first_rows(spaces),
        "canaries": canary_results(spaces, folder),
    }
    for title in ("cost", "first_rows", "canaries"):
        show_plain(title, document[title])
    save("geometry", document)


def load(folder: Path) -> Iterator[Space]:
    for name in ("scifact", "cranfield", "movies-msrd"):
        with np.load(folder / name / "vectors.npz", allow_pickle=False) as arrays:
            for key in arrays.files:
                if not key.endswith("ids"):
                    model, part = key.split("_")
                    # LSA is fitted to its collection: each is a space of its own.
                    model = model if model == "minilm384" else f"{model} of {name}"
                    yield Space(f"{name} {key}", model, cleaned(arrays[key]), part == "queries")
    wordnet = np.load(folder / "wordnet-minilm" / "vectors.f16.npy", mmap_mode="r")
    yield Space("wordnet minilm384_docs", "minilm384", cleaned(wordnet[::12]), False)
    two = folder / "two-models-peliculas"
    for model in (ADA, SMALL):
        vectors = cleaned(np.load(two / f"{model}.f32.npy"))
        yield Space(f"peliculas {model}", model, vectors, False)
    three = folder / "two-models-msmarco-queries"
    for file, model in (
        ("bge-base-en-v1.5", "bge-base-en-v1.5"),
        ("cohere-embed-english-v3", "cohere-embed-english-v3"),
        ("cosdpr-distil", "cosdpr-distil"),
        ("openai-ada2", ADA),
        ("passages_cosdpr_100x768", "cosdpr-distil"),
        ("passages_ada2_100x1536", ADA),
    ):
        vectors = cleaned(np.load(three / f"{file}.f32.npy"))
        yield Space(f"msmarco {file}", model, vectors, not file.startswith("passages"))
    # No bound was chosen by what these say.
    for file, model in (
        ("ann-sift5k/base.u8", "SIFT"),
        ("ann-sift5k/queries.u8", "SIFT"),
        ("ann-deep-cohere/deep1b_queries_2000x96.f32", "Deep1B"),
        ("ann-deep-cohere/cohere_wiki_multilingual_v3_1000x1024.i8", "cohere-multilingual-v3"),
    ):
        name = file.split("/")[1].split(".")[0]
        yield Space(f"{model} {name}", model, cleaned(np.load(folder / f"{file}.npy")), False)


def cleaned(vectors: Array) -> Array:
    """Return rows as float32, without those of zeros (Cranfield has two empty documents)."""
    rows = np.asarray(vectors, np.float32)
    return rows[(rows != 0).any(axis=1)]


def arrivals(version: Space, held: Array, spaces: list[Space]) -> Iterator[Arrival]:
    dimension = version.vectors.shape[1]
    yield Arrival("held out", version.name, held, version.queries, False)
    for other in spaces:
        if other.name == version.name or other.vectors.shape[1] < dimension:
            continue
        # Other models' vectors are cut to the version's dimension where they are longer.
        vectors = other.vectors[:, :dimension]
        if other.model != version.model:
            # Two fits of one method, each with its axes in the order of their variance.
            alike = "lsa" in other.model and "lsa" in version.model
            group = "another fit of LSA" if alike else "other model"
            yield Arrival(group, other.name, vectors, other.queries, True)
        elif other.vectors.shape[1] == dimension:
            here = other.name.split()[0] == version.name.split()[0]
            kind = "queries" if other.queries else "documents"
            group = "own queries" if here and other.queries else f"other {kind}"
            yield Arrival(group, other.name, vectors, other.queries, False)
            yield from changed(other.name, vectors)
    yield from changed(version.name, held)


def changed(name: str, vectors: Array) -> Iterator[Arrival]:
    rng = np.random.default_rng(7)
    d = vectors.shape[1]
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    signs = rng.choice([-1, 1], d).astype(np.float32)
    yield Arrival("rotated", name, vectors @ basis, False, True)
    yield Arrival("permuted", name, vectors[:, rng.permutation(d)], False, True)
    yield Arrival("signs flipped", name, vectors * signs, False, True)


def measure(version: Space, spaces: list[Space]) -> list[dict[str, Any]]:
    order = np.random.default_rng(1).permutation(len(version.vectors))
    rows = min(LEARN_ROWS, len(order) // 2 if len(order) > 150 else len(order) * 3 // 4)
    # In the order of the file, as they would be written and held back.
    learned, held = np.sort(order[:rows]), np.sort(order[rows:])
    statistics = geometry.learn(version.vectors[learned])
    results = []
    for arrival in arrivals(version, version.vectors[held], spaces):
        found = {
            str(size): judged(statistics, arrival, size)
            for size in BATCHES
            if size <= len(arrival.vectors)
        }
        results.append(
            {
                "version": version.name,
                "rows": rows,
                "dimension": version.vectors.shape[1],
                "informative": statistics.informative,
                "common": statistics.common,
                "group": arrival.group,
                "arrives": arrival.name,
                "alarm_is_right": arrival.alarm,
                "departure": float(np.nanmean(geometry.departures(statistics, arrival.vectors))),
                "alarms": found,
            }
        )
    return results


def judged(statistics: geometry.GeometryStatistics, arrival: Arrival, size: int) -> float:
    """Return the share of batches of a size that raise an alarm."""
    rng = np.random.default_rng(size)
    rows = len(arrival.vectors)
    kind: geometry.Kind = "query" if arrival.queries else "documents"
    if size == 1:
        picks = [[i] for i in rng.permutation(rows)[:SINGLES]]
    else:
        starts = rng.integers(0, rows - size + 1, DRAWS // 2)
        picks = [list(range(start, start + size)) for start in starts]
        picks += [list(rng.permutation(rows)[:size]) for _ in range(DRAWS // 2)]
    return float(
        np.mean(
            [geometry.suspect(statistics, arrival.vectors[p], kind=kind).suspicious for p in picks]
        )
    )


def show(results: list[dict[str, Any]]) -> None:
    """Print mean and worst rate of alarms of each version and group."""
    table = Table(title="Alarms, % of batches: mean over sets (worst set)")
    for column in ("version", "what arrives", "sets", "departure", *(f"{n} rows" for n in BATCHES)):
        table.add_column(column, justify="right" if column.endswith("rows") else "left")
    keys = list(dict.fromkeys((r["version"], r["group"]) for r in results))
    last = ""
    for version, group in [*keys, *(("ALL", g) for g in dict.fromkeys(g for _, g in keys))]:
        members = [r for r in results if r["group"] == group and version in ("ALL", r["version"])]
        right = members[0]["alarm_is_right"]
        cells = []
        for size in BATCHES:
            rates = [r["alarms"][str(size)] for r in members if str(size) in r["alarms"]]
            worst = (min if right else max)(rates, default=0.0)
            cells.append(f"{np.mean(rates):.1%} ({worst:.1%})" if rates else "-")
        away = f"{np.mean([r['departure'] for r in members]):.2f}"
        shown = "" if version == last else version
        table.add_row(shown, ("! " if right else "  ") + group, str(len(members)), away, *cells)
        last = version
    Console(width=170).print(table)


def costs(spaces: list[Space]) -> list[dict[str, Any]]:
    rows = []
    for version in spaces:
        if version.queries or (len(version.vectors) < 1_000 and "ada" not in version.name):
            continue
        sample = version.vectors[:LEARN_ROWS]
        statistics = geometry.learn(sample)
        query, batch = sample[0].copy(), np.resize(sample, (1_000, sample.shape[1]))
        one = min(
            timeit.repeat(
                lambda: geometry.is_suspect_query(statistics, query), number=300, repeat=50
            )
        )
        many = min(
            timeit.repeat(
                lambda: geometry.suspect(statistics, batch, kind="documents"), number=1, repeat=9
            )
        )
        learn = min(timeit.repeat(lambda: geometry.learn(sample), number=1, repeat=3))
        rows.append(
            {
                "version": version.name,
                "one query, us": one / 300 * 1e6,
                "1,000 rows, ms": many * 1e3,
                "learning, ms": learn * 1e3,
                "bytes": sum(a.nbytes for a in statistics.arrays().values()),
            }
        )
    return rows


def first_rows(spaces: list[Space]) -> list[dict[str, Any]]:
    """Learn from the first rows in the file's order, fewer and more of them."""
    minilm = [s for s in spaces if s.model == "minilm384" and not s.queries]
    rows = []
    for count in FIRST_ROWS:
        rates: dict[tuple[str, int], list[float]] = {}
        for version in (s for s in minilm if len(s.vectors) >= 1.2 * count):
            statistics = geometry.learn(version.vectors[:count])
            for arrival in arrivals(version, version.vectors[count:], spaces):
                group = "same model" if not arrival.alarm else "other or changed model"
                for size in (size for size in BATCHES if size <= len(arrival.vectors)):
                    found = judged(statistics, arrival, size)
                    rates.setdefault((group, size), []).append(found)
        for group in ("same model", "other or changed model"):
            worst = max if group == "same model" else min
            cells = {
                f"{size} rows": f"{np.mean(found):.1%} ({worst(found):.1%})"
                for size in BATCHES
                for found in [rates[group, size]]
            }
            rows.append({"learned from the first": count, "arrives": group, **cells})
    return rows


def canary_results(spaces: list[Space], folder: Path) -> list[dict[str, Any]]:
    """Compare 16 canaries, drawn 200 times, with what became of them."""
    by_name = {space.name: space.vectors for space in spaces}
    rng = np.random.default_rng(0)
    demo = load_scifact()
    minilm = by_name["scifact minilm384_docs"]
    unit = minilm / np.linalg.norm(minilm, axis=1, keepdims=True)
    small = by_name[f"peliculas {SMALL}"]
    cases = {
        "float16": (unit, unit.astype(np.float16)),
        "bfloat16": (unit, bfloat16(unit)),
        "int8, one scale a dimension (demo data)": (minilm, demo.new_documents),
        "int8, one scale a vector": (unit, coded(unit, 127)),
        "int4, one scale a vector": (unit, coded(unit, 7)),
        "asked for 256 dimensions, or 1536 cut (3-small)": (
            np.load(folder / "two-models-peliculas" / "text-embedding-3-small-256.f32.npy"),
            small[:, :256],
        ),
        **{
            f"noise, {share:.0%} of the length": (unit, unit + share * noise(rng, unit.shape))
            for share in (0.01, 0.03, 0.1, 0.3, 1.0)
        },
        **hashed_cases(demo.texts[:600]),
        "rotated": (unit, unit @ np.linalg.qr(rng.standard_normal((384, 384)))[0]),
        "other model: LSA for MiniLM": (minilm, by_name["scifact lsa384_docs"]),
        "other model: 3-small for ada-002": (by_name[f"peliculas {ADA}"], small),
    }
    rows = []
    for name, (stored, fresh) in cases.items():
        found = []
        for _ in range(200):
            picked = rng.permutation(len(stored))[:16]
            found.append(canaries.compare_canaries(stored[picked], fresh[picked], metric="cosine"))
        worst = [float(f.cosines.min()) for f in found]
        verdicts = [f.verdict for f in found]
        rows.append(
            {
                "change": name,
                "least cosine": min(worst),
                "median of the least": float(np.median(worst)),
                "kept, least": min(f.kept for f in found),
                "kept, most": max(f.kept for f in found),
                "verdicts": ", ".join(
                    f"{v} {verdicts.count(v) / 2:g} %" for v in sorted(set(verdicts))
                ),
            }
        )
    return rows


def hashed_cases(texts: list[str]) -> dict[str, tuple[Array, Array]]:
    """Return texts through one embedder, with the preprocessing changed."""
    embedder = HashingEmbedder(384)
    stored = embedder.embed_documents(texts)
    changes = {
        "a prompt before it": lambda t: f"passage: {t}",
        "punctuation stripped": lambda t: re.sub(r"[^\w\s]", "", t),
        "cut after 1,000 characters": lambda t: t[:1_000],
        "cut after 200 characters": lambda t: t[:200],
    }
    found = {
        f"HashingEmbedder, {name}": (stored, embedder.embed_documents([change(t) for t in texts]))
        for name, change in changes.items()
    }
    other = HashingEmbedder(384, seed=1).embed_documents(texts)
    return {**found, "HashingEmbedder, another seed": (stored, other)}


def bfloat16(vectors: Array) -> Array:
    bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
    return ((bits + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32)


def coded(vectors: Array, steps: int) -> Array:
    scale = np.abs(vectors).max(axis=1, keepdims=True) / steps
    return np.rint(vectors / scale) * scale


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape).astype(np.float32) / np.sqrt(shape[1])


def show_plain(title: str, rows: Any) -> None:
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
