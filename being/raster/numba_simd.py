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

# 2^f on [-0.5, 0.5], lowest power first: Chebyshev fit, relative error 3e-9 before rounding.
_EXP2 = (0.9999999999595484, 0.69314720671062, 0.24022651213596155, 0.05550327214209689, 0.0096180256028427,
         0.0013400432165197131, 0.0001546973201192426)  # fmt: skip
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
