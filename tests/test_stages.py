"""The stages of events that an evaluation keeps for the viewer."""

import pytest
import torch
from events import random_hits

from pointae.analysis.evaluation import Evaluation, Judged
from pointae.analysis.stages import STAGES, degradation_stages, save_stages
from pointae.config import Config
from pointae.config_files import dump_config
from pointae.data.events import EventData
from pointae.io import read_hits
from pointae.runs import RunDirectory
from visual.scene.source import STAGE_FILES, open_events


def config_of(**data):
    source = {"kind": "torch", "tracks": 1, "signal": 40, "noise": 0}
    counts = {"train": 4, "validation": 4, "test": 4}
    return Config(name="stages", seed=3, data={"source": source, "events": counts, **data}, evaluate={"pictures": 3})


DEGRADED = {"degradation": {"thin": 10, "smear": {"x": 5.0}, "noise": 20}}


def test_viewer_and_evaluation_agree_on_the_names_of_the_files():
    assert set(STAGE_FILES.values()) == set(STAGES)


def test_degradation_is_made_again_step_by_step():
    data = EventData(config_of(**DEGRADED).data, 3)
    stages, noised = degradation_stages(data, 3), data.all_events("test").hits.events([0, 1, 2])
    assert stages["full"].counts.tolist() == [40, 40, 40]
    assert stages["thinned"].counts.tolist() == [10, 10, 10]
    for event in range(3):
        full, thin, smeared = (stages[name].events([event]) for name in ("full", "thinned", "smeared"))
        cells = set(map(tuple, full.coords.tolist()))
        assert all(tuple(row) in cells for row in thin.coords.tolist())
        seen = noised.events([event])
        signal = sorted(seen.coords[seen.signal].tolist())
        assert sorted(smeared.coords.tolist()) == signal
        assert not set(map(tuple, signal)) <= cells  # they were moved
    assert degradation_stages(EventData(config_of().data, 3), 3) == {}
    only_noise = degradation_stages(EventData(config_of(degradation={"noise": 20}).data, 3), 3)
    assert set(only_noise) == {"full"}


@pytest.fixture
def judged_run(tmp_path, monkeypatch):
    """A run whose network and oracle scored random hits; nothing is trained."""
    run = RunDirectory.create(tmp_path, "stages")
    run.write_config(dump_config(config_of(**DEGRADED)))
    data = EventData(config_of(**DEGRADED).data, 3)
    hits = data.all_events("test").hits
    score = torch.rand(hits.num_hits, generator=torch.Generator().manual_seed(0))
    scored = hits.replace(score=score, kept=score > 0.5)
    made = random_hits((5, 0, 7), geometry=hits.geometry).replace(signal=None)
    monkeypatch.setattr("pointae.analysis.stages.Denoiser.open", lambda path: None)
    monkeypatch.setattr("pointae.analysis.stages.reconstructed", lambda denoiser, hits: made)
    from pointae.io import write_hits

    write_hits(run.predictions_path("events"), scored.events([0, 1, 2]))
    return run, Evaluation([Judged("network", "network", scored, {}), Judged("oracle", "bound", scored, {})], {})


def test_stages_are_kept_beside_the_predictions_and_go_with_the_next_evaluation(judged_run):
    run, evaluation = judged_run
    save_stages(run, evaluation, of_config=True)
    for name in STAGES:
        assert read_hits(run.predictions_path(name)).batch_size == 3
    layers = {layer.name: len(layer.pos) for layer in open_events(run.path).scene(2).layers}
    assert (layers["full pattern"], layers["thinned"], layers["reconstructed"]) == (40, 10, 7)
    assert layers["oracle"] == int(evaluation.rows[0].hits.events([2]).kept.sum())
    save_stages(run, Evaluation(evaluation.rows[:1], {}), of_config=False)
    assert [name for name in STAGES if run.predictions_path(name).is_file()] == ["reconstructed"]
