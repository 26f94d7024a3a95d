"""Text from outside in lines, tables, progress and command lines: shown as it is, and acted upon by nothing."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointae.errors import DataError
from pointae.printable import LONGEST, printable
from pointae.terminal import TextTable, command_line, console, errors, progress

ROOT = Path(__file__).parents[1]
SOURCES = [path for room in ("pointae", "visual", "tools") for path in sorted((ROOT / room).rglob("*.py"))]
HOSTILE = [
    "[/x]",
    "[red]x[/b]",
    ":smile:",
    "\x1b[31mred",
    "\u202etxt.exe",
    "a\nb",
    "\r\x08",
    "\ud800",
    "$x_{$",
    "{task}",
]


@given(st.text(st.characters()))
def test_printable_text_is_one_line_that_can_be_encoded(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


def test_what_cannot_be_seen_is_shown_as_its_escape():
    assert printable("a\x1b[2J\x9b\u202e\u2028\n\ud800\x00é中") == "a\\x1b[2J\\x9b\\u202e\\u2028\\n\\ud800\\x00é中"


@pytest.mark.parametrize("text", HOSTILE)
def test_it_is_shown_as_it_is_in_lines_and_tables(capsys, text):
    console.print(text, style="bold")
    errors.labelled(text, "red", text)
    TextTable(text, (text, "n"), ((text, "1"),)).show()
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == printable(text)
    assert told.out.count(printable(text)) == 4
    assert len(told.err.splitlines()) == 1
    assert not {"\x1b", "\u202e", "\ud800", "\r"} & set(told.out + told.err)


@pytest.mark.parametrize("text", HOSTILE)
def test_it_is_shown_as_it_is_by_progress(monkeypatch, text):
    import io

    from pointae.console import PlainConsole

    monkeypatch.setenv("TERM", "xterm")
    bar = PlainConsole(stderr=True)
    bar.file = io.StringIO()
    bar._force_terminal = bar.is_interactive = True
    monkeypatch.setattr(errors, "console", bar, raising=False)
    with progress(text, 3, text) as advance:
        advance(1, text)
        bar.print("x")
    shown = bar.file.getvalue()
    assert shown.count(printable(text)) >= 3
    assert not {"\u202e", "\ud800"} & set(shown)
    assert "\x1b[31mred" not in shown


def test_an_error_is_one_line_of_bounded_length():
    error = DataError("bad\n value " + "9" * 100_000, where="a  b\n[/x].csv", fix="mend\x07 it")
    told = str(error)
    assert told.startswith("a  b\\n[/x].csv: bad value 999")
    assert told.endswith(" (mend\\x07 it)")
    assert len(told) < 2 * LONGEST
    assert told.isprintable()


WORDS = ["runs/a b", "it's", "$HOME", "a;b", "é", "*", "a\nb", "a\x1b[31m'\\", os.fsdecode(b"\xff")]


@pytest.mark.skipif(os.name == "nt", reason="of the shells of Unix")
def test_a_shell_takes_a_printed_command_as_it_is_meant():
    line = command_line("train", "--resume", *WORDS)
    assert line.isprintable()
    program, tool, *words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True
    ).stdout.split(b"\0")[:-1]
    assert (program, tool) == (b"python", b"tools/train.py")
    assert words == [b"--resume", *map(os.fsencode, WORDS)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rich_is_used_in_one_place(path):
    """Markup cannot be on where nobody has a console of rich's own."""
    if path.name in ("console.py", "terminal.py"):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not [name for name in names if name.split(".")[0] == "rich" and name != "rich.table"], node.lineno
