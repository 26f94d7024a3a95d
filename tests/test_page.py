"""The page of events: all hits in it, no network, and in a browser sliders that move the counts."""

import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from test_scene import some_hits

from pointae.analysis.comparison import HEADINGS, ranking_table
from pointae.geometry import timepix3_geometry
from pointae.metrics import count_hits, snr_db
from visual.colours import rgb
from visual.pages.events import write_page
from visual.pages.page import write_html
from visual.pages.report import _table
from visual.scene.layers import build_scene
from visual.scene.look import Look

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def in_a_browser(test):
    """A test that opens a page in a browser without a window; skipped in words where there is none."""
    return pytest.mark.display(
        pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")(test)
    )


def scenes_in(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="scenes">(.*?)</script>', text, re.S).group(1))


def test_a_page_holds_every_hit_and_needs_no_network(tmp_path):
    hits = some_hits()
    hits.score[0] = math.nan
    scenes = [build_scene(hits, event, title="</script><b>@BODY@") for event in range(3)]
    page = write_page(scenes, tmp_path / "page.html")
    for told, scene in zip(scenes_in(page), scenes, strict=True):
        assert told["title"] == scene.title
        assert {x["name"]: len(x["t"]) for x in told["layers"]} == {x.name: len(x.pos) for x in scene.layers}
        for layer, drawn in zip(told["layers"], scene.layers, strict=True):
            assert np.allclose(np.array([layer["x"], layer["y"], layer["t"]]).T.reshape(-1, 3), drawn.pos)
            assert len(layer["values"]["score"]) == len(drawn.pos)
    lost = [x["values"]["score"] for x in scenes_in(page)[0]["layers"] if x["name"].endswith(("signal", "noise"))]
    assert sum(scores.count(None) for scores in lost) == 1
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'<(script|link|img|iframe)\b[^>]*\b(src|href)="(?!data:)', text)
    assert not re.search(r"@(TITLE|STYLE|THEME|CLASS|VIEWER)@", text)


def test_colours_that_mean_something_are_told_with_their_key(tmp_path):
    scene = build_scene(some_hits(), 0, look=Look(colour_by="score"))
    (told,) = scenes_in(write_page([scene], tmp_path / "page.html"))
    for layer, drawn in zip(told["layers"], scene.layers, strict=True):
        assert drawn.colours is not None
        assert layer["colours"] == [to_hex(colour) for colour in drawn.colours]
    assert told["key"] == [list(entry) for entry in scene.key]
    (plain,) = scenes_in(write_page([build_scene(some_hits(), 0)], tmp_path / "page.html"))
    assert {layer["colours"] is None for layer in plain["layers"]} == {True}


def test_a_page_of_ten_events_as_large_as_those_of_the_detector_is_below_8_mb(tmp_path):
    hits = some_hits((300,) * 10)
    page = write_page([build_scene(hits, event) for event in range(10)], tmp_path / "page.html")
    assert page.stat().st_size < 8e6


def test_a_page_without_events_says_so_and_draws_nothing(tmp_path):
    page = write_page([], tmp_path / "page.html")
    assert "There are no events." in page.read_text(encoding="utf-8")
    assert page.stat().st_size < 20_000
    title = write_html(tmp_path / "other.html", "a < b", "", []).read_text(encoding="utf-8")
    assert "<title>a &lt; b</title>" in title


# ---- in a browser --------------------------------------------------------------------------------


def browse(page, script, address="", width=800):
    """What ``script``, the body of an async function, returns on the page; errors in the console fail."""
    done = "document.body.append(Object.assign(document.createElement('pre'), {id: 'told', textContent: "
    run = f"<script>(async () => {{ {script} }})().then(told => {done}JSON.stringify(told)}})));</script></body>"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", run), encoding="utf-8")
    flags = "--headless=new --no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader"
    command = [BROWSER, *flags.split(), f"--window-size={width},800", "--virtual-time-budget=20000"]
    command += ["--enable-logging=stderr", "--dump-dom"]
    shown = subprocess.run(
        [*command, f"{page.as_uri()}{address}"], capture_output=True, text=True, timeout=240, check=True
    )
    assert not re.search(r"CONSOLE.*(error|uncaught|not defined)", shown.stderr, re.I), shown.stderr
    found = re.search(r'<pre id="told">(.*)</pre>', shown.stdout)
    assert found, "the script did not end"
    return json.loads(found.group(1).replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))


TELL = """
const tell = () => ({
  title: document.querySelector(".title").textContent, canvases: document.querySelectorAll("canvas").length,
  counts: Object.fromEntries([...document.querySelectorAll("[data-count]")].map(e => [e.dataset.count, e.textContent])),
  figures: Object.fromEntries([...document.querySelectorAll("[data-figure]")].map(
    e => [e.dataset.figure, e.firstChild.textContent])),
  drawn: Object.fromEntries(viewer.plot.data.map(trace => [trace.meta, trace.x.length])),
});
const slide = (title, value) => { const input = document.querySelector(`input[type=range][title="${title}"]`);
                                  input.value = value; input.dispatchEvent(new Event("input"));
                                  return viewer.redraw(); };
await viewer.redraw();
"""


def expected(hits, threshold):
    """Counts and figures of some hits, by the metrics themselves."""
    kept = hits.kept if threshold is None else hits.score >= threshold
    tp, fp, fn, tn = (int(x.sum()) for x in count_hits(kept, hits.signal, hits.batch, hits.batch_size))
    counts = {"kept signal": tp, "lost signal": fn, "surviving noise": fp, "removed noise": tn, "input": hits.num_hits}
    figures = {"retention": f"{100 * tp / (tp + fn):.1f} %", "removed": f"{100 * tn / (tn + fp):.1f} %"}
    return counts, {**figures, "snr_out": f"{float(snr_db(torch.tensor(tp), torch.tensor(fp))):.1f} dB"}


