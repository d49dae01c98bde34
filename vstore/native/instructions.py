"""The few machine instructions that numba has no words for, as intrinsics.

The code generator looks at the features it compiles for (`FEATURES`), so that one kernel source
serves every processor: the dot product of bytes is one instruction per 64 bytes on a processor with
VNNI, and a loop that LLVM vectorises elsewhere. All variants give the same integer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

_BYTE: Final = ir.IntType(8)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)


def target_features() -> frozenset[str]:
    """Return the features of the processor that numba compiles for."""
    chosen: str | None = vars(config)["CPU_FEATURES"]  # set from the environment
    flags = llvmlite.binding.get_host_cpu_features().flatten() if chosen is None else chosen
    return frozenset(flag[1:] for flag in flags.split(",") if flag.startswith("+"))


FEATURES: Final = target_features()


def _address(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(builder.bitcast(data, _BYTE.as_pointer()), [offset])


class _DotStep:
    """One instruction that multiplies unsigned by signed bytes and adds into 32-bit lanes."""

    def __init__(self, name: str, lanes: int) -> None:
        self.name = name
        self.lanes = lanes
        self.sums = ir.VectorType(_I32, lanes)
        # Since LLVM 22 the operands are bytes; before, the same bits as 32-bit lanes.
        bytes_typed = name.startswith("llvm.aarch64") or (
            llvmlite.binding.llvm_version_info[0] >= 22
        )
        self.operands = ir.VectorType(_BYTE, 4 * lanes) if bytes_typed else self.sums

    def call(self, builder: Any, sums: Any, query: Any, code: Any) -> Any:
        """Emit the instruction."""
        signature = ir.FunctionType(self.sums, [self.sums, self.operands, self.operands])
        function = cgutils.get_or_insert_function(builder.module, signature, self.name)
        return builder.call(function, [sums, query, code])


class _Avx2Step(_DotStep):
    """Three instructions for one: products in pairs as 16 bits, in fours as 32, added.

    Of bytes below 16 no pair of products is too large for 16 bits.
    """

    def __init__(self) -> None:
        super().__init__("llvm.x86.avx2.pmadd.wd", 8)
        self.operands = ir.VectorType(_BYTE, 32)
        self._pairs = ir.VectorType(ir.IntType(16), 16)

    def call(self, builder: Any, sums: Any, query: Any, code: Any) -> Any:
        """Emit the instructions."""
        bytes_signature = ir.FunctionType(self._pairs, [self.operands, self.operands])
        products = cgutils.get_or_insert_function(
            builder.module, bytes_signature, "llvm.x86.avx2.pmadd.ub.sw"
        )
        signature = ir.FunctionType(self.sums, [self._pairs, self._pairs])
        function = cgutils.get_or_insert_function(builder.module, signature, self.name)
        ones = ir.Constant(self._pairs, [1] * 16)
        fours = builder.call(function, [builder.call(products, [query, code]), ones])
        return builder.add(sums, fours)


def dot_step(features: frozenset[str]) -> _DotStep | None:
    """Return the widest byte dot product of a processor, None if it has none."""
    if "avx512vnni" in features:
        return _DotStep("llvm.x86.avx512.vpdpbusd.512", 16)
    if "avxvnni" in features:
        return _DotStep("llvm.x86.avx512.vpdpbusd.256", 8)
    if "i8mm" in features:
        return _DotStep("llvm.aarch64.neon.usdot.v4i32.v16i8", 4)
    if "avx2" in features:
        return _Avx2Step()
    return None


def _emit_dot(step: _DotStep, builder: Any, query: Any, plane: Any, size: Any) -> Any:
    """Emit the loop over 64 bytes of a plane; two running sums hide the instruction's latency."""
    zero = ir.Constant(step.sums, [0] * step.lanes)
    sums = [cgutils.alloca_once_value(builder, zero) for _ in range(2)]
    width = 4 * step.lanes
    halves = ir.VectorType(_BYTE, width)

    def load(pointer: Any, at: Any, kind: Any) -> Any:
        typed = builder.bitcast(builder.gep(pointer, [at]), kind.as_pointer())
        return builder.load(typed, align=1)

    with cgutils.for_range(builder, builder.udiv(size, ir.Constant(_I64, 128)), intp=_I64) as loop:
        from_plane = builder.mul(loop.index, ir.Constant(_I64, 64))
        from_query = builder.mul(loop.index, ir.Constant(_I64, 128))
        for offset in range(0, 64, width):
            both = load(plane, builder.add(from_plane, ir.Constant(_I64, offset)), halves)
            first = builder.and_(both, ir.Constant(halves, [15] * width))
            second = builder.lshr(both, ir.Constant(halves, [4] * width))
            for slot, nibbles in enumerate((first, second)):
                at = builder.add(from_query, ir.Constant(_I64, offset + 64 * slot))
                total = step.call(
                    builder,
                    builder.load(sums[slot]),
                    builder.bitcast(nibbles, step.operands),
                    load(query, at, step.operands),
                )
                builder.store(total, sums[slot])
    total = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(_I32, [step.sums]),
        f"llvm.vector.reduce.add.v{step.lanes}i32",
    )
    return builder.call(total, [builder.add(builder.load(sums[0]), builder.load(sums[1]))])


