"""Configs on disk: YAML with ``_base_`` inheritance and dotted overrides, told apart from mistakes.

A file may name others in ``_base_`` (a path or a list of paths, relative to itself); its own keys
are merged over theirs. A section is replaced whole, not merged, where ``_delete_: true`` asks for
it or where its ``name`` or ``kind`` changes: the options of one network mean nothing to another.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pointae.config import Config, SweepSettings
from pointae.errors import ConfigError
from pointae.storage import read_bounded

Tree = dict[str, Any]
_Root = TypeVar("_Root", bound=BaseModel)
MOST_BYTES = 1_000_000
"""Of a config; the largest here has two thousand."""
CHOICES = ("name", "kind")
"""Keys that say which of several models a section is."""


class _Loader(yaml.SafeLoader):
    """Safe YAML in which ``1e-3`` is a number, as in YAML 1.2."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.[\d_]+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)
# Whole numbers must stay integers: their resolver is tried first.
for _first in "-+0123456789":
    _rules = _Loader.yaml_implicit_resolvers[_first]
    _rules.sort(key=lambda rule: rule[0] != "tag:yaml.org,2002:int")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read, merge, override and check a config.

    Args:
        path: a YAML file.
        overrides: ``"train.epochs=20"``, values in YAML.

    Raises:
        ConfigError: names the file, the key and, for an unknown key, the nearest one.
    """
    layers = _layers(Path(path), seen=())
    for override in overrides:
        layers.append((f"override '{override}'", _override_tree(override)))
    # The defaults come first, so that a section may be changed without repeating which one it is.
    return _checked(Config, {**Config().model_dump(), "name": Path(path).stem}, layers)


def load_sweep(path: str | Path, **changes: object) -> SweepSettings:
    """Read, merge and check a sweep; its ``config`` becomes a path as seen from here.

    Args:
        path: a YAML file.
        changes: settings that differ from the file, where they are not ``None``.

    Raises:
        ConfigError: as :func:`load_config`.
    """
    layers = _layers(Path(path), seen=())
    layers += [("command line", {key: value}) for key, value in changes.items() if value is not None]
    settings = _checked(SweepSettings, {}, layers)
    return settings.model_copy(update={"config": str(Path(path).parent / settings.config)})


def dump_config(config: Config) -> str:
    """The whole resolved config as YAML; :func:`load_config` reads it back to an equal one."""
    return yaml.safe_dump(_plain(config.model_dump()), sort_keys=False)


def _layers(path: Path, seen: tuple[Path, ...]) -> list[tuple[str, Tree]]:
    """The file and its bases, bases first."""
    if path.resolve() in seen:
        raise ConfigError("_base_ leads back to the file itself", where=path)
    tree = _read(path)
    bases = tree.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"_base_ must be a path or a list of paths, got {bases!r}", where=path)
    inherited = [layer for base in bases for layer in _layers(path.parent / base, (*seen, path.resolve()))]
    return [*inherited, (str(path), tree)]


def _read(path: Path) -> Tree:
    try:
        text = read_bounded(path, MOST_BYTES).decode("utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = f"did you mean '{path.parent / near[0]}'?" if near else "see configs/"
        raise ConfigError("no such config", where=path, fix=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=path) from None
    try:
        tree = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"is not YAML: {error}", where=path) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"must hold keys and values, holds a {type(tree).__name__}", where=path)
    return tree


def _override_tree(override: str) -> Tree:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}' is not an override", fix="write key=value, e.g. train.epochs=20")
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise ConfigError(f"the value of '{override}' is not YAML") from None
    for part in reversed(key.split(".")):
        value = {int(part) if part.isdigit() else part: value}
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
    if isinstance(base, list) and over and all(isinstance(key, int) and key < len(base) for key in over):
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
    key = ".".join(str(part) for part in location)
    source = next((name for name, tree in reversed(layers) if _holds(tree, location)), layers[-1][0])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(location[:-1], problem["loc"], root)
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        fix = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(known))}"
        return ConfigError(f"unknown key '{key}'", where=source, fix=fix)
    if problem["type"] == "missing" and isinstance(location[-1], str):
        return ConfigError(f"'{key}' is missing", where=source)
    message = problem["msg"].removeprefix("Value error, ")
    return ConfigError(f"'{key}': {message}, got {problem['input']!r}"[:400], where=source)


def _without_tags(location: tuple[Any, ...], root: type[BaseModel]) -> tuple[Any, ...]:
    """pydantic's location without the parts that are choices of a union, not keys of the file."""
    path: list[Any] = []
    kind: Any = root
    for part in location:
        models = _models(kind)
        if any(part == _tag(model) for model in models) and len(models) > 1:
            kind = next(model for model in models if _tag(model) == part)
            continue
        if isinstance(part, str) and ("[" in part or part in ("int", "float", "none", "constrained-int")):
            continue
        path.append(part)
        field = next((m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields), None)
        kind = field.annotation if field else kind
    return tuple(path)


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
