"""Settings on disk: inheritance, overrides, and mistakes told in one line with the nearest key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pointae.config import Config, PatternSource, TorchSource
from pointae.config_files import dump_config, load_config
from pointae.errors import ConfigError
from pointae.geometry import geometry_to_dict, timepix3_geometry
from pointae.record import Grid, RunRecord

ROOT = Path(__file__).parents[1]
CONFIGS = (path for path in (ROOT / "configs").rglob("*.yaml") if "_base_" not in path.parts)
SHIPPED = sorted(path for path in CONFIGS if path.stem != "sweep")  # a sweep is no config of a run
BASES = sorted((ROOT / "configs" / "_base_").rglob("*.yaml"))


@pytest.fixture
def write(tmp_path):
    """``write(text, name)``: a config file, its path."""

    def write(text: str, name: str = "a.yaml") -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.mark.parametrize("path", SHIPPED + BASES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_config_comes_back_from_its_own_dump(path, write):
    config = load_config(path)
    assert config.name == path.stem
    assert load_config(write(dump_config(config), "config.yaml")) == config


def test_an_empty_file_is_the_defaults_under_its_own_name(write):
    assert load_config(write("", "mine.yaml")) == Config(name="mine")


@pytest.mark.parametrize(
    ("text", "key", "advice"),
    [
        ("trian: {epochs: 3}", "trian", "did you mean 'train'?"),
        ("train: {epoch: 3}", "train.epoch", "did you mean 'epochs'?"),
        ("data: {source: {kind: torch, nois: 3}}", "data.source.nois", "did you mean 'noise'?"),
        ("model: {encoder: {name: pointnet, chanels: 3}}", "model.encoder.chanels", "did you mean 'channels'?"),
        (
            "model: {encoder: {name: sparse, heads: 3}}",
            "model.encoder.heads",
            "known here: categories, channels, dilation",
        ),
        ("data: {schedule: {3: {thinn: 2}}}", "data.schedule.3.thinn", "did you mean 'thin'?"),
        ("train: {loss: {terms: [{name: bce, wieght: 1.0}]}}", "train.loss.terms.0.wieght", "did you mean 'weight'?"),
        ("zzzz: 1", "zzzz", "known here: data, evaluate, model, name, seed, train"),
    ],
)
def test_an_unknown_key_is_told_with_its_file_and_the_nearest(write, text, key, advice):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: unknown key '{key}' (")
    assert advice in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("train: {epochs: three}", "train.epochs", "got 'three'"),
        ("train: {epochs: 3.0}", "train.epochs", "got 3.0"),
        ("train: {epochs: 0}", "train.epochs", "got 0"),
        ("train: {epochs: true}", "train.epochs", "got True"),
        ("train: {learning_rate: '1e-3'}", "train.learning_rate", "got '1e-3'"),
        ("train: {schedule: linear}", "train.schedule", "got 'linear'"),
        ("train: 3", "train", "got 3"),
        ("data: {fresh: 1}", "data.fresh", "got 1"),
        ("data: {shares: {train: 0.9, validation: 0.9, test: 0.2}}", "data.shares", "must sum to 1"),
        ("data: {source: {noise: [300, 200]}}", "data.source.noise", "a range runs from low to high"),
        ("data: {degradation: {dead_pixels: 1.5}}", "data.degradation.dead_pixels", "got 1.5"),
        ("model: {encoder: {name: pointnot}}", "model.encoder", "'pointnet'"),
        ("model: {encoder: {name: sparse, strides: [[4, 4]]}}", "model.encoder.strides.0", "got"),
        ("model: {encoder: {name: sparse, strides: []}}", "model.encoder.strides", "at least 1 item"),
        ("model: {decoder: {name: image, gap: 1.0}}", "model.decoder.gap", "got 1.0"),
    ],
)
def test_a_wrong_value_is_told_with_its_file_and_what_was_found(write, text, key, found):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: '{key}")
    assert found in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [", "is not YAML"),
        ("- 1", "must hold keys and values, holds a list"),
        ("_base_: 3", "_base_ must be a path or a list of paths, got 3"),
        ("_base_: missing.yaml", "missing.yaml: no such config"),
        ("_base_: a.yaml", "_base_ leads back to the file itself"),
        ("name: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_config_is_refused(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(text))


def test_a_missing_or_unreadable_file_is_told(write):
    path = write("", "attention.yaml")
    with pytest.raises(ConfigError, match=r"atention\.yaml: no such config \(did you mean '.*attention\.yaml'"):
        load_config(path.with_name("atention.yaml"))
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match=r"attention\.yaml: cannot be read"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path.parent)


def test_bases_are_merged_in_order_and_relative_to_the_file_that_names_them(write):
    write("train: {epochs: 3, batch_size: 5}\nseed: 4", "bases/one.yaml")
    write("_base_: one.yaml\ntrain: {epochs: 7}", "bases/two.yaml")
    write("train: {patience: 2}\nseed: 6", "bases/three.yaml")
    config = load_config(write("_base_: [bases/two.yaml, bases/three.yaml]\ntrain: {clip_norm: null}"))
    train = config.train
    assert (config.seed, train.epochs, train.batch_size, train.patience, train.clip_norm) == (6, 7, 5, 2, None)


def test_a_cycle_of_bases_is_refused_and_a_base_may_serve_twice(write):
    write("_base_: b.yaml", "a.yaml")
    with pytest.raises(ConfigError, match=r"b\.yaml: _base_ leads back"):
        load_config(write("_base_: a.yaml", "b.yaml"))
    write("seed: 9", "root.yaml")
    write("_base_: root.yaml", "left.yaml")
    write("_base_: root.yaml", "right.yaml")
    assert load_config(write("_base_: [left.yaml, right.yaml]", "c.yaml")).seed == 9


def test_a_mistake_in_a_base_is_told_with_the_name_of_the_base(write):
    write("train: {epochs: many}", "base.yaml")
    with pytest.raises(ConfigError, match=r"base\.yaml: 'train.epochs'"):
        load_config(write("_base_: base.yaml\ntrain: {batch_size: 3}"))


def test_delete_replaces_a_section_whole(write):
    write("data: {degradation: {thin: 30, noise: 50}}", "base.yaml")
    kept = load_config(write("_base_: base.yaml\ndata: {degradation: {noise: 60}}"))
    assert (kept.data.degradation.thin, kept.data.degradation.noise) == (30, 60)
    gone = load_config(write("_base_: base.yaml\ndata: {degradation: {_delete_: true, noise: 60}}"))
    assert (gone.data.degradation.thin, gone.data.degradation.noise) == (None, 60)


def test_another_name_or_kind_replaces_a_section_and_the_same_one_is_merged(write):
    write("model: {encoder: {name: attention, channels: 32, heads: 2}}\ndata: {source: {noise: 9}}", "b.yaml")
    same = load_config(write("_base_: b.yaml\nmodel: {encoder: {name: attention, heads: 8}}")).model.encoder
    assert (same.channels, same.heads) == (32, 8)
    unnamed = load_config(write("_base_: b.yaml\nmodel: {encoder: {heads: 8}}")).model.encoder
    assert unnamed == same
    other = load_config(write("_base_: b.yaml\nmodel: {encoder: {name: edgeconv}}")).model.encoder
    assert (other.name, other.channels) == ("edgeconv", 32)
    assert load_config(write("_base_: b.yaml\nmodel: {encoder: {name: pointnet}}")).model.encoder.channels == 64
    text = "_base_: b.yaml\ndata: {source: {kind: patterns, mixture: {cross: 1.0}}}"
    assert isinstance(load_config(write(text)).data.source, PatternSource)
    assert load_config(write("data: {source: {noise: 9}}")).data.source == TorchSource(noise=9)


def test_overrides_come_last_and_are_yaml(write):
    path = write("train: {epochs: 3}")
    overrides = [
        "train.epochs=20", "train.learning_rate=1e-3", "train.patience=4", "train.clip_norm=null", "data.fresh=false",
        "data.source.noise=[100, 300]", "model.encoder.name=sparse", "model.encoder.strides=[[8, 8, 50]]",
        "data.schedule.3.thin=20", "name=a=b",
    ]  # fmt: skip
    config = load_config(path, overrides)
    train = config.train
    assert (train.epochs, train.learning_rate, train.patience, train.clip_norm) == (20, 1e-3, 4, None)
    assert (config.data.fresh, config.data.source.noise, config.name) == (False, (100, 300), "a=b")
    assert config.model.encoder.strides == [(8, 8, 50)]
    assert config.data.schedule[3].thin == 20


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", r"'train.epochs' is not an override \(write key=value, e.g. train.epochs=20\)"),
        ("=3", "'=3' is not an override"),
        ("train.epochs=[", r"the value of 'train.epochs=\[' is not YAML"),
        ("train.epoch=3", "override 'train.epoch=3': unknown key 'train.epoch'.*did you mean 'epochs'"),
        ("train.epochs=x", "override 'train.epochs=x': 'train.epochs'.*got 'x'"),
    ],
)
def test_a_wrong_override_is_told_as_it_was_written(write, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(""), [override])


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E+3", 1e3), ("2.5e-4", 2.5e-4), (".5", 0.5), ("-1e-3", None), ("3", 3.0), ("1_000.0", 1000.0)],
)
def test_numbers_are_those_of_yaml_1_2(write, text, value):
    path = write(f"train: {{learning_rate: {text}}}")
    if value is None:
        with pytest.raises(ConfigError, match=r"greater than 0, got -0.001"):
            load_config(path)
    else:
        assert load_config(path).train.learning_rate == value


def test_whole_numbers_stay_whole_and_words_stay_words(write):
    config = load_config(write("seed: 12\nname: 3e2x\ntrain: {loss: {options: {a: 1, b: 1.0, c: -4, d: '5'}}}"))
    assert (config.seed, config.name) == (12, "3e2x")
    assert [type(value) for value in config.train.loss.options.values()] == [int, float, int, str]


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 3


@pytest.mark.parametrize("module", ["pointae", "pointae.config_files", "pointae.runs", "pointae.terminal"])
def test_torch_is_not_imported_by(module):
    code = f"import sys, {module}; print(*(m for m in ('torch', 'numpy', 'h5py') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []


def test_bounds_of_settings_are_none_of_what_was_counted():
    """A network of more than a million parameters, a grid of more than a million time bins."""
    record = RunRecord.model_validate(
        {"format": "pointae-run", "format_version": 2, "parameters": 7_000_000, "epochs": 3}
    )
    assert record.parameters == 7_000_000
    long = timepix3_geometry()
    assert Grid.model_validate_json(json.dumps(geometry_to_dict(long))).geometry() == long