@in_a_browser
def test_sliders_move_counts_and_figures_in_a_browser(tmp_path):
    hits = some_hits((60, 0, 45))
    page = write_page([build_scene(hits, event) for event in range(3)], tmp_path / "page.html")
    told = browse(
        page,
        f"""{TELL}
        const steps = [tell()];
        await viewer.cut(0.7); steps.push(tell());
        await slide("threshold", 250); steps.push({{...tell(), threshold: viewer.threshold}});
        await viewer.cut(null); await slide("to this time", 400); steps.push({{...tell(), window: viewer.window}});
        await viewer.press("1"); steps.push({{visible: viewer.plot.data.map(trace => [trace.meta, trace.visible])}});
        viewer.press("ArrowRight"); viewer.press("ArrowLeft"); await viewer.press("ArrowRight"); steps.push(tell());
        return steps;""",
        "#2",
    )
    own = hits.events([2])
    for step, threshold in zip(told[:3], (None, 0.7, told[2]["threshold"]), strict=True):
        counts, figures = expected(own, threshold)
        assert step["title"] == "event 2"
        assert {name: int(text) for name, text in step["counts"].items()} == counts == step["drawn"]
        assert {name: step["figures"][f"event {name}"] for name in figures} == figures
        every = expected(hits, threshold)[1]
        assert {name: step["figures"][f"events {name}"] for name in every} == every
    assert told[0]["canvases"] > 0
    assert told[1]["counts"] != told[0]["counts"] != told[2]["counts"]
    low, high = told[3]["window"]
    inside = own.select((own.pos[:, 2] >= low) & (own.pos[:, 2] <= high))
    assert told[3]["drawn"] == expected(inside, None)[0]
    assert told[3]["figures"] == told[0]["figures"]  # times hide hits, they decide nothing
    assert dict(told[4]["visible"])["kept signal"] is False
    assert told[5]["title"] == "event 0"
    assert {name: int(text) for name, text in told[5]["counts"].items()} == expected(hits.events([0]), None)[0]


@in_a_browser
def test_hits_without_truth_or_score_have_only_what_they_can_in_a_browser(tmp_path):
    hits = some_hits((9, 4), signal=None, score=None, kept=None)
    page = write_page([build_scene(hits, event) for event in range(2)], tmp_path / "page.html")
    told = browse(page, f"{TELL} return [tell(), [...document.querySelectorAll('input')].map(e => e.title)];")
    assert told[0]["drawn"] == {"input": 9}
    assert told[0]["figures"] == {}
    assert "threshold" not in told[1]


@in_a_browser
def test_the_box_fits_a_narrow_window_too(tmp_path):
    page = write_page([build_scene(some_hits((9,)), 0)], tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    script = """
    await viewer.redraw();
    const first = viewer.plot.layout.scene.camera.eye;
    await viewer.look("3D");
    return [viewer.plot.clientWidth / viewer.plot.clientHeight, first, viewer.plot.layout.scene.camera.eye];"""
    away = {}
    for width in (1900, 600):
        page.write_text(text, encoding="utf-8")
        shape, first, again = browse(page, script, width=width)
        assert first == pytest.approx(again)
        away[width] = (shape, math.hypot(*first.values()))
    assert away[600][0] < 1.55 < away[1900][0]
    assert away[600][1] / away[1900][1] == pytest.approx(1.55 / away[600][0], rel=0.01)


@in_a_browser
def test_a_ranking_of_many_figures_fits_the_page(tmp_path):
    of_robots = ("exact_accuracy", "voxel_f1", "category_f1", "validity", "validation exact_accuracy")
    figures = {name: 0.9876 for name in HEADINGS if name not in (*of_robots, "robots_per_second")}
    row = {"name": "a-run-of-a-longer-name", "network": "attention, plain, per_hit", **figures, "parameters": 1_234_567}
    table = ranking_table([row, row])
    assert len(table.headings) == 15
    body = f"<main>{_table(table, best=True)}</main>"
    page = write_html(tmp_path / "page.html", "ranking", body, [])
    script = "const table = document.querySelector('.scroll'); return [table.scrollWidth, table.clientWidth];"
    needed, given = browse(page, script, width=1400)
    assert needed <= given


@in_a_browser
def test_colours_of_a_scale_keep_clear_of_the_paper_and_times_have_their_unit(tmp_path):
    page = write_page([build_scene(some_hits((9,), timepix3_geometry()), 0)], tmp_path / "page.html")
    script = """
    const told = [];
    viewer.colour = "time";
    for (const dark of [false, true]) {
      setTheme(dark); await viewer.redraw();
      const {colorscale, colorbar, cmax} = viewer.plot.data[0].marker;
      told.push([colorscale.map(step => step[1]), colorbar.title.text, cmax]);
    }
    return told;"""
    for (scale, title, most), sign, paper in zip(browse(page, script), (-1, 1), ("#ffffff", "#16191d"), strict=True):
        assert (title, most) == ("time of arrival [ms]", pytest.approx(20, abs=0.1))
        brightness = np.array([rgb(colour) for colour in scale]) @ (0.299, 0.587, 0.114)
        assert (np.diff(brightness) * sign > 0).all()
        assert (np.abs(brightness - np.dot(rgb(paper), (0.299, 0.587, 0.114))) > 0.15).all()
