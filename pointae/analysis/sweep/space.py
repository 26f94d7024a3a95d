"""What a sweep can try: values of its parameters, their combinations, and the config of each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Set
from typing import Any

import torch

from pointae import draws
from pointae.config import (
    Config,
    FileSource,
    Parameter,
    PatternSource,
    RangeSettings,
    RobotSource,
    SweepSettings,
    TorchSource,
)
from pointae.config_files import load_config
from pointae.errors import ConfigError

Combination = dict[str, Any]
"""A value of each parameter by its dotted key, as the study keeps it: None, a bool, a number or a text."""
Identity = tuple[tuple[str, Any], ...]


def values_of(parameter: Parameter) -> list[Any] | None:
    """All values of a parameter as a study keeps them; ``None`` where there is no end of them."""
    if isinstance(parameter, RangeSettings):
        step = parameter.step or (1 if _is_whole(parameter) else None)
        if step is None:
            return None
        count = math.floor((parameter.high - parameter.low) / step + 1e-9) + 1
        return [parameter.low + i * step for i in range(count)]
    return [_kept(value) for value in parameter]


def combinations_of(settings: SweepSettings) -> int | None:
    """How many combinations there are; ``None``: no end of them."""
    sizes = [values_of(parameter) for parameter in settings.parameters.values()]
    return None if None in sizes else math.prod(len(values) for values in sizes if values is not None)


def untried(settings: SweepSettings, tried: Set[Identity], number: int) -> Combination:
    """A combination that is not among those tried: which, is drawn for trial ``number``.

    Args:
        settings: of finitely many combinations, not all of them tried.
        tried: their :func:`identity`.
        number: of the trial.
    """
    lists = {key: values_of(parameter) or [] for key, parameter in settings.parameters.items()}
    total = math.prod(len(values) for values in lists.values())
    key = draws.event_keys(settings.seed, 0, torch.tensor([number]), "untried")
    first = int(draws.integers(key, 0, 0, min(total, 1 << 31)))
    for place in range(total):
        combination = _combination((first + place) % total, lists)
        if identity(combination) not in tried:
            return combination
    raise ConfigError("every combination was tried", where="parameters")


def identity(combination: Mapping[str, Any]) -> Identity:
    """Equal for equal combinations, whatever the order of keys and the last digits of numbers."""
    return tuple((key, _rounded(value)) for key, value in sorted(combination.items()))


def config_of(settings: SweepSettings, combination: Mapping[str, Any], overrides: tuple[str, ...] = ()) -> Config:
    """The config of a combination.

    Args:
        settings: of the sweep.
        combination: by dotted key; may leave parameters out.
        overrides: of every trial, ``key=value``.

    Raises:
        ConfigError: a key or value that the config cannot have.
    """
    words = [f"{key}={json.dumps(value)}" for key, value in settings.fixed.items()] + list(overrides)
    words += [f"{key}={json.dumps(_meant(settings, key, value))}" for key, value in combination.items()]
    config = load_config(settings.config, words)
    return config if settings.subset == 1 else load_config(settings.config, [*words, _subset(config, settings.subset)])


def suggest(trial: Any, key: str, parameter: Parameter) -> Any:
    """Let an Optuna trial choose a value of a parameter; the one it has, if it has one."""
    if not isinstance(parameter, RangeSettings):
        return trial.suggest_categorical(key, [_kept(value) for value in parameter])
    low, high, step, log = parameter.low, parameter.high, parameter.step, parameter.log
    if _is_whole(parameter):
        return trial.suggest_int(key, low, high, step=step or 1, log=log)
    return trial.suggest_float(key, low, high, step=step, log=log)


def check_values(settings: SweepSettings, overrides: tuple[str, ...] = ()) -> None:
    """Refuse a sweep whose keys or values a config cannot have, before anything is trained.

    Raises:
        ConfigError: names the key and the value; or a grid or an undetermined number of trials without end.
    """
    for key in (word.partition("=")[0] for word in overrides):
        if key in settings.parameters:
            raise ConfigError(f"'{key}' is what is searched", where="override", fix="change it in the sweep's file")
    for key, parameter in settings.parameters.items():
        for value in [parameter.low, parameter.high] if isinstance(parameter, RangeSettings) else parameter:
            config_of(settings, {key: _kept(value)}, overrides)
    if combinations_of(settings) is None and (settings.sampler == "grid" or settings.trials is None):
        endless = next(key for key, parameter in settings.parameters.items() if values_of(parameter) is None)
        raise ConfigError(
            f"'{endless}' is a range without steps, so there is no end of combinations",
            where="parameters",
            fix="list its values or give it a step" if settings.sampler == "grid" else "set trials, or --max-trials",
        )


def _combination(place: int, lists: Mapping[str, list[Any]]) -> Combination:
    chosen = {}
    for key, values in lists.items():
        place, digit = divmod(place, len(values))
        chosen[key] = values[digit]
    return chosen


def _subset(config: Config, share: float) -> str:
    source = config.data.source
    if isinstance(source, RobotSource):
        return f"data.source.subset={source.subset * share}"
    if isinstance(source, (TorchSource, PatternSource)):
        return f"data.events.train={max(1, round(config.data.events.train * share))}"
    assert isinstance(source, FileSource)
    raise ConfigError("events of files are taken whole", where="subset", fix="lower data.shares.train instead")


def _is_whole(parameter: RangeSettings) -> bool:
    return all(isinstance(value, int) for value in (parameter.low, parameter.high, parameter.step or 1))


def _kept(value: Any) -> Any:
    """A value as a study keeps it: lists and sections as JSON."""
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _meant(settings: SweepSettings, key: str, value: Any) -> Any:
    """The value of the sweep's file that :func:`_kept` was given."""
    listed = settings.parameters.get(key, [])
    choices = [] if isinstance(listed, RangeSettings) else listed
    return next((choice for choice in choices if type(_kept(choice)) is type(value) and _kept(choice) == value), value)


def _rounded(value: Any) -> Any:
    return float(f"{value:.12g}") if isinstance(value, float) else value
