"""Raw Timepix3 recordings: words of known hits, and a real recording against a decoder that goes word by word."""

from __future__ import annotations

import struct
import time
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import SECOND, chunk, pixel_word, tdc_word, time_words

from pointae.errors import DataError, UsageError
from pointae.geometry import timepix3_geometry
from pointae.io import read_attributes, read_blocks, read_hits

RECORDINGS = Path(__file__).parent / "data" / "timepix3"
CASES = Path(__file__).parent / "data" / "cases"
TURN = 1 << 34
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def recording(tmp_path):
    """Writes chunks to a file."""

    def write(*chunks: bytes) -> Path:
        path = tmp_path / "a.tpx3"
        path.write_bytes(b"".join(chunks))
        return path

    return write


def steps_of(hits) -> list[int]:
    """Times of hits in steps of 1.5625 ns, in the order of the file."""
    steps = (hits.event_time_ns[hits.batch] / 1.5625).round().long() + hits.coords[:, 2]
    return steps[hits.hit_id.argsort()].tolist()


def read_told(path: Path, **options) -> tuple[list[int], list[str]]:
    """Times in the order of the file, and what was warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        hits = read_hits(path, **options)
    notes = [str(warning.message) for warning in told]
    assert all(note.startswith(f"{path}: ") for note in notes)
    return steps_of(hits), notes


def decoded_slowly(data: bytes) -> list[tuple[int, ...]]:
    """(word, chip, x, y, steps of 1.5625 ns on the chip's clock, ToT in ns) of every pixel, by the book."""
    words = [word for (word,) in struct.iter_unpack("<Q", data)]
    out, at = [], 0
    while at < len(words):
        chip, size = words[at] >> 32 & 0xFF, words[at] >> 48
        for number in range(at + 1, at + 1 + size // 8):
            word = words[number]
            if word >> 60 != 0xB:
                continue
            address, payload, spidr = word >> 44 & 0xFFFF, word >> 16 & 0xFFFFFFF, word & 0xFFFF
            column, super_pixel, pixel = address >> 9, address >> 3 & 0x3F, address & 7
            clock = 16 * ((spidr << 14) + (payload >> 14)) - (payload & 0xF)
            x, y = 2 * column + pixel // 4, 4 * super_pixel + (pixel & 3)
            out.append((number, chip, x, y, clock, 25 * (payload >> 4 & 0x3FF)))
        at += 1 + size // 8
    return out


def assert_as_decoded(path: Path, **options) -> None:
    """Of a recording shorter than a turn of the clock."""
    hits = read_hits(path, **options)
    start = hits.event_time_ns[hits.batch] / 1.5625
    got = [
        (number, chip, x, y, step, tot)
        for number, (x, y, _), (tot, chip), step in zip(
            hits.hit_id.tolist(), hits.coords.tolist(), hits.features.tolist(),
            (start + hits.coords[:, 2]).tolist(), strict=True,
        )
    ]  # fmt: skip
    assert sorted(got) == decoded_slowly(path.read_bytes())


def test_the_four_chip_recording():
    path = RECORDINGS / "serval_4chips.tpx3"
    read_hits(path)
    before = time.perf_counter()
    hits = read_hits(path)
    assert time.perf_counter() - before < 1
    assert (hits.num_hits, hits.batch_size) == (2956, 100)
    assert hits.geometry == timepix3_geometry()
    assert hits.feature_names == ("tot", "chip")
    assert hits.features.amin(0).tolist() == [25, 0]
    assert hits.features.amax(0).tolist() == [5625, 3]
    assert hits.coords.amax(0)[:2].tolist() == [255, 255]
    assert_as_decoded(path)
    stated = read_attributes(path)
    assert (stated["chips"], stated["pixel_words"], stated["control_words"]) == ([0, 1, 2, 3], 2956, 2544)
    assert stated["words"] == {
        "acknowledgement": 495, "end_of_command": 160, "global_time_high": 80, "global_time_low": 80, "heartbeat": 4,
        "packet_count": 1721, "pixel": 2956, "shutter_open": 4,
    }  # fmt: skip
    assert (stated["global_times"], stated["notes"]) == (80, [])


def test_events_by_gap():
    hits = read_hits(RECORDINGS / "serval_4chips.tpx3", gap_ns=100.0)
    assert (hits.batch_size, int((hits.counts == 1).sum())) == (2080, 1297)
    assert_as_decoded(RECORDINGS / "serval_4chips.tpx3", gap_ns=100.0)
    short = read_hits(RECORDINGS / "serval_4chips.tpx3", gap_ns=100.0, window_ns=10.0)
    assert short.geometry.t.bins == int(short.coords[:, 2].max()) + 1


def test_a_recording_without_pixels_has_no_events():
    hits = read_hits(RECORDINGS / "raw_00.tpx3")
    assert (hits.batch_size, hits.num_hits) == (0, 0)
    assert [block.batch_size for block in read_blocks(RECORDINGS / "raw_00.tpx3", 10)] == [0]
    assert read_attributes(RECORDINGS / "raw_00.tpx3")["control_words"] == 1854


# ---- the clock --------------------------------------------------------------------------------------

HITS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 100 * SECOND), st.integers(0, SECOND)), min_size=1, max_size=25
)
"""Chip, steps since the hit before, by how much later it is sent."""


