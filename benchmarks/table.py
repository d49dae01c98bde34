"""Put the latest results into README.md: ``python -m benchmarks.table``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.compare import filtered, scale
from benchmarks.compare.search import not_shown
from benchmarks.measure import RESULTS
from benchmarks.quality import table as quality

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
QUALITY = "<!-- quality -->\n", "<!-- end of quality -->\n"
ORDER = ("ingest", "commit", "open_large", "exact_search", "import_time")
MIGRATION = ("hot_first", "dual_read", "overhead", "guard_overhead")


def main() -> None:
    documents = [json.loads((RESULTS / f"{name}.json").read_text()) for name in ORDER]
    lines = [f"Measured on: {_place(documents[0]['machine'])}.\n\n"]
    for document in documents:
        lines += _comparisons(document)
    for name in MIGRATION:
        path = RESULTS / f"{name}.json"
        if path.exists():
            lines += _comparisons(json.loads(path.read_text()))
    for name in ("process", "first_use", "single", "threads"):
        path = RESULTS / f"compare-{name.replace('_', '-')}.json"
        if path.exists():
            lines += _comparisons(json.loads(path.read_text()), f"compare.{name}")
    for kind, shown in (
        ("compare-*x*", _curves),
        ("filtered-*", _filtered),
        ("scale-*", _scale),
        ("growth", _growth),
    ):
        for path in sorted(RESULTS.glob(f"{kind}.json")):
            lines += shown(json.loads(path.read_text()), path.with_suffix(".png"))
    reports = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("quality-*.json"))]
    text = _replaced(README.read_text(), BEGIN, END, lines)
    README.write_text(_replaced(text, *QUALITY, quality.tables(reports)))


def _replaced(text: str, begin: str, end: str, lines: list[str]) -> str:
    before, rest = text.split(begin)
    return before + begin + "".join(lines) + end + rest.split(end)[1]


def _place(machine: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"
    return f"{where}, Python {machine['python']}, {packages}"


def _comparisons(document: dict[str, Any], module: str | None = None) -> list[str]:
    command = f"python -m benchmarks.{module or document['name']}"
    lines = [
        f"**{document['title']}** (`{command}`)\n\n",
        "| what | vstore | baseline | ratio | must be | |\n|---|---|---|---|---|---|\n",
    ]
    for row in document["rows"]:
        notes = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row["notes"].items()
        )
        name = f"{row['name']} ({notes})" if notes else row["name"]
        lines.append(
            f"| {name} | {row['ours']:.4g} {row['unit']} "
            f"| {row['baseline']:.4g} {row['unit']} ({row['baseline_name']}) "
            f"| {row['ratio']:.2f} | {row['bound']} | {'ok' if row['passed'] else 'missed'} |\n"
        )
    return [*lines, "\n"]


def _curves(report: dict[str, Any], picture: Path) -> list[str]:
    recalls = list(report["qps_at"])
    ours = {recall: report["qps_at"][recall].get("vstore") for recall in recalls}
    head = " | ".join(f"QPS at recall {recall}" for recall in recalls)
    lines = [
        (
            f"**{report['data']}, k = 10, one thread** (`python -m benchmarks.compare.search`; "
            f"{_place(report['machine'])})\n\n"
        ),
        f"| library | {head} | build s | one query us |\n|---|{'---:|' * (len(recalls) + 2)}\n",
    ]
    for name in report["curves"]:
        cells = []
        for recall in recalls:
            qps, mine = report["qps_at"][recall][name], ours[recall]
            if qps is None:
                cells.append("not reached")
            elif name == "vstore" or not mine:
                cells.append(f"{qps:,.0f}")
            else:
                cells.append(f"{qps:,.0f} ({mine / qps:.1f} x)")
        single = report["single_us"].get(name)
        cells += [f"{report['build_s'][name]:.1f}", "-" if single is None else f"{single:.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |\n")
    lines.append("\nIn brackets: how many times as fast vstore is. ")
    lines.append(f"![recall against speed](results/{picture.name})\n\n")
    return lines + _notes(not_shown(report))


def _filtered(report: dict[str, Any], picture: Path) -> list[str]:
    head = " | ".join(f"{percent} % pass" for percent in report["results"])
    lines = [
        (
            f"**{report['data']}, filtered, k = 10, one thread: QPS of a batch (recall, width), "
            "one query** (`python -m benchmarks.compare.filtered`; "
            f"{_place(report['machine'])})\n\n"
        ),
        f"| library | {head} |\n|---|{'---:|' * len(report['results'])}\n",
    ]
    for name in report["build_s"]:
        cells = [filtered.cell(row[name]) for row in report["results"].values()]
        lines.append(f"| {name} | {' | '.join(cells)} |\n")
    lines.append(f"\n![share against speed](results/{picture.name})\n\n")
    return lines + _notes(filtered.notes(report))


def _scale(report: dict[str, Any], _picture: Path) -> list[str]:
    lines = [
        (
            f"**Scale: {report['data']}** (`python -m benchmarks.compare.scale`; "
            f"{_place(report['machine'])})\n\n"
        ),
        "| what | measured | against raw vectors | must be | |\n|---|---:|---:|---|---|\n",
    ]
    lines += [f"| {' | '.join(row)} |\n" for row in scale.rows_of(report)]
    return [*lines, "\n"]


def _growth(report: dict[str, Any], picture: Path) -> list[str]:
    lines = [
        (
            f"**Growth: {report['data']}, recall {report['recall_wanted']}, one thread** "
            f"(`python -m benchmarks.compare.growth`; {_place(report['machine'])})\n\n"
        ),
        "| rows | us per query | recall reached | segments |\n|---:|---:|---:|---:|\n",
    ]
    lines += [
        f"| {point['rows']:,} | {point['query_us']:.1f} | {point['recall']:.3f} "
        f"| {point['segments']} |\n"
        for point in report["points"]
    ]
    lines.append(
        f"\n{report['rows_ratio']:.0f} times the rows take {report['time_ratio']:.2f} times "
        "the time. "
    )
    return [*lines, f"![time against rows](results/{picture.name})\n\n"]


def _notes(notes: list[str]) -> list[str]:
    return ["".join(f"- {note}\n" for note in notes), "\n"] if notes else []


if __name__ == "__main__":
    main()
