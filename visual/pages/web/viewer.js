"use strict";
// Events in 3D: layers, stepping, a threshold that re-cuts kept and lost, a window of times, and figures.

const SYMBOLS = {dot: "circle", ring: "circle-open", diamond: "diamond"};
const SIGNS = {dot: "\u25cf", ring: "\u25cb", diamond: "\u25c6"};
const TRACKS = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
// Viridis from little to much, without what the paper would swallow: dark for much on light paper, bright on dark.
const SCALES = {light: ["#bddf26", "#5ec962", "#22a884", "#25848e", "#355f8d", "#463480", "#440154"],
                dark: ["#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"]};
const STEPS = 1000;
// Axes of the drawing: time to the right, x into the depth, y up.
const VIEWS = {
  "3D": {eye: {x: 0.95, y: -2.06, z: 0.74}, up: {x: 0, y: 0, z: 1}, center: {x: 0.03, y: 0, z: -0.08},
         projection: {type: "perspective"}},
  "top": {eye: {x: 0, y: 0, z: 2}, up: {x: 0, y: 1, z: 0}, projection: {type: "orthographic"}},
  "front": {eye: {x: 2, y: 0, z: 0}, up: {x: 0, y: 0, z: 1}, projection: {type: "orthographic"}},
  "side": {eye: {x: 0, y: -2, z: 0}, up: {x: 0, y: 0, z: 1}, projection: {type: "orthographic"}},
};

// Width by height of a plot that the box fits at these distances.
const WIDE = 1.55;

function element(tag, content, attributes) {
  const made = Object.assign(document.createElement(tag), attributes || {});
  for (const part of [].concat(content || [])) made.append(part);
  return made;
}

// Along the axes of a scene Plotly knows tags but no entities: a letter that nobody sees makes them none.
function untagged(text) {
  return String(text).replace(/</g, "<\u2060");
}

// Plotly takes some HTML, and %{...}, in its texts; names are to be read as they are.
function literal(text) {
  return String(text).replace(/[&<>%]/g, sign => `&#${sign.charCodeAt(0)};`);
}

class Viewer {
  constructor(root, scenes) {
    this.scenes = scenes;
    this.pools = scenes.map(pool);
    const scores = this.pools.flat().map(hit => hit.score);
    this.cuttable = scores.length > 0 && scores.some(score => score !== null);
    this.known = scores.filter(score => score !== null);
    this.hidden = new Set(scenes.flatMap(scene => scene.layers.filter(layer => !layer.shown).map(layer => layer.name)));
    this.current = 0;
    this.threshold = null;   // null: as decided
    this.window = null;      // null: all times
    this.colour = this.given() ? "as given" : "layer";
    this.build(root);
    document.addEventListener("theme", () => this.redraw());
  }

  // ---- what is asked for --------------------------------------------------------------------------

  show(event) {
    this.current = (event + this.scenes.length) % this.scenes.length;
    this.setWindow();
    return this.redraw();
  }

  // The threshold as a score; null goes back to what was decided.
  cut(threshold) {
    this.threshold = threshold;
    const shown = threshold === null ? this.decided() : threshold;
    this.number.value = String(+Number(shown).toPrecision(6));
    this.range.value = String(this.place(shown));
    return this.redraw();
  }

  look(view) { return Plotly.relayout(this.plot, {"scene.camera": this.camera(view)}); }

  // A view from as far as the plot needs: of a narrow one both sides of the box would be cut off.
  camera(view) {
    const shape = this.plot.clientWidth / this.plot.clientHeight || WIDE, far = Math.max(1, WIDE / shape);
    const eye = Object.fromEntries(Object.entries(VIEWS[view].eye).map(([axis, place]) => [axis, far * place]));
    return {...VIEWS[view], eye};
  }

  // ---- thresholds: the slider is even in logits, where scores are shares -----------------------------

  decided() {
    let lowest = Infinity;
    for (const hit of this.pools.flat()) if (hit.kept && hit.score !== null) lowest = Math.min(lowest, hit.score);
    return Number.isFinite(lowest) ? lowest : 0.5;
  }

  ends() {
    if (this.limits) return this.limits;
    let low = Infinity, high = -Infinity;
    for (const score of this.known) { low = Math.min(low, score); high = Math.max(high, score); }
    this.shares = low >= 0 && high <= 1;
    const bend = value => logit(Math.min(Math.max(value, 1e-7), 1 - 1e-7));
    this.limits = this.shares ? [bend(low), bend(high)] : [low, high];
    this.highest = high;
    return this.limits;
  }

  place(threshold) {
    const [low, high] = this.ends();
    const value = this.shares ? logit(Math.min(Math.max(threshold, 1e-7), 1 - 1e-7)) : threshold;
    return Math.round(STEPS * Math.min(Math.max((value - low) / Math.max(high - low, 1e-12), 0), 1));
  }

