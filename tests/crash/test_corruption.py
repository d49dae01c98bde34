"""Every byte flipped, every length cut, values forged under fitting checksums: no wrong answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.workload import SHORT_LIFE, TWO_VERSIONS_LIFE, record
from vstore.storage.packing import pack, unpack
from vstore.testing import FaultyMedium

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.crash.workload import Step

READER = "tests.crash.hostile_reader"
SAMPLE_STEP = 97  # prime: meets every field of the repeating layouts in turn
FORGERIES = 20_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


def written(life: list[tuple[str, Step]], path: Path) -> int:
    """Write the file of a workload and return its length."""
    medium = FaultyMedium()
    record(medium, life)
    return path.write_bytes(medium.tobytes())


def problems(path: Path, mode: str, cases: range) -> list[str]:
    """Return what went wrong in a process of its own, which a crash, hang or allocation ends."""
    done = subprocess.run(
        [sys.executable, "-m", READER, path, mode, "0", str(cases.stop), str(cases.step)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    case = path.with_name(path.name + ".case").read_text()
    assert done.returncode == 0, f"{mode} {case} ended it: {done.stderr[-3000:]}"
    *found, last = done.stdout.splitlines()
    assert last == "done"
    return found


@pytest.mark.parametrize("mode", ["flip", "cut"])
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(1, marks=pytest.mark.slow, id="every byte"),
        pytest.param(SAMPLE_STEP, id="a sample"),
    ],
)
def test_no_damage_goes_unnoticed_or_gives_a_wrong_answer(
    mode: str, step: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path = tmp_path / "sound.vstore"
    cases = range(0, written(SHORT_LIFE, path), step)
    record_property("points", len(cases))
    assert not problems(path, mode, cases)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(FORGERIES, marks=pytest.mark.slow, id="many"),
        pytest.param(150, id="a sample"),
    ],
)
def test_a_strangers_file_with_fitting_checksums_is_refused_or_read(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path = tmp_path / "sound.vstore"
    written(TWO_VERSIONS_LIFE, path)
    record_property("points", count)
    assert not problems(path, "forge", range(count))


@pytest.mark.parametrize("value", [{b"x": 1}, [{"deep": [{b"x": 1}]}], {1: 2}])
def test_a_key_that_is_no_string_is_refused_wherever_it_is(value: object) -> None:
    with pytest.raises(ValueError, match=r"key|str"):
        unpack(pack(value))
