"""Features of hits on their way into a network, whatever their unit."""

import pytest
import torch
from events import random_hits

from pointae.config import Config, DataSettings, FileSource, SplitShares
from pointae.data.events import EventData
from pointae.errors import ConfigError
from pointae.io import write_hits
from pointae.nn.embedding import HitEmbedding
from pointae.nn.feature_scale import FeatureScale, feature_scale, measure_features
from pointae.training.session import build_model


def test_features_of_another_unit_are_embedded_alike():
    hits = random_hits([30, 0, 9], features=2)
    unit, shift = torch.tensor([1000.0, 1e-3]), torch.tensor([-500.0, 7.0])
    other = hits.replace(features=hits.features * unit + shift)
    embedded = []
    for events in (hits, other):
        torch.manual_seed(0)
        embedding = HitEmbedding(events.geometry, 2, 6)
        measure_features(embedding, events.features)
        embedded.append(embedding(events))
    torch.testing.assert_close(*embedded, rtol=1e-3, atol=1e-3)


def test_each_feature_counts_beside_one_a_thousand_times_larger():
    features = torch.tensor([[25.0, 0.0], [5000.0, 0.0], [25.0, 3.0], [5000.0, 3.0]])
    scale = FeatureScale(2)
    measure_features(scale, features)
    found = scale(features)
    expected = torch.stack([(column - column.mean()) / column.std(unbiased=False) for column in features.T], 1)
    torch.testing.assert_close(found, expected)
    assert len(found.unique(dim=0)) == 4


def test_a_feature_that_does_not_vary_is_centred_and_no_hits_change_nothing():
    scale = FeatureScale(2)
    measure_features(scale, torch.tensor([[4.0, 1.0], [4.0, 3.0]]))
    assert scale(torch.tensor([[4.0, 3.0]])).tolist() == [[0.0, 1.0]]
    before = [buffer.clone() for buffer in scale.buffers()]
    measure_features(scale, torch.zeros(0, 2))
    assert all(map(torch.equal, before, scale.buffers()))
    assert scale(torch.zeros(0, 2)).shape == (0, 2)
    assert not feature_scale(0).state_dict()  # weights of networks without features hold nothing of it


@pytest.fixture
def stored(tmp_path):
    hits = random_hits([12] * 20, features=2)
    write_hits(tmp_path / "a.h5", hits.replace(features=hits.features * 300 + 900))

    def settings(**source) -> DataSettings:
        shares = SplitShares(train=0.6, validation=0.2, test=0.2)
        return DataSettings(source=FileSource(paths=[str(tmp_path / "a.h5")], **source), shares=shares)

    return settings


def test_a_model_knows_the_features_of_its_training_events(stored):
    config = Config(name="features", data=stored(features=["f0", "f1"]))
    data = EventData(config.data, config.seed)
    model = build_model(config, data)
    scales = [module for module in model.modules() if isinstance(module, FeatureScale)]
    assert scales
    for scale in scales:
        torch.testing.assert_close(scale.mean, data.all_events("train").hits.features.mean(0))
    assert any(name.endswith("feature_scale.mean") for name in model.state_dict())


def test_a_network_is_given_the_features_that_are_asked_for(stored):
    assert EventData(stored(), 0).feature_names == ()
    whole = EventData(stored(features=["f0", "f1"]), 0)
    assert whole.feature_names == ("f0", "f1")
    one = EventData(stored(features=["f1"]), 0)
    assert one.feature_names == ("f1",)
    assert torch.equal(one.all_events("test").hits.features[:, 0], whole.all_events("test").hits.features[:, 1])
    assert EventData(stored(features=[]), 0).all_events("test").hits.features.shape[1] == 0
    with pytest.raises(ConfigError, match=r"a.h5: unknown feature 'f2' .*known: f0, f1"):
        EventData(stored(features=["f2"]), 0)
