"""Text of users in pictures and pages: shown as it is, and acted upon by nothing."""

from __future__ import annotations

import csv
import json
import string
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from pointae.analysis.workbook import write_workbook
from pointae.file_names import beside
from pointae.runs import RunDirectory
from pointae.storage import read_table, write_table
from visual.pages.page import fill_page, write_html
from visual.pages.sweep import write_sweep_page
from visual.pictures.events import save_picture
from visual.pictures.literal import legend_name, literal_text

HOSTILE = [
    "$x_{$", "\\bad", "$a$b$", "@DATA@", "{{ data }}", "{% for %}", "</script><script>alert(1)</script>", "<b>x</b>",
    "&lt;", "a\x00b", "\ud800", "\u2028", "=1+1", "\x1b[31m", "[/x]",
]  # fmt: skip


@pytest.fixture(autouse=True)
def without_plotly(monkeypatch):
    """Four megabytes of script that say nothing here."""
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")


class Page(HTMLParser):
    """Elements of a page, with the texts of its title and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open = False
        self.texts: dict[str, list[str]] = {"title": [], "script": [], "h1": []}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.open = tag in self.texts
        if self.open:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.texts[self.tags[-1]][-1] += data


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_holds_text_and_no_more(tmp_path, text):
    scenes = [{"title": text, "axes": [{"name": text}]}]
    page = Page(write_html(tmp_path / "a.html", text, "<p>@DATA@</p>", scenes, "x").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 5  # theme, scenes, plotly, two of the viewer
    assert json.loads(page.texts["script"][1]) == scenes
    assert page.texts["title"] == [text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\ufffd")] or (
        "\x00" in text
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_the_latent_page_holds_text_and_no_more(tmp_path, text):
    data = {"names": [text], "meanings": [{"name": text}]}
    page = Page(fill_page("latent.html", tmp_path / "a.html", title=text, plotly="", data=data).read_text("utf-8"))
    assert page.tags.count("script") == 3
    assert json.loads(page.texts["script"][1]) == data


@pytest.mark.parametrize("text", HOSTILE)
def test_a_picture_shows_a_name_as_it_is(tmp_path, text):
    figure = Figure(layout="constrained")
    axes = figure.add_subplot(121)
    axes.set(title=text, xlabel=text, ylabel=text, yscale="log")
    axes.plot([1, 2], [1, 1e4], label=text)
    axes.legend()
    named = figure.add_subplot(122)
    named.set_yticks([0, 1], [text, "b"])
    figure.suptitle(text)
    assert save_picture(figure, tmp_path / "a.png").stat().st_size > 1000


def test_a_formula_is_drawn_letter_by_letter_and_powers_along_an_axis_stay():
    figure = Figure()
    axes = figure.add_subplot()
    axes.set(xlabel="$a$", yscale="log", ylim=(1, 1e3))
    with literal_text(figure):
        assert not axes.xaxis.label.get_parse_math()
        assert all(label.get_parse_math() for label in axes.get_yticklabels())
        assert "mathdefault" in axes.get_yticklabels()[1].get_text()


@pytest.mark.parametrize("folder", ["a%20b", "a?b=c", "a#b", "{SCHEMA_VERSION}", "a b", "é"])
def test_a_study_lies_in_its_folder_whatever_its_name(tmp_path, monkeypatch, folder):
    pytest.importorskip("optuna")
    from pointae.analysis.sweep.directory import SweepDirectory
    from pointae.analysis.sweep.study import _storage
    from pointae.config_files import load_sweep

    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(
        "config: configs/demo.yaml\nstorage: sqlite\ntrials: 1\nsampler: random\n"
        "parameters: {train.learning_rate: {low: 0.1, high: 0.2}}\n"
    )
    directory = SweepDirectory(tmp_path / folder)
    _storage(directory, load_sweep(tmp_path / "s.yaml"))
    assert directory.database.stat().st_size > 1000
    assert {path.name for path in tmp_path.iterdir()} == {"s.yaml", folder}


def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path):
    pytest.importorskip("xlsxwriter")
    import zipfile

    write_workbook(tmp_path / "a.xlsx", {"x": [{text: text for text in HOSTILE}]})
    with zipfile.ZipFile(tmp_path / "a.xlsx") as book:
        assert b"<f>" not in book.read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize(
    "text", [*HOSTILE, "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''-x", "\uff1d1", "'", "a", "-_x"]
)
def test_a_table_marks_what_a_spreadsheet_would_calculate_and_reads_it_back(tmp_path, text):
    write_table(tmp_path / "a.csv", [{"name": text, text: 1.0, "loss": -2.5}])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        header, cells = csv.reader(file)
    assert all(cell[:1] not in "=+-@\t\r\n\uff1d" for cell in (header[1], cells[0]))
    assert cells[1:] == ["1.0", "-2.5"]
    encodable = text.encode("utf-8", "backslashreplace").decode()
    (row,) = read_table(tmp_path / "a.csv", texts=("name",))
    assert row == {"name": encodable, encodable: 1.0, "loss": -2.5}


@pytest.mark.parametrize("text", ["-1.5", "+3", "-inf", "-1e-9"])
def test_numbers_as_text_stay_numbers(tmp_path, text):
    write_table(tmp_path / "a.csv", [{"x": text}])
    assert (tmp_path / "a.csv").read_text().splitlines() == ["x", text]


@pytest.mark.parametrize(
    "text",
    [*HOSTILE, "CON", "nul.txt", "com1", "a:b", "--help", "..", "../x", "", " ", "é" * 200, "x" * 255, "[/]", "latest"],
)
def test_a_run_has_a_name_that_every_system_takes(tmp_path, text):
    made = [RunDirectory.create(tmp_path / "runs", text).path for _ in range(2)]
    assert len(set(made)) == 2
    for path in made:
        assert path.parent == tmp_path / "runs"
        assert set(path.name) <= set(string.ascii_letters + string.digits + "._-")
        assert path.name == path.name.strip(".-")
        assert len(path.name) <= 110
        assert path.name.split(".")[0].lower() not in ("con", "nul", "com1", "latest")


def test_names_beside_long_ones_fit_and_differ(tmp_path):
    paths = [tmp_path / ("é" * 124 + mark + ".h5") for mark in "ab"]
    found = [beside(path, "_views") for path in paths]
    assert len(set(found)) == 2
    assert beside(tmp_path / "x.h5", "_views").name == "x_views"
    for path in found:
        path.mkdir()
        assert path.name.endswith("_views")
        assert len(path.name.encode()) <= 255


def test_a_legend_shows_names_that_begin_with_an_underscore(tmp_path):
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([1, 2], [1, 2], label=legend_name("_x"))
    legend = axes.legend()
    save_picture(figure, tmp_path / "a.png")
    assert [text.get_text() for text in legend.get_texts()] == ["_x"]


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_of_a_sweep_holds_text_and_no_more(tmp_path, text):
    pages = []
    for name in (text, "a"):
        rows = [
            {"rank": i + 1, "trial": i, "state": "complete", "score": 0.5 - 0.1 * i, name: f"{name}{i}"} for i in (0, 1)
        ]
        path = write_sweep_page(rows, [name], [], {name: 1.0}, name, tmp_path / "a.html", name)
        pages.append(Page(path.read_text("utf-8")))
    assert pages[0].tags == pages[1].tags
