"""Which time is meant by the words of a Timepix3 recording, whose clocks wrap.

A pixel's time wraps after 26.8 s, that of a trigger after 107 s. Chips tell their global timer now and then, 48 bits
of 25 ns in two control words: these **marks** say which turn of the clock a word between them belongs to, whatever the
pauses. Where marks are lost, words are taken in the order in which they were sent: the clock goes on by less than a
turn from one to the next, or back by a little; what is then ambiguous is told. All chips count one clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pointae.io.timepix3_words import GLOBAL_TIME, SIXTHS, TIME_HIGH, TIME_LOW, Integers, Words, bits

STEPS_A_TICK = 16
"""Steps of 1.5625 ns, the unit of a pixel's clock, in one of 25 ns, that of the global timer."""
PIXEL_TURN = 1 << 34
"""Steps after which a pixel's clock wraps: 26.8 s."""
TDC_TURN = SIXTHS << 36
"""Sixths of a step after which a trigger's clock wraps: 107.4 s."""
LOW_TURN = 1 << 32
"""Ticks after which the lower word of the global timer wraps: 107.4 s. With the upper one it does after 81 days."""
READ_APART = 1 << 16
"""Ticks between the reading of its two words, at most: 1.6 ms."""
LATE = 64
"""A word may be sent after others by up to this part of a turn, 0.4 s for pixels: far more than read-out takes."""
PAUSE = 16
"""A pause from this part of a turn on, 1.7 s for pixels, may be one of other turns, where nothing else tells."""


@dataclass(frozen=True)
class Clock:
    """How words tell the time.

    Args:
        turn: units after which it wraps.
        unit: how many make a step of 1.5625 ns.
        words: what to call the words.
    """

    turn: int
    unit: int
    words: str

    def seconds(self, span: int) -> str:
        """A span of time, in words."""
        return f"{span / self.unit * 1.5625e-9:.2f} s"


PIXEL_CLOCK = Clock(PIXEL_TURN, 1, "hits")
TDC_CLOCK = Clock(TDC_TURN, SIXTHS, "triggers")


