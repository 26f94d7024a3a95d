"""Every hostile file of the corpus gives what is right for it: in one line, soon, with little memory, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import KINDS, SECONDS, Entry, entries_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measured by means of Linux")
HERE = Path(__file__).parent


def outcomes(kind: str, folder: Path, *words: str) -> Iterator[dict[str, Any]]:
    """What each file of a kind comes to, in a process of its own."""
    command = [sys.executable, "-m", "corpus.child", kind, str(folder), *words]
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])  # this checkout, whatever is installed
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1:]}: {done.stderr[-2000:]}"
    yield from (line for line in lines if "name" in line)


def problems(entry: Entry, told: dict[str, Any], folder: Path) -> list[str]:
    """What is wrong with an outcome, in words."""
    line = told.get("line", "")
    if "escaped" in told:
        return [f"escaped as {told['escaped']}: {told['trace']}"]
    found = [f"took {told['seconds']:.1f} s"] if told["seconds"] > SECONDS else []
    found += [f"took {told['megabytes']:.0f} MB"] if told["megabytes"] > entry.megabytes else []
    found += [f"left {told['left']}"] if told["left"] else []
    if entry.hits is not None and told.get("hits") != entry.hits:
        found.append(f"gave {told.get('hits', line)}, not {entry.hits} hits")
    if entry.hits is None and entry.exit_code is not None and told.get("exit_code") != entry.exit_code:
        found.append(f"gave {told.get('hits', told.get('exit_code'))}, not exit code {entry.exit_code}: {line}")
    if line:
        found += [f"'{words}' is not in: {line}" for words in entry.told if words not in line]
        found += [f"names no place: {line}"] if not line.startswith(str(folder)) else []
        found += [f"says not what to do: {line}"] if not told["fix"] else []
        found += [f"is no line: {line!r}"] if len(line.splitlines()) != 1 or len(line.rpartition("/")[2]) > 700 else []
    return found


def check(kind: str, folder: Path, *words: str) -> None:
    entries = {entry.name: entry for entry in entries_of(kind) if entry.slow == bool(words)}
    seen = {told["name"]: told for told in outcomes(kind, folder, *words)}
    assert seen.keys() == entries.keys()
    wrong = {name: found for name, told in seen.items() if (found := problems(entries[name], told, folder))}
    assert not wrong, "\n".join(f"{name}: {'; '.join(found)}" for name, found in wrong.items())


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files(tmp_path, kind):
    check(kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_large_hostile_files(tmp_path, kind):
    check(kind, tmp_path, "slow")
