"""What an error advises exists: every option, tool and setting that a remedy names."""

from __future__ import annotations

import argparse
import ast
import re
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from pointae.config import Config, SweepSettings
from pointae.io.arguments import add_reading_arguments

ROOT = Path(__file__).parents[1]
SOURCES = [path for room in ("pointae", "visual", "tools") for path in sorted((ROOT / room).rglob("*.py"))]
FOREIGN = {"--help", "--debug", "--upgrade", "--force-reinstall", "--no-deps", "--index-url", "--user"}
"""Of every tool, and of pip's."""


def text_of(node: ast.AST) -> str:
    """What is known of a text: its constants, with ``{}`` for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        inner = "".join(text_of(each) for each in ast.walk(node.value) if isinstance(each, ast.Constant))
        return inner if "--" in inner else "{}"
    return " ".join(text_of(child) for child in ast.iter_child_nodes(node))


def remedies() -> list[tuple[str, str]]:
    """Place and text of every ``fix=...`` and ``.fix = ...``."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            texts = []
            if isinstance(node, ast.Call):
                texts = [word.value for word in node.keywords if word.arg == "fix"]
            elif isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Attribute) and target.attr == "fix" for target in node.targets
            ):
                texts = [node.value]
            found += [(f"{path.relative_to(ROOT)}:{node.lineno}", text_of(text)) for text in texts]
    return found


def options_of(path: Path) -> set[str]:
    """Options of a tool."""
    source = path.read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    if "add_reading_arguments" in source:
        add_reading_arguments(parser, run=True)
    return {*re.findall(r'"(--[a-z][a-z-]*)"', source), *parser._option_string_actions}


TOOLS = {path.stem: options_of(path) for path in (ROOT / "tools").glob("*.py")}
REMEDIES = remedies()


def models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def is_setting(words: list[str], models: list[type[BaseModel]]) -> bool:
    """Whether dotted words name a setting, of any of the alternatives that there are at each."""
    if not words:
        return True
    fields = [model.model_fields[words[0]] for model in models if words[0] in model.model_fields]
    if not fields:
        return False
    inner = [model for field in fields for model in models_in(field.annotation)]
    # What is no model is a table of the user's own names, or a value.
    return is_setting(words[1:], inner) if inner else len(words) == 1 or "dict" in str(fields[0].annotation)


def test_remedies_are_found_as_they_are_written():
    assert len(REMEDIES) > 150
    assert is_setting(["train", "learning_rate"], [Config])
    assert is_setting(["data", "source", "paths"], [Config])
    assert not is_setting(["train", "rate"], [Config])
    assert "--geometry" in TOOLS["inspect_data"]


@pytest.mark.parametrize(("place", "text"), REMEDIES, ids=[place for place, _ in REMEDIES])
def test_what_a_remedy_names_exists(place, text):
    for tool, rest in re.findall(r"tools/([a-z_]+)\.py((?: [^;,()]*)?)", text):
        assert tool in TOOLS, text
        for option in re.findall(r"--[a-z][a-z-]*", rest):
            assert option in TOOLS[tool] | FOREIGN, f"{tool} takes no {option}: {text}"
    every = set().union(*TOOLS.values()) | FOREIGN
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text):
        assert option in every, f"no tool takes {option}: {text}"
    for dotted in re.findall(r"\b((?:data|train|model|evaluate|score)(?:\.[a-z_]+)+)(?![\w(/])", text):
        if dotted.endswith(".py"):
            continue
        assert is_setting(dotted.split("."), [Config, SweepSettings]), f"no setting is called {dotted}: {text}"
