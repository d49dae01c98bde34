"""``vstore demo`` hands over to the story."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vstore.demo import story

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from rich.console import Console

    from tests.cli.running import Ran


def test_the_story_gets_the_path_and_a_console(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []

    def told(path: Path | None, console: Console) -> None:
        asked.append(path)
        console.print("a story [of] :smile:")

    monkeypatch.setattr(story, "run_demo", told)
    assert run("demo").out == "a story [of] :smile:\n"
    run("demo", "--keep", "kept.vstore")
    assert asked == [None, Path("kept.vstore")]


def test_an_existing_file_is_not_overwritten(run: Callable[..., Ran], store: Path) -> None:
    before = store.read_bytes()
    assert "exists" in run("demo", "--keep", store, code=7).err
    assert store.read_bytes() == before
