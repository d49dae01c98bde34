"""Every byte flipped, every length cut: check tells, and reading is right or raises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.workload import SHORT_LIFE, record
from vstore.storage.faulty import FaultyMedium

if TYPE_CHECKING:
    from collections.abc import Callable

PROBER = "tests.crash.corruption_prober"
SAMPLE_STEP = 97  # prime: meets every field of the repeating layouts in turn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


@pytest.mark.parametrize("kind", ["flipped", "truncated"])
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(1, marks=pytest.mark.slow, id="every byte"),
        pytest.param(SAMPLE_STEP, id="a sample"),
    ],
)
def test_no_damage_goes_unnoticed_or_gives_a_wrong_answer(
    kind: str, step: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    medium = FaultyMedium()
    record(medium, SHORT_LIFE)
    path = tmp_path / "sound.vstore"
    path.write_bytes(medium.tobytes())
    done = subprocess.run(
        [sys.executable, "-m", PROBER, kind, str(path), "0", str(step)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    record_property("points", report["points"])
    assert report["points"] == -(-path.stat().st_size // step)
    assert not report["failures"]
