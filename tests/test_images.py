"""Images with embedded time of flight against a loop over hits, and the exactness of their normalisation."""

from __future__ import annotations

import pytest
import torch
from events import batches, random_hits
from hypothesis import given

from pointae.errors import ConfigError
from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.images import embed_tof, gapped_normalise, gapped_restore, hits_of_image, pixel_values

GAPS = pytest.mark.parametrize("gap", [0.1, 0.25, 0.5])


@given(batches(shape=(2, 3, 9)))
def test_embedding_keeps_the_latest_step_of_a_pixel_and_counts_the_lost(hits):
    image, lost = embed_tof(hits)
    expected = torch.zeros(hits.batch_size, 1, 3, 2)
    expected_lost = [0] * hits.batch_size
    for event, (x, y, t) in zip(hits.batch.tolist(), hits.coords.tolist(), strict=True):
        if expected[event, 0, y, x] > 0:
            expected_lost[event] += 1
        expected[event, 0, y, x] = max(float(expected[event, 0, y, x]), t + 1)
    assert torch.equal(image, expected)
    assert lost.tolist() == expected_lost
    assert (pixel_values(image, hits) >= hits.coords[:, 2] + 1).all()


@given(batches(shape=(3, 4, 1000)))
def test_hits_of_an_image_embed_to_the_same_image(hits):
    image, lost = embed_tof(hits)
    back = hits_of_image(image, hits.geometry)
    assert torch.equal(back.counts, hits.counts - lost)
    assert torch.equal(embed_tof(back)[0], image)
    kept, rows = (torch.cat([h.batch[:, None], h.coords], dim=1).tolist() for h in (hits, back))
    assert all(row in kept for row in rows)
    assert rows == sorted(rows, key=lambda row: (row[0], row[2], row[1]))


@pytest.mark.parametrize("batch_size", [0, 2])
def test_images_without_hits(batch_size):
    geometry = even_geometry((3, 4, 5))
    image, lost = embed_tof(HitBatch.empty(geometry, batch_size))
    assert image.shape == (batch_size, 1, 4, 3)
    assert lost.tolist() == [0] * batch_size
    assert hits_of_image(image, geometry).counts.tolist() == [0] * batch_size


@GAPS
def test_every_step_comes_back_exactly_and_zero_stays_zero(gap):
    steps = torch.arange(0, 1001)
    normalised = gapped_normalise(steps, 1000, gap)
    assert normalised.dtype == torch.float32
    assert normalised[0] == 0
    assert normalised[1:].min() > gap
    assert normalised[1000] == pytest.approx(1.0)
    assert torch.equal(gapped_restore(normalised, 1000, gap).round(), steps.float())
    assert gapped_restore(torch.tensor([0.0, gap / 2, gap]), 1000, gap).tolist() == [0, 0, 0]


@GAPS
def test_normalisation_is_float32_under_autocast(gap):
    steps, _ = embed_tof(random_hits([200, 0, 30]))
    outside = gapped_normalise(steps, 1000, gap)
    with torch.autocast("cpu", torch.bfloat16):
        inside = gapped_normalise(steps, 1000, gap)
        restored = gapped_restore(inside, 1000, gap)
    assert inside.dtype == restored.dtype == torch.float32
    assert torch.equal(inside, outside)
    assert torch.equal(restored.round(), steps)


@pytest.mark.parametrize("gap", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_gap_outside_zero_and_one_is_refused(gap):
    for function in (gapped_normalise, gapped_restore):
        with pytest.raises(ConfigError, match=r"the gap of the normalisation must be in \(0, 1\)"):
            function(torch.ones(1), 1000, gap)
