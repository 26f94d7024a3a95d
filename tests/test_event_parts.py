"""Events through a network in parts, each on a thread of its own: the same as all at once."""

from __future__ import annotations

import os
from multiprocessing import get_context
from threading import Barrier, get_ident

import pytest
import torch

from pointae.config import LatentSettings, ModelSettings, PerHitSettings, PointNetSettings, SparseSettings
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.event_parts import parts_of_events
from pointae.threads import each_alone, side_by_side


def random_hits(*sizes: int) -> HitBatch:
    draw = torch.Generator().manual_seed(1)
    coords = [torch.randint(bins, (sum(sizes),), generator=draw) for bins in torch_geometry().spatial_shape]
    return HitBatch(torch_geometry(), torch.stack(coords, 1).int(), torch.tensor([0, *sizes]).cumsum(0))


def model_of(encoder=None, latent="plain") -> Autoencoder:
    torch.manual_seed(2)
    encoder = encoder or SparseSettings(channels=16, engine="torch")
    settings = ModelSettings(encoder=encoder, latent=LatentSettings(name=latent, size=5), decoder=PerHitSettings())
    return Autoencoder(settings, torch_geometry())


HITS = random_hits(100, 0, 250, 3, 180, 60)


@pytest.fixture
def three_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def parts(monkeypatch, three_threads) -> list[int]:
    """Numbers of the parts that were made; a part needs one hit."""
    seen = []
    monkeypatch.setattr("pointae.nn.autoencoder.parts_of_events", lambda hits, _: parts_of_events(hits, 1))
    monkeypatch.setattr("pointae.nn.event_parts.each_alone", lambda work, n: (seen.append(n), each_alone(work, n)))
    return seen


def results(model: Autoencoder, grad: bool = True) -> list[torch.Tensor]:
    with torch.set_grad_enabled(grad):
        prediction = model(HITS)
        logits, z = prediction.output.hit_logits(HITS), prediction.latent.z
        if not grad:
            return [logits, z]
        parameters = [p for p in model.parameters() if p.requires_grad]
        loss = (logits.tanh() * torch.arange(len(logits))).mean() + z.square().sum()
        told = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [logits.detach(), z.detach(), *(g for g in told if g is not None)]


@pytest.mark.parametrize("grad", [True, False])
def test_as_all_at_once(grad, parts, monkeypatch):
    model = model_of().double()
    ours, again = results(model, grad), results(model, grad)
    assert parts == [3] * (4 if grad else 2)
    assert torch.get_num_threads() == 3
    monkeypatch.setattr("pointae.nn.autoencoder.parts_of_events", lambda *_: 1)
    whole = results(model, grad)
    assert len(parts) == (4 if grad else 2)
    for a, b, c in zip(ours, again, whole, strict=True):
        assert torch.equal(a, b)
        assert not a.requires_grad
        torch.testing.assert_close(a, c, rtol=1e-9, atol=1e-9)


def test_frozen_weights_have_no_gradients_and_the_others_theirs(parts, monkeypatch):
    model = model_of().double()
    model.encoder.unet.requires_grad_(False)
    ours = results(model)
    monkeypatch.setattr("pointae.nn.autoencoder.parts_of_events", lambda *_: 1)
    for a, b in zip(ours, results(model), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert parts


def test_autocast_and_its_absence_reach_every_part(parts, monkeypatch):
    model = model_of()
    with torch.autocast("cpu", torch.bfloat16):
        ours = results(model, grad=False)
        monkeypatch.setattr("pointae.nn.autoencoder.parts_of_events", lambda *_: 1)
        whole = results(model, grad=False)
    assert (parts, ours[1].dtype, whole[1].dtype) == ([3], torch.bfloat16, torch.bfloat16)
    assert (ours[0] - whole[0]).abs().max() <= 0.02 * whole[0].abs().max()


def test_what_is_drawn_for_a_batch_or_mixes_events_is_not_cut(parts):
    for model in (model_of(latent="variational"), model_of(PointNetSettings(channels=16))):
        assert model(HITS).output.hit_logits(HITS).shape == (HITS.num_hits,)
    assert not parts


def test_an_error_in_a_part_leaves_the_threads_as_they_were(three_threads):
    with pytest.raises(ZeroDivisionError):
        each_alone(lambda part: 1 // (part - 1), 3)
    assert torch.get_num_threads() == 3
    alone = [0] * 3
    each_alone(lambda part: alone.__setitem__(part, torch.get_num_threads()), 3)
    assert alone == [1, 1, 1]


def test_parts_are_for_many_hits_on_several_threads(three_threads):
    assert [parts_of_events(HITS, least) for least in (1, 200, 500, 10_000)] == [3, 2, 1, 1]
    assert parts_of_events(HITS.events(slice(2, 4)), 1) == 2
    assert parts_of_events(HitBatch.empty(torch_geometry()), 1) == 1
    told = HITS.replace(features=torch.zeros(HITS.num_hits, 1, requires_grad=True), feature_names=("charge",))
    assert parts_of_events(told, 1) == 1


@pytest.mark.parametrize("team", ["torch's", "Python's"])
def test_parts_run_at_once_and_each_once(team, three_threads, monkeypatch):
    if team == "Python's":
        monkeypatch.setattr("pointae.threads._team", lambda _: None)
    met, done = Barrier(2), []
    side_by_side(lambda part: (met.wait(timeout=20), done.append((part, get_ident()))), 2)
    assert sorted(part for part, _ in done) == [0, 1]
    assert len({thread for _, thread in done}) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own(three_threads):
    torch.randn(300, 300) @ torch.randn(300, 300)
    context = get_context("fork")
    told = context.SimpleQueue()

    def work() -> None:
        done: list[int] = []
        side_by_side(done.append, 20)
        told.put(sorted(done))

    child = context.Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert told.get() == list(range(20))