  at(place) {
    const [low, high] = this.ends();
    // The ends keep everything and nothing.
    if (place <= 0) return this.shares ? 0 : low;
    if (place >= STEPS) return this.shares ? 1 : this.highest + 1e-6 * Math.abs(this.highest);
    const value = low + (high - low) * place / STEPS;
    return this.shares ? 1 / (1 + Math.exp(-value)) : value;
  }

  // ---- drawing ---------------------------------------------------------------------------------------

  // One drawing at a time, what was asked for last: plotly does not bear two at once.
  redraw() {
    this.wanted = true;
    if (!this.drawing) this.drawing = this.drawAll().finally(() => { this.drawing = null; });
    return this.drawing;
  }

  async drawAll() {
    while (this.wanted) {
      this.wanted = false;
      await this.draw();
    }
  }

  // Layers of the current event at the threshold, cut to the window: {name: [[layer, i], ...]}.
  layers() {
    const scene = this.scenes[this.current], drawn = {};
    for (const layer of scene.layers) drawn[layer.name] = {style: layer, hits: [], all: 0};
    const add = (name, layer, i) => {
      drawn[name].all++;
      const t = layer.t[i];
      if (this.window === null || (t >= this.window[0] && t <= this.window[1])) drawn[name].hits.push([layer, i]);
    };
    for (const hit of this.pools[this.current]) {
      const kept = decide(hit, this.threshold);
      const name = Object.keys(PARTS).find(part => PARTS[part][0] === hit.signal && PARTS[part][1] === kept);
      add(name in drawn ? name : hit.layer.name, hit.layer, hit.i);
    }
    for (const layer of scene.layers) {
      if (!(layer.name in PARTS)) layer.t.forEach((_, i) => add(layer.name, layer, i));
    }
    return drawn;
  }

  draw() {
    const scene = this.scenes[this.current], [x, y, t] = scene.axes, layers = this.layers();
    this.title.textContent = scene.title;
    this.caption.textContent = this.threshold === null ? scene.caption : `kept: score \u2265 ${this.number.value}`;
    if (this.chooser) this.chooser.value = this.current;
    this.list(layers);
    this.tell();
    const css = getComputedStyle(document.documentElement), paint = name => css.getPropertyValue(name).trim();
    const side = axis => ({
      title: {text: untagged(axis.label)}, range: [axis.low, axis.high], tickmode: "array",
      tickvals: axis.ticks.map(tick => tick[0]), ticktext: axis.ticks.map(tick => tick[1]),
      backgroundcolor: paint("--paper"), gridcolor: paint("--grid"), linecolor: paint("--frame"), showline: true,
      mirror: true, zeroline: false, showspikes: false, showbackground: true});
    const layout = {
      margin: {l: 0, r: 0, t: 0, b: 0}, font: {color: paint("--ink"), size: 13}, paper_bgcolor: paint("--paper"),
      showlegend: false, hoverlabel: {align: "left"}, uirevision: "same",
      scene: {xaxis: side(t), yaxis: side(x), zaxis: side(y), aspectmode: "manual", uirevision: "same",
              aspectratio: {x: t.edge, y: x.edge, z: y.edge}, dragmode: "turntable",
              camera: this.plot.layout ? this.plot.layout.scene.camera : this.camera("3D")},
    };
    // What is drawn last lies on top: the first of the list.
    const traces = Object.entries(layers).map(([name, layer]) => this.trace(name, layer, scene, paint)).reverse();
    const config = {responsive: true, displaylogo: false,
                    toImageButtonOptions: {format: "png", scale: 2, filename: "event_" + this.current}};
    return Plotly.react(this.plot, traces, layout, config);
  }

  trace(name, {style, hits}, scene, paint) {
    const of = key => hits.map(([layer, i]) => layer[key][i]);
    const text = hits.map(([layer, i]) => Object.keys(layer.values).map(
      key => `<br>${literal(key)} ${layer.values[key][i] === null ? "undefined" : +Number(layer.values[key][i]).toPrecision(5)}`
    ).join(""));
    const places = scene.axes.map((axis, i) => `${literal(axis.name)} %{customdata[${i}]:.7~g} ${literal(axis.unit)}`);
    const [xs, ys, ts] = ["x", "y", "t"].map(of);
    return {
      type: "scatter3d", mode: "markers", name: literal(name), meta: name, text: text, x: ts, y: xs, z: ys,
      customdata: xs.map((x, i) => [x, ys[i], ts[i]]),
      hovertemplate: places.join("<br>") + "%{text}<extra>" + literal(name) + "</extra>", visible: !this.hidden.has(name),
      marker: {symbol: SYMBOLS[style.symbol], opacity: style.opacity, size: style.size * (style.symbol === "ring" ? 0.75 : 0.65),
               line: {width: 0}, ...this.paint(style, hits, paint)},
    };
  }

