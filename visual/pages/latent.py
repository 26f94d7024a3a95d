"""The page of a latent space: a plane of events to point at, and beside it the event and its reconstruction in 3D."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pointae.hits import HitBatch
from pointae.robots import KINDS
from pointae.storage import write_atomically
from visual.plots.latent import KIND_COLOURS, LABEL_COLOURS

if TYPE_CHECKING:
    from pointae.analysis.latent.report import LatentReport

MOST_HITS = 200_000
"""Hits on a page, so that a browser can hold it: events beyond are left out."""


def write_latent_page(report: LatentReport, path: Path) -> Path:
    """Write the page of a report; self-contained.

    Raises:
        StorageError: it cannot be written.
    """
    from plotly.offline import get_plotlyjs

    content = json.dumps(page_content(report), separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    title = html.escape(f"Latent space of {report.name}")
    page = PAGE.replace("@TITLE@", title).replace("@DATA@", content).replace("@PLOTLY@", get_plotlyjs())
    write_atomically(path, page.encode())
    return path


def page_content(report: LatentReport) -> dict[str, Any]:
    """What the page's script reads: planes, colourings, and the hits ``[x, y, z, category]`` of each event."""
    side = report.validation
    shown = _shown(side.hits, report.reconstructions)
    meanings = [
        {"name": meaning.name, "values": meaning.values[:shown].tolist(), "labels": list(meaning.labels),
         "colours": [LABEL_COLOURS[i % len(LABEL_COLOURS)] for i in range(len(meaning.labels))]}
        for meaning in side.meanings
    ]  # fmt: skip
    clusters = [str(label) for label in range(report.clusters.chosen)]
    meanings.append({
        "name": "cluster", "values": [str(label) for label in report.clusters.labels[:shown].tolist()],
        "labels": clusters, "colours": [LABEL_COLOURS[i % len(LABEL_COLOURS)] for i in range(len(clusters))],
    })  # fmt: skip
    return {
        "names": side.names[:shown],
        "left_out": len(side.names) - shown,
        "planes": [
            {"name": projection.method.upper(), "axes": list(projection.axes),
             "x": _short(projection.validation[:shown, 0]), "y": _short(projection.validation[:shown, 1])}
            for projection in report.projections
        ],
        "meanings": meanings,
        "shape": list(side.hits.geometry.spatial_shape),
        "axes": [axis.name for axis in side.hits.geometry.axes],
        "kinds": ["hit", *KINDS],
        "colours": [KIND_COLOURS[0], *KIND_COLOURS],
        "originals": _hits(side.hits, shown),
        "reconstructions": None if report.reconstructions is None else _hits(report.reconstructions, shown),
    }  # fmt: skip


def _shown(*batches: HitBatch | None) -> int:
    """How many of the first events have at most :data:`MOST_HITS` hits together."""
    ends = sum(hits.offsets.numpy() for hits in batches if hits is not None)
    return int(np.searchsorted(ends, MOST_HITS, side="right")) - 1


def _hits(hits: HitBatch, shown: int) -> list[list[list[int]]]:
    kinds = np.zeros(hits.num_hits, np.int64) if hits.category is None else hits.category.numpy()
    rows = np.column_stack([hits.coords.numpy(), kinds]).tolist()
    offsets = hits.offsets.tolist()
    return [rows[offsets[event] : offsets[event + 1]] for event in range(shown)]


