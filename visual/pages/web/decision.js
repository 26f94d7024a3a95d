"use strict";
// What a threshold decides, and what that comes to.

// Layers that a decision makes: true signal (null: nobody knows), kept.
const PARTS = {"kept signal": [true, true], "lost signal": [true, false], "surviving noise": [false, true],
               "removed noise": [false, false], "kept": [null, true], "removed": [null, false]};

function logit(share) { return Math.log(share / (1 - share)); }

// The hits of a scene's decision, pooled: what was cut can be cut anew.
function pool(scene) {
  const hits = [];
  for (const layer of scene.layers) {
    if (!(layer.name in PARTS)) continue;
    const [signal, kept] = PARTS[layer.name];
    for (let i = 0; i < layer.t.length; i++) {
      const score = layer.values.score ? layer.values.score[i] : null;
      hits.push({signal, kept, score, layer, i, t: layer.t[i]});
    }
  }
  return hits;
}

// Decisions at a threshold; null: as they were made.
function decide(hit, threshold) { return threshold === null ? hit.kept : hit.score !== null && hit.score >= threshold; }

function countHits(hits, threshold) {
  const counts = {tp: 0, fn: 0, fp: 0, tn: 0, kept: 0, all: hits.length};
  for (const hit of hits) {
    const kept = decide(hit, threshold);
    counts.kept += kept;
    if (hit.signal === true) counts[kept ? "tp" : "fn"]++;
    if (hit.signal === false) counts[kept ? "fp" : "tn"]++;
  }
  return counts;
}

function percent(part, whole) { return whole ? `${(100 * part / whole).toFixed(1)} %` : "undefined"; }

function of(part, whole) { return `${part.toLocaleString("en")} of ${whole.toLocaleString("en")}`; }

// 10 log10((S + 1/2) / (N + 1/2)), as in pointae.metrics.snr_db.
function snr(signal, noise) { return `${(10 * Math.log10((signal + 0.5) / (noise + 0.5))).toFixed(1)} dB`; }

// Name, words, value and what it is made of.
function figuresOf(counts, truth) {
  const row = (name, words, part, whole) => [name, words, percent(part, whole), of(part, whole)];
  if (!truth) return [row("kept", "hits kept", counts.kept, counts.all)];
  const {tp, fn, fp, tn} = counts;
  return [row("retention", "signal kept", tp, tp + fn), row("removed", "noise removed", tn, tn + fp),
          row("purity", "purity", tp, tp + fp),
          ["snr_in", "SNR before", snr(tp + fn, fp + tn), ""], ["snr_out", "SNR after", snr(tp, fp), ""]];
}
