"""Sixteen float32 lanes as one value inside numba kernels.

LLVM is given explicit vectors, which it maps to the machine (one AVX-512 register, two of AVX2, four of NEON), because
its own vectorizer does not keep a matrix product's accumulators in registers. Everything here is callable from `njit`
code only.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np import arrayobj

WIDTH = 16
_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_HALVES = ir.VectorType(ir.HalfType(), WIDTH)
_INTS = ir.VectorType(ir.IntType(32), WIDTH)
_BYTES = ir.VectorType(ir.IntType(8), WIDTH)

# 2^f on [-0.5, 0.5], lowest power first: Chebyshev fit, relative error 3e-9 before rounding.
_EXP2 = (0.9999999999595484, 0.69314720671062, 0.24022651213596155, 0.05550327214209689, 0.0096180256028427,
         0.0013400432165197131, 0.0001546973201192426)  # fmt: skip
# log2(1 + m) on [0, 1], lowest power first: minimax fit, absolute error 1.9e-6.
_LOG2 = (1.84569859e-06, 1.44249532, -7.17791065e-01, 4.56521612e-01, -2.76540646e-01, 1.21002153e-01,
         -2.56910602e-02)  # fmt: skip
_LOG2_E = 1.4426950408889634


class LanesType(types.Type):
    """The numba type of sixteen float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="Float32x16")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _FLOATS)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(arrayobj.make_array(array_type)(context, builder, array).data, [index])


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [float(value)] * WIDTH)


def _spread(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(_FLOATS, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_INTS, [0] * WIDTH))


