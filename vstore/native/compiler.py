"""From kernels to one object file: runs numba, in a process of its own.

``python -m vstore.native.compiler FLAVOUR OUTPUT [--to-stdout]`` compiles for a flavour of
processor (`flavour.FLAVOURS`) and writes the object file, or what would stand in it to standard
output. Only public interfaces of numba are used: each kernel's LLVM code as text, linked into one
module, made machine code by llvmlite.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vstore.native.flavour import FLAVOURS, Flavour
from vstore.native.signatures import LAYOUTS


def compile_kernels(flavour: Flavour) -> bytes:
    """Return an object file that defines every kernel under its own name.

    Numba must not have been imported before: the flavour is chosen through its environment.
    """
    os.environ["NUMBA_CPU_NAME"] = flavour.cpu
    os.environ["NUMBA_CPU_FEATURES"] = ",".join(
        f"+{feature}" for feature in (*flavour.implied, *flavour.features)
    )
    import llvmlite.binding as llvm
    import numba

    from vstore.native import kernels

    module = None
    signature = numba.types.int64(numba.types.voidptr)
    for name in LAYOUTS:
        compiled = numba.cfunc(signature, error_model="numpy")(getattr(kernels, name))
        text = compiled.inspect_llvm().replace(compiled.native_name, f"vstore_{name}")
        part = llvm.parse_assembly(text)
        if module is None:
            module = part
        else:
            module.link_in(part)
    assert module is not None
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=flavour.cpu,
        features=os.environ["NUMBA_CPU_FEATURES"],
        opt=3,
        reloc="pic",
        codemodel="small",
    )
    return bytes(machine.emit_object(module))


def main() -> None:
    """Compile for the flavour named on the command line."""
    from vstore.native.cache import signed, write_code
    from vstore.native.loader import file_name

    flavour, output, *options = sys.argv[1:]
    if Path(output).name != file_name(FLAVOURS[flavour]):
        sys.exit(f"asked for {output}, whose sources are not those of {__file__}")
    code = compile_kernels(FLAVOURS[flavour])
    if options == ["--to-stdout"]:
        sys.stdout.buffer.write(signed(code))
    else:
        write_code(output, code)


if __name__ == "__main__":
    main()
