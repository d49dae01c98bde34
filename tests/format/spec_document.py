"""`format-spec.md`, taken apart: sections, tables, fenced blocks."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

PATH = Path(__file__).parents[2] / "format-spec.md"

Row = dict[str, str]


@cache
def sections() -> dict[str, str]:
    """Return the text of each section by its heading, subsections apart."""
    found: dict[str, str] = {}
    heading, fenced = "", False
    for line in PATH.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if not fenced and re.match(r"#{1,3} ", line):
            heading = line.lstrip("#").strip()
            assert heading not in found, f"two sections {heading!r}"
            found[heading] = ""
        else:
            found[heading] = found.get(heading, "") + line + "\n"
    return found


def prose(heading: str) -> str:
    """Return the text of a section with its lines joined."""
    return " ".join(sections()[heading].split())


def tables(heading: str) -> list[list[Row]]:
    """Return the tables of a section; a row is its cells by column, without backticks."""
    found: list[list[Row]] = []
    header: list[str] | None = None
    for line in sections()[heading].splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line.strip()[1:-1])]
        cells = [cell.replace("\\|", "|").replace("`", "") for cell in cells]
        if header is None:
            header = cells
            found.append([])
        elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            assert len(cells) == len(header), f"{heading}: {line}"
            found[-1].append(dict(zip(header, cells, strict=True)))
    return found


def table(heading: str, number: int = 0) -> list[Row]:
    """Return one table of a section."""
    return tables(heading)[number]


def fenced(heading: str, kind: str) -> str:
    """Return the fenced block of a kind in a section."""
    found = re.search(rf"```{re.escape(kind)}\n(.*?)\n```", sections()[heading], re.DOTALL)
    assert found, f"{heading}: no block {kind}"
    return found[1]


def integer(text: str) -> int:
    """Return a number written with separators."""
    return int(text.replace(",", ""))