@dataclass(frozen=True)
class Marks:
    """Words that tell a time without wraps, in the order of the file.

    Args:
        places: (M,) ascending, in the table of words.
        times: (M,) int64, steps of 1.5625 ns.
        chips: (M,) of which chip.
    """

    places: Integers
    times: Integers
    chips: NDArray[np.uint8]

    def where(self, wanted: NDArray[np.bool_]) -> Marks:
        """Those of a mask (M,)."""
        return Marks(self.places[wanted], self.times[wanted], self.chips[wanted])

    @property
    def falls(self) -> Integers:
        """Numbers of the marks from which time goes back."""
        return np.flatnonzero(np.diff(self.times) < -PIXEL_TURN // LATE)


def global_times(words: Words) -> Marks:
    """What the chips tell of their global timers, without single marks that fit none around."""
    found = words.of_type(GLOBAL_TIME)
    kinds, chips = words.kinds[found], words.chips[found]
    marks = []
    for chip in np.unique(chips):
        low, high = (found[(chips == chip) & (kinds == kind)] for kind in (TIME_LOW, TIME_HIGH))
        times = STEPS_A_TICK * _joined(bits(words.values[low], 16, 32), *_upper(words, low, high))
        marks.append(_without_outliers(Marks(low, times, words.chips[low])))
    if not marks:
        return Marks(found, found, chips)
    places, times, chips = (
        np.concatenate([getattr(own, name) for own in marks]) for name in ("places", "times", "chips")
    )
    order = np.argsort(places)
    return Marks(places[order], times[order], chips[order])


def _upper(words: Words, low: Integers, high: Integers) -> tuple[Integers, NDArray[np.bool_]]:
    """Upper word of each lower one, and whether there is one: the next of its chip, before the next lower one."""
    if not len(high):
        return np.zeros(len(low), np.int64), np.zeros(len(low), bool)
    following = high[np.minimum(np.searchsorted(high, low), len(high) - 1)]
    has = (following > low) & (following < np.append(low[1:], len(words.values)))
    return bits(words.values[following], 16, 16), has


def _joined(low: Integers, upper: Integers, has: NDArray[np.bool_]) -> Integers:
    """Ticks (M,) of lower and upper words of one chip; an upper word that is lost follows from the mark before.

    The upper word is read after the lower one: where that is close to its turn, the upper may already be of the next,
    and is believed only if the marks after it agree.
    """
    if not has.any():
        return _chain(low, LOW_TURN)
    full = low + LOW_TURN * upper
    sure = has & (low < LOW_TURN - READ_APART)
    known = np.flatnonzero(sure if sure.any() else has)
    for i in np.setdiff1d(np.arange(len(low)), known).tolist():
        following = full[known[known > i][:1]]
        if has[i] and len(following) and full[i] <= following[0]:
            continue
        if i:
            full[i] = full[i - 1] + (low[i] - full[i - 1]) % LOW_TURN
        else:
            full[i] = following[0] - (following[0] - low[i]) % LOW_TURN
    return full


def _without_outliers(marks: Marks) -> Marks:
    """Marks of one chip but those beside all that is between their neighbours, who agree."""
    before, own, after = marks.times[:-2], marks.times[1:-1], marks.times[2:]
    late = PIXEL_TURN // LATE
    odd = (before <= after + late) & ((own < before - late) | (own > after + late))
    return marks.where(np.concatenate([[True], ~odd, [True]])[: len(marks.times)])


def settled(clock: Clock, words: Words, rows: Integers, read: Integers, marks: Marks) -> tuple[Integers, list[str]]:
    """Times without wraps.

    Args:
        clock: how they are read.
        words: of the recording.
        rows: (N,) places of those that are asked for, ascending.
        read: (N,) what their clock reads.
        marks: of any chips.

    Returns:
        times: (N,) int64 in the clock's unit, the mark's zero; without marks the first word is in the first turn.
        notes: what could not be told for sure.
    """
    times: Integers = np.empty_like(read)
    notes: list[str] = []
    if not len(rows):
        return times, notes
    for mask, own, note in _streams(words.chips[rows], marks):
        scaled = Marks(own.places, own.times * clock.unit, own.chips)
        times[mask], told = _settled(clock, rows[mask], read[mask], scaled, words.numbers)
        notes += [*note, *told]
    if not len(marks.places):
        for chip in np.unique(words.chips[rows]).tolist():
            begin = int(times[np.argmax(words.chips[rows] == chip)] - times[0])
            if begin > clock.turn // 2:
                notes.append(f"chip {chip} begins {clock.seconds(begin)} late, and no global time says that it is so")
    return times, notes


def _streams(chips: NDArray[np.uint8], marks: Marks) -> Iterator[tuple[NDArray[np.bool_], Marks, list[str]]]:
    """Words (a mask) and marks that count one clock, with what is to be told of it: of all chips, else of each."""
    own = {chip: marks.where(marks.chips == chip) for chip in np.unique(marks.chips).tolist()}
    set_back = max((len(of_chip.falls) for of_chip in own.values()), default=0)
    if len(marks.falls) <= set_back:
        note = f"the chips' clock is set back {set_back} times: such parts of the recording lie on one another in time"
        yield np.ones(len(chips), bool), marks, [note] if set_back else []
        return
    notes = ["the chips count different clocks: each keeps its own, and their hits cannot be compared in time"]
    for chip in np.unique(chips).tolist():
        yield chips == chip, own.get(chip, marks.where(np.zeros(len(marks.chips), bool))), notes
        notes = []


def _settled(
    clock: Clock, rows: Integers, read: Integers, marks: Marks, numbers: Integers
) -> tuple[Integers, list[str]]:
    """Times and notes of words that count the clock of ``marks``."""
    if not len(marks.places):
        return _in_order(clock, read, None, None, numbers[rows])
    after = np.searchsorted(marks.places, rows)
    last = len(marks.places) - 1
    begin, end = marks.times[np.maximum(after - 1, 0)], marks.times[np.minimum(after, last)]
    between = (after > 0) & (after <= last)
    close = between & (end >= begin) & (end - begin <= clock.turn - 2 * clock.turn // LATE)
    times = _nearest(read, (begin + end) // 2, clock.turn)
    back = between & (end < begin)  # a word is then of the part whose mark it is nearer to
    if back.any():
        first, second = (_nearest(read[back], mark[back], clock.turn) for mark in (begin, end))
        times[back] = np.where(abs(first - begin[back]) <= abs(second - end[back]), first, second)
    notes: list[str] = []
    usual = int(np.diff(marks.times).max(initial=0))
    for mark in np.unique(after[~(close | back)]).tolist():
        part = slice(*np.searchsorted(after, [mark, mark + 1]))
        ends = (int(marks.times[mark - 1]) if mark else None, int(marks.times[mark]) if mark <= last else None)
        times[part], told = _in_order(clock, read[part], *ends, numbers[rows[part]], usual)
        notes += told
    return times, notes


def _in_order(
    clock: Clock, read: Integers, begin: int | None, end: int | None, numbers: Integers, usual: int = 0
) -> tuple[Integers, list[str]]:
    """Times and notes of words without a mark between them, from the mark before and the one after, if any.

    If the words in their order do not lead from mark to mark, turns are missing: put where time jumps most.
    A pause is doubtful beyond ``usual``, the longest from mark to mark, for the next mark would have come.
    """
    known = [np.array([mark % clock.turn]) for mark in (begin, end) if mark is not None]
    whole = [*known[: begin is not None], read, *known[len(known) - (end is not None) :]]
    times = _chain(np.concatenate(whole), clock.turn)
    times += begin - times[0] if begin is not None else end - times[-1] if end is not None else 0
    pauses = np.diff(times)
    at = int(abs(pauses).argmax()) if len(pauses) else 0
    missing = 0 if begin is None or end is None else end - int(times[-1])
    times[at + 1 :] += missing
    place = numbers[min(at + (begin is None), len(numbers) - 1)]
    notes = []
    if missing or ((begin is None or end is None) and len(pauses) and pauses[at] > max(clock.turn // PAUSE, usual)):
        pause = clock.seconds(int(pauses[at]) + missing)
        told = f"a pause of {pause} before word {place} may be another by turns of {clock.seconds(clock.turn)}"
        notes.append(f"{clock.words} without global times around: {told}")
    return times[int(begin is not None) : len(times) - int(end is not None)], notes


def _nearest(read: Integers, to: Integers, turn: int) -> Integers:
    """Times that a clock of ``turn`` reads so, each as near as can be to one that is known."""
    return read + turn * ((to - read + turn // 2) // turn)


def _chain(read: Integers, turn: int) -> Integers:
    """Times of words in order: from one to the next back by less than a part :data:`LATE` of a turn, or else on."""
    late = turn // LATE
    steps = (np.diff(read) + late) % turn - late
    return read[0] + np.concatenate([[0], np.cumsum(steps)]) if len(read) else read