def _emit_portable_dot(builder: Any, query: Any, plane: Any, size: Any) -> Any:
    """Emit plain loops in 32-bit integers, which LLVM vectorises."""
    total = cgutils.alloca_once_value(builder, ir.Constant(_I32, 0))

    def term(nibble: Any, at: Any) -> Any:
        q = builder.sext(builder.load(builder.gep(query, [at])), _I32)
        return builder.mul(q, builder.zext(nibble, _I32))

    with cgutils.for_range(builder, builder.udiv(size, ir.Constant(_I64, 128)), intp=_I64) as loop:
        from_plane = builder.gep(plane, [builder.mul(loop.index, ir.Constant(_I64, 64))])
        from_query = builder.mul(loop.index, ir.Constant(_I64, 128))
        with cgutils.for_range(builder, ir.Constant(_I64, 64), intp=_I64) as inner:
            both = builder.load(builder.gep(from_plane, [inner.index]))
            first = builder.add(from_query, inner.index)
            second = builder.add(first, ir.Constant(_I64, 64))
            terms = builder.add(
                term(builder.and_(both, ir.Constant(_BYTE, 15)), first),
                term(builder.lshr(both, ir.Constant(_BYTE, 4)), second),
            )
            builder.store(builder.add(builder.load(total), terms), total)
    return builder.load(total)


@intrinsic
def dot(
    _typing: Any, query: Any, plane: Any, offset: Any, size: Any
) -> tuple[Any, Callable[..., Any]]:
    """Sum query[i] times half byte i, i8 times u4, in an i32 that wraps.

    ``size`` is a multiple of 128. Of every 64 bytes of the plane, from ``offset`` on, the first 64
    elements are the lower four bits and the next 64 the upper four.
    """
    signature = types.int32(query, plane, types.int64, types.int64)
    step = dot_step(FEATURES)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        q = _address(context, builder, sig.args[0], args[0], ir.Constant(_I64, 0))
        p = _address(context, builder, sig.args[1], args[1], args[2])
        if step is None:
            return _emit_portable_dot(builder, q, p, args[3])
        return _emit_dot(step, builder, q, p, args[3])

    return signature, generate


@intrinsic
def pointer(_typing: Any, word: Any) -> tuple[Any, Callable[..., Any]]:
    """Return an address as a pointer, for `numba.carray`."""

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@intrinsic
def prefetch(_typing: Any, array: Any, offset: Any) -> tuple[Any, Callable[..., Any]]:
    """Ask for the cache line at a byte offset into an array; it need not be mapped."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        where = _address(context, builder, sig.args[0], args[0], args[1])
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _I32, _I32, _I32]),
            "llvm.prefetch.p0",
        )
        read, keep, data = (ir.Constant(_I32, value) for value in (0, 3, 1))
        builder.call(function, [where, read, keep, data])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


_ENTRIES: Final = ir.VectorType(_I64, 8)
_ENTRIES_ORDER: Final = ir.VectorType(_I32, 8)


@intrinsic
def insert_entry(_typing: Any, pool: Any, room: Any, entry: Any) -> tuple[Any, Callable[..., Any]]:
    """Insert into a sorted pool; the last entry falls out.

    ``new[i] = min(old[i], max(old[i - 1], entry))``, eight at a time, from the end to where the
    entry belongs. ``room`` is a multiple of 8, and positive.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = _address(context, builder, sig.args[0], args[0], ir.Constant(_I64, 0))
        splat = builder.insert_element(ir.Constant(_ENTRIES, ir.Undefined), args[2], _I32(0))
        splat = builder.shuffle_vector(splat, splat, ir.Constant(_ENTRIES_ORDER, [0] * 8))

        def chunk(index: Any) -> Any:
            where = builder.gep(base, [builder.mul(index, ir.Constant(_I64, 8))])
            return builder.bitcast(where, _ENTRIES.as_pointer())

        def merge(old: Any, before: Any, where: Any) -> None:
            later = builder.select(builder.icmp_signed(">", before, splat), before, splat)
            new = builder.select(builder.icmp_signed("<", old, later), old, later)
            builder.store(new, where, align=8)

        # A load is of what one store wrote: of halves of two, the processor would wait for both.
        order = ir.Constant(_ENTRIES_ORDER, [15, *range(7)])
        last = builder.sub(args[1], ir.Constant(_I64, 8))
        start = builder.basic_block
        check, body, first, done = (
            builder.append_basic_block(name) for name in ("check", "body", "first", "done")
        )
        top = builder.load(chunk(last), align=8)
        builder.branch(check)
        builder.position_at_end(check)
        index, old = builder.phi(_I64), builder.phi(_ENTRIES)
        builder.cbranch(builder.icmp_signed(">", index, ir.Constant(_I64, 0)), body, first)
        builder.position_at_end(body)
        under = builder.sub(index, ir.Constant(_I64, 8))
        lower = builder.load(chunk(under), align=8)
        merge(old, builder.shuffle_vector(old, lower, order), chunk(index))
        for phi, before, value in (
            (index, start, last), (index, body, under), (old, start, top), (old, body, lower)
        ):  # fmt: skip
            phi.add_incoming(value, before)
        reached = builder.extract_element(lower, _I32(7))
        builder.cbranch(builder.icmp_signed("<=", reached, args[2]), done, check)
        builder.position_at_end(first)
        lowest = ir.Constant(_ENTRIES, [-(2**63)] * 8)
        merge(old, builder.shuffle_vector(old, lowest, order), chunk(ir.Constant(_I64, 0)))
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(pool, types.int64, types.int64), generate