def _short(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<link rel="icon" href="data:,">
<style>
  body { margin: 0; height: 100vh; display: flex; flex-direction: column; background: #fff; color: #333;
         font: 15px system-ui, "DejaVu Sans", sans-serif; }
  header { padding: 12px 22px 4px; display: flex; flex-wrap: wrap; gap: 6px 22px; align-items: center; }
  h1 { font-size: 19px; margin: 0; } label { color: #555; } #note { color: #777; }
  select { font: inherit; color: inherit; background: #f6f6f6; border: 1px solid #bbb; border-radius: 6px;
           padding: 3px 8px; }
  main { flex: 1 1 auto; display: flex; min-height: 0; }
  #plane { flex: 3; min-width: 0; } #side { flex: 2; min-width: 0; display: flex; flex-direction: column; }
  #side > div { flex: 1; min-height: 0; }
  footer { padding: 2px 22px 10px; color: #777; font-size: 13px; }
</style>
<script>@PLOTLY@</script>
</head>
<body>
<header>
  <h1>@TITLE@</h1>
  <label>plane <select id="planes"></select></label>
  <label>colour <select id="meanings"></select></label>
  <label>event <select id="events"></select></label>
  <span id="note"></span>
</header>
<main><div id="plane"></div><div id="side"><div id="original"></div><div id="made"></div></div></main>
<footer>Point at an event to see it in 3D, click to keep it; scroll to zoom, drag to move.</footer>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const element = name => document.getElementById(name);
const choices = {planes: data.planes.map(p => p.name), meanings: data.meanings.map(m => m.name), events: data.names};
for (const [name, texts] of Object.entries(choices))
  texts.forEach((text, i) => element(name).add(new Option(text, i)));
if (data.left_out) element("note").textContent = `the first ${data.names.length} events`;
const CONFIG = {responsive: true, displaylogo: false, scrollZoom: true};
const FIRST_VIEW = {eye: {x: 1.15, y: -1.7, z: 0.8}, center: {x: 0, y: 0, z: -0.1}};
const small = Math.max(...data.shape) <= 32;
const empty = {margin: {l: 0, r: 0, t: 34, b: 0}, font: {color: "#333", size: 12}};
let kept = 0, shown = -1;

function traces(plane, meaning) {
  const all = data.names.map((_, i) => i);
  const named = meaning.labels.map(label => all.filter(i => meaning.values[i] === label));
  const groups = named.length ? named : [all];
  return groups.map((own, g) => ({
    type: "scattergl", mode: "markers", name: meaning.labels[g] ?? meaning.name, customdata: own,
    x: own.map(i => plane.x[i]), y: own.map(i => plane.y[i]),
    text: own.map(i => `event ${data.names[i]}<br>` +
                       data.meanings.map(m => `${m.name}: ${m.values[i]}`).join("<br>")),
    hovertemplate: "%{text}<extra></extra>", showlegend: meaning.labels.length > 0 && own.length > 0,
    marker: meaning.labels.length ? {size: 6, color: meaning.colours[g]}
      : {size: 6, color: own.map(i => meaning.values[i]), colorscale: "Viridis", showscale: true,
         colorbar: {title: {text: meaning.name}, thickness: 14}},
  })).filter(t => t.customdata.length);
}

function drawPlane() {
  const plane = data.planes[element("planes").value], meaning = data.meanings[element("meanings").value];
  const mark = {type: "scattergl", mode: "markers", x: [plane.x[kept]], y: [plane.y[kept]], hoverinfo: "skip",
                showlegend: false, marker: {size: 15, color: "rgba(0,0,0,0)", line: {color: "#000", width: 2}}};
  const layout = {margin: {l: 60, r: 10, t: 10, b: 50}, font: {color: "#333", size: 13}, hovermode: "closest",
                  dragmode: "pan", legend: {x: 0.01, y: 0.99, bgcolor: "rgba(255,255,255,0.8)"},
                  xaxis: {title: {text: plane.axes[0]}, zeroline: false, gridcolor: "#eee"},
                  yaxis: {title: {text: plane.axes[1]}, zeroline: false, gridcolor: "#eee"}};
  return Plotly.react("plane", [...traces(plane, meaning), mark], layout, CONFIG);
}

// A cube a hit: eight corners, twelve triangles.
function cubes(hits, kind) {
  const own = hits.filter(h => h[3] === kind), x = [], y = [], z = [], i = [], j = [], k = [];
  const faces = [[0,1,3],[0,3,2],[4,6,7],[4,7,5],[0,4,5],[0,5,1],[2,3,7],[2,7,6],[0,2,6],[0,6,4],[1,5,7],[1,7,3]];
  own.forEach((h, n) => {
    for (let c = 0; c < 8; c++) {
      x.push(h[0] + (c >> 2 & 1)); y.push(h[1] + (c >> 1 & 1)); z.push(h[2] + (c & 1));
    }
    faces.forEach(f => { i.push(8 * n + f[0]); j.push(8 * n + f[1]); k.push(8 * n + f[2]); });
  });
  return {type: "mesh3d", x, y, z, i, j, k, flatshading: true, color: data.colours[kind], name: data.kinds[kind],
          showlegend: true, hoverinfo: "name", lighting: {ambient: 0.65, diffuse: 0.6}};
}

function points(hits, kind) {
  const own = hits.filter(h => h[3] === kind);
  return {type: "scatter3d", mode: "markers", x: own.map(h => h[0]), y: own.map(h => h[1]), z: own.map(h => h[2]),
          name: data.kinds[kind], showlegend: true, marker: {size: 2.5, color: data.colours[kind]}};
}

function drawHits(where, hits, title) {
  const kinds = [...new Set(hits.map(h => h[3]))].sort();
  const side = i => ({range: [0, data.shape[i]], title: {text: data.axes[i]}, backgroundcolor: "#fff",
                      gridcolor: "#e6e6e6", showbackground: true, zeroline: false, nticks: 4});
  const before = element(where).layout;
  const layout = {...empty, title: {text: title, font: {size: 14}, x: 0.02, y: 0.97}, legend: {x: 0.85, y: 0.9},
                  scene: {xaxis: side(0), yaxis: side(1), zaxis: side(2), aspectmode: "cube",
                          camera: before ? before.scene.camera : FIRST_VIEW}};
  const traces = kinds.map(kind => (small ? cubes : points)(hits, kind));
  Plotly.react(where, traces, layout, {...CONFIG, displayModeBar: false});
}

function showEvent(event) {
  if (event === shown) return;
  shown = event;
  const hits = data.originals[event], made = data.reconstructions?.[event];
  drawHits("original", hits, `event ${data.names[event]}: original, ${hits.length} hits`);
  if (made) drawHits("made", made, `reconstruction, ${made.length} hits`);
  element("events").value = event;
}

function keep(event) { kept = event; showEvent(event); drawPlane(); }

if (!data.reconstructions) element("made").style.display = "none";
element("planes").onchange = element("meanings").onchange = drawPlane;
element("events").onchange = () => keep(Number(element("events").value));
if (data.names.length) {
  showEvent(0);
  drawPlane().then(plot => {
    plot.on("plotly_hover", at => { if (at.points[0].customdata !== undefined) showEvent(at.points[0].customdata); });
    plot.on("plotly_unhover", () => showEvent(kept));
    plot.on("plotly_click", at => { if (at.points[0].customdata !== undefined) keep(at.points[0].customdata); });
  });
}
</script>
</body>
</html>
"""
