"""The six dense networks of robots: sizes, shapes, loss, one training from end to end."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import torch

from pointae.analysis.robots import evaluate_robots
from pointae.config import CategoryGridSettings, LatentSettings, LossSettings, ModelSettings, RobotSource
from pointae.config_files import load_config
from pointae.data.events import EventData
from pointae.errors import ConfigError, DataError
from pointae.geometry import even_geometry, robot_geometry
from pointae.hits import HitBatch
from pointae.io import read_hits
from pointae.losses import LOSSES, build_loss
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.category_grid import kind_grid
from pointae.nn.outputs import CategoryGrid
from pointae.recover import generated_pattern
from pointae.simulate import simulate_events
from pointae.storage import read_table
from pointae.training.objective import make_loss
from pointae.training.session import train_run

SIZES = {
    "fc": 1_629_495, "conv": 1_825_285, "conv_pool": 1_825_285, "conv_skip": 2_001_158, "deep": 6_142_469,
    "batch_norm": 6_255_365,
}  # fmt: skip


def model_of(network: str, latent: int = 2) -> Autoencoder:
    grid = CategoryGridSettings(network=network)
    settings = ModelSettings(encoder=grid, latent=LatentSettings(name="variational", size=latent), decoder=grid)
    with torch.device("meta" if network != "fc" else "cpu"):  # a count needs no numbers
        return Autoencoder(settings, robot_geometry())


@pytest.fixture(scope="module")
def robots() -> HitBatch:
    return simulate_events(RobotSource(empties=0.2), 1, torch.arange(5))


@pytest.mark.parametrize("network", SIZES)
def test_a_network_has_its_size_makes_grids_and_learns(network, robots):
    torch.manual_seed(0)
    config = load_config(f"configs/robots/{network}.yaml")
    assert (config.model.encoder.network, config.model.decoder.network) == (network, network)
    assert config.model.latent == LatentSettings(name="variational", size=2)
    model = Autoencoder(config.model, robot_geometry())
    assert sum(parameter.numel() for parameter in model.parameters()) == SIZES[network]
    LOSSES["category_mse"](model(robots).output, robots, robots).backward()
    assert all(bool(torch.isfinite(p.grad).all()) and bool((p.grad != 0).any()) for p in model.parameters())
    with torch.no_grad():
        output = model.eval()(robots).output
        alone = model(robots.events([2])).output
        nothing = model(robots.events([])).output
    assert output.values.shape == (5, 11, 11, 11)
    assert bool(((output.values > 0) & (output.values < 1)).all())
    assert output.hit_logits(robots).shape == (robots.num_hits,)
    assert torch.allclose(alone.values[0], output.values[2], atol=1e-6)
    assert nothing.values.shape == (0, 11, 11, 11)


@pytest.mark.parametrize(("network", "flat"), [("fc", 256), ("conv", 6912), ("deep", 55296)])
def test_a_larger_latent_adds_three_layers_of_it(network, flat):
    small, large = (sum(p.numel() for p in model_of(network, size).parameters()) for size in (2, 8))
    assert large - small == 6 * (3 * flat + 2)


def test_the_networks_know_no_other_grid():
    grid = CategoryGridSettings()
    with pytest.raises(ConfigError, match="11 x 11 x 11"):
        Autoencoder(ModelSettings(encoder=grid, decoder=grid), even_geometry((11, 11, 12)))


# ---- grid and loss -----------------------------------------------------------------------------------------


def test_the_grid_holds_kinds_and_gives_them_back(robots):
    grid = kind_grid(robots)[:, 0]
    expected = torch.zeros(5, 11, 11, 11)
    for event, (x, y, z), kind in zip(robots.batch, robots.coords.tolist(), robots.category, strict=True):
        expected[event, x, y, z] = kind / 4
    assert torch.equal(grid, expected)
    noise = (torch.rand(grid.shape, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.24
    made = generated_pattern(CategoryGrid((grid + noise).clamp(0, 1), 4), robot_geometry())
    assert torch.equal(made.coords, robots.coords)
    assert torch.equal(made.category, robots.category)
    assert torch.equal(made.offsets, robots.offsets)


def test_the_loss_against_a_loop(robots):
    values = torch.rand(5, 11, 11, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = (0.1, 1.0, 2.0, 3.0, 4.0)
    loss = LOSSES["category_mse"](CategoryGrid(values, 4), robots, robots, category_weights=weights)
    truth = {
        (int(e), *c): int(k) for e, c, k in zip(robots.batch, robots.coords.tolist(), robots.category, strict=True)
    }
    total = 0.0
    for cell in torch.cartesian_prod(torch.arange(5), *(torch.arange(11),) * 3).tolist():
        kind = truth.get(tuple(cell), 0)
        total += weights[kind] * (float(values[tuple(cell)]) - kind / 4) ** 2
    assert float(loss) == pytest.approx(total / 5)
    plain = LOSSES["category_mse"](CategoryGrid(values, 4), robots, robots)
    equal = LOSSES["category_mse"](CategoryGrid(values, 4), robots, robots, category_weights=(1.0,) * 5)
    assert float(plain) == pytest.approx(float(equal))
    perfect = CategoryGrid(kind_grid(robots)[:, 0], 4)
    assert float(LOSSES["category_mse"](perfect, robots, robots)) == 0
    nothing = robots.events([])
    assert float(LOSSES["category_mse"](CategoryGrid(values[:0], 4), nothing, nothing)) == 0
    with pytest.raises(DataError, match="category_weights are 4"):
        LOSSES["category_mse"](perfect, robots, robots, category_weights=(1.0,) * 4)


def test_the_gradient_of_the_loss(robots):
    values = torch.rand(5, 11, 11, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    row = values[0, 5, 5].clone().requires_grad_()

    def loss(row: torch.Tensor) -> torch.Tensor:
        grid = values.index_put((torch.tensor(0), torch.tensor(5), torch.tensor(5)), row)
        return LOSSES["category_mse"](CategoryGrid(grid, 4), robots, robots, category_weights=(0.1, 1.0, 2.0, 3.0, 4.0))

    assert torch.autograd.gradcheck(loss, (row,))


def test_weights_by_rarity_are_those_of_the_training_robots():
    config = load_config("configs/robots/fc.yaml", ["data.source.robots=400"])
    data = EventData(config.data, 1)
    counts = data.category_counts()
    robots = data.all_events("train").target
    assert counts[1:].tolist() == torch.bincount(robots.category.long(), minlength=5)[1:].tolist()
    assert int(counts.sum()) == robots.batch_size * 1331
    rarity = [math.log(1 + int(counts.sum()) / max(int(count), 1)) for count in counts]
    weights = tuple(5 * value / sum(rarity) for value in rarity)
    output = CategoryGrid(torch.rand(robots.batch_size, 11, 11, 11), 4)
    by_name = build_loss(LossSettings(name="category_mse", options={"category_weights": "log"}), counts)
    given = LOSSES["category_mse"](output, robots, robots, category_weights=weights)
    assert float(by_name(output, robots, robots)) == pytest.approx(float(given))
    batch = next(data.batches("train", 8))
    model = model_of("fc").eval()
    loss = make_loss(config.train, validation=False, category_counts=counts)
    assert bool(torch.isfinite(loss(model(batch.hits), batch)))


# ---- a training ----------------------------------------------------------------------------------------------

SMALL = ["data.source.robots=200", "train.epochs=2"]


def test_a_baseline_is_trained_and_judged(tmp_path, capsys):
    run = train_run(load_config("configs/robots/fc.yaml", SMALL), tmp_path)
    assert "exact robots" in capsys.readouterr().out
    rows = read_table(run.metrics_path)
    wanted = {"train_seconds", "validation_loss", "exact_accuracy", "voxel_f1", "category_f1", "kl", "active_units"}
    assert len(rows) == 2
    assert wanted <= set(rows[0])
    evaluation = evaluate_robots(run)
    evaluation.save(run, pictures=8)
    assert (evaluation.figures["robots"], 0 <= evaluation.figures["category_f1"] <= 1) == (40, True)
    assert json.loads((run.evaluation / "metrics.json").read_text())["network"]["robots"] == 40
    assert len(read_table(run.evaluation / "latent.csv")) == 2
    judged = read_table(run.evaluation / "robots.csv")
    assert sum(row["exact"] for row in judged) / len(judged) == evaluation.figures["exact_accuracy"]
    assert read_hits(run.predictions_path("events")).batch_size == 8
    assert all(words in str(evaluation) for words in ("exact robots", "active units"))


def test_a_decoder_without_kinds_is_refused(tmp_path):
    others = ["model.decoder={name: point_set, slots: 8}", "train.loss={name: set}"]
    with pytest.raises(ConfigError, match="makes no voxels with a category"):
        train_run(load_config("configs/robots/fc.yaml", [*SMALL, *others]), tmp_path)


@pytest.mark.slow
def test_the_commands(tmp_path):
    for words in (
        ["train", "configs/robots/fc.yaml", *SMALL, "--runs", tmp_path],
        ["evaluate", tmp_path / "fc"],
        ["simulate", "robots", "-o", tmp_path / "a.csv", "--events", 50],
        ["inspect_data", tmp_path / "a.csv"],
    ):
        tool, *others = map(str, words)
        done = subprocess.run(
            [sys.executable, f"tools/{tool}.py", *others], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
