"""Hostile YAML and absurd settings: one line, at once, in little memory, with the name of the key."""

from __future__ import annotations

import inspect
import math
import os
import time
import tracemalloc
import typing

import pytest
from hostile_yaml import OVERRIDES, TEXTS
from pydantic import ConfigDict, TypeAdapter, ValidationError

from pointae import config as settings_module
from pointae.config import Config, Settings, TorchSource
from pointae.config_files import load_config, load_sweep
from pointae.errors import ConfigError
from pointae.yaml_text import parse_yaml

SECONDS, BYTES = 2.0, 100 << 20
HARMLESS = {
    ("TrainSettings", "learning_rate"),
    ("TrainSettings", "clip_norm"),
    ("LossSettings", "options"),
    ("LossTerm", "options"),
    ("SweepSettings", "fixed"),
    ("SweepSettings", "parameters"),
}
"""Of these 1e30 is taken: a network that diverges is told then; options and values are checked where they are used."""


def told_of(load, *words) -> str:
    """The one line that a config is refused with."""
    before = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load(*words)
    assert time.process_time() - before < SECONDS
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000 + len(str(words[0]))
    assert caught.value.exit_code == 2
    return message


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_yaml_is_refused(tmp_path, name):
    path = tmp_path / "a.yaml"
    path.write_text(TEXTS[name], encoding="utf-8")
    assert told_of(load_sweep, path).startswith(f"{path}: ")
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError):
            load_config(path)
        assert tracemalloc.get_traced_memory()[1] < BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: ascii(override[:40]))
def test_absurd_settings_are_refused_by_name(override):
    message = told_of(load_config, "configs/demo.yaml", [override])
    key = override.partition("=")[0]
    assert key[:100] in message


def test_chains_trees_and_loops_of_bases(tmp_path):
    for i in range(1200):
        (tmp_path / f"c{i}.yaml").write_text(f"_base_: c{i + 1}.yaml")
    for i in range(30):
        (tmp_path / f"t{i}.yaml").write_text(f"_base_: [t{i + 1}.yaml, t{i + 1}.yaml]")
    (tmp_path / "c1200.yaml").write_text("")
    (tmp_path / "t30.yaml").write_text("")
    for name in ("c0.yaml", "t0.yaml"):
        assert told_of(load_config, tmp_path / name).startswith(f"{tmp_path / name}: is made of more than 100 files")
    for base, told in (
        ('"a\\0b"', "a text with a letter that there is not"), ("a.yaml", "leads back"), ("''", "is a folder"),
        ("x" * 5000, "cannot be read: File name too long"),
        ("[[a]]", "must be a path"), ("loop", "cannot be read: Too many"),
        (str(tmp_path / "pipe"), "is a pipe"), ("/dev/zero", "is a device"),
    ):  # fmt: skip
        (tmp_path / "a.yaml").write_text(f"_base_: {base}")
        if not (tmp_path / "pipe").exists():
            os.mkfifo(tmp_path / "pipe")
            (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(ConfigError) as caught:
            load_config(tmp_path / "a.yaml")
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("a\0b", "is no name that a file can have"),
        ("\ud800", "is no name that a file can have"),
        ("/dev/zero", "is a device"),
        (".", "is a folder"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_names_that_are_no_file(path, told):
    assert told in told_of(load_config, path)


def test_values_that_are_taken():
    text = (
        "{a: 1, b: 1e-3, c: -2.5, d: 0x1F, e: yes, f: ~, g: 2020-01-01, h: '1:30', i: [x, &y {z: 3}, *y], <<: {j: 4}}"
    )
    assert parse_yaml(text) == {
        "a": 1, "b": 1e-3, "c": -2.5, "d": 31, "e": True, "f": None, "g": "2020-01-01", "h": "1:30",
        "i": ["x", {"z": 3}, {"z": 3}], "j": 4,
    }  # fmt: skip
    assert parse_yaml("9" * 40) == int("9" * 40)
    assert parse_yaml("9" * 100) == "9" * 100
    assert parse_yaml("") is None


def classes() -> list[type[Settings]]:
    """Every class of settings."""
    found, todo = [], [Settings]
    while todo:
        below = [kind for kind in todo.pop().__subclasses__() if kind.__module__.startswith("pointae.config")]
        todo += below
        found += below
    return found


FIELDS = [(kind, name) for kind in classes() for name in kind.model_fields]
ABSURD = [math.nan, math.inf, -math.inf, 1e30, -1e30, 2**70, -(2**70)]


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_no_setting_takes_an_absurd_number(kind, name):
    """Alone, in a pair, in a triple, as a value of any key and as a key: whatever the setting is made of."""
    field = kind.model_fields[name]
    annotation = typing.Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    adapter = TypeAdapter(
        annotation,
        config=None
        if inspect.isclass(annotation) and issubclass(annotation, Settings)
        else ConfigDict(strict=True, allow_inf_nan=False),
    )
    keys = ["uniform", "cross", "x", 1]
    for value in ABSURD:
        for shaped in (value, [value] * 2, [value] * 3, [[value] * 3], (value, value), *({key: value} for key in keys)):
            try:
                adapter.validate_python(shaped)
            except ValidationError:
                continue
            assert (kind.__name__, name) in HARMLESS, f"{kind.__name__}.{name} takes {shaped}"
            assert math.isfinite(value) or name in ("options", "fixed", "parameters")


def test_seeds_up_to_the_largest_work():
    assert load_config("configs/demo.yaml", [f"seed={2**63 - 1}"]).seed == 2**63 - 1
    assert Config(seed=0).seed == 0
    assert TorchSource(momentum_gev=(5.0, 5.0)).momentum_gev == (5.0, 5.0)
    assert settings_module.SweepSettings(config="a", parameters={"a": [1]}, seed=2**32 - 1).seed == 2**32 - 1
