"""What every test shares: one thread, and the same drawn examples in every run."""

import os
import shutil

import pytest
import torch
from hypothesis import settings

from pointae.config_files import load_config
from pointae.runs import RunDirectory
from pointae.training.session import train_run

# Small tensors gain nothing from more threads, and results do not depend on the machine.
torch.set_num_threads(1)

# HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def calibrated_run(tmp_path_factory) -> RunDirectory:
    """A small run with thresholds for every retention; whoever changes it, changes a copy."""
    small = [
        "data.events.train=32", "data.events.validation=40", "model.encoder.channels=16", "train.epochs=1",
        "train.precision=fp32", "evaluate.pictures=0", "evaluate.retention=0.965",
    ]  # fmt: skip
    config = load_config("configs/torch/pointnet_point.yaml", small)
    return train_run(config, tmp_path_factory.mktemp("runs"), command="python tools/train.py x.yaml")


@pytest.fixture
def run(calibrated_run, tmp_path) -> RunDirectory:
    """A copy of it, to be spoilt."""
    shutil.copytree(calibrated_run.path, tmp_path / "runs" / "copy")
    return RunDirectory(tmp_path / "runs" / "copy")
