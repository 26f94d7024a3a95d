"""Every config that is shipped builds and trains one step."""

from pathlib import Path

import pytest
import torch

from pointae.analysis.sweep.space import check_values
from pointae.config_files import load_config, load_sweep
from pointae.data.events import EventData
from pointae.training.objective import make_loss
from pointae.training.session import build_model

CONFIGS = sorted(path for path in Path("configs").rglob("*.yaml") if "_base_" not in path.parts)
SHIPPED = [path for path in CONFIGS if path.stem != "sweep"]


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_a_shipped_config_trains_one_step(path):
    config = load_config(path)
    if config.data.source.kind == "robots":  # all 27,017 would be generated for a batch of four
        config = load_config(path, ["data.source.robots=100"])
    data = EventData(config.data, config.seed)
    model = build_model(config, data)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss = make_loss(config.train, False, data.category_counts())
    batch = next(data.batches("train", 4))
    before = loss(model(batch.hits), batch)
    before.backward()
    assert bool(torch.isfinite(before))
    moved = [parameter for parameter in model.parameters() if parameter.grad is not None]
    assert moved
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in moved)
    optimiser.step()
    assert bool(torch.isfinite(loss(model(batch.hits), batch)))


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem == "sweep"], ids=str)
def test_a_shipped_sweep_varies_what_its_config_has(path):
    settings = load_sweep(path)
    check_values(settings)
    assert settings.score.f1 == "category_f1"


def test_the_shipped_configs_are_the_ones_named():
    assert {str(path) for path in SHIPPED} >= {
        "configs/demo.yaml",
        *(f"configs/torch/{name}.yaml" for name in (
            "pointnet_point", "attention_point", "sparse_point", "pointnet_set", "sparse_dense", "dense2d",
            "full_pattern_set", "full_pattern_dense",
        )),
        "configs/timepix3/point.yaml",
        *(f"configs/robots/{name}.yaml" for name in ("fc", "conv", "conv_pool", "conv_skip", "deep", "batch_norm")),
        "configs/patterns/cross_rae.yaml",
    }  # fmt: skip
