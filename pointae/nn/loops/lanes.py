"""Vectors of numbers for compiled loops: LLVM's own, which fill the processor's where its guesses do not.

Imported by compiled loops alone: it needs numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

LANES = 16
"""Numbers of a vector."""
READ, NEAREST, DATA = 0, 3, 1
"""What LLVM's ``prefetch`` is asked for: data to be read, in the first cache."""
FUSED = ("contract",)
"""A product and a sum may be one instruction."""


class Lanes:
    """Writes vector code of an intrinsic.

    Args:
        context, builder, types, arguments: of the intrinsic's code generator.
        array: number of an argument that is an array of the numbers computed with.
    """

    def __init__(self, context: Any, builder: Any, types: Any, arguments: Any, array: int = 0) -> None:
        self.context, self.builder, self.types, self.arguments = context, builder, types, arguments
        self.scalar = self.flat(array).type.pointee
        self.vector = ir.VectorType(self.scalar, LANES)
        self.align = context.get_abi_alignment(self.scalar)

    def flat(self, number: int) -> Any:
        """Pointer to the first element of an argument that is an array."""
        return self.context.make_array(self.types[number])(self.context, self.builder, self.arguments[number]).data

    def at(self, base: Any, place: Any) -> Any:
        """The element ``base[place]``."""
        return self.builder.load(self.builder.gep(base, [place]))

    def place(self, base: Any, place: Any) -> Any:
        """Pointer to the vector that begins with ``base[place]``."""
        return self.builder.bitcast(self.builder.gep(base, [place]), self.vector.as_pointer())

    def load(self, pointer: Any) -> Any:
        """The vector at a pointer."""
        return self.builder.load(pointer, align=self.align)

    def store(self, values: Any, pointer: Any) -> None:
        """The vector to a pointer."""
        self.builder.store(values, pointer, align=self.align)

    def fetch(self, base: Any, place: Any) -> None:
        """Ask for the vector that begins with ``base[place]``: it comes while other work goes on."""
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        pointer = self.builder.bitcast(self.builder.gep(base, [place]), ir.IntType(8).as_pointer())
        self.builder.call(function, [pointer, *(ir.IntType(32)(i) for i in (READ, NEAREST, DATA))])

    def all(self, number: Any) -> Any:
        """A number in all lanes."""
        nowhere = self.vector(ir.Undefined)
        first = self.builder.insert_element(nowhere, number, ir.IntType(32)(0))
        lane_zero = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
        return self.builder.shuffle_vector(first, nowhere, lane_zero)

    def constant(self, value: float) -> Any:
        """A known number."""
        return ir.Constant(self.scalar, value)

    def add(self, a: Any, b: Any) -> Any:
        """``a + b``."""
        return self.builder.fadd(a, b, flags=FUSED)

    def subtract(self, a: Any, b: Any) -> Any:
        """``a - b``."""
        return self.builder.fsub(a, b, flags=FUSED)

    def multiply(self, *factors: Any) -> Any:
        """The product of all, from the left."""
        product = factors[0]
        for factor in factors[1:]:
            product = self.builder.fmul(product, factor, flags=FUSED)
        return product

    def variable(self, start: Any) -> Any:
        """A place that LLVM keeps in a register."""
        own = cgutils.alloca_once(self.builder, start.type)
        self.builder.store(start, own)
        return own

    def sum(self, own: Any) -> Any:
        """The sum of a variable's lanes."""
        name = f"llvm.vector.reduce.fadd.v{LANES}{self.scalar.intrinsic_name}"
        kind = ir.FunctionType(self.scalar, [self.scalar, self.vector])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [self.constant(-0.0), self.builder.load(own)], fastmath=("reassoc",))

    def keep_rolled(self, block: Any) -> None:
        """Of the loop that a block ends: unrolled, it would load ahead more than the registers hold."""
        module = self.builder.module
        loop = module.add_metadata([module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])])
        loop.operands = (loop, *loop.operands)  # a loop's metadata begin with themselves
        block.terminator.set_metadata("llvm.loop", loop)

    def each(self, count: Any, step: Callable[[Any], None]) -> None:
        """``step(0)``, ``step(LANES)``, ... for ``count`` numbers, a multiple of :data:`LANES`."""
        with cgutils.for_range(self.builder, self.builder.udiv(count, count.type(LANES))) as loop:
            step(self.builder.mul(loop.index, loop.index.type(LANES)))
