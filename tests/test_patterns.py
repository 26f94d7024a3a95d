"""Simplified patterns: inside the grid, exact mixtures, and each event a function of its number."""

import random
from dataclasses import replace

import pytest
import torch

from pointae.config import PatternSource
from pointae.errors import ConfigError
from pointae.simulate import simulate_events
from pointae.simulate.patterns import PATTERNS, pattern_kinds

MIXED = {"cross": 3, "hemisphere": 2, "line": 1, "folded_v": 1, "parabola": 2, "blank": 1}


def _events(kind, count=100, **settings):
    return simulate_events(PatternSource(mixture={kind: 1}, **settings), 4, torch.arange(count))


@pytest.mark.parametrize("kind", PATTERNS)
def test_patterns_are_signal_inside_the_grid_one_hit_a_cell(kind):
    hits = _events(kind, crosses=(1, 4), spread_px=2.0)
    replace(hits, trusted=False)  # checks every field and the grid once more
    assert bool(hits.signal.all())
    assert not hits.origin.any()
    cells = torch.cat([hits.batch[:, None], hits.coords], dim=1)
    assert len(torch.unique(cells, dim=0)) == len(cells)


def test_cross_is_two_diagonals():
    hits = _events("cross", 30, points=400, max_shift=(0, 0, 0))
    assert int(hits.counts.max()) <= 400
    x, y, t = (hits.coords.double() - (torch.tensor([88, 128, 1000]) - 1) / 2).unbind(1)
    # On the diagonals the distance from the middle grows with |t|, whatever the rotation.
    radius = (x.square() + y.square()).sqrt()
    torch.testing.assert_close(radius, t.abs() * (87**2 + 127**2) ** 0.5 / 999, atol=1.0, rtol=0)
    assert torch.unique(_events("cross", 200, crosses=(1, 4)).track).tolist() == [0, 1, 2, 3]


def test_hemisphere_has_its_radius():
    hits = _events("hemisphere", 50, points=100)
    assert int(hits.counts.max()) <= 100
    t = hits.coords[:, 2]
    assert int(t.min()) >= 500
    assert int(t.max()) <= 539


def test_line_is_straight_and_keeps_its_points():
    hits = _events("line", 50, points=50)
    assert int(hits.counts.max()) == 50
    for event in range(50):
        pos = hits.events([event]).coords.double() * torch.tensor([1.0, 1.0, 127 / 999])
        spread = torch.linalg.svdvals(pos - pos.mean(0))
        assert float(spread[1]) / len(pos) ** 0.5 < 1.0  # rounding alone


def test_folded_v_has_two_arms_and_no_row_below_zero():
    hits = _events("folded_v", 200)
    step = hits.batch * 1000 + hits.coords[:, 2]
    assert int(torch.bincount(step).max()) == 2
    _, y, t = hits.coords.unbind(1)
    # Along an event each step of time goes down one row, or three.
    for event in range(200):
        mine = hits.batch == event
        if int(mine.sum()) > 2:
            rise = (y[mine] + (t[mine] * 3)).unique().numel() == 1 or (y[mine] + t[mine]).unique().numel() == 1
            assert rise


def test_parabola_counts_time_from_its_top():
    hits = _events("parabola", 300)
    counts = hits.counts.double()
    assert 400 < float(counts.median()) < 700
    assert int(counts.max()) <= 900
    whole = hits.coords[:, 1] + hits.coords[:, 2]
    for event in range(300):
        assert torch.unique(whole[hits.batch == event]).numel() <= 1  # t = t_s + top - y


def test_blank_is_an_event_without_hits():
    hits = _events("blank", 7)
    assert (hits.batch_size, hits.num_hits) == (7, 0)


# ---- mixtures ------------------------------------------------------------------------------------------


def test_mixture_is_exact_for_any_whole_counts():
    dice = random.Random(1)
    for _ in range(100):
        mixture = {kind: dice.choice([0, dice.randint(1, 9)]) for kind in PATTERNS} | {"line": dice.randint(1, 9)}
        total = sum(mixture.values())
        kinds = pattern_kinds(mixture, torch.arange(7 * total))
        for size in (total, 2 * total, 7 * total):
            counts = torch.bincount(kinds[:size], minlength=len(mixture))
            assert counts.tolist() == [share * size // total for share in mixture.values()]


def test_mixture_of_fractions_is_exact_or_next_to_it_for_any_size():
    for mixture in ({"cross": 0.1, "line": 0.2, "blank": 0.7}, {"cross": 1 / 3, "line": 1 / 3, "blank": 1 / 3}):
        kinds = pattern_kinds(mixture, torch.arange(5000))
        for number, share in enumerate(mixture.values()):
            counts = (kinds == number).cumsum(0)
            assert int(counts[999]) in (int(1000 * share), int(1000 * share) + 1)
            assert float((counts - torch.arange(1, 5001) * share).abs().max()) < 1.01


def test_share_of_zero_gives_no_event_and_only_zeros_are_an_error():
    kinds = pattern_kinds({"cross": 0.0, "line": 2.0, "blank": 0}, torch.arange(1000))
    assert torch.unique(kinds).tolist() == [1]
    with pytest.raises(ConfigError, match="no share above 0"):
        pattern_kinds({"cross": 0.0}, torch.arange(3))


def test_mixed_events_do_not_depend_on_their_batch():
    source, index = PatternSource(mixture=MIXED, spread_px=1.5, crosses=(1, 4)), torch.arange(40)
    together = simulate_events(source, 5, index)
    assert int((together.counts == 0).sum()) >= 4  # the blanks
    for part in (index[7:8], index[11:].flip(0), index[:0]):
        apart, same = simulate_events(source, 5, part), together.events(part)
        for name in ("coords", "offsets", "track", "event_id"):
            assert torch.equal(getattr(apart, name), getattr(same, name)), name
