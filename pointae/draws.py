"""Counter-based randomness: every draw is a pure function of its key and its counter.

A key belongs to one event and one step: ``event_keys(seed, epoch, event, step)``. A draw is
``bits(key, counter)``, the output function of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014,
"Fast splittable pseudorandom number generators") applied to the key advanced by ``counter``.
Nothing is stored between draws, so results depend neither on the composition of a batch, nor
on the number of workers, nor on where a run was resumed; whole batches are drawn at once.
Integers are equal on every device.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from torch import Tensor

from pointae.optional import compiled_loops
from pointae.ordering import WORTH, numbered, stable_order

LOOPS = "pointae.draws_compiled"
_ALL = (1 << 64) - 1


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(word: Tensor, by: int) -> Tensor:
    """Logical shift: torch shifts signed words arithmetically."""
    return (word >> by).bitwise_and_((1 << (64 - by)) - 1)


def _mix(word: Tensor) -> Tensor:
    word = _shift_right(word, 30).bitwise_xor_(word).mul_(_MIX_1)
    word = _shift_right(word, 27).bitwise_xor_(word).mul_(_MIX_2)
    return _shift_right(word, 31).bitwise_xor_(word)


def _mixed(word: int) -> int:
    """:func:`_mix` of one signed word."""
    word &= _ALL
    for by, factor in ((30, _MIX_1), (27, _MIX_2)):
        word = (word ^ word >> by) * factor & _ALL
    return _signed(word ^ word >> 31)


def bits(keys: Tensor, counters: Tensor | int) -> Tensor:
    """64 random bits for each pair of key and counter.

    Args:
        keys: int64, any shape that broadcasts with ``counters``.
        counters: int64, the number of the draw under its key.

    Returns:
        int64 of the broadcast shape, uniform over all 2^64 words.
    """
    if isinstance(counters, int):
        return _mix(keys + _advance(counters))
    if keys.shape == counters.shape and (loops := _loops_for(keys)):
        return torch.from_numpy(loops.bits(keys.numpy(), counters.numpy()))
    return _mix(keys + counters * _GAMMA)


def derive(keys: Tensor, label: int | str | Tensor) -> Tensor:
    """A new key for each key: for a named step, a numbered draw or an index per key."""
    if isinstance(label, Tensor):
        return _mix(_mix(keys) ^ _mix(label * _GAMMA))
    return _mix(_mix(keys).bitwise_xor_(_word_of(label)))


def _word_of(label: int | str) -> int:
    """What a label does to a key: its bits under the key 0."""
    return _mixed(_advance(zlib.crc32(label.encode()) if isinstance(label, str) else label))


def _advance(counter: int) -> int:
    return _signed(counter * _GAMMA & _ALL)


def event_keys(seed: int, epoch: int, event: Tensor, step: str) -> Tensor:
    """Keys of a step for a batch of events.

    Args:
        seed: the run's or data set's seed.
        epoch: epoch of a training, 0 where there is none.
        event: (B,) int64, number of each event in its data set.
        step: name of the step that draws, e.g. ``"smear"``.

    Returns:
        (B,) int64.
    """
    key = 0
    for label in (seed, epoch, step):  # the same for all events
        key = _mixed(_mixed(key) ^ _word_of(label))
    return _mix(_mix(event.long() * _GAMMA).bitwise_xor_(_mixed(key)))


def uniform(keys: Tensor, counters: Tensor | int) -> Tensor:
    """Uniform in the open interval (0, 1): float32, 23 random bits, never 0 or 1."""
    return _unit(_shift_right(bits(keys, counters), 41))


def uniform_pair(keys: Tensor, counters: Tensor | int) -> tuple[Tensor, Tensor]:
    """Two independent uniforms for the price of one word."""
    word = bits(keys, counters)
    return _unit(_shift_right(word, 41)), _unit(word.bitwise_and_((1 << 23) - 1))


def normal(keys: Tensor, counters: Tensor | int) -> Tensor:
    """Standard normal draws, float32."""
    radius, angle = _polar(keys, counters)
    return radius.mul_(angle.cos_())


def normal_pair(keys: Tensor, counters: Tensor | int) -> tuple[Tensor, Tensor]:
    """Two independent standard normal draws a word (Box & Muller 1958), float32."""
    radius, angle = _polar(keys, counters)
    return radius * angle.cos(), radius * angle.sin()


def _polar(keys: Tensor, counters: Tensor | int) -> tuple[Tensor, Tensor]:
    """Radius and angle of a point whose two coordinates are standard normal draws."""
    u, v = uniform_pair(keys, counters)
    return u.log_().mul_(-2.0).sqrt_(), v.mul_(2.0 * math.pi)


def integers(keys: Tensor, counters: Tensor | int, low: int | Tensor, high: int | Tensor) -> Tensor:
    """Integers in [low, high), int64; ranges up to 2^31 (the bias is below range / 2^31)."""
    return _shift_right(bits(keys, counters), 33).mul_(high - low).bitwise_right_shift_(31) + low


def integers_in(keys: Tensor, counters: Tensor | int, bounds: int | tuple[int, int]) -> Tensor:
    """A fixed number, or an integer of [low, high], both included, for each key: int64."""
    low, high = (bounds, bounds) if isinstance(bounds, int) else bounds
    return integers(keys, counters, low, high + 1)


def uniform_in(keys: Tensor, counters: Tensor | int, bounds: float | tuple[float, float]) -> Tensor:
    """A fixed number, or one drawn uniformly between low and high, for each key: float64."""
    low, high = bounds if isinstance(bounds, tuple) else (bounds, bounds)
    return uniform(keys, counters).double() * (high - low) + low


def shuffled_ranks(keys: Tensor, offsets: Tensor) -> Tensor:
    """The place of each hit in a random order of its own event.

    Args:
        keys: (B,) int64, one an event.
        offsets: (B + 1,) int64, event b owns hits ``offsets[b]:offsets[b + 1]``.

    Returns:
        (N,) int64, a permutation of ``0..n_b - 1`` inside each event.
    """
    if loops := _loops_for(keys, int(offsets[-1])):
        return torch.from_numpy(loops.shuffled_ranks(keys.numpy(), offsets.numpy()))
    batch, local = numbered(offsets.diff())
    # One sort of (event, 40 random bits) serves all events; ties keep their order.
    order = stable_order((batch << 40) | _shift_right(bits(keys.index_select(0, batch), local), 24))
    return torch.empty_like(order).index_copy_(0, order, local)


def _loops_for(keys: Tensor, numbers: int | None = None) -> Any:
    """The module of compiled loops for that many numbers, of 1-D keys, on a CPU; ``None``: torch alone."""
    many = (keys.numel() if numbers is None else numbers) >= WORTH
    return compiled_loops(LOOPS)[0] if many and keys.ndim == 1 and keys.device.type == "cpu" else None


def _unit(word: Tensor) -> Tensor:
    return word.to(torch.float32).add_(0.5).mul_(2.0**-23)