def sent(hits, start: int, marks_every: int, keep_mark=lambda number: True) -> tuple[list[bytes], list[int]]:
    """Chunks of hits and of global times every so many steps as they are sent, and the true times of the hits."""
    now, words = start, []
    for i, (chip, pause, late) in enumerate(hits):
        now += pause
        words.append((now + late, 1, chip, now, [pixel_word(i, i, now % TURN, i)]))
    for number, mark in enumerate(range(start, now + SECOND + marks_every, marks_every)):
        if keep_mark(number):
            words.append((mark, 0, number % 4, None, [0x50 << 56, *time_words(mark)]))
    words.sort(key=lambda word: word[:2])
    return [chunk(chip, *of_chip) for *_, chip, _, of_chip in words], [
        time for *_, time, _ in words if time is not None
    ]


@quick
@given(hits=HITS, start=st.integers(0, 1 << 50), every=st.sampled_from([SECOND, 7 * SECOND, 20 * SECOND]))
def test_global_times_settle_pauses_late_chips_and_words_out_of_order(recording, hits, start, every):
    chunks, wanted = sent(hits, start, every)
    assert read_told(recording(*chunks), gap_ns=1.0) == (wanted, [])


@quick
@given(hits=HITS, start=st.integers(0, 1 << 50), lost=st.sets(st.integers(0, 40)))
def test_hits_go_on_where_global_times_are_lost(recording, hits, start, lost):
    hits = [(chip, pause % (20 * SECOND), late // 3) for chip, pause, late in hits]
    chunks, wanted = sent(hits, start, 5 * SECOND, lambda number: number not in lost)
    times, _ = read_told(recording(*chunks), gap_ns=1.0)
    if len(chunks) == len(hits):  # the first turn is all that can be told
        wanted = [step - wanted[0] + wanted[0] % TURN for step in wanted]
        wanted = wanted if times[0] == wanted[0] else [step - TURN for step in wanted]  # sixteenths of a count below 0
    assert times == wanted


def test_recordings_with_pauses():
    for name, seconds in (("tpx_pause15", [1.001, 16.001, 17.001]), ("tpx_pause30", [1.001, 31.001])):
        assert read_told(CASES / f"{name}.tpx3") == ([round(second * SECOND) for second in seconds], [])


def test_turns_lost_with_the_global_times_are_put_into_the_longest_pause(recording):
    hits = [1, 2, 5, 65, 66, 70]  # seconds
    words = [chunk(0, pixel_word(0, 0, second * SECOND % TURN)) for second in hits]
    marks = [chunk(0, *time_words(second * SECOND)) for second in (0, 71)]
    times, notes = read_told(recording(marks[0], *words, marks[1]))
    assert times == [second * SECOND for second in hits]
    assert len(notes) == 1
    assert "hits without global times around: a pause of 60.00 s before word 10 may be another" in notes[0]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ([1.0, 2.0, 3.5], None),
        ([1.0, 16.0, 17.0], "a pause of 15.00 s before word 3 may be another by turns of 26.84 s"),
        ([1.0, 26.0], "a pause of 25.00 s before word 3"),
        ([1.0, 0.7], None),  # late
        ([5.0, 1.0], "a pause of 22.84 s before word 3"),
    ],
)
def test_without_global_times_what_is_ambiguous_is_told(recording, seconds, told):
    times, notes = read_told(recording(*(chunk(0, pixel_word(0, 0, round(s * SECOND))) for s in seconds)))
    wanted = [round(s * SECOND) for s in seconds]
    assert times == [step + TURN * (step < wanted[0] - TURN // 64) for step in wanted]
    assert [told in note for note in notes] == [True] * (told is not None)


def test_a_chip_that_begins_late(recording):
    early = [chunk(0, pixel_word(0, 0, second * SECOND % TURN)) for second in range(1, 40)]
    late = chunk(2, pixel_word(0, 0, 40 * SECOND % TURN))
    times, notes = read_told(recording(*early, late))
    assert times[-1] == 40 * SECOND
    assert [note.split(": ", 1)[1] for note in notes] == [
        "chip 2 begins 39.00 s late, and no global time says that it is so"
    ]
    assert read_told(recording(chunk(0, *time_words(0)), *early, late, chunk(0, *time_words(40 * SECOND))))[1] == []


def test_clocks_set_back_and_clocks_of_their_own(recording):
    def part(chip, *seconds):
        return [chunk(chip, *time_words(s * SECOND), pixel_word(0, 0, s * SECOND % TURN)) for s in seconds]

    times, notes = read_told(recording(*part(0, 50, 51, 52), *part(0, 3, 4)))
    assert times == [second * SECOND for second in (50, 51, 52, 3, 4)]
    assert [note.split(": ", 1)[1][:36] for note in notes] == ["the chips' clock is set back 1 times"]
    apart = [part for pair in zip(part(0, 50, 51, 52), part(1, 5, 6, 7), strict=True) for part in pair]
    times, notes = read_told(recording(*apart))
    assert times == [second * SECOND for second in (50, 5, 51, 6, 52, 7)]
    assert ["the chips count different clocks" in note for note in notes] == [True]


def test_words_of_a_global_time_that_are_lost_or_of_the_next_turn(recording):
    low_turn = 16 << 32  # steps: 107 s
    times = [low_turn - 16 * 100, low_turn + SECOND, 2 * low_turn - 16]
    words = [list(time_words(step)) for step in times]
    words[2][1] = time_words(2 * low_turn)[1]  # read after the turn
    del words[1][1]
    start = chunk(3, *time_words(low_turn // 2))
    parts = [chunk(3, *mark, pixel_word(0, 0, step % TURN)) for mark, step in zip(words, times, strict=True)]
    assert read_told(recording(start, *parts), gap_ns=1.0)[0] == times


def test_a_global_time_with_a_flipped_bit_is_left_out(recording):
    words = [[*time_words(s * SECOND), pixel_word(0, 0, s * SECOND % TURN)] for s in range(1, 9)]
    words[4][1] ^= 1 << 20
    times, notes = read_told(recording(*(chunk(0, *of_second) for of_second in words)))
    assert (times, notes) == ([s * SECOND for s in range(1, 9)], [])


# ---- triggers ---------------------------------------------------------------------------------------


def test_events_by_trigger():
    hits = read_hits(CASES / "tpx_tdc.tpx3", trigger="tdc1_rising")
    assert hits.batch_size == 100
    assert set(hits.counts.tolist()) == {3}
    assert (hits.coords[:, 2] * 1.5625).view(100, 3).unique(dim=0).tolist() == [[300, 325, 350]]
    assert (hits.event_time_ns / 1e9).tolist() == pytest.approx([0.5 + 0.001 * i for i in range(100)], abs=1e-12)
    assert read_attributes(CASES / "tpx_tdc.tpx3")["words"] == {"pixel": 300, "tdc1_rising": 100}


TRIGGERS = st.lists(
    st.tuples(st.integers(6 * 2000, 6 * 200 * SECOND), st.lists(st.integers(-900, 900), max_size=3)), max_size=12
)
"""Sixths of a step since the trigger before, and steps of hits since the trigger."""


@quick
@given(drawn=TRIGGERS, delay=st.integers(-700, 700), window=st.integers(1, 900), start=st.integers(0, 1 << 50))
def test_hits_of_a_trigger_are_those_of_its_window(recording, drawn, delay, window, start):
    """Windows that do not reach the next trigger, edges of other kinds between, wraps of both clocks."""
    edges, hits, now = [], [], 6 * start
    for pause, of_trigger in drawn:
        now += pause
        edges.append(now)
        hits += [now // 6 + step for step in of_trigger]
    marks = range(start, now // 6 + SECOND, 20 * SECOND)
    words = [(step, list(time_words(step))) for step in marks]
    words += [
        (edge // 6, [tdc_word(edge), tdc_word(edge + 5, "tdc1_falling"), tdc_word(edge + 9, "tdc2_rising")])
        for edge in edges
    ]
    words += [(step, [pixel_word(1, 2, step % TURN)]) for step in hits]
    chunks = [chunk(0, *of_time) for _, of_time in sorted(words, key=lambda word: word[0])]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        options = {"trigger": "tdc1_rising", "trigger_delay_ns": delay * 1.5625, "window_ns": window * 1.5625}
        read = read_hits(recording(*chunks), **options)
    wanted = [(e, (6 * step - edge) // 6 - delay) for step in hits for e, edge in enumerate(edges)]
    wanted = sorted((e, t) for e, t in wanted if 0 <= t < window)
    assert sorted(zip(read.batch.tolist(), read.coords[:, 2].tolist(), strict=True)) == wanted
    assert (read.event_time_ns * 6 / 1.5625).round().tolist() == pytest.approx(edges, rel=1e-15)
    left = len(hits) - len(wanted)
    said = f"{left} of {len(hits)} hits are in no window of the {len(edges)} triggers"
    assert any(said in str(warning.message) for warning in told) == (left > 0)
    if wanted:
        since = read.geometry.positions(read.coords)[:, 2] - 1.5625 / 2
        assert since.tolist() == pytest.approx([(t + delay) * 1.5625 for _, t in sorted(wanted)], abs=1e-3)


def test_hits_belong_to_the_last_trigger_before_them(recording):
    edges = [tdc_word(6 * step, count=i) for i, step in enumerate((1000, 2000))]
    path = recording(chunk(0, edges[0], edges[1], *(pixel_word(0, 0, step) for step in (999, 1000, 1999, 2000, 2500))))
    with pytest.warns(UserWarning, match="1 of 5 hits are in no window"):
        hits = read_hits(path, trigger="tdc1_rising")
    assert [(event, t) for event, (_, _, t) in zip(hits.batch.tolist(), hits.coords.tolist(), strict=True)] == [
        (0, 0), (0, 999), (1, 0), (1, 500),
    ]  # fmt: skip


def test_triggers_tell_the_turns_of_hits_where_no_global_time_does(recording):
    seconds = [*range(1, 60, 10), 60]
    words = [tdc_word(6 * second * SECOND) for second in seconds]
    path = recording(*(chunk(0, word) for word in words), chunk(0, pixel_word(0, 0, 60 * SECOND % TURN)))
    hits = read_hits(path, trigger="tdc1_rising")
    assert (hits.batch.tolist(), hits.coords[:, 2].tolist()) == ([len(seconds) - 1], [0])


def test_triggers_that_there_are_not(recording):
    path = recording(chunk(0, tdc_word(600, "tdc2_falling"), pixel_word(0, 0, 100)))
    with pytest.raises(DataError, match=r"holds no trigger tdc1_rising \(triggers in it: tdc2_falling\)"):
        read_hits(path, trigger="tdc1_rising")
    for options, told in [
        ({"trigger": "tdc3"}, "unknown trigger 'tdc3'"),
        ({"trigger": "tdc1_rising", "gap_ns": 10.0}, "not by both"),
        ({"trigger_delay_ns": 10.0}, "counts from a trigger"),
        ({"trigger": "tdc1_rising", "trigger_delay_ns": float("nan")}, "trigger_delay_ns must be within"),
        ({"window_ns": float("inf")}, "window_ns must be above 0 and finite"),
    ]:
        with pytest.raises(UsageError, match=told):
            read_hits(path, **options)
    with pytest.raises(DataError, match="too long"):
        read_hits(path, window_ns=1e300)


# ---- chips ------------------------------------------------------------------------------------------


def test_chips_side_by_side(recording):
    """Chips 3 and 0, and above them 2 and 1 turned by 180 degrees: corners lie where they meet."""
    corners = {3: (255, 255), 0: (0, 255), 2: (0, 255), 1: (255, 255)}
    path = recording(
        *(chunk(chip, pixel_word(x, y, 100 + chip), pixel_word(10, 20, 200 + chip)) for chip, (x, y) in corners.items())
    )
    hits = read_hits(path, chip_layout="2x2")
    assert hits.geometry.spatial_shape[:2] == (512, 512)
    places = {
        (int(chip), t % 16 > 8): (x, y)
        for (x, y, t), (_, chip) in zip(hits.coords.tolist(), hits.features.tolist(), strict=True)
    }
    meeting = {
        int(chip): place
        for place, (_, chip) in zip(hits.coords[:, :2].tolist(), hits.features.tolist(), strict=True)
        if 250 < place[0] < 260
    }
    assert meeting == {3: [255, 255], 0: [256, 255], 2: [255, 256], 1: [256, 256]}
    assert places[0, False] in [(256, 255), (266, 20)]


def neighbours_across(turned: set[int], chip_at: dict[int, tuple[int, int]]) -> int:
    """Hits of different chips within 100 ns that touch if chips lie so, in the recording."""
    hits = decoded_slowly((RECORDINGS / "serval_4chips.tpx3").read_bytes())
    placed = []
    for _, chip, x, y, step, _ in hits:
        x, y = (255 - x, 255 - y) if chip in turned else (x, y)
        placed.append((step, chip, x + 256 * chip_at[chip][0], y + 256 * chip_at[chip][1]))
    placed.sort()
    touching = 0
    for i, (step, chip, x, y) in enumerate(placed):
        for later, other, x2, y2 in placed[i + 1 : i + 50]:
            touching += other != chip and later - step <= 64 and max(abs(x - x2), abs(y - y2)) <= 1
    return touching


def test_the_recordings_cluster_across_two_chips_is_whole_where_they_are_turned_so():
    """One pair of hits of two chips is closer than 100 ns: chip 2 at (100, 255), chip 3 at (155, 255)."""
    quad = {3: (0, 0), 0: (1, 0), 2: (0, 1), 1: (1, 1)}
    assert neighbours_across({1, 2}, quad) == 1
    assert neighbours_across(set(), quad) == 0
    assert neighbours_across({1, 2}, {0: (0, 0), 1: (1, 0), 2: (0, 1), 3: (1, 1)}) == 0
    hits = read_hits(RECORDINGS / "serval_4chips.tpx3", chip_layout="2x2")
    chips = hits.features[:, 1]
    places = {tuple(place): chip for place, chip in zip(hits.coords[:, :2].tolist(), chips.tolist(), strict=True)}
    assert (places[155, 255], places[155, 256]) == (3, 2)
    one = read_hits(RECORDINGS / "serval_4chips.tpx3")
    upright = (chips == 0) | (chips == 3)
    assert torch.equal(
        four_of(hits, upright), four_of(one, upright) + torch.tensor([256, 0]) * (chips == 0)[upright, None]
    )
    assert torch.equal(
        four_of(hits, ~upright),
        torch.tensor([255, 511]) - four_of(one, ~upright) + torch.tensor([256, 0]) * (chips == 1)[~upright, None],
    )


def four_of(hits, rows):
    return hits.coords[rows, :2]


# ---- damage -----------------------------------------------------------------------------------------


def test_a_recording_that_is_cut():
    with pytest.raises(DataError, match="the chunk at word 2489 has 80 of its 88 bytes"):
        read_hits(CASES / "tpx_cut_chunk.tpx3")
    with pytest.warns(UserWarning, match="the last chunk ends 8 bytes early"):
        hits = read_hits(CASES / "tpx_cut_chunk.tpx3", on_bad="skip")
    whole = (RECORDINGS / "serval_4chips.tpx3").read_bytes()
    assert hits.num_hits == sum(number < 2500 for number, *_ in decoded_slowly(whole)) == 1003


@quick
@given(
    garbage=st.lists(st.binary(max_size=40), min_size=4, max_size=4), cut=st.integers(0, 40),
    moved=st.integers(0, 1 << 31),
)  # fmt: skip
def test_what_lies_between_chunks_is_skipped_and_said(recording, garbage, cut, moved):
    garbage = [part.replace(b"T", b"t") for part in garbage]
    words = [pixel_word(i, i, moved + i, i) for i in range(60)]
    chunks = [chunk(i, 0x50 << 56, *words[15 * i : 15 * i + 15]) for i in range(4)]
    data = b"".join(part for pair in zip(chunks, garbage, strict=True) for part in pair)
    if cut and not garbage[-1]:
        data = data[:-cut]
    path = recording(data)
    kept = 60 - (-(-cut // 8) if not garbage[-1] else 0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        hits = read_hits(path, on_bad="skip")
    assert sorted(hits.features[:, 0].tolist()) == [25 * i for i in range(kept)]
    between = sum(map(len, garbage))
    notes = " ".join(str(warning.message) for warning in told)
    assert (f"{between + (-cut % 8 if cut and not garbage[-1] else 0)} bytes in" in notes) == (
        between > 0 or (cut % 8 > 0 and not garbage[-1])
    )
    if between:
        with pytest.raises(DataError, match=r"is (damaged|truncated)"):
            read_hits(path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (chunk(0, 0x4 << 60)[:-3], "no multiple of 8"),
        (chunk(0, 0x4 << 60, 0x4 << 60)[:-8], "chunk at word 0 has 8 of its 16 bytes"),
        (chunk(0, 0x4 << 60) + bytes(8), "word 2 should begin a chunk"),
        (b"TPX3\0\0\x09\0" + bytes(16), "has 9 bytes, which is no multiple of 8"),
        (chunk(0, pixel_word(0, 0, 100, 1), pixel_word(0, 0, 1 << 33, 1)), "too long"),
        (chunk(0, 0xA << 60), "1 pixel words are of the counting mode"),
    ],
)
def test_damaged_recordings(recording, data, told):
    path = recording(data)
    with pytest.raises(DataError, match=told) as error:
        read_hits(path, gap_ns=1e12)
    assert str(error.value).startswith(str(path))


def test_mostly_damaged_recordings_are_refused(recording):
    path = recording(chunk(0, 0x50 << 56), bytes(100))
    with pytest.raises(DataError, match="only 16 of its 116 bytes are chunks of words"):
        read_hits(path, on_bad="skip")
