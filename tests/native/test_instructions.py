"""What the code generator makes of a dot product, for processors that are not here as well."""

from __future__ import annotations

import pytest

llvm = pytest.importorskip("llvmlite.binding")
pytest.importorskip("numba")


def assembly(triple: str, features: str) -> str:
    """Return machine code, as text, of a dot product of bytes and half bytes."""
    from llvmlite import ir

    from vstore.native import instructions

    flags = frozenset(flag.lstrip("+") for flag in features.split(",") if flag)
    step = instructions.dot_step(flags)
    byte, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
    module = ir.Module()
    signature = ir.FunctionType(i32, [byte.as_pointer(), byte.as_pointer(), i64])
    function = ir.Function(module, signature, "dot")
    builder = ir.IRBuilder(function.append_basic_block())
    if step is None:
        result = instructions._emit_portable_dot(builder, *function.args)
    else:
        result = instructions._emit_dot(step, builder, *function.args)
    builder.ret(result)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(features=features, opt=3)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    llvm.create_pass_builder(machine, options).getModulePassManager().run(
        parsed, llvm.create_pass_builder(machine, options)
    )
    return str(machine.emit_assembly(parsed))


@pytest.mark.parametrize(
    ("triple", "features", "instruction", "register"),
    [
        ("x86_64-unknown-linux-gnu", "+avx512vnni,+avx512bw,+avx512vl", "vpdpbusd", "zmm"),
        ("x86_64-unknown-linux-gnu", "+avxvnni,+avx2", "vpdpbusd", "ymm"),
        ("x86_64-pc-windows-msvc", "+avx2", "vpmaddubsw", "ymm"),
        ("aarch64-unknown-linux-gnu", "+i8mm,+neon", "usdot", ".16b"),
        ("arm64-apple-macosx", "+neon", "mla", ".4s"),
    ],
)
def test_a_dot_product_is_the_widest_instruction(
    triple: str, features: str, instruction: str, register: str
) -> None:
    lines = assembly(triple, features).splitlines()
    assert any(instruction in line and register in line for line in lines)
