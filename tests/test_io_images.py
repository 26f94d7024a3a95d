"""Hits as DeepClean3D's images: bundles, single files, folders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hit_files import assert_same, some_hits

from pointae.errors import DataError
from pointae.geometry import deepclean3d_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.io import read_blocks, read_hits, write_hits


@pytest.fixture
def bundle():
    """A bundle in DeepClean3D's layout: 5 events, one of them blank."""
    generator = torch.Generator().manual_seed(1)
    steps = torch.randint(1, 1001, (5, 1, 128, 88), generator=generator).double()
    images = steps * (torch.rand(steps.shape, generator=generator) < 0.02)
    images[2] = 0
    return images


def test_bundles_are_written_back_bit_for_bit(tmp_path, bundle):
    torch.save(bundle, tmp_path / "a.pt")
    hits = read_hits(tmp_path / "a.pt")
    assert hits.geometry == deepclean3d_geometry()
    batch, _, y, x = (bundle > 0).nonzero().T
    assert hits.coords.tolist() == torch.stack([x, y, bundle[bundle > 0].long() - 1], 1).tolist()
    assert hits.batch.tolist() == batch.tolist()
    assert write_hits(tmp_path / "b.pt", hits).hits_lost == 0
    again = torch.load(tmp_path / "b.pt", weights_only=True)
    assert again.dtype == torch.float64
    assert again.numpy().tobytes() == bundle.numpy().tobytes()
    assert_same(HitBatch.concat(list(read_blocks(tmp_path / "a.pt", 2))), hits)


def test_hits_lost_to_shared_pixels_are_counted(tmp_path):
    coords = torch.tensor([[1, 2, 30], [1, 2, 40], [1, 2, 7], [3, 4, 5]], dtype=torch.int32)
    hits = HitBatch(torch_geometry(), coords, torch.tensor([0, 3, 4]), signal=torch.ones(4, dtype=torch.bool))
    report = write_hits(tmp_path / "a.pt", hits)
    assert (report.hits, report.hits_lost, report.fields_lost) == (2, 2, ("signal",))
    assert "2 hits" in str(report)
    assert read_hits(tmp_path / "a.pt", geometry=torch_geometry()).coords.tolist() == [[1, 2, 40], [3, 4, 5]]


@pytest.mark.parametrize("labels", ["Labels", "Labels_Sparse"])
def test_folders_of_images_with_labels(tmp_path, bundle, labels):
    for name, images in (("Data", bundle), (labels, bundle * (bundle > 500))):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            np.save(tmp_path / name / f"img_{i + 8}.npy", image[0])
    hits = read_hits(tmp_path)
    torch.save(bundle, tmp_path / "a.pt")
    assert_same(hits, read_hits(tmp_path / "a.pt"), but=("signal", "event_id"))
    assert hits.event_id == ("img_8", "img_9", "img_10", "img_11", "img_12")
    assert torch.equal(hits.signal, hits.coords[:, 2] + 1 > 500)
    assert_same(HitBatch.concat(list(read_blocks(tmp_path, 2))), hits)
    write_hits(tmp_path / "copy", hits)
    assert_same(read_hits(tmp_path / "copy"), hits)
    (tmp_path / "Data" / "img_9.npy").unlink()
    with pytest.raises(DataError, match=r"img_9\.npy"):
        read_hits(tmp_path)


def test_a_folder_of_bundles_without_events_has_none(tmp_path):
    torch.save(torch.zeros(0, 1, 128, 88), tmp_path / "a.pt")
    assert read_hits(tmp_path).batch_size == 0
    assert [hits.batch_size for hits in read_blocks(tmp_path, 2)] == [0]
    torch.save(torch.ones(3, 1, 128, 88), tmp_path / "b.pt")
    assert [hits.batch_size for hits in read_blocks(tmp_path, 2)] == [2, 1]


def test_one_image(tmp_path, bundle):
    np.save(tmp_path / "a.npy", bundle[0, 0].numpy().astype(">i2"))
    hits = read_hits(tmp_path / "a.npy")
    write_hits(tmp_path / "b.npy", hits)
    assert np.array_equal(np.load(tmp_path / "b.npy"), bundle[0, 0])
    with pytest.raises(DataError, match="one event"):
        write_hits(tmp_path / "c.npy", some_hits(shape=(88, 128, 1000)))


def test_names_of_events_cannot_leave_the_folder(tmp_path):
    for name in ("../../evil", "a/b", "..", ""):
        hits = some_hits((1,), shape=(88, 128, 1000), event_id=(name,))
        with pytest.raises(DataError, match="no name"):
            write_hits(tmp_path / "out", hits)
    assert not list(tmp_path.iterdir())
