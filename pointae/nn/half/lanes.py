"""Vectors of float32 and of bf16 for compiled loops.

Imported by compiled loops alone: it needs numba.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import config
from numba.core import cgutils

from pointae.nn.loops.lanes import LANES, Lanes

_IS_HOST = config.CPU_NAME is None and config.CPU_FEATURES is None  # numba compiles for this very processor
HAS_DOTS = _IS_HOST and bool(binding.get_host_cpu_features().get("avx512bf16"))
"""Whether the processor multiplies bf16 itself; where it does not the same is computed in float32, slowly."""

WORD, HALF = ir.IntType(32), ir.IntType(16)
WORDS, HALVES = ir.VectorType(WORD, LANES), ir.VectorType(HALF, LANES)


def whole(value: int) -> Any:
    """A whole number in all lanes."""
    return ir.Constant(WORDS, [value] * LANES)


class HalfLanes(Lanes):
    """Vectors of float32; bf16 lie in arrays of words (int32), two in each, the first in its lower half."""

    def __init__(self, context: Any, builder: Any, types: Any, arguments: Any) -> None:
        super().__init__(context, builder, types, arguments)
        self.scalar, self.align = ir.FloatType(), 4
        self.vector = ir.VectorType(self.scalar, LANES)

    def word(self, place: Any) -> Any:
        """The word of a bf16 number at an even place."""
        return self.builder.udiv(place, place.type(2))

    def words(self, base: Any, place: Any) -> Any:
        """The vector of words that begins with ``base[place]``."""
        return self.builder.load(self.builder.bitcast(self.builder.gep(base, [place]), WORDS.as_pointer()), align=4)

    def halves(self, base: Any, place: Any) -> Any:
        """Pointer to the vector of bf16 that begins with word ``base[place]``."""
        return self.builder.bitcast(self.builder.gep(base, [place]), HALVES.as_pointer())

    def read(self, base: Any, place: Any) -> Any:
        """The same vector of bf16, in float32."""
        wide = self.builder.zext(self.builder.load(self.halves(base, place), align=4), WORDS)
        return self.builder.bitcast(self.builder.shl(wide, whole(16)), self.vector)

    def write(self, values: Any, base: Any, place: Any) -> None:
        """A vector of float32 to where bf16 lie, rounded to the nearest, halves to even."""
        builder, bits = self.builder, self.builder.bitcast(values, WORDS)
        last = builder.and_(builder.lshr(bits, whole(16)), whole(1))
        rounded = builder.add(bits, builder.add(last, whole(0x7FFF)))
        narrow = builder.trunc(builder.lshr(rounded, whole(16)), HALVES)
        builder.store(narrow, self.halves(base, place), align=4)

    def all_words(self, word: Any) -> Any:
        """A word in all lanes."""
        nowhere = WORDS(ir.Undefined)
        first = self.builder.insert_element(nowhere, word, WORD(0))
        return self.builder.shuffle_vector(first, nowhere, ir.Constant(WORDS, None))

    def dot(self, sums: Any, a: Any, b: Any) -> Any:
        """Sums, and to each added the products of both halves of a word of ``a`` with those of a word of ``b``."""
        if HAS_DOTS:
            kind, name = ir.FunctionType(self.vector, [self.vector, WORDS, WORDS]), "llvm.x86.avx512bf16.dpbf16ps.512"
            return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [sums, a, b])
        lower = [self.builder.shl(words, whole(16)) for words in (a, b)]
        upper = [self.builder.and_(words, whole(0xFFFF0000)) for words in (a, b)]
        for factors in (lower, upper):
            sums = self.add(sums, self.multiply(*(self.builder.bitcast(bits, self.vector) for bits in factors)))
        return sums

    def number(self, value: float) -> Any:
        """A known number in all lanes."""
        return ir.Constant(self.vector, [value] * LANES)

    def larger(self, a: Any, b: Any) -> Any:
        """The larger of two, ``b`` where one is no number."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def where_above_zero(self, condition: Any, a: Any) -> Any:
        """``a``, and 0 where the condition is not above 0."""
        is_above = self.builder.fcmp_ordered(">", condition, self.number(0.0))
        return self.builder.select(is_above, a, self.number(0.0))

    def largest(self, values: Any) -> Any:
        """The largest of a vector's lanes."""
        name, kind = f"llvm.vector.reduce.fmax.v{LANES}f32", ir.FunctionType(self.scalar, [self.vector])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [values], fastmath=("nnan",))

    def exp(self, x: Any) -> Any:
        """``exp(x)`` of x <= 0 to 2e-7 of it, 0 below -87; what is no number stays none.

        2^n times the Taylor series of the rest, at most ln 2 / 2.
        """
        builder, number = self.builder, self.number
        near = self.larger(x, number(-87.0))
        shift = number(12582912.0)  # 1.5 * 2^23: what is added to it is rounded to a whole number
        power = builder.fsub(builder.fadd(builder.fmul(near, number(1.4426950408889634)), shift), shift)
        rest = self.subtract(near, self.multiply(power, number(0.693359375)))
        rest = self.subtract(rest, self.multiply(power, number(-2.12194440e-4)))
        series = number(1 / 720)
        for factor in (1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0):
            series = self.add(self.multiply(series, rest), number(factor))
        exponent = builder.shl(builder.fptosi(power, WORDS), whole(23))
        scaled = builder.bitcast(builder.add(builder.bitcast(series, WORDS), exponent), self.vector)
        told = builder.select(builder.fcmp_ordered("<", x, number(-87.0)), number(0.0), scaled)
        return builder.select(builder.fcmp_unordered("uno", x, x), x, told)

    def normal(self, x: Any) -> tuple[Any, Any]:
        """The normal distribution at x: what lies below, to 1e-7, and its density.

        Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.26.
        """
        builder, number = self.builder, self.number
        is_below = builder.fcmp_ordered("<", x, number(0.0))
        distance = builder.select(is_below, builder.fneg(x), x)
        t = builder.fdiv(number(1.0), self.add(number(1.0), self.multiply(distance, number(0.3275911 * 0.5**0.5))))
        series = number(1.061405429)
        for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            series = self.add(self.multiply(series, t), number(factor))
        falling = self.exp(self.multiply(x, x, number(-0.5)))
        outside = self.multiply(series, t, falling, number(0.5))
        below = builder.select(is_below, outside, self.subtract(number(1.0), outside))
        return below, self.multiply(falling, number(0.3989422804014327))
