"""A row of a matrix as one vector of the processor, for compiled loops over rows.

The compiler turns loops over a row's few numbers into vector instructions only behind checks that cost more than the
work. Here the number of columns is part of the type: `shape` is a tuple of that length, of whatever content. All
matrices are C-contiguous with that many columns, float32 but for an accumulator's int64. Their width and the indices
are not checked. Compiled callers are cached by their own file's date: after a change here, touch them.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

_inlined: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic

_FLAGS = ("reassoc", "contract", "nsz", "arcp", "afn")
_FLOAT, _DOUBLE, _INT64 = ir.FloatType(), ir.DoubleType(), ir.IntType(64)


@_inlined
def dot(typing: Any, shape: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
    """a[i] . b[j], as float32."""

    def generate(row: "_Row") -> ir.Value:
        product = row.builder.fmul(row.load(1, 2), row.load(3, 4), flags=_FLAGS)
        return row.sum_of(product)

    return _signature(types.float32, shape, a, types.intp, b, types.intp), _with_row(generate)


@_inlined
def copy(typing: Any, shape: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
    """a[i] = b[j]"""

    def generate(row: "_Row") -> ir.Value:
        row.store(row.load(3, 4), 1, 2)
        return row.nothing()

    return _signature(types.void, shape, a, types.intp, b, types.intp), _with_row(generate)


@_inlined
def add(typing: Any, shape: Any, a: Any, i: Any, factor: Any, b: Any, j: Any) -> Any:
    """a[i] += factor * b[j]"""

    def generate(row: "_Row") -> ir.Value:
        scaled = row.builder.fmul(row.spread(row.arguments[3]), row.load(4, 5), flags=_FLAGS)
        row.store(row.builder.fadd(row.load(1, 2), scaled, flags=_FLAGS), 1, 2)
        return row.nothing()

    return _signature(types.void, shape, a, types.intp, types.float32, b, types.intp), _with_row(generate)


@_inlined
def add_rounded(typing: Any, shape: Any, a: Any, i: Any, scale: Any, limit: Any, b: Any, j: Any) -> Any:
    """a[i] += scale * b[j], in float64, rounded to the nearest (half to even) and held within +-limit.

    Returns how many numbers met the limit.
    """

    def generate(row: "_Row") -> ir.Value:
        builder, scale, limit = row.builder, row.spread(row.arguments[3]), row.spread(row.arguments[4])
        wide = builder.fmul(builder.fpext(row.load(5, 6), row.vector(_DOUBLE)), scale)
        value = row.call("llvm.rint", row.vector(_DOUBLE), wide)
        held = row.call("llvm.minnum", row.vector(_DOUBLE), value, limit, flags=("nnan",))
        held = row.call("llvm.maxnum", row.vector(_DOUBLE), held, builder.fneg(limit), flags=("nnan",))
        whole = builder.fptosi(held, row.vector(_INT64))
        row.store(builder.add(row.load(1, 2, _INT64), whole), 1, 2, _INT64)
        return row.count_of(builder.fcmp_ordered("!=", held, value))

    arguments = (shape, a, types.intp, types.float64, types.float64, b, types.intp)
    return _signature(types.int64, *arguments, integers=(1,)), _with_row(generate)


def _signature(result: Any, shape: Any, *arguments: Any, integers: tuple[int, ...] = ()) -> Any:
    """Raises TypingError for what is no shape or no such matrix; `integers` are the int64 matrices' places."""
    if not isinstance(shape, types.UniTuple):
        raise TypingError(f"the shape must be a tuple, not {shape}")
    for place, argument in enumerate(arguments, 1):
        wanted = types.int64 if place in integers else types.float32
        if isinstance(argument, types.Array) and (argument.ndim, argument.layout, argument.dtype) != (2, "C", wanted):
            raise TypingError(f"a matrix of rows must be a C-contiguous {wanted} one, not {argument}")
    return result(shape, *arguments)


class _Row:
    """Builds the code of one of the above; its arguments are known by their number."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, arguments: tuple[ir.Value, ...]) -> None:
        self._context, self.builder, self._signature, self.arguments = context, builder, signature, arguments
        self._count = len(signature.args[0])

    def vector(self, element: ir.Type) -> ir.VectorType:
        return ir.VectorType(element, self._count)

    def load(self, matrix: int, index: int, element: ir.Type = _FLOAT) -> ir.Value:
        return self.builder.load(self._place(matrix, index, element), align=8 if element is _INT64 else 4)

    def store(self, value: ir.Value, matrix: int, index: int, element: ir.Type = _FLOAT) -> None:
        self.builder.store(value, self._place(matrix, index, element), align=8 if element is _INT64 else 4)

    def spread(self, value: ir.Value) -> ir.Value:
        """A vector that holds the value in every place."""
        one = ir.VectorType(value.type, 1)
        single = self.builder.insert_element(ir.Constant(one, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        places = ir.Constant(ir.VectorType(ir.IntType(32), self._count), [0] * self._count)
        return self.builder.shuffle_vector(single, single, places)

    def sum_of(self, value: ir.Value) -> ir.Value:
        kind = ir.FunctionType(_FLOAT, [_FLOAT, value.type])
        name = f"llvm.vector.reduce.fadd.v{self._count}f32"
        return self._called(name, kind, [ir.Constant(_FLOAT, -0.0), value], _FLAGS)

    def call(self, name: str, result: ir.Type, *values: ir.Value, flags: tuple[str, ...] = ()) -> ir.Value:
        kind = ir.FunctionType(result, [value.type for value in values])
        return self._called(f"{name}.v{self._count}f64", kind, list(values), flags)

    def count_of(self, truths: ir.Value) -> ir.Value:
        """How many places of a vector of truths hold one."""
        bits = ir.IntType(max(self._count, 64))
        packed = self.builder.bitcast(truths, ir.IntType(self._count))
        packed = self.builder.zext(packed, bits) if self._count < 64 else packed
        count = self._called(f"llvm.ctpop.i{bits.width}", ir.FunctionType(bits, [bits]), [packed])
        return self.builder.trunc(count, _INT64) if bits.width > 64 else count

    def nothing(self) -> ir.Value:
        return self._context.get_dummy_value()

    def _called(
        self, name: str, kind: ir.FunctionType, values: list[ir.Value], flags: tuple[str, ...] = ()
    ) -> ir.Value:
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(module, kind, name)
        return self.builder.call(function, values, fastmath=flags)

    def _place(self, matrix: int, index: int, element: ir.Type) -> ir.Value:
        array = self._context.make_array(self._signature.args[matrix])
        data = array(self._context, self.builder, self.arguments[matrix]).data
        start = self.builder.mul(self.arguments[index], ir.Constant(_INT64, self._count))
        return self.builder.bitcast(self.builder.gep(data, [start]), ir.PointerType(self.vector(element)))


def _with_row(generate: Callable[[_Row], ir.Value]) -> Callable[..., ir.Value]:
    return lambda context, builder, signature, arguments: generate(_Row(context, builder, signature, arguments))
