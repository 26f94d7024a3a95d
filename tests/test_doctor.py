import json
import platform
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pointae import environment
from pointae.errors import ComponentError

DOCTOR = Path(__file__).parent.parent / "tools" / "doctor.py"


def test_a_run_keeps_versions_and_hardware_but_no_names():
    record = environment.gather_environment()
    assert json.loads(json.dumps(record)) == record
    assert record["python"] == platform.python_version()
    assert record["packages"]["torch"]
    assert record["cores"] >= 1
    assert platform.node() not in json.dumps(record)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ComponentError("spconv.pytorch is not installed", fix="pip install -e '.[gpu]'"), "missing"),
        (ComponentError("spconv.pytorch lacks a library of the system: libcuda.so", fix="apt-get install"), "unusable"),
    ],
)
def test_missing_and_unusable_are_told_apart(monkeypatch, error, state):
    def fail(module, *, extra):
        raise error

    monkeypatch.setattr(environment, "require", fail)
    (row,) = environment.check("spconv")
    assert (row.state, row.detail, row.fix) == (state, error.what, error.fix)


def test_a_component_that_ends_its_process_is_unusable():
    (row,) = environment._in_child("no such component")
    assert row.state == "unusable"
    assert "ends its process with status 1" in row.detail


@pytest.mark.parametrize(
    ("nvidia", "build", "state", "hint"),
    [
        (False, None, "missing", ""),
        (True, None, "unusable", "download.pytorch.org"),
        (True, "12.6", "unusable", "driver"),
    ],
)
def test_why_there_is_no_cuda(monkeypatch, nvidia, build, state, hint):
    monkeypatch.setattr(environment, "_has_nvidia_device", lambda: nvidia)
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False), version=SimpleNamespace(cuda=build))
    row = environment._cuda(torch)
    assert row.state == state
    assert hint in (row.fix or "")


def test_the_tool_prints_a_line_a_component_and_its_remedy(monkeypatch, capsys):
    found = environment.Component("spconv", "unusable", "it is broken", "pip install it")
    monkeypatch.setattr(environment, "check_components", lambda: [*environment._here(), found])
    runpy.run_path(str(DOCTOR))["main"]([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["python", "ok", platform.python_version()]
    assert lines[4:6] == ["spconv           unusable  because it is broken", f"{'':27}mend it: pip install it"]
    assert lines[6].startswith("display")


@pytest.mark.slow
def test_the_tool_looks_at_every_component_and_ends_well():
    command = [sys.executable, str(DOCTOR), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["components"]}
    assert {"python", "system", "torch", "cuda", "bf16", *environment.IMPORTED, "display"} <= rows.keys()
    assert rows["torch"]["state"] == rows["plotly"]["state"] == "ok"
    assert all(row["state"] in ("ok", "missing", "unusable") for row in rows.values())
