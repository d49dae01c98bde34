"""Compiles the kernels when a wheel is built, for the kinds of processors of this machine.

A wheel without them works as well: they are then compiled on first need.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIST = """
import platform
from vstore.native import flavour, loader
machine = flavour.machine()
for kind in flavour.FLAVOURS.values():
    if kind.machine == machine:
        print(kind.name, loader.file_name(kind))
"""


class CompileKernels(BuildHookInterface[Any]):
    """Puts machine code into ``vstore/native/prebuilt`` of the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say that the wheel is for this platform only."""
        if version == "editable" or os.environ.get("VSTORE_BUILD_NATIVE") == "off":
            return
        root = Path(self.root)
        folder = root / "build" / "prebuilt"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            listed = subprocess.run(
                [sys.executable, "-c", LIST], cwd=root, capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"no machine code in this wheel: {error}")
            return
        kinds = [line.split() for line in listed.stdout.splitlines()]
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            made = list(pool.map(lambda kind: self._compile(root, folder, *kind), kinds))
        for path in filter(None, made):
            build_data["force_include"][str(path)] = f"vstore/native/prebuilt/{path.name}"
        if any(made):
            system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{system}"
            build_data["pure_python"] = False
            self.app.display_info(f"machine code for {platform.machine()}: {len(kinds)} kinds")

    def _compile(self, root: Path, folder: Path, flavour: str, name: str) -> Path | None:
        command = [sys.executable, "-m", "vstore.native.compiler", flavour, str(folder / name)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            self.app.display_warning(f"no machine code for {flavour}: {done.stderr[-300:]}")
            return None
        return folder / name
