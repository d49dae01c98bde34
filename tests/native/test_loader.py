"""Where machine code comes from, and that nothing fails without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vstore.native import cache, flavour, loader
from vstore.native.llvm_loader import LlvmObject
from vstore.native.object_file import LoadedObject
from vstore.native.signatures import LAYOUTS

ROOT = Path(__file__).parents[2]
ASK = """
import sys
import numpy as np
import vstore
from tests.native.data import clustered, nearest
vectors = clustered(1_500, 16)
with vstore.open(":memory:", indexing="manual") as store:
    docs = store.create_collection("docs")
    docs.create_version("v", vstore.EmbeddingSpec("m", 16, metric="l2"), graph_rows_min=1_000)
    docs.upsert(list(range(1_500)), vectors={"v": vectors})
    if "build" in sys.argv:
        store.optimize()
    found = docs.search(vectors[3] + 0.01, version="v", k=5)
    right = nearest(vectors, (vectors[3] + 0.01)[None], "l2", 5)[0]
    assert len(set(found.ids) & right) >= 4, (found, right)
from vstore.native import loader
print(loader.status()["kernels"], "numba" in sys.modules, "llvmlite" in sys.modules)
"""


def asked(*arguments: str, **environment: str) -> str:
    """Answer a question in a new process and return what it says of its kernels."""
    return ask(ASK, *arguments, cwd=ROOT, **environment)


def ask(code: str, *arguments: str, cwd: Path, **environment: str) -> str:
    """Run code in a new process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a cache that has just been filled."""
    if flavour.host_flavour() is None:
        pytest.skip("this processor is not supported")
    folder = tmp_path_factory.mktemp("cache")
    said = asked("build", VSTORE_CACHE_DIR=str(folder), VSTORE_NATIVE="wait")
    assert said == "native False False"
    (file,) = folder.iterdir()
    return file


def cache_with(path: Path, data: bytes, name: str) -> str:
    path.mkdir(mode=0o700)
    (path / name).write_bytes(data)
    return str(path)


def test_a_filled_cache_is_used_without_numba_and_without_llvm(compiled: Path) -> None:
    before = compiled.stat().st_mtime_ns
    said = asked("build", VSTORE_CACHE_DIR=str(compiled.parent))
    assert said == ("native False False" if sys.platform == "linux" else "native False True")
    assert compiled.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "hash only", "junk"])
def test_a_damaged_cache_is_compiled_again(compiled: Path, tmp_path: Path, damage: str) -> None:
    data = compiled.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    damaged = {
        "cut": data[:-100],
        "flipped": bytes(flipped),
        "empty": b"",
        "hash only": data[:32],
        "junk": b"\x7fELF" * 1_000,
    }[damage]
    place = tmp_path / "cache"
    folder = cache_with(place, damaged, compiled.name)
    assert cache.read_code(place / compiled.name, private=True) is None
    if damage == "flipped":  # once for all: compiling takes a while
        said = asked("build", VSTORE_CACHE_DIR=folder, VSTORE_NATIVE="wait")
        assert said == "native False False"
        assert (place / compiled.name).read_bytes() == data


@pytest.mark.parametrize("executable", ["", None, "/opt/app/bin/app", "C:/App/app.exe"])
def test_a_program_with_python_in_it_is_not_started_again(executable: str | None) -> None:
    assert not loader._is_python(executable)
    assert loader._is_python(sys.executable)


def test_off_means_numpy(tmp_path: Path) -> None:
    said = asked("build", VSTORE_CACHE_DIR=str(tmp_path / "cache"), VSTORE_NATIVE="off")
    assert said == "numpy False False"
    assert not list((tmp_path / "cache").glob("*.bin"))


def test_a_first_question_waits_for_no_compiler(tmp_path: Path) -> None:
    if flavour.host_flavour() is None:
        pytest.skip("this processor is not supported")
    said = asked(VSTORE_CACHE_DIR=str(tmp_path / "cache"))
    assert said == "numpy False False"


def test_a_search_does_not_wait_for_a_thread_that_waits_for_the_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fresh = loader._State()
    monkeypatch.setattr(loader, "_state", fresh)
    with fresh.lock, ThreadPoolExecutor(1) as pool:
        assert pool.submit(loader.kernels).result() is None
    assert not fresh.final


def test_the_compiler_takes_no_module_from_the_working_directory(tmp_path: Path) -> None:
    if flavour.host_flavour() is None:
        pytest.skip("this processor is not supported")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "vstore").mkdir(parents=True)
    for name in ("numba.py", "vstore/__init__.py"):
        (elsewhere / name).write_text("raise SystemExit(3)")
    place = {"VSTORE_CACHE_DIR": str(tmp_path / "cache"), "VSTORE_NATIVE": "wait"}
    code = f"import sys; sys.path[:] = {sys.path!r}; sys.path[0] = {str(ROOT)!r}\n{ASK}"
    assert ask(code, "build", cwd=elsewhere, **place) == "native False False"


@pytest.mark.parametrize("entry", ["''", "__import__('pathlib').Path('/nowhere')"])
def test_any_way_to_find_the_package_will_do(tmp_path: Path, entry: str) -> None:
    if flavour.host_flavour() is None:
        pytest.skip("this processor is not supported")
    for package in ("vstore", "tests"):
        shutil.copytree(ROOT / package, tmp_path / package)
    with (tmp_path / "vstore" / "native" / "arrays.py").open("a") as file:
        file.write("# another's\n")
    place = {"VSTORE_CACHE_DIR": str(tmp_path / "cache"), "VSTORE_NATIVE": "wait"}
    code = f"import sys; sys.path[:0] = ['', {entry}]\n{ASK}"
    assert ask(code, "build", cwd=tmp_path, **place) == "native False False"


def test_a_copy_of_the_package_compiles_its_own_kernels(tmp_path: Path) -> None:
    if flavour.host_flavour() is None:
        pytest.skip("this processor is not supported")
    for package in ("vstore", "tests"):
        shutil.copytree(ROOT / package, tmp_path / "vendor" / package)
    kernels = tmp_path / "vendor" / "vstore" / "native" / "kernels.py"
    kernels.write_text("raise SystemExit(3)")  # so that only another's could be compiled
    place = {"VSTORE_CACHE_DIR": str(tmp_path / "cache"), "VSTORE_NATIVE": "wait"}
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'vendor')!r})\n{ASK}"
    assert ask(code, "build", cwd=tmp_path, **place) == "numpy False False"


def test_other_sources_are_not_compiled_under_this_name(compiled: Path, tmp_path: Path) -> None:
    hashed = loader.source_hash()
    other = tmp_path / compiled.name.replace(hashed, "0" * len(hashed))
    found = flavour.host_flavour()
    assert found is not None
    done = subprocess.run(
        [sys.executable, "-m", "vstore.native.compiler", found.name, str(other)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "sources" in done.stderr
    assert not other.exists()


def test_many_processes_may_start_at_once(tmp_path: Path) -> None:
    if flavour.host_flavour() is None:
        pytest.skip("this processor is not supported")
    with ThreadPoolExecutor(3) as pool:
        said = list(
            pool.map(
                lambda _: asked("build", VSTORE_CACHE_DIR=str(tmp_path), VSTORE_NATIVE="wait"),
                range(3),
            )
        )
    assert said == ["native False False"] * 3
    assert len(list(tmp_path.glob("*"))) == 1, "no temporary file is left"


def test_both_ways_of_loading_find_every_kernel(compiled: Path) -> None:
    code = cache.read_code(compiled, private=True)
    assert code is not None
    ways = [LlvmObject(code)]
    if sys.platform == "linux" and code[18:20] == b"\x3e\0":
        ways.append(LoadedObject(code))  # type: ignore[arg-type]
    for way in ways:
        assert all(way.address(f"vstore_{name}") for name in LAYOUTS)
        with pytest.raises((ValueError, KeyError)):
            way.address("vstore_nothing")


@pytest.mark.skipif(sys.platform != "linux", reason="ELF")
def test_an_object_file_that_is_none_is_refused(compiled: Path) -> None:
    code = cache.read_code(compiled, private=True)
    assert code is not None
    for damaged in (b"", b"\x7fELF", code[:64], b"\0" * 200, code[: len(code) // 2]):
        with pytest.raises(ValueError, match="object file"):
            LoadedObject(damaged)


def test_flavours_go_from_the_most_capable_to_the_least() -> None:
    for machine in ("x86_64", "aarch64"):
        kinds = [kind for kind in flavour.FLAVOURS.values() if kind.machine == machine]
        needs = [len(kind.features) + len(kind.implied) for kind in kinds]
        assert len(kinds) >= 2
        assert needs[-1] == min(needs)


def test_a_forked_child_has_no_part_in_its_parent_s_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It could neither wait for it nor read what it made, and took that for a failure."""
    state = loader._State()
    state.compiler, state.output = object(), "output"  # type: ignore[assignment]
    monkeypatch.setattr(loader, "_state", state)
    loader._after_fork()
    assert state.compiler is None
    assert not state.final
