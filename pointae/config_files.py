"""Configs on disk: YAML with ``_base_`` inheritance and dotted overrides, told apart from mistakes.

A file may name others in ``_base_`` (a path or a list of paths, relative to itself); its own keys
are merged over theirs. A section is replaced whole, not merged, where ``_delete_: true`` asks for
it or where its ``name`` or ``kind`` changes: the options of one network mean nothing to another.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Tag, ValidationError

from pointae.config import Config, SweepSettings
from pointae.errors import ConfigError
from pointae.storage import read_bounded
from pointae.yaml_text import YAML_BYTES, YAML_DEPTH, parse_yaml

Tree = dict[str, Any]
_Root = TypeVar("_Root", bound=BaseModel)
MOST_FILES = 100
"""That a config may be made of, each counted as often as it is named."""
SHORT = 200
"""Letters of what was found that a message repeats."""
EXAMPLES = "configs/ holds examples"
CHOICES = ("name", "kind")
"""Keys that say which of several models a section is."""


def load_config(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read, merge, override and check a config.

    Args:
        path: a YAML file; none: the defaults.
        overrides: ``"train.epochs=20"``, values in YAML.

    Raises:
        ConfigError: names the file, the key and, for an unknown key, the nearest one.
    """
    layers = _layers(Path(path)) if path is not None else []
    for override in overrides:
        layers.append((f"override '{override[:SHORT]}'", _override_tree(override)))
    # The defaults come first, so that a section may be changed without repeating which one it is.
    return _checked(Config, {**Config().model_dump(), "name": Path(path or "run").stem[:SHORT]}, layers)


def load_sweep(path: str | Path, **changes: object) -> SweepSettings:
    """Read, merge and check a sweep; its ``config`` becomes a path as seen from here.

    Args:
        path: a YAML file.
        changes: settings that differ from the file, where they are not ``None``.

    Raises:
        ConfigError: as :func:`load_config`.
    """
    layers = _layers(Path(path))
    layers += [("command line", {key: value}) for key, value in changes.items() if value is not None]
    settings = _checked(SweepSettings, {}, layers)
    return settings.model_copy(update={"config": str(Path(path).parent / settings.config)})


def dump_config(config: Config) -> str:
    """The whole resolved config as YAML; :func:`load_config` reads it back to an equal one."""
    return yaml.safe_dump(_plain(config.model_dump()), sort_keys=False)


def _layers(path: Path, seen: tuple[Path, ...] = (), read: list[Path] | None = None) -> list[tuple[str, Tree]]:
    """The file and its bases, bases first; ``seen`` lead to it, ``read`` are all so far."""
    read = [] if read is None else read
    tree = _read(path)
    whole = path.resolve()
    if whole in seen:
        raise ConfigError("_base_ leads back to the file itself", where=path)
    read.append(whole)
    if len(read) > MOST_FILES:
        raise ConfigError(f"is made of more than {MOST_FILES} files by _base_", where=read[0], fix="name fewer bases")
    bases = tree.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"_base_ must be a path or a list of paths, got {_short(bases)}", where=path)
    inherited = [layer for base in bases for layer in _layers(path.parent / base, (*seen, whole), read)]
    return [*inherited, (str(path), tree)]


def _read(path: Path) -> Tree:
    try:
        tree = parse_yaml(read_bounded(path, YAML_BYTES).decode("utf-8-sig"))
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = f"did you mean '{path.parent / near[0]}'?" if near else "see configs/"
        raise ConfigError("no such config", where=path, fix=hint) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot be read: {error}", where=path, fix="save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", where=path, fix=EXAMPLES) from None
    except ValueError as error:
        raise ConfigError(str(error), where=path, fix=EXAMPLES) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"must hold keys and values, holds a {type(tree).__name__}", where=path, fix=EXAMPLES)
    return tree


def _override_tree(override: str) -> Tree:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override[:SHORT]}' is not an override", fix="write key=value, e.g. train.epochs=20")
    parts = key.split(".")
    if len(parts) > YAML_DEPTH:
        raise ConfigError(f"the key of '{override[:SHORT]}' has {len(parts)} parts, at most {YAML_DEPTH} are read")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"the value of '{override[:SHORT]}' {error}") from None
    for part in reversed(parts):
        value = {int(part) if part.isdecimal() and part.isascii() and len(part) < 10 else part: value}
    return value


