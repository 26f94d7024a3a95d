"""Counter-based draws: uniform, independent between neighbours, and permutations of ragged events."""

import pytest
import torch

from pointae import draws

KEYS = draws.event_keys(3, 0, torch.arange(1000), "test")


def test_draws_are_pure_functions_of_key_and_counter():
    numbers = torch.tensor([900, 4, 17])
    alone = torch.cat([draws.event_keys(3, 0, numbers[i : i + 1], "test") for i in range(3)])
    assert torch.equal(alone, KEYS[numbers])
    assert torch.equal(draws.uniform(alone, 5), draws.uniform(KEYS, 5)[numbers])
    for other in (draws.event_keys(4, 0, numbers, "test"), draws.event_keys(3, 1, numbers, "test")):
        assert not (other == alone).any()
    assert not (draws.event_keys(3, 0, numbers, "toast") == alone).any()


def test_uniform_fills_the_open_interval_evenly():
    u, v = draws.uniform_pair(KEYS[:, None], torch.arange(500))
    assert 0 < float(u.min()) < 1e-4
    assert 1 - 1e-4 < float(u.max()) < 1
    for draw in (u, v):
        share = torch.histc(draw, 50, 0, 1) / draw.numel() * 50
        assert float((share - 1).abs().max()) < 0.05  # five sigma of 10 000 draws a bin


def test_neighbouring_keys_counters_and_halves_are_independent():
    u, v = (draw.double() - 0.5 for draw in draws.uniform_pair(KEYS[:, None], torch.arange(500)))
    sigma = 1 / 12 / u.numel() ** 0.5
    for product in (u * v, u[1:] * u[:-1], u[:, 1:] * u[:, :-1], u[1:] * v[:-1]):
        assert abs(float(product.mean())) < 5 * sigma


def test_each_bit_is_fair():
    words = draws.bits(KEYS[:, None], torch.arange(100)).flatten()
    shares = torch.stack([(words >> bit & 1).double().mean() for bit in range(64)])
    assert float((shares - 0.5).abs().max()) < 5 * 0.5 / words.numel() ** 0.5


def test_normals_have_unit_width_and_no_correlation():
    a, b = (draw.double() for draw in draws.normal_pair(KEYS[:, None], torch.arange(500)))
    for draw in (a, b):
        assert abs(float(draw.mean())) < 0.008
        assert abs(float(draw.std()) - 1) < 0.008
        assert abs(float(draw.pow(4).mean()) - 3) < 0.1
    assert abs(float((a * b).mean())) < 0.008


def test_integers_cover_their_range_and_ranges_include_both_ends():
    drawn = draws.integers(KEYS, 0, 3, 8)
    assert torch.unique(drawn).tolist() == [3, 4, 5, 6, 7]
    assert torch.unique(draws.integers_in(KEYS, 0, (3, 8))).tolist() == [3, 4, 5, 6, 7, 8]
    assert torch.unique(draws.integers_in(KEYS, 0, 5)).tolist() == [5]
    inside = draws.uniform_in(KEYS, 0, (55.0, 100.0))
    assert 55 < float(inside.min()) < 56
    assert 99 < float(inside.max()) < 100
    assert torch.unique(draws.uniform_in(KEYS, 0, 70.0)).tolist() == [70.0]


def test_shuffled_ranks_permute_each_event_evenly():
    counts = torch.tensor([0, 5, 1, 0] * 250)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    ranks = draws.shuffled_ranks(KEYS, offsets)
    fives = ranks.view(250, 6)[:, :5]
    assert torch.equal(fives.sort(1).values, torch.arange(5).expand(250, -1))
    assert not ranks.view(250, 6)[:, 5].any()
    first = torch.bincount(fives[:, 0], minlength=5)
    assert int((first - 50).abs().max()) < 32  # five sigma
    one = draws.shuffled_ranks(KEYS[5:6], torch.tensor([0, 5]))
    assert torch.equal(one, ranks[int(offsets[5]) : int(offsets[6])])


def test_keys_of_an_event_are_derived_label_by_label():
    numbers = torch.tensor([0, 7, -3, 2**62])
    for seed, epoch, step in ((0, 0, "smear"), (2**63 - 1, 12, ""), (-5, 1, "noise")):
        keys = torch.zeros(4, dtype=torch.int64)
        for label in (seed, epoch, step, numbers):
            keys = draws.derive(keys, label)
        assert torch.equal(draws.event_keys(seed, epoch, numbers, step), keys)
    # A plain number is one that is held in a tensor; and what was drawn stays drawn: data sets are made by their seeds.
    assert torch.equal(draws.derive(KEYS, 5), draws.derive(KEYS, torch.full_like(KEYS, 5)))
    assert draws.event_keys(1, 2, torch.tensor([3]), "test").tolist() == [1705042171406659995]


@pytest.mark.skipif(draws._loops_for(torch.zeros(1), draws.WORTH) is None, reason="needs numba")
def test_compiled_loops_draw_the_same(monkeypatch):
    counts = torch.tensor([0, 700, 1, 0, 2300, 60])
    keys = draws.event_keys(4, 1, torch.arange(len(counts)) - 3, "loops")
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    of_hit, number = draws.numbered(counts)

    def drawn() -> list[torch.Tensor]:
        key, far = keys[of_hit], number * 1_000_003 - 2**40
        return [draws.bits(key, far), draws.normal(key, far), draws.shuffled_ranks(keys, offsets)]

    compiled = drawn()
    monkeypatch.setattr(draws, "_loops_for", lambda keys, numbers=None: None)
    assert all(torch.equal(a, b) for a, b in zip(compiled, drawn(), strict=True))
