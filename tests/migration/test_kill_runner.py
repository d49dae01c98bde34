"""A runner killed at random moments and run again: the same end, and no batch done twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vstore
from tests.migration.corpus import contents, vector_of
from tests.small_store import rows, spec

RUNNER = "tests.migration.killed_runner"
ROOT = Path(__file__).parents[2]
SEED = 20_261_125
POISON = (17, 200, 201)
STARTUP_MAX_S = 60.0
RUNNING_S = 0.1  # how long a runner may live after its first batch


def make_store(path: Path, count: int) -> None:
    with vstore.open(path) as store:
        docs = store.create_collection("docs", fields={"tenant": "keyword"})
        docs.create_version("old", spec())
        docs.create_version("new", spec("model-new"))
        docs.upsert(
            list(range(count)),
            texts=[f"text {i}" for i in range(count)],
            metadata=[{"tenant": "poison" if i in POISON else "fine"} for i in range(count)],
            vectors={"old": rows(count)},
        )


def wait_for_growth(log: Path, runner: subprocess.Popen[bytes]) -> None:
    before = log.stat().st_size if log.exists() else 0
    deadline = time.monotonic() + STARTUP_MAX_S
    while runner.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.stat().st_size > before:
            return
        time.sleep(0.002)


def embedded_for_sure(log: Path) -> list[int]:
    """Return the ids of every batch that its runner knew to be committed, once for each time."""
    batches: dict[str, list[int]] = {}
    sure: list[int] = []
    for line in log.read_text().splitlines():
        if line == "finished" or " " not in line:
            continue
        pid, rest = line.split(" ", 1)
        if rest == "committed":
            sure += batches.pop(pid, [])
        else:
            batches.setdefault(pid, []).extend(map(int, rest.split()))
    return sure


@pytest.mark.parametrize(
    ("kills", "count"),
    [pytest.param(50, 20_000, marks=pytest.mark.slow), pytest.param(5, 2_000, id="a few")],
)
def test_a_killed_runner_is_run_again_to_the_same_end(
    kills: int, count: int, tmp_path: Path
) -> None:
    path, log = tmp_path / "killed.vstore", tmp_path / "batches.log"
    make_store(path, count)
    rng = random.Random(SEED)
    killed = 0
    command = [sys.executable, "-m", RUNNER, str(path), str(log)]
    for round_ in range(kills):
        runner = subprocess.Popen(command, cwd=ROOT)
        wait_for_growth(log, runner)
        time.sleep(rng.random() * RUNNING_S)
        killed += runner.poll() is None
        runner.kill()
        runner.wait()
        with vstore.open(path) as store:
            docs = store.collection("docs")
            found = contents(docs, "new")
            assert store.check().ok, f"round {round_}, seed {SEED}"
            assert set(embedded_for_sure(log)) <= found.keys(), f"round {round_}, seed {SEED}"
            job = docs.versions["new"].backfill
            if job is not None:
                assert job.documents_done == len(found), f"round {round_}, seed {SEED}"
    assert killed == kills, f"{kills - killed} runners ended by themselves: that is no test"
    subprocess.run(command, cwd=ROOT, check=True)
    with vstore.open(path, mode="r") as store:
        docs = store.collection("docs")
        job = docs.versions["new"].backfill
        assert job is not None
        assert (job.status, job.documents_done) == ("done", count - len(POISON))
        assert {letter.id for letter in job.dead} == set(POISON)
        assert contents(docs, "new") == {
            i: vector_of(f"text {i}").tolist() for i in range(count) if i not in POISON
        }
    sure = embedded_for_sure(log)
    assert len(sure) == len(set(sure)), "a committed batch was embedded again"