def _llvm(builder: Any, name: str, *operands: Any) -> Any:
    signature = ir.FunctionType(_FLOATS, [_FLOATS] * len(operands))
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.v{WIDTH}f32")
    return builder.call(function, operands)


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """Lanes array[index : index + 16] of a flat float32 array; no alignment is needed."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        address = _address(context, builder, signature.args[0], *operands)
        value = builder.load(builder.bitcast(address, _FLOATS.as_pointer()))
        value.align = 4
        return value

    return lanes(array, types.intp), generate


@intrinsic
def load_half(typing: Any, array: Any, index: Any) -> Any:
    """Lanes array[index : index + 16] of a flat uint16 array that holds float16 bit patterns."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        address = _address(context, builder, signature.args[0], *operands)
        value = builder.load(builder.bitcast(address, _HALVES.as_pointer()))
        value.align = 2
        return builder.fpext(value, _FLOATS)

    return lanes(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + 16] = value."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        address = _address(context, builder, signature.args[0], *operands[:2])
        builder.store(operands[2], builder.bitcast(address, _FLOATS.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def broadcast(typing: Any, array: Any, index: Any) -> Any:
    """array[index] in every lane."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return _spread(builder, builder.load(_address(context, builder, signature.args[0], *operands)))

    return lanes(array, types.intp), generate


@intrinsic
def fill(typing: Any, scalar: Any) -> Any:
    """A float32 scalar in every lane."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return _spread(builder, operands[0])

    return lanes(types.float32), generate


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return _llvm(builder, "fma", *operands)

    return lanes(lanes, lanes, lanes), generate


@intrinsic
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """The larger of each pair."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *operands), *operands)

    return lanes(lanes, lanes), generate


@intrinsic
def relu(typing: Any, a: Any) -> Any:
    """max(a, 0)."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        zero = _constant(0)
        return builder.select(builder.fcmp_ordered(">", operands[0], zero), operands[0], zero)

    return lanes(lanes), generate


@intrinsic
def root(typing: Any, a: Any) -> Any:
    """Square root."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return _llvm(builder, "sqrt", operands[0])

    return lanes(lanes), generate


@intrinsic
def exp(typing: Any, a: Any) -> Any:
    """e^a to 2e-7 relative; a is clamped to [-87, 88], where float32 is normal."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        x = operands[0]
        x = builder.select(builder.fcmp_ordered("<", x, _constant(88.0)), x, _constant(88.0))
        x = builder.select(builder.fcmp_ordered(">", x, _constant(-87.0)), x, _constant(-87.0))
        whole = _llvm(builder, "rint", builder.fmul(x, _constant(_LOG2_E)))
        # x log2(e) - whole, with log2(e) split in two so that the difference keeps its last bits.
        high = 1.44269502162933349609375  # log2(e) in float32
        part = _llvm(builder, "fma", x, _constant(high), builder.fneg(whole))
        part = _llvm(builder, "fma", x, _constant(_LOG2_E - high), part)
        value = _constant(_EXP2[-1])
        for coefficient in reversed(_EXP2[:-1]):
            value = _llvm(builder, "fma", value, part, _constant(coefficient))
        exponent = builder.add(builder.fptosi(whole, _INTS), ir.Constant(_INTS, [127] * WIDTH))
        power = builder.bitcast(builder.shl(exponent, ir.Constant(_INTS, [23] * WIDTH)), _FLOATS)
        return builder.fmul(value, power)

    return lanes(lanes), generate


@intrinsic
def minimum(typing: Any, a: Any, b: Any) -> Any:
    """The smaller of each pair."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *operands), *operands)

    return lanes(lanes, lanes), generate


@intrinsic
def log2(typing: Any, a: Any) -> Any:
    """log2(a) of positive normal values, to 2e-6."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        bits = builder.bitcast(operands[0], _INTS)
        exponent = builder.sub(builder.lshr(bits, _whole(23)), _whole(127))
        mantissa = builder.or_(builder.and_(bits, _whole(0x7FFFFF)), _whole(0x3F800000))
        part = builder.fsub(builder.bitcast(mantissa, _FLOATS), _constant(1))
        value = _constant(_LOG2[-1])
        for coefficient in reversed(_LOG2[:-1]):
            value = _llvm(builder, "fma", value, part, _constant(coefficient))
        return builder.fadd(value, builder.sitofp(exponent, _FLOATS))

    return lanes(lanes), generate


@intrinsic
def keep_above(typing: Any, a: Any, limit: Any, value: Any) -> Any:
    """`value` in the lanes where a > limit, 0 in the others."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", operands[0], operands[1]), operands[2], _constant(0))

    return lanes(lanes, lanes, lanes), generate


@intrinsic
def any_above(typing: Any, a: Any, limit: Any) -> Any:
    """Whether a > limit in some lane."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        bits = builder.bitcast(builder.fcmp_ordered(">", *operands), ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(WIDTH), 0))

    return types.boolean(lanes, lanes), generate


@intrinsic
def floor_lanes(typing: Any, a: Any) -> Any:
    """The largest whole number not above each value."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return _llvm(builder, "floor", operands[0])

    return lanes(lanes), generate


@intrinsic
def load_bytes(typing: Any, array: Any, index: Any) -> Any:
    """Lanes array[index : index + 16] of a flat uint8 array."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        address = _address(context, builder, signature.args[0], *operands)
        value = builder.load(builder.bitcast(address, _BYTES.as_pointer()))
        value.align = 1
        return builder.uitofp(value, _FLOATS)

    return lanes(array, types.intp), generate


@intrinsic
def store_two_rows(typing: Any, array: Any, upper: Any, lower: Any, value: Any) -> Any:
    """The first eight lanes, cut to whole bytes, to array[upper : upper + 8], the others to array[lower : lower + 8].

    array: flat uint8. Values must lie in [0, 256).
    """

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        whole = builder.trunc(builder.fptosi(operands[3], _INTS), _BYTES)
        halves = builder.bitcast(whole, ir.VectorType(ir.IntType(64), 2))
        for half in range(2):
            address = _address(context, builder, signature.args[0], operands[0], operands[1 + half])
            eight = builder.extract_element(halves, ir.Constant(ir.IntType(32), half))
            builder.store(eight, builder.bitcast(address, ir.IntType(64).as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, lanes), generate


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set, of an int64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return builder.cttz(operands[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


def _whole(value: int) -> ir.Constant:
    return ir.Constant(_INTS, [value] * WIDTH)


def _operator(symbol: Any, instruction: str) -> None:
    """Let `symbol` act on two lane values by one LLVM instruction."""

    @infer_global(symbol)
    class _Typing(ConcreteTemplate):
        cases = [signature(lanes, lanes, lanes)]  # noqa: RUF012 (numba reads this attribute)

    @lower_builtin(symbol, lanes, lanes)
    def _lower(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return getattr(builder, instruction)(*operands)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")