  // Whether the scenes came with colours that mean something.
  given() { return this.scenes.some(scene => scene.layers.some(layer => layer.colours)); }

  // Colours of a layer's hits: its own, or by a value.
  paint(style, hits, paint) {
    if (this.colour === "as given") {
      return {color: hits.map(([layer, i]) => layer.colours ? layer.colours[i] : layer.colour)};
    }
    if (this.colour === "layer") return {color: paint(`--c${style.colour.slice(1)}`) || style.colour};
    const t = this.scenes[this.current].axes[2];
    const values = hits.map(([layer, i]) => this.colour === "time" ? layer.t[i] / t.factor : (layer.values[this.colour] || [])[i]);
    const grey = paint("--soft");
    if (this.colour === "truth") return {color: hits.map(([layer, i]) => (layer.values.signal || [])[i] ? TRACKS[0] : grey)};
    if (this.colour === "track") return {color: values.map(v => v >= 0 ? TRACKS[v % TRACKS.length] : grey)};
    const [low, high] = this.scale();
    const colours = SCALES[document.documentElement.dataset.theme];
    const scale = colours.map((colour, place) => [place / (colours.length - 1), colour]);
    return {color: values.map(v => v === undefined || v === null ? NaN : v), colorscale: scale, cmin: low, cmax: high,
            showscale: true, colorbar: {title: {text: literal(this.colour === "time" ? t.label : this.colour)}, thickness: 12, len: 0.6, x: 1}};
  }

  scale() {
    const t = this.scenes[this.current].axes[2];
    if (this.colour === "time") return [t.low / t.factor, t.high / t.factor];
    if (this.colour === "score" && this.ends() && this.shares) return [0, 1];
    let low = Infinity, high = -Infinity;
    for (const layer of this.scenes.flatMap(scene => scene.layers)) {
      for (const v of layer.values[this.colour] || []) if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
    }
    return [low, high];
  }

  // ---- the panel -------------------------------------------------------------------------------------

  list(layers) {
    const key = this.colour === "as given" ? this.scenes[this.current].key : [];
    this.key.replaceChildren(...key.map(([text, colour]) => {
      const swatch = element("span", SIGNS.dot, {className: "swatch"});
      swatch.style.color = colour;
      return element("div", [swatch, " ", text]);
    }));
    this.layerList.replaceChildren(...Object.entries(layers).map(([name, {style, hits, all}], place) => {
      const box = element("input", [], {type: "checkbox", checked: !this.hidden.has(name)});
      box.onchange = () => this.toggle(name);
      const swatch = element("span", SIGNS[style.symbol], {className: "swatch"});
      swatch.style.color = `var(--c${style.colour.slice(1)}, ${style.colour})`;
      const text = hits.length === all ? all.toLocaleString("en") : `${hits.length} of ${all}`;
      const count = element("span", text, {className: "count"});
      count.dataset.count = name;
      return element("label", [box, swatch, name, count], {title: `key ${place + 1}`});
    }));
  }

