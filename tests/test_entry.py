"""The way into every tool and out of it: one line, and an exit code, for whatever comes."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pointae import errors
from pointae.entry import Parser, exit_code_of
from pointae.terminal import Terminated, console, warn

ROOT = Path(__file__).parents[1]
TOOLS = sorted((ROOT / "tools").glob("*.py"))


def outcome(capsys, error: BaseException, **options) -> tuple[int, str]:
    """Exit code of a tool that ends by an error, and what it said."""

    def main(_: object) -> None:
        raise error

    code = exit_code_of(main, ["--key", "value"], **options)
    return code, capsys.readouterr().err


def script(tmp_path: Path, body: str) -> list[str]:
    """The command of a tool with that body."""
    lines = [
        "import sys, time, threading, warnings, logging, os", "from pointae.entry import run_tool",
        "from pointae.terminal import console, errors, warn", "def main(arguments):",
        *(f"    {line}" for line in body.splitlines()), "if __name__ == '__main__':", "    run_tool(main)",
    ]  # fmt: skip
    (tmp_path / "tool.py").write_text("\n".join(lines), encoding="utf-8")
    return [sys.executable, str(tmp_path / "tool.py")]


def typed(tmp_path: Path, body: str, *words: str, shell: str | None = None, **variables: str):
    """A tool run in a process of its own, by the shell if there is something for it to do."""
    command = script(tmp_path, body)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), **variables}
    full = [*command, *words] if shell is None else ["bash", "-c", shell.format(" ".join(command))]
    return subprocess.run(full, capture_output=True, env=environment, cwd=tmp_path, check=False, timeout=60)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("no"), 2), (errors.ConfigError("no"), 2), (errors.DataError("no"), 3),
        (errors.CheckpointError("no"), 4), (errors.StorageError("no"), 5), (errors.NonFiniteError("no"), 6),
        (errors.ComponentError("no"), 7), (OSError(28, "No space left on device", "a.h5"), 5),
        (MemoryError(), 5), (RuntimeError("std::bad_alloc"), 5),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), 5),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 7), (ImportError("no"), 7),
        (np.linalg.LinAlgError("not positive\ndefinite"), 1), (RecursionError("too deep"), 1), (ValueError(), 1),
        (KeyError("[/x]"), 1), (AssertionError(), 1), (BaseException("of another language"), 1),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), 1),
        (KeyboardInterrupt(), 130), (Terminated(), 143),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)  # fmt: skip
def test_whatever_comes_is_one_line_and_a_code(capsys, error, code):
    got, told = outcome(capsys, error)
    assert got == code
    assert told.endswith("\n")
    assert len(told.splitlines()) == 1
    assert told.startswith("error: ") or code > 100


def test_an_unforeseen_error_names_itself_and_its_log(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, told = outcome(capsys, ZeroDivisionError("by \x1b[31m [/x] nothing"))
    (log,) = tmp_path.iterdir()
    assert code == 1
    assert told == f"error: unexpected ZeroDivisionError: by \\x1b[31m [/x] nothing (please report it with {log})\n"
    kept = log.read_text(encoding="utf-8")
    assert "Traceback" in kept
    assert "--key" in kept


def test_a_log_that_cannot_be_written_is_no_second_error(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert outcome(capsys, ZeroDivisionError("x")) == (
        1,
        "error: unexpected ZeroDivisionError: x (please report it; --debug shows where)\n",
    )


def test_debug_adds_the_traceback_and_keeps_the_code(capsys):
    code, told = outcome(capsys, errors.DataError("bad"), debug=True)
    assert code == 3
    assert told.startswith("Traceback")
    assert told.endswith("error: bad\n")


def test_help_and_done_are_0(capsys):
    def main(arguments) -> None:
        Parser(description="x").parse_args(arguments)

    assert exit_code_of(main, []) == 0
    assert exit_code_of(main, ["--help"]) == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--events", "many"], ["--event", "-o"], ["a", "b", "\x1b[2J"], ["--nothing"]])
def test_wrong_arguments_are_one_line(capsys, words):
    parser = Parser()
    parser.add_argument("--events", type=int)
    assert exit_code_of(lambda arguments: parser.parse_args(arguments), words) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert len(told.splitlines()) == 1
    assert "\x1b" not in told


@pytest.mark.parametrize("parse", ["parse_args", "parse_intermixed_args"])
def test_an_empty_argument_is_told(parse):
    parser = Parser()
    parser.add_argument("-o")
    parser.add_argument("file")
    with pytest.raises(errors.UsageError, match="-o is empty"):
        getattr(parser, parse)(["a", "-o", ""])
    with pytest.raises(errors.UsageError, match="argument 1 is empty"):
        getattr(parser, parse)(["", "-o", "x"])


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.stem)
def test_every_tool_goes_through_it(path):
    """Its only call at the top is ``run_tool(main)``, behind the guard; arguments are parsed by our parser."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    *_, last = tree.body
    assert ast.unparse(last) == "if __name__ == '__main__':\n    run_tool(main)"
    calls = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    assert calls == []
    assert "ArgumentParser" not in path.read_text(encoding="utf-8")
    modules = {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    light = {
        "pointae.argument_types",
        "pointae.attempts",
        "pointae.entry",
        "pointae.errors",
        "pointae.terminal",
    } | sys.stdlib_module_names
    assert not modules - light - {"collections.abc"}, "a signal in the first second would end in a traceback"


def test_libraries_and_threads_speak_in_one_line_too(tmp_path):
    body = (
        "warnings.warn('two\\nlines \\x1b[0m')\nwarnings.warn('old', DeprecationWarning)\n"
        "logging.getLogger('lib').warning('logged %s', 1)\n"
        "t = threading.Thread(target=lambda: [][0]); t.start(); t.join()\nconsole.print('done')"
    )
    done = typed(tmp_path, body)
    assert done.returncode == 0
    assert done.stdout == b"done\n"
    first, second, third = done.stderr.decode().splitlines()
    assert first == "warning: two lines \\x1b[0m"
    assert second == "warning: logged 1"
    assert third.startswith("error: unexpected IndexError: list index out of range (please report it with ")


WORK = "for i in range(20000):\n    print('word', i)\nconsole.print('last')\nopen('done', 'w').write('x')"


@pytest.mark.skipif(os.name == "nt", reason="of a shell of Unix")
@pytest.mark.parametrize("shell", ["{} >&-", "{} 2>&-", "{} >&- 2>&- <&-", "{} | head -1", "{} | true", "{} 2>&1 | :"])
def test_a_reader_that_goes_away_stops_nothing(tmp_path, shell):
    done = typed(tmp_path, WORK, shell=f"set -o pipefail; {shell}")
    assert done.returncode == 0
    assert done.stderr == b""
    assert (tmp_path / "done").read_text() == "x"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_disk_behind_the_output_is_told(tmp_path):
    done = typed(tmp_path, "print('x')", shell="{} >/dev/full")
    assert done.returncode == 5
    assert done.stderr == b"error: standard output: No space left on device\n"
    assert typed(tmp_path, "1 / 0", shell="{} 2>/dev/full").returncode == 1


def test_a_console_that_lacks_letters_gets_their_escapes(tmp_path):
    body = "print('\\u4e2d\\xe9')\nconsole.print('\\u4e2d\\xe9')\nwarn('\\u4e2d \\udc80')"
    done = typed(tmp_path, body, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stdout) == (0, b"\\u4e2d\xe9\n" * 2)
    assert done.stderr == b"warning: \\u4e2d \\udc80\n"


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "body",
    [
        "print('on', flush=True); time.sleep(30)",
        # where Python cannot raise
        "class A:\n    def __del__(self): print('on', flush=True); time.sleep(0.5)\nA()\ntime.sleep(30)",
        # a library that makes another error of it
        "try:\n    print('on', flush=True); time.sleep(30)\nexcept BaseException:\n    raise ValueError('x')",
    ],
)
def test_a_signal_is_its_code_and_a_word(tmp_path, body, kind, code):
    process = subprocess.Popen(
        script(tmp_path, body),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == b"on\n"
    time.sleep(0.1)
    process.send_signal(kind)
    _, told = process.communicate(timeout=20)
    assert process.returncode == code
    assert told.decode().splitlines() == [{130: "interrupted", 143: "terminated"}[code]]


def test_an_error_of_the_shutdown_is_quiet(tmp_path):
    done = typed(tmp_path, "import atexit\nclass A:\n    def __del__(self): 1 / 0\nA()\nconsole.print('x')")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x\n", b"")


def test_streams_in_tests_are_those_of_the_test(capsys):
    console.print("[bold]a[/x] :smile:\n\x1b[31m")
    warn("b")
    told = capsys.readouterr()
    assert told.out == "[bold]a[/x] :smile:\\n\\x1b[31m\n"
    assert told.err == "warning: b\n"


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_end_changes_no_exit_code(tmp_path, kind):
    """It comes while Python takes its modules apart, when handlers are gone already."""
    late = f"class Late:\n    def __del__(self, kill=os.kill, own=os.getpid()):\n        kill(own, {int(kind)})"
    done = typed(tmp_path, f"{late}\nsys.late = Late()\nconsole.print('saved')")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"saved\n", b"")
