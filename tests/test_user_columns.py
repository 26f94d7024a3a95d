"""The user's own columns go through every tool as they are, and no network sees them."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest
import torch

from pointae.config import FileSource
from pointae.config_files import load_config
from pointae.data.events import EventData, read_source_files
from pointae.errors import ConfigError
from pointae.hits import HitBatch
from pointae.io import open_writer, read_blocks, read_hits, write_hits

CASES = Path("tests/data/cases")
OURS = ("score", "kept", "hit_id")


def tool(name: str, *words: object) -> None:
    """The tool in this process: another one would import everything anew."""
    runpy.run_path(f"tools/{name}.py")["main"]([str(word) for word in words])


def rows_of(path: Path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize(
    "name", ["big_ints", "float64", "event_and_event_id", "leak_index", "bracket_close", "nan_feature", "pandas_index"]
)
def test_a_table_keeps_every_cell_and_the_place_of_every_column(tmp_path, calibrated_run, name):
    given = CASES / f"{name}.csv"
    tool("denoise", calibrated_run.path, given, "-o", tmp_path / "out.csv")
    wanted, got = rows_of(given), rows_of(tmp_path / "out.csv")
    width = len(wanted[0])
    assert [row[:width] for row in got] == wanted
    assert set(got[0][width:]) == set(OURS)


def test_only_kept_hits_and_scattered_events_keep_their_rows(tmp_path):
    lines = ["note,event,x,y,t,big"] + [f'"a ""{i}"", b",{i % 3},{i},2,3,{10**18 + i}' for i in range(9)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    hits = read_hits(tmp_path / "a.csv")
    by_row = {row: f'a "{row}", b' for row in range(9)}
    assert [by_row[i] for i in hits.hit_id.tolist()] == hits.carried.columns[0][1].tolist()
    kept = hits.coords[:, 0] > 4
    write_hits(tmp_path / "b.csv", hits.replace(kept=kept), kept_only=True)
    got = rows_of(tmp_path / "b.csv")
    assert [row[:6] for row in got[1:]] == [row for row in rows_of(tmp_path / "a.csv")[1:] if int(row[2]) > 4]


def test_blocks_and_joins_take_them_along(tmp_path):
    (tmp_path / "a.csv").write_text("event,x,y,t,who,n\n" + "".join(f"{i // 2},1,2,3,w{i},{i}\n" for i in range(10)))
    whole = read_hits(tmp_path / "a.csv")
    for joined in (
        HitBatch.concat(list(read_blocks(tmp_path / "a.csv", 2))),
        HitBatch.concat([whole.events([4, 0]), whole.events([1])]),
    ):
        for (name, values), (_, all_values) in zip(joined.carried.columns, whole.carried.columns, strict=True):
            assert values.tolist() == [all_values[i] for i in joined.hit_id.tolist()], name
            assert values.dtype == all_values.dtype
    shuffled = whole.reordered(torch.arange(9, -1, -1))
    assert shuffled.carried.columns[1][1].tolist() == list(range(9, -1, -1))


def test_what_a_column_is_holds_for_all_blocks_of_a_table(tmp_path):
    """Numbers at first and words later, so that no part may decide."""
    (tmp_path / "a.csv").write_text(
        "event,x,y,t,mixed\n" + "".join(f"{i},1,2,3,{i if i < 6 else 'w'}\n" for i in range(9))
    )
    with open_writer(tmp_path / "b.npz") as writer:
        for block in read_blocks(tmp_path / "a.csv", 2):
            assert block.carried.columns[0][1].dtype == object
            writer.append(block)


def test_a_network_is_given_only_the_features_that_are_named(tmp_path):
    def features(settings: list[str]) -> tuple[str, ...]:
        source = f"data.source={{_delete_: true, kind: files, paths: [{CASES}/big_ints.csv]}}"
        config = load_config("configs/timepix3/point.yaml", [source, *settings])
        return EventData(config.data, 0).feature_names

    assert features([]) == ()
    assert features(["data.source.features=[tot]"]) == ("tot",)
    with pytest.raises(ConfigError, match=r"big_ints.csv: unknown feature 'tott'"):
        features(["data.source.features=[tott]"])
    with pytest.warns(UserWarning, match="feature 'toa_ps' is rounded to float32"):
        features(["data.source.features=[toa_ps]"])


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (("lab_a", "lab_b"), r"lab_b.csv: has no column signal, .*lab_a.csv has one"),
        (("lab_b", "lab_a"), r"lab_b.csv: has no column signal, .*lab_a.csv has one"),
        (("own_a", "own_b"), r"own_b.csv: has a grid of .* guessed .*data.source.geometry"),
    ],
)
def test_files_that_cannot_be_joined_are_named(files, told):
    source = FileSource(paths=[str(CASES / f"{name}.csv") for name in files], geometry=None)
    if files[0].startswith("lab"):
        source = source.model_copy(update={"geometry": "torch"})
    with pytest.raises(ConfigError, match=told) as error:
        read_source_files(source)
    assert "all_signal" not in str(error.value)


def test_a_column_more_is_no_reason_not_to_join():
    paths = [str(CASES / f"{name}.csv") for name in ("lab_a", "lab_c")]
    hits = read_source_files(FileSource(paths=paths, geometry="torch"))
    assert hits.batch_size == 40
    assert hits.signal is not None
