"""YAML of any origin as plain values, strictly and within bounds that are checked before anything is expanded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

YAML_BYTES, YAML_VALUES, YAML_DEPTH = 1_000_000, 20_000, 32
"""Most that is read: bytes, keys and values with those that aliases repeat, and levels."""
YAML_LETTERS = 2_000_000
"""Letters of all texts with those that aliases repeat."""
NUMBER_LETTERS = 60
"""A longer word is a text, whatever its letters: no setting has so long a number."""
TAG = "tag:yaml.org,2002:"
KINDS = ("null", "bool", "int", "float", "str", "seq", "map")
"""Of values: those of JSON."""
NUMBERS = {
    "int": r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$",
    "float": r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.[\d_]+)([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$",
}
"""What numbers look like; ``1e-3`` is one, as in YAML 1.2, and ``1:30`` a text."""


def parse_yaml(text: str) -> Any:
    """The value that YAML describes: null, booleans, numbers, texts, lists, maps; dates are texts.

    Raises:
        ValueError: says in a line why it is not such YAML, and where in it.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    if size > YAML_BYTES:
        raise ValueError(f"holds {size:,} bytes of YAML, at most {YAML_BYTES:,} are read")
    try:
        _check_bounds(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {_in_a_line(error)}") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML of plain values, that names nothing twice."""

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> Any:
        """The tag of a node without one."""
        if kind is ScalarNode and implicit[0] and len(value) > NUMBER_LETTERS:
            return f"{TAG}str"
        return super().resolve(kind, value, implicit)

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """The value of a node."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            told = f"{str(node.value)[:40]!r} is no {node.tag.removeprefix(TAG)}"
            raise ConstructorError(None, None, told, node.start_mark) from error

    def flatten_mapping(self, node: MappingNode) -> None:
        """Put what ``<<`` merges into a map; what it names itself it names once."""
        names = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.tag != f"{TAG}merge":
                if (key.tag, key.value) in names:
                    raise ConstructorError(None, None, f"names {key.value[:40]!r} twice", key.start_mark)
                names.add((key.tag, key.value))
        super().flatten_mapping(node)


_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in _Loader.yaml_constructors.items()
    if tag is None or tag.removeprefix(TAG) in KINDS
}
_others = {
    first: [rule for rule in rules if rule[0].removeprefix(TAG) in ("null", "bool", "merge")]
    for first, rules in _Loader.yaml_implicit_resolvers.items()
}
_Loader.yaml_implicit_resolvers = _others
for _kind, _pattern in NUMBERS.items():  # whole numbers are tried first
    _Loader.add_implicit_resolver(f"{TAG}{_kind}", re.compile(_pattern), list("-+0123456789."))


@dataclass
class _Size:
    """Of a value as expanded: keys and values, letters of texts, levels below it."""

    values: int = 1
    letters: int = 0
    levels: int = 0

    def add(self, other: _Size) -> None:
        """Hold another value."""
        self.values += other.values
        self.letters += other.letters
        self.levels = max(self.levels, other.levels + 1)


def _check_bounds(text: str) -> None:
    """Refuse YAML that is deep, long, or repeats itself into something large; nothing is built."""
    sizes: dict[str, _Size] = {}
    around: list[tuple[str | None, _Size]] = [(None, _Size())]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            around.append((event.anchor, _Size()))
            size = _Size(0)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = around.pop()
            if anchor is not None:
                sizes[anchor] = size
            around[-1][1].add(size)
        elif isinstance(event, yaml.ScalarEvent):
            size = _Size(letters=len(event.value))
            if "\0" in event.value or any("\ud800" <= letter <= "\udfff" for letter in event.value):
                raise ConstructorError(None, None, "a text with a letter that there is not", event.start_mark)
            if event.anchor is not None:
                sizes[event.anchor] = size
            around[-1][1].add(size)
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in around):
                raise ConstructorError(None, None, f"'*{event.anchor}' holds itself", event.start_mark)
            around[-1][1].add(sizes.get(event.anchor, _Size()))
        _check_size(around, event.start_mark)


def _check_size(around: list[tuple[str | None, _Size]], mark: Any) -> None:
    values = sum(size.values for _, size in around)
    letters = sum(size.letters for _, size in around)
    levels = max(depth + size.levels for depth, (_, size) in enumerate(around))
    for found, most, of in (
        (levels, YAML_DEPTH, "levels"),
        (values, YAML_VALUES, "values"),
        (letters, YAML_LETTERS, "letters"),
    ):
        if found > most:
            raise ConstructorError(None, None, f"holds more than {most:,} {of}, repeated ones included", mark)


def _in_a_line(error: yaml.YAMLError) -> str:
    told = getattr(error, "problem", None) or " ".join(str(error).split())
    context, mark = getattr(error, "context", None), getattr(error, "problem_mark", None)
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"{f'{context}: ' if context else ''}{told}"[:300] + place