def _lane_sums(*, halves: bool, distance: bool) -> Any:
    """Make an intrinsic that sums terms of a stored vector and a query, eight lanes at a time.

    Vector code in so many words: LLVM does not find it in a loop over eight scalars, and may not
    change the order of a sum, which is that of NumPy.
    """
    lanes = 8
    doubles = ir.VectorType(ir.DoubleType(), lanes)
    stored = ir.VectorType(ir.HalfType() if halves else ir.FloatType(), lanes)

    @intrinsic
    def lane_sums(
        _typing: Any, vectors: Any, offset: Any, query: Any, start: Any, length: Any
    ) -> tuple[Any, Callable[..., Any]]:
        """Sum terms, and squares, of ``length`` elements, a multiple of 8.

        Terms are (v - q) squared for a distance, else v times q. Offsets are in bytes.
        """
        pair = types.UniTuple(types.float64, 2)
        signature = pair(vectors, types.int64, query, types.int64, types.int64)

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            v = _address(context, builder, sig.args[0], args[0], args[1])
            q = _address(context, builder, sig.args[2], args[2], args[3])
            zero = ir.Constant(doubles, [0.0] * lanes)
            terms = cgutils.alloca_once_value(builder, zero)
            squares = cgutils.alloca_once_value(builder, zero)
            steps = builder.udiv(args[4], ir.Constant(_I64, lanes))
            with cgutils.for_range(builder, steps, intp=_I64) as loop:
                v_at = builder.mul(loop.index, ir.Constant(_I64, lanes * (2 if halves else 4)))
                q_at = builder.mul(loop.index, ir.Constant(_I64, lanes * 8))
                values = builder.load(
                    builder.bitcast(builder.gep(v, [v_at]), stored.as_pointer()), align=2
                )
                values = builder.fpext(values, doubles)
                wanted = builder.load(
                    builder.bitcast(builder.gep(q, [q_at]), doubles.as_pointer()), align=8
                )
                if distance:
                    difference = builder.fsub(values, wanted)
                    term = builder.fmul(difference, difference)
                else:
                    term = builder.fmul(values, wanted)
                    square = builder.fmul(values, values)
                    builder.store(builder.fadd(builder.load(squares), square), squares)
                builder.store(builder.fadd(builder.load(terms), term), terms)
            results = [_in_pairs(builder, builder.load(sums)) for sums in (terms, squares)]
            return context.make_tuple(builder, pair, results)

        return signature, generate

    return lane_sums


def _in_pairs(builder: Any, sums: Any) -> Any:
    parts = [builder.extract_element(sums, ir.Constant(_I32, lane)) for lane in range(8)]
    while len(parts) > 1:
        parts = [builder.fadd(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


single_products = _lane_sums(halves=False, distance=False)
single_distances = _lane_sums(halves=False, distance=True)
half_products = _lane_sums(halves=True, distance=False)
half_distances = _lane_sums(halves=True, distance=True)


@intrinsic
def half_to_double(_typing: Any, bits: Any) -> tuple[Any, Callable[..., Any]]:
    """Return the value of IEEE half-precision bits (u16), exactly."""

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        single = builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())
        return builder.fpext(single, ir.DoubleType())

    return types.float64(types.uint16), generate
