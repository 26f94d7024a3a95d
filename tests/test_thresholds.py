"""The score above which a share of the signal is kept: by share, in runs of today and of before."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pointae.errors import CheckpointError, UsageError
from pointae.inference import Denoiser
from pointae.runs import RunDirectory
from pointae.thresholds import RETENTIONS, threshold_at, thresholds_by_retention
from pointae.training.session import resume_run


def test_thresholds_keep_what_they_say():
    generator = torch.Generator().manual_seed(3)
    score, signal = torch.rand(20_000, generator=generator), torch.rand(20_000, generator=generator) < 0.4
    table = thresholds_by_retention(score, signal, 0.973)
    assert set(table) == {*RETENTIONS, 0.973}
    of_signal = np.sort(score[signal].numpy())
    for retention, cut in table.items():
        assert abs((of_signal >= cut).mean() - retention) <= 1 / len(of_signal)
        assert threshold_at(table, retention) == cut
    assert (of_signal >= threshold_at(table, 0.9851)).mean() == pytest.approx(0.9851, abs=1e-3)
    assert thresholds_by_retention(score, torch.zeros_like(signal), 0.97) == {}


@given(
    st.dictionaries(st.floats(0.5, 0.999), st.just(0.0), min_size=1, max_size=6),
    st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_more_retention_is_never_a_higher_threshold(retentions, cuts, one, other):
    table = dict(zip(sorted(retentions), sorted(cuts, reverse=True), strict=False))
    low, high = min(table), max(table)
    first, second = sorted(min(low + share * (high - low), high) for share in (one, other))
    assert threshold_at(table, first) >= threshold_at(table, second)
    for outside in (low - 0.01, high + 0.0001, float("nan")):
        with pytest.raises(UsageError, match="is not between"):
            threshold_at(table, outside)


def test_the_run_keeps_every_retention(calibrated_run):
    denoiser = Denoiser.open(calibrated_run.path)
    assert set(denoiser.thresholds) == {*RETENTIONS, 0.965}
    assert denoiser.threshold == denoiser.at_retention(0.965).threshold
    assert denoiser.at_retention(0.99).threshold < denoiser.at_retention(0.9).threshold


def test_an_older_run_says_what_to_do_and_resuming_does_it(calibrated_run, tmp_path):
    path = tmp_path / "older"
    shutil.copytree(calibrated_run.path, path)
    record = json.loads((path / "run.json").read_text())
    thresholds = record.pop("thresholds")
    del record["seal"], record["config_sha256"]
    record["format_version"] = 1  # later ones are sealed, and refused where an entry that decides is gone
    (path / "run.json").write_text(json.dumps(record))
    denoiser = Denoiser.open(path)
    assert denoiser.threshold == record["threshold"]
    with pytest.raises(CheckpointError, match=r"older: keeps no thresholds.*--resume.*--threshold") as caught:
        denoiser.at_retention(0.99)
    assert caught.value.exit_code == 4
    resume_run(path)
    assert RunDirectory(path).record.thresholds == {float(retention): cut for retention, cut in thresholds.items()}
