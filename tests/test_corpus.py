"""Every hostile file of the corpus gives what is right for it: in one line, soon, with little memory, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpus import KINDS, SECONDS, Entry, entries_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measured by means of Linux")
HERE = Path(__file__).parent


def outcomes(folder: Path, *words: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What each file of the corpus comes to, by kind and name, in a process of its own."""
    command = [sys.executable, "-m", "corpus.child", str(folder), *words]
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])  # this checkout, whatever is installed
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1:]}: {done.stderr[-2000:]}"
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for line in lines:
        if "kind" in line:
            found.setdefault(line["kind"], {})[line["name"]] = line
    return found


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
        found += [f"says not what to do: {line}"] if not told["fix"] and entry.exit_code == 3 else []
        found += [f"is no line: {line!r}"] if len(line.splitlines()) != 1 or len(line.rpartition("/")[2]) > 1200 else []
    return found


def wrong_among(seen: dict[str, dict[str, Any]], kind: str, folder: Path, slow: bool = False) -> dict[str, list[str]]:
    """What is wrong with the outcomes of a kind, by file; each of its files must have been tried."""
    entries = {entry.name: entry for entry in entries_of(kind) if entry.slow == slow}
    wrong = {name: ["was not tried, or is not of this kind"] for name in entries.keys() ^ seen.keys()}
    wrong |= {name: problems(entry, seen[name], folder) for name, entry in entries.items() if name in seen}
    return {name: found for name, found in wrong.items() if found}


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> tuple[Path, dict[str, dict[str, dict[str, Any]]]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, outcomes(folder, "quick", *KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files(quick, kind):
    folder, seen = quick
    assert wrong_among(seen[kind], kind, folder) == {}


@pytest.mark.slow
def test_large_hostile_files(tmp_path):
    seen = outcomes(tmp_path, "slow", *KINDS)
    wrong = {kind: wrong_among(seen.get(kind, {}), kind, tmp_path, slow=True) for kind in KINDS}
    assert not any(wrong.values()), wrong


def test_nothing_was_unpickled(quick):
    assert sum(map(len, quick[1].values())) > 1000
    assert not Path("/tmp/pointae-was-unpickled").exists()
