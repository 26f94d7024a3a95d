"""Text of users in pictures and pages: shown as it is, and acted upon by nothing."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from pointae.analysis.workbook import write_workbook
from visual.pages.page import fill_page, write_html
from visual.pictures.events import save_picture
from visual.pictures.literal import literal_text

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
