"""Tables and figures of a run that are none: one line that names line and column, exit code 3."""

from __future__ import annotations

import pytest
from calls import refused, tool

from pointae.analysis.sweep.trials import _best
from pointae.config import ScoreSettings
from pointae.results import TABLES, read_evaluated, read_metrics
from visual.plots.training import Course

EPOCH = "epoch,seconds,train_loss,validation_loss\n"
METRICS = {
    "words": (EPOCH + "1,2.0,0.5,low\n", "line 2, column 'validation_loss': 'low' is not a number"),
    "a row of words": (EPOCH + "1,2,3,4\nepoch,seconds,a,b\n", "line 3, column 'epoch': 'epoch' is not a number"),
    "ragged": (EPOCH + "1,2.0,0.5\n", "line 2 has 3 cells, the header 4"),
    "too many": (EPOCH + "1,2,3,4,5\n", "line 2 has 5 cells, the header 4"),
    "NUL": (EPOCH + "1,2.0,\0,0.5\n", r"'\x00' is not a number"),
    "a formula": (EPOCH + "1,2.0,=1+1,0.5\n", "column 'train_loss': '=1+1' is not a number"),
    "underscores": (EPOCH + "1,2.0,1_0,0.5\n", "'1_0' is not a number"),
    "other digits": (EPOCH + "1,2.0,１２,0.5\n", "is not a number"),
    "escapes": (EPOCH + "1,2.0,\x1b[31m,0.5\n", r"'\x1b[31m' is not a number"),
    "a quote that stays open": (EPOCH + '1,"2.0,3,4\n', "cannot be read"),
    "no epoch": ("a,b\n1,2\n", "lacks the column 'epoch'"),
    "twice": ("epoch,a,a\n1,2,3\n", "names a column twice"),
    "epochs that jump": (EPOCH + "1,1,1,1\n3,1,1,1\n", "row 2 is of epoch 3"),
    "epoch nan": (EPOCH + ",1,1,1\n", "row 1 is of epoch nan"),
    "epoch huge": (EPOCH + "1e300,1,1,1\n", "row 1 is of epoch 1e+300"),
    "huge": (EPOCH + "1,1,1,1\n" * 3_000_000, "at most 16,000,000 are read"),
}


@pytest.mark.parametrize(("content", "told"), METRICS.values(), ids=METRICS)
def test_metrics_that_are_none_are_refused_by_line_and_column(run, tmp_path, content, told):
    run.metrics_path.write_text(content)
    for action in (
        lambda: tool("compare", run.path, "--out", tmp_path / "page"),
        lambda: Course.of(run),
        lambda: _best(run, ScoreSettings(a=1.0)),  # of a trial of a sweep
    ):
        line = refused(action, 3)
        assert line.startswith(f"{run.metrics_path}: ")
        assert told in line


def test_a_byte_order_mark_and_an_empty_table_are_no_damage(run):
    rows = read_metrics(run)
    run.metrics_path.write_bytes(b"\xef\xbb\xbf" + run.metrics_path.read_bytes())
    assert read_metrics(run) == rows
    run.metrics_path.write_text("")
    assert read_metrics(run) == []
    assert "holds no epochs" in refused(lambda: Course.of(run), 3)
    run.metrics_path.unlink()
    run.metrics_path.mkdir()
    assert "is a folder" in refused(lambda: read_metrics(run), 3)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("low,high,signal\n1,2,3\n", "lacks the column 'noise'"),
        ("low,high,signal,noise\n1,2,many,4\n", "line 2, column 'signal'"),
        ("low,high,signal,noise\n1,,3,4\n", "row 1 is no bin"),
        ("low,high,signal,noise\n2,1,3,4\n", "row 1 is no bin"),
        ("low,high,signal,noise\n1,inf,3,4\n", "row 1 is no bin"),
    ],
)
def test_outputs_that_are_none_are_refused(run, content, told):
    run.outputs_path.write_text(content)
    line = refused(lambda: Course.of(run), 3)
    assert line.startswith(f"{run.outputs_path}: ")
    assert told in line


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_an_evaluation_are_refused_by_line_and_column(run, tmp_path, name):
    run.evaluation.mkdir(exist_ok=True)
    path = run.evaluation_table(name)
    texts, numbers = TABLES[name]
    header, words = [*texts, *numbers], ["a" for _ in texts]
    for column in header:
        left = [other for other in header if other != column]
        path.write_text(f"{','.join(left)}\n")
        line = refused(lambda: read_evaluated(run, name), 3)
        assert line.startswith(f"{path}: ")
        assert f"lacks the column '{column}'" in line
    for place, column in enumerate(numbers):
        cells = [*words, *("word" if i == place else "1" for i in range(len(numbers)))]
        path.write_text(f"{','.join(header)}\n{','.join(cells)}\n")
        line = refused(lambda: tool("compare", run.path, "--out", tmp_path / "page"), 3)
        assert line.startswith(f"{path}: ")
        assert f"line 2, column '{column}': 'word' is not a number" in line
        assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
    "content",
    ["[]", "3", "null", "[" * 100_000, '{"network": 3}', '{"network": []}', '{"network": {"events": "many"}}', "{",
     '{"network": {"purity": [1]}}', '{"pattern": "x"}', '{"network": {"events": 1' + "0" * 5000 + "}}"],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_figures_of_an_evaluation_that_are_none_are_refused(run, tmp_path, content):
    run.evaluation.mkdir(exist_ok=True)
    run.judged_path.write_text(content)
    line = refused(lambda: tool("compare", run.path, "--out", tmp_path / "page"), 3)
    assert line.startswith(f"{run.judged_path}: ")
    assert "evaluate.py" in line
