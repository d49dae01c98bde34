"""The demo, as a user runs it: to its end, to a file of one's own, and into Ctrl-C."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

import vstore
from vstore.demo.stage import STOPS
from vstore.demo.story import run_demo
from vstore.errors import AlreadyExistsError, MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path

SECONDS_MAX = 600  # a demo that takes longer hangs
SLOTS_LOSS_MAX = 0.005  # nDCG@10 that slots may lose to version 1 at any coverage
DOCUMENTS = 5_183
INTERRUPTS = 3
STARTED = "1. A corpus"

# Where tests run in the background, Ctrl-C is ignored, and children would ignore it too.
HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
RUN = HEED + "import sys; from pathlib import Path; from vstore.demo.story import run_demo; "
RUN_TEMPORARY = RUN + "run_demo(None)"
RUN_KEPT = RUN + "run_demo(Path(sys.argv[1]))"


class Row(NamedTuple):
    coverage: float
    old: float
    new: float
    mixed: float
    slots: float
    evidence: float
    explicit: float
    silent: float


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path), **changes}


def demo(*arguments: str, encoding: str = "utf-8") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(PYTHONIOENCODING=encoding),
        encoding=encoding,
    )


@pytest.fixture(scope="module")
def told() -> str:
    """What the demo prints."""
    process = demo(RUN_TEMPORARY)
    printed, errors = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, errors
    assert not errors
    return printed


@pytest.fixture(scope="module")
def rows(told: str) -> list[Row]:
    """The table of nDCG@10."""
    lines = re.findall(r"^ +(\d+%(?: +[\d.]+%?){7})", told, re.MULTILINE)
    return [
        Row(*(float(cell.rstrip("%")) / (100 if "%" in cell else 1) for cell in line.split()))
        for line in lines
    ]


def test_every_coverage_is_measured(rows: list[Row]) -> None:
    assert [row.coverage for row in rows] == pytest.approx(STOPS, abs=0.006)


def test_slots_is_never_worse_than_version_1(rows: list[Row]) -> None:
    for row in rows:
        assert row.slots >= row.old - SLOTS_LOSS_MAX, row
        assert row.evidence >= row.old - SLOTS_LOSS_MAX, row


def test_slots_is_each_version_at_its_end(rows: list[Row]) -> None:
    assert rows[0].slots == rows[0].old
    assert rows[-1].slots == rows[-1].new


def test_mixing_on_purpose_is_worse_than_version_1_at_first(rows: list[Row]) -> None:
    assert all(row.mixed < row.old for row in rows if row.coverage < 0.4)


def test_no_answer_mixes_versions_silently(rows: list[Row]) -> None:
    assert [row.silent for row in rows] == [0.0] * len(STOPS)
    assert rows[0].explicit == rows[-1].explicit == 0
    assert all(row.explicit > 0 for row in rows[1:-1])


def test_the_kill_costs_nothing(told: str) -> None:
    words = " ".join(told.split())
    assert f"{DOCUMENTS:,} documents committed" in words
    assert "committed twice: 0." in words
    assert re.search(r"Process \d+ killed", words)


def test_each_refusal_is_shown(told: str) -> None:
    assert "VersionMismatchError: " in told
    assert "GateError: cutover to 'papers-v2-minilm' refused" in told


def test_vacuum_shrinks_the_file(told: str) -> None:
    found = re.search(r"had ([\d.]+) MB and has\s+([\d.]+) MB", told)
    assert found is not None
    assert float(found[2]) < 0.75 * float(found[1])


def test_without_a_terminal_nothing_is_animated(told: str) -> None:
    assert "\x1b" not in told
    assert "\r" not in told


def test_a_named_file_stays_and_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "papers.vstore"
    # An encoding that lacks the characters of titles and boxes.
    process = demo(RUN_KEPT, str(path), encoding="ascii")
    printed, errors = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, errors
    assert str(path) in printed.replace("\n   ", "")
    with vstore.open(path, mode="r") as store:
        papers = store.collection("papers")
        assert store.check().ok
        assert len(papers) == DOCUMENTS - 1
        assert papers.coverage("papers-v2-minilm").complete
        assert papers.versions["papers-v1-lsa"].state == "retired"
    with pytest.raises(AlreadyExistsError, match=r"papers\.vstore exists"):
        run_demo(path)


def test_rich_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vstore.demo.story.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"vstore\[cli\]"):
        run_demo(None)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
@pytest.mark.parametrize("seed", range(INTERRUPTS))
def test_interrupt_at_any_moment_leaves_a_file_that_opens(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "papers.vstore"
    process = demo(RUN_KEPT, str(path))
    assert process.stdout is not None
    before = ""
    for line in process.stdout:
        before += line
        if STARTED in line:
            break
    delay_s = random.Random(seed).uniform(0, 6)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    after, errors = process.communicate(timeout=SECONDS_MAX)
    context = f"seed {seed}, after {delay_s:.3f} s: {before[-500:]}{after[-500:]}{errors}"
    assert process.returncode == -signal.SIGINT, context
    assert re.search(r"opens at\s+epoch \d+; check finds nothing\s+wrong", after), context
    with vstore.open(path, timeout_s=0) as store:  # and its lock is free
        assert store.check().ok, context
