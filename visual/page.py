"""The browser page: layout and script. ``@PLOTLY@`` and ``@SCENES@`` are filled in by ``html_view``."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pointae events</title>
<link rel="icon" href="data:,">
<style>
  body { margin: 0; height: 100vh; display: flex; flex-direction: column; background: #fff; color: #333;
         font: 15px system-ui, "DejaVu Sans", sans-serif; }
  header { padding: 14px 22px 6px; display: flex; flex-wrap: wrap; gap: 4px 24px; align-items: center; }
  h1 { font-size: 19px; margin: 0; }
  #caption { color: #555; flex: 1 1 auto; }
  nav { display: flex; gap: 8px; align-items: center; }
  button, select { font: inherit; color: inherit; background: #f6f6f6; border: 1px solid #bbb; border-radius: 6px;
                   padding: 4px 12px; cursor: pointer; }
  button:hover, select:hover { background: #e8f2f9; }
  #plot { flex: 1 1 auto; min-height: 300px; }
  footer { padding: 4px 22px 10px; color: #777; font-size: 13px; }
</style>
<script>@PLOTLY@</script>
</head>
<body>
<header>
  <div><h1 id="title"></h1><div id="caption"></div></div>
  <nav style="margin-left: auto">
    <button id="previous" title="previous event (left arrow)">&#9664;</button>
    <select id="events" title="choose an event"></select>
    <button id="next" title="next event (right arrow)">&#9654;</button>
  </nav>
</header>
<div id="plot"></div>
<footer>Drag to turn, scroll to zoom, hover over a hit for its values, click a layer in the legend to switch it;
arrow keys step through the events.</footer>
<script type="application/json" id="scenes">@SCENES@</script>
<script>
"use strict";
const scenes = JSON.parse(document.getElementById("scenes").textContent);
const plot = document.getElementById("plot");
const chooser = document.getElementById("events");
const SYMBOLS = {dot: "circle", ring: "circle-open", diamond: "diamond"};
const hidden = new Set();
const FIRST_VIEW = {eye: {x: 0.9, y: -1.95, z: 0.7}, center: {x: 0.03, y: 0, z: -0.08}};
let current = 0, wanted = null, drawing = false;

function hover(axes) {
  const place = axes.map((axis, i) => `${axis.name} %{customdata[${i}]:.6~g} ${axis.unit}`);
  return place.join("<br>") + "%{text}";
}

function trace(layer, axes) {
  const names = Object.keys(layer.values);
  const text = layer.x.map((_, i) =>
    names.map(name => `<br>${name} ${+Number(layer.values[name][i]).toPrecision(5)}`).join(""));
  return {
    type: "scatter3d", mode: "markers", name: layer.legend, meta: layer.name,
    // Without any point plotly would drop the layer from the legend.
    x: text.length ? layer.t : [null], y: text.length ? layer.x : [null], z: text.length ? layer.y : [null],
    text: text,
    customdata: layer.x.map((x, i) => [x, layer.y[i], layer.t[i]]),
    hovertemplate: hover(axes) + "<extra>" + layer.name + "</extra>",
    visible: hidden.has(layer.name) ? "legendonly" : true, showlegend: true,
    marker: {color: layer.colour, symbol: SYMBOLS[layer.symbol], opacity: layer.opacity,
             size: layer.size * (layer.symbol === "ring" ? 0.75 : 0.65),
             line: {width: layer.symbol === "ring" ? 2 : 0, color: layer.colour}},
  };
}

function side(axis) {
  return {title: {text: axis.label}, range: [axis.low, axis.high], tickmode: "array",
          tickvals: axis.ticks.map(tick => tick[0]), ticktext: axis.ticks.map(tick => tick[1]),
          backgroundcolor: "#fff", gridcolor: "#e0e0e0", linecolor: "#999", showline: true, mirror: true,
          zeroline: false, showspikes: false, showbackground: true};
}

// One drawing at a time, the last event asked for: plotly does not bear two at once.
async function show(event) {
  current = wanted = (event + scenes.length) % scenes.length;
  if (drawing) return;
  drawing = true;
  while (wanted !== null) {
    wanted = null;
    await draw();
  }
  drawing = false;
}

function draw() {
  const scene = scenes[current], [x, y, t] = scene.axes;
  document.getElementById("title").textContent = scene.title;
  document.getElementById("caption").textContent = scene.caption;
  chooser.value = current;
  const layout = {
    margin: {l: 0, r: 0, t: 0, b: 0}, font: {color: "#333", size: 13},
    legend: {x: 0.01, y: 0.99, bgcolor: "rgba(255,255,255,0.8)", font: {size: 14}, itemsizing: "constant"},
    hoverlabel: {align: "left"},
    scene: {xaxis: side(t), yaxis: side(x), zaxis: side(y), aspectmode: "manual",
            aspectratio: {x: t.edge, y: x.edge, z: y.edge}, dragmode: "turntable",
            camera: plot.layout ? plot.layout.scene.camera : FIRST_VIEW},
  };
  const config = {responsive: true, displaylogo: false,
                  toImageButtonOptions: {format: "png", scale: 2, filename: "event_" + current}};
  // What is drawn last lies on top: the legend's first.
  const traces = scene.layers.map(layer => trace(layer, scene.axes)).reverse();
  layout.legend.traceorder = "reversed";
  return Plotly.react(plot, traces, layout, config);
}

function remember() {
  plot.data.forEach(drawn => drawn.visible === "legendonly" ? hidden.add(drawn.meta) : hidden.delete(drawn.meta));
}

scenes.forEach((scene, i) => chooser.add(new Option(scene.title, i)));
chooser.hidden = scenes.length < 2;
["previous", "next"].forEach(name => { document.getElementById(name).hidden = scenes.length < 2; });
chooser.onchange = () => show(Number(chooser.value));
document.getElementById("previous").onclick = () => show(current - 1);
document.getElementById("next").onclick = () => show(current + 1);
document.onkeydown = press => {
  if (press.target === chooser || scenes.length < 2) return;
  if (press.key === "ArrowRight") show(current + 1);
  if (press.key === "ArrowLeft") show(current - 1);
};
// events.html#3 opens at the fourth event of the page.
if (scenes.length) show(Number(location.hash.slice(1)) || 0).then(() => plot.on("plotly_restyle", remember));
</script>
</body>
</html>
"""