def _checked(root: type[_Root], tree: Tree, layers: list[tuple[str, Tree]]) -> _Root:
    """What a file's layers, merged over ``tree``, say."""
    for _, layer in layers:
        for key, value in layer.items():
            tree[key] = _merge(tree.get(key), value)
    try:
        return root.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, layers, root) from None


def _merge(base: Any, over: Any) -> Any:
    if not isinstance(over, dict):
        return over
    if isinstance(base, list) and over and all(type(key) is int and 0 <= key < len(base) for key in over):
        return [_merge(item, over[i]) if i in over else item for i, item in enumerate(base)]
    over = dict(over)
    delete = over.pop("_delete_", False)
    if not isinstance(base, dict) or delete:
        base = {}
    elif any(key in over and key in base and over[key] != base[key] for key in CHOICES):
        base = {}
    return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}


def _explain(error: ValidationError, layers: list[tuple[str, Tree]], root: type[BaseModel]) -> ConfigError:
    """One line for the first mistake: file, key, what is wrong, what is near."""
    problem = error.errors()[0]
    location = _without_tags(problem["loc"], root)
    key = ".".join(str(part) for part in location)[:SHORT]
    source = next((name for name, tree in reversed(layers) if _holds(tree, location)), layers[-1][0])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(location[:-1], problem["loc"], root)
        near = difflib.get_close_matches(str(location[-1])[:SHORT], known, n=1)
        fix = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(known))}"
        return ConfigError(f"unknown key '{key}'", where=source, fix=fix)
    if problem["type"] == "missing" and isinstance(location[-1], str):
        return ConfigError(f"'{key}' is missing", where=source)
    message = problem["msg"].removeprefix("Value error, ")
    return ConfigError(f"'{key}': {message}, got {_short(problem['input'])}", where=source)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHORT else f"{text[: SHORT - 3]}..."


def _without_tags(location: tuple[Any, ...], root: type[BaseModel]) -> tuple[Any, ...]:
    """pydantic's location without the parts that are choices of a union, not keys of the file."""
    path: list[Any] = []
    kind: Any = root
    for part in location:
        choices = _choices(kind)
        if len(choices) > 1:
            kind = next((choice for choice in choices if part in _tags(choice)), Any)
            continue
        if part == "[key]":
            continue
        path.append(part)
        kind = _plain_type(choices[0])
        if kind in _models(kind):
            field = kind.model_fields.get(part)
            kind = field.annotation if field else Any
        else:
            kind = (typing.get_args(kind) or (Any,))[-1]  # what a dict, list or tuple holds
    return tuple(path)


def _plain_type(kind: Any) -> Any:
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    return kind


def _choices(kind: Any) -> list[Any]:
    """What a value may be, None apart."""
    plain = _plain_type(kind)
    if typing.get_origin(plain) not in (typing.Union, types.UnionType):
        return [kind]
    given = [choice for choice in typing.get_args(plain) if choice is not type(None)]
    return given if len(given) > 1 else _choices(given[0])


def _tags(choice: Any) -> list[Any]:
    """What pydantic calls one choice of a union."""
    told = [mark.tag for mark in getattr(choice, "__metadata__", ()) if isinstance(mark, Tag)]
    return [*told, *(_tag(model) for model in _models(choice))]


def _fields_at(location: tuple[Any, ...], tagged: tuple[Any, ...], root: type[BaseModel]) -> list[str]:
    kind: Any = root
    for part in location:
        for model in _models(kind):
            if isinstance(part, str) and part in model.model_fields:
                kind = model.model_fields[part].annotation
                break
    chosen = [model for model in _models(kind) if _tag(model) in tagged] or _models(kind)
    return [name for model in chosen for name in model.model_fields]


def _models(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if typing.get_origin(kind) in (typing.Annotated, typing.Union, types.UnionType, list, dict):
        return [model for part in typing.get_args(kind) for model in _models(part)]
    return []


def _tag(model: type[BaseModel]) -> Any:
    return next((model.model_fields[key].default for key in CHOICES if key in model.model_fields), None)


def _holds(tree: Any, location: tuple[Any, ...]) -> bool:
    for part in location:
        if isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
        elif isinstance(tree, dict) and part in tree:
            tree = tree[part]
        else:
            return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
