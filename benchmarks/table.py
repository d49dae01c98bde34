"""Put the latest results into README.md: ``python -m benchmarks.table``."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measure import RESULTS

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
ORDER = ("ingest", "commit", "open_large", "exact_search", "import_time")


def main() -> None:
    documents = [json.loads((RESULTS / f"{name}.json").read_text()) for name in ORDER]
    machine = documents[0]["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    measured_on = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"
    lines = [f"Measured on: {measured_on}, Python {machine['python']}, {packages}.\n\n"]
    for document in documents:
        lines.append(f"**{document['title']}** (`python -m benchmarks.{document['name']}`)\n\n")
        lines.append(
            "| what | vstore | baseline | ratio | must be | |\n|---|---|---|---|---|---|\n"
        )
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
        lines.append("\n")
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(before + BEGIN + "".join(lines) + END + after)


if __name__ == "__main__":
    main()
