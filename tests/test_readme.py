"""The README's promises: its example runs, its links and commands exist."""

import re
from pathlib import Path

import pytest

from pointae.config_files import load_config
from pointae.training.session import train_run

README = Path("README.md").read_text()


def test_the_python_example_runs_as_printed(tmp_path, monkeypatch, capsys):
    small = ["data.events.train=32", "data.events.validation=20", "model.encoder.channels=16", "train.epochs=1"]
    train_run(load_config("configs/torch/pointnet_point.yaml", small), tmp_path / "runs")
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert re.search(r"\d+\.\d% of noise removed", capsys.readouterr().out)
    assert (tmp_path / "clean.h5").is_file()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(link):
    assert Path(link).exists()


def test_every_tool_is_listed_and_every_listed_tool_exists():
    listed = set(re.findall(r"^\| `(\w+\.py)", README, re.MULTILINE))
    assert listed == {path.name for path in Path("tools").glob("*.py")}