  toggle(name) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    return this.redraw();
  }

  tell() {
    const own = this.pools[this.current], all = this.pools.flat();
    if (!all.length) return;
    const truth = all[0].signal !== null, many = this.scenes.length > 1;
    const columns = [["event", own], ...(many ? [["events", all]] : [])].map(
      ([name, hits]) => [name, figuresOf(countHits(hits, this.threshold), truth)]);
    const head = element("tr", ["", "this event", ...(many ? [`all ${this.scenes.length}`] : [])].map(
      text => element("th", text)));
    const rows = columns[0][1].map(([, label], place) => element("tr", [element("td", label), ...columns.map(
      ([name, figures]) => {
        const cell = element("td", [figures[place][2], element("small", figures[place][3])]);
        cell.dataset.figure = `${name} ${figures[place][0]}`;
        return cell;
      })]));
    this.figures.replaceChildren(head, ...rows);
  }

  setWindow() {
    const t = this.scenes[this.current].axes[2];
    [this.from, this.to].forEach((input, i) => {
      Object.assign(input, {min: 0, max: STEPS, step: 1, value: i * STEPS});
    });
    this.window = null;
    this.times.textContent = this.timeText(t, t.low, t.high);
  }

  moveWindow(moved) {
    const t = this.scenes[this.current].axes[2];
    let [low, high] = [Number(this.from.value), Number(this.to.value)];
    if (low > high) { if (moved === this.from) this.to.value = high = low; else this.from.value = low = high; }
    const time = place => t.low + (t.high - t.low) * place / STEPS;
    this.window = low === 0 && high === STEPS ? null : [time(low), time(high)];
    this.times.textContent = this.timeText(t, time(low), time(high));
    return this.redraw();
  }

  timeText(t, low, high) {
    const shown = value => +(value / t.factor).toPrecision(6);
    return `${shown(low)} to ${shown(high)}${t.label.slice(t.name.length)}`;
  }

  // Colours of what every hit of the page has.
  meanings() {
    const names = new Set(this.scenes.flatMap(scene => scene.layers.flatMap(layer => Object.keys(layer.values))));
    const plain = [...names].filter(name => !["signal", "score", "track", "origin", "hit_id"].includes(name));
    return [...(this.given() ? ["as given"] : []), "layer", ...(names.has("signal") ? ["truth"] : []), ...(names.has("score") ? ["score"] : []), "time",
            ...(names.has("track") ? ["track"] : []), ...plain];
  }

  build(root) {
    const button = (text, title, act) => element("button", text, {type: "button", title: title, onclick: act});
    const select = (title, names, act) => {
      const made = element("select", names.map(name => new Option(name, name)), {title: title});
      made.onchange = () => act(made.value);
      return made;
    };
    const colours = select("what colours mean", this.meanings(), value => { this.colour = value; this.redraw(); });
    const colour = element("fieldset", [element("legend", "colour by"), colours, themeButton()]);
    const views = Object.keys(VIEWS).map(view => button(view, `look: ${view}`, () => this.look(view)));
    const bar = [element("div", [this.title = element("div", [], {className: "title"}),
                                 this.caption = element("div", [], {className: "caption"})]),
                 element("span", [], {className: "gap"})];
    if (this.scenes.length > 1) {
      this.chooser = element("select", this.scenes.map((scene, i) => new Option(scene.title, i)), {title: "event"});
      this.chooser.onchange = () => this.show(Number(this.chooser.value));
      const back = button("\u25c0", "previous event (left arrow)", () => this.show(this.current - 1));
      const on = button("\u25b6", "next event (right arrow)", () => this.show(this.current + 1));
      bar.push(element("div", [back, this.chooser, on], {className: "group"}));
    }
    bar.push(element("div", views, {className: "group"}));
    this.plot = element("div", [], {className: "plot"});
    this.layerList = element("div", [], {className: "layers"});
    this.key = element("div", [], {className: "key"});
    this.figures = element("table", [], {className: "figures"});
    root.classList.add("viewer");
    root.append(element("div", bar, {className: "bar"}),
                element("div", [this.plot,
                  element("aside", [this.layerList, colour, this.key, ...this.sliders(), this.figures, this.hint()])],
                        {className: "stage"}));
    this.figures.hidden = !this.pools.flat().length;
  }

  sliders() {
    this.times = element("span");
    [this.from, this.to] = ["from", "to"].map(end => {
      const made = element("input", [], {type: "range", title: `${end} this time`});
      made.oninput = () => this.moveWindow(made);
      return made;
    });
    const name = this.scenes[0].axes[2].name;
    const window = element("fieldset", [element("legend", name), this.times, this.from, this.to]);
    if (!this.cuttable) return [window];
    this.range = element("input", [], {type: "range", min: 0, max: STEPS, step: 1, title: "threshold"});
    this.range.oninput = () => {
      this.threshold = this.at(Number(this.range.value));
      this.number.value = String(+this.threshold.toPrecision(6));
      this.redraw();
    };
    this.number = element("input", [], {type: "number", step: "any", title: "threshold"});
    this.number.onchange = () => { if (this.number.value !== "") this.cut(Number(this.number.value)); };
    const reset = element("button", "as decided", {type: "button", onclick: () => this.cut(null)});
    const line = element("div", ["score \u2265", this.number, reset], {className: "line"});
    this.number.value = String(+this.decided().toPrecision(6));
    this.range.value = String(this.place(this.decided()));
    return [element("fieldset", [element("legend", "threshold"), line, this.range]), window];
  }

  hint() {
    return element("p", "Drag to turn, scroll to zoom, hover over a hit for its values; arrow keys step through the " +
                        "events, 1 to 9 switch layers. Figures are of all times.", {className: "hint"});
  }

  press(key) {
    if (key === "ArrowRight") return this.show(this.current + 1);
    if (key === "ArrowLeft") return this.show(this.current - 1);
    const layer = this.scenes[this.current].layers[Number(key) - 1];
    return layer ? this.toggle(layer.name) : null;
  }
}

// The events of the page; page.html#3 opens at the fourth.
const viewer = (() => {
  const scenes = JSON.parse(document.getElementById("scenes").textContent);
  if (!scenes.length) return null;
  const made = new Viewer(document.getElementById("viewer"), scenes);
  document.addEventListener("keydown", press => {
    if (!["INPUT", "SELECT"].includes(press.target.tagName)) made.press(press.key);
  });
  made.show(Number(location.hash.slice(1)) || 0);
  return made;
})();
