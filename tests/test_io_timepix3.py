"""Raw Timepix3 recordings against a decoder that goes word by word."""

from __future__ import annotations

import struct
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointae.errors import DataError
from pointae.geometry import timepix3_geometry
from pointae.io import read_attributes, read_blocks, read_hits

RECORDINGS = Path(__file__).parent / "data" / "timepix3"
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def decoded_slowly(data: bytes) -> list[tuple[int, ...]]:
    """(word, chip, x, y, steps of 1.5625 ns, ToT in ns) of every pixel, by the book."""
    words = [word for (word,) in struct.iter_unpack("<Q", data)]
    out, at, last, wraps = [], 0, {}, {}
    while at < len(words):
        chip, size = words[at] >> 32 & 0xFF, words[at] >> 48
        for number in range(at + 1, at + 1 + size // 8):
            word = words[number]
            if word >> 60 != 0xB:
                continue
            address, payload, spidr = word >> 44 & 0xFFFF, word >> 16 & 0xFFFFFFF, word & 0xFFFF
            column, super_pixel, pixel = address >> 9, address >> 3 & 0x3F, address & 7
            clock = 16 * ((spidr << 14) + (payload >> 14)) - (payload & 0xF)
            step = clock - last.get(chip, clock)
            wraps[chip] = wraps.get(chip, 0) + (step < -(1 << 33)) - (step > 1 << 33)
            last[chip] = clock
            x, y = 2 * column + pixel // 4, 4 * super_pixel + (pixel & 3)
            out.append((number, chip, x, y, clock + (wraps[chip] << 34), 25 * (payload >> 4 & 0x3FF)))
        at += 1 + size // 8
    return out


def pixel_word(x: int, y: int, clock: int, tot: int) -> int:
    """The word of a hit at ``clock`` steps of 1.5625 ns."""
    coarse, fine = -(-clock // 16), -clock % 16
    address = (x // 2) << 9 | (y // 4) << 3 | (x % 2) << 2 | y % 4
    return 0xB << 60 | address << 44 | (coarse & 0x3FFF) << 30 | tot << 20 | fine << 16 | (coarse >> 14 & 0xFFFF)


def chunk(chip: int, *words: int) -> bytes:
    header = 8 * len(words) << 48 | chip << 32 | int.from_bytes(b"TPX3", "little")
    return struct.pack(f"<{len(words) + 1}Q", header, *words)


def assert_as_decoded(path: Path, **options) -> None:
    wanted = decoded_slowly(path.read_bytes())
    hits = read_hits(path, **options)
    start = hits.event_time_ns[hits.batch] / 1.5625
    got = {
        number: (chip, x, y, step, tot)
        for number, (x, y, t), (tot, chip), step in zip(
            hits.hit_id.tolist(), hits.coords.tolist(), hits.features.tolist(),
            (start + hits.coords[:, 2]).tolist(), strict=True,
        )
    }  # fmt: skip
    assert got == {number: tuple(rest) for number, *rest in wanted}


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


def test_events_by_gap():
    hits = read_hits(RECORDINGS / "serval_4chips.tpx3", gap_ns=100.0)
    assert (hits.batch_size, int((hits.counts == 1).sum())) == (2080, 1297)
    assert_as_decoded(RECORDINGS / "serval_4chips.tpx3", gap_ns=100.0)
    short = read_hits(RECORDINGS / "serval_4chips.tpx3", gap_ns=100.0, window_ns=10.0)
    assert short.geometry.t.bins == int(short.coords[:, 2].max()) + 1


def test_chips_side_by_side():
    one = read_hits(RECORDINGS / "serval_4chips.tpx3")
    four = read_hits(RECORDINGS / "serval_4chips.tpx3", chip_layout="2x2")
    chip = one.features[:, 1].int()
    assert four.geometry.spatial_shape[:2] == (512, 512)
    assert torch.equal(four.coords[:, 0], one.coords[:, 0] + 256 * (chip % 2))
    assert torch.equal(four.coords[:, 1], one.coords[:, 1] + 256 * (chip // 2))


def test_a_recording_without_pixels_has_no_events():
    hits = read_hits(RECORDINGS / "raw_00.tpx3")
    assert (hits.batch_size, hits.num_hits) == (0, 0)
    assert [block.batch_size for block in read_blocks(RECORDINGS / "raw_00.tpx3", 10)] == [0]
    assert read_attributes(RECORDINGS / "raw_00.tpx3")["control_words"] == 1854


MOVES = st.one_of(st.integers(-2000, 20_000), st.integers(0, 1 << 32))


@quick
@given(moves=st.lists(st.tuples(st.integers(0, 2), MOVES), max_size=30), gap=st.sampled_from([None, 50.0, 1e6]))
def test_clocks_that_wrap_and_words_out_of_order(tmp_path, moves, gap):
    data, now = chunk(0, 0x4 << 60), {}
    for i, (chip, move) in enumerate(moves):
        now[chip] = now.get(chip, (1 << 34) - 30_000) + move
        hit = pixel_word((7 * i) % 256, (11 * i) % 256, now[chip] % (1 << 34), i)
        data += chunk(chip, 0x7 << 60, hit, 0x5 << 60)
    path = tmp_path / "a.tpx3"
    path.write_bytes(data)
    options = {"window_ns": 1e6} if gap is None else {"gap_ns": gap}
    assert_as_decoded(path, **options)
    hits = read_hits(path, **options)
    if gap is None:
        assert hits.geometry.t.bins == 640_000
    else:
        times = sorted(step * 1.5625 for *_, step, _ in decoded_slowly(data))
        breaks = sum(b - a > gap for a, b in pairwise(times))
        assert hits.batch_size == (breaks + 1 if times else 0)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (chunk(0, 0x4 << 60)[:-3], "no multiple of 8"),
        (chunk(0, 0x4 << 60, 0x4 << 60)[:-8], "chunk at word 0 has 8 of its 16 bytes"),
        (chunk(0, 0x4 << 60) + bytes(8), "word 2 should begin a chunk"),
        (chunk(0, pixel_word(0, 0, 100, 1), pixel_word(0, 0, 1 << 33, 1)), "too long"),
    ],
)
def test_damaged_recordings(tmp_path, data, told):
    path = tmp_path / "a.tpx3"
    path.write_bytes(data)
    with pytest.raises(DataError, match=told) as error:
        read_hits(path, gap_ns=1e12)
    assert str(error.value).startswith(str(path))
