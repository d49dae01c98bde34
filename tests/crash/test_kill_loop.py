"""A writer killed at random moments: nothing that it acknowledged is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import vstore

if TYPE_CHECKING:
    from collections.abc import Callable

WRITER = "tests.crash.killed_writer"
ROOT = Path(__file__).parents[2]
SEED = 20_261_124
EARLY_SHARE = 0.2  # of kills that do not wait for a commit: they meet imports and creation
EARLY_S, WRITING_S = 0.4, 0.1  # how long a writer lives at most: in all, after its last commit
COMMITS_MAX = 4  # that a round waits for
STARTUP_MAX_S = 60.0


def acknowledged(log: Path) -> set[str]:
    """Return the ids that must be there."""
    ids: set[str] = set()
    for line in log.read_text().splitlines() if log.exists() else []:
        word, *rest = line.split()
        if word == "+":
            ids |= {f"{rest[0]}-{i}" for i in range(int(rest[1]))}
        else:
            ids.clear()
    return ids


def commits(log: Path) -> int:
    """Return how many commits were acknowledged."""
    return log.read_text().count("+ ") if log.exists() else 0


def wait_for_commits(log: Path, writer: subprocess.Popen[bytes], number: int) -> None:
    """Return when the writer has acknowledged so many commits more."""
    wanted = commits(log) + number
    deadline = time.monotonic() + STARTUP_MAX_S
    while writer.poll() is None and time.monotonic() < deadline:
        if commits(log) >= wanted:
            return
        time.sleep(0.005)


@pytest.mark.parametrize(
    "rounds", [pytest.param(200, marks=pytest.mark.slow), pytest.param(6, id="a few")]
)
def test_a_killed_writer_loses_nothing_it_acknowledged(
    rounds: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path, log = tmp_path / "killed.vstore", tmp_path / "acknowledged.log"
    rng = random.Random(SEED)
    for round_ in range(rounds):
        writer = subprocess.Popen([sys.executable, "-m", WRITER, str(path), str(log)], cwd=ROOT)
        if rng.random() < EARLY_SHARE:
            time.sleep(rng.random() * EARLY_S)
        else:
            wait_for_commits(log, writer, rng.randint(1, COMMITS_MAX))
            time.sleep(rng.random() * WRITING_S)
        assert writer.poll() is None, f"round {round_}: the writer ended by itself"
        writer.kill()
        writer.wait()
        if not path.exists():
            continue
        expected = acknowledged(log)
        with vstore.open(path) as store:  # as the next writer would: the lock died with the last
            if expected:
                found = set(store.collection("docs").ids())
                assert expected <= found, f"round {round_}, seed {SEED}: lost {expected - found}"
            assert store.check().problems == (), f"round {round_}, seed {SEED}"
    assert commits(log) > rounds, f"{commits(log)} commits in {rounds} rounds are no test"
    assert not list(tmp_path.glob("*-vacuum"))
    record_property("points", rounds)
