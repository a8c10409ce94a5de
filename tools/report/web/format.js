// format.js - figures as people read them, and the look of each curve.
"use strict";

// Colour-blind safe (after Okabe and Ito, 2008), one set per background.
const kColours = {
  light: ["#0067a5", "#d1510a", "#00866a", "#a8468c", "#a87300", "#2f93d6", "#4a4f57", "#8a1c3b"],
  dark: ["#5ab0f0", "#ff8a4c", "#2ecc9f", "#e58cc4", "#f0b93a", "#a5d8ff", "#c3c9d1", "#ff7d9c"],
};
// A request class is told by its dashes and its marker, never by colour.
const kDashes = [[], [7, 4], [2, 3.5], [10, 3, 2, 3]];
const kMarkers = ["circle", "square", "triangle", "diamond"];
const kPercentiles = { p50: "p50", p99: "p99", p999: "p99.9" };

const darkMode = window.matchMedia("(prefers-color-scheme: dark)");

function colourOf(scheduler) {
  const set = darkMode.matches ? kColours.dark : kColours.light;
  return set[scheduler % set.length];
}

function cssVariable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Three significant digits, no trailing zeros, no exponent.
function digits(value) {
  if (value === 0) return "0";
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  const decimals = Math.max(0, Math.min(6, 2 - magnitude));
  const text = value.toFixed(decimals);
  return decimals > 0 ? text.replace(/\.?0+$/, "") : text;
}

function formatLatency(us) {
  if (us < 1) return digits(us * 1e3) + " ns";
  if (us < 1e3) return digits(us) + " µs";
  if (us < 1e6) return digits(us / 1e3) + " ms";
  return digits(us / 1e6) + " s";
}

function formatRate(rps) {
  if (rps < 1e3) return digits(rps) + "/s";
  if (rps < 1e6) return digits(rps / 1e3) + "k/s";
  return digits(rps / 1e6) + "M/s";
}

function formatMetric(kind, value) {
  if (value === null || value === undefined) return "–";
  if (value === "inf") return "∞";
  return kind === "latency" ? formatLatency(value) : digits(value) + "×";
}

// Creates an element. Text only ever enters through textContent, so names that
// come from files or the network cannot become markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function markerPath(path, shape, x, y, r) {
  if (shape === "circle") {
    path.moveTo(x + r, y);
    path.arc(x, y, r, 0, 2 * Math.PI);
  } else if (shape === "square") {
    path.rect(x - r * 0.88, y - r * 0.88, r * 1.76, r * 1.76);
  } else {
    const corners = shape === "triangle"
      ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]]
      : [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]];
    corners.forEach(([dx, dy], i) => {
      if (i === 0) path.moveTo(x + dx * r, y + dy * r);
      else path.lineTo(x + dx * r, y + dy * r);
    });
    path.closePath();
  }
  return path;
}

// A short piece of the curve, for the legend and the read-out.
function swatch(scheduler, klass) {
  const ratio = Math.max(1, window.devicePixelRatio || 1);
  const canvas = make("canvas", { class: "swatch", "aria-hidden": "true", width: 30 * ratio, height: 14 * ratio });
  canvas.style.width = "30px";
  canvas.style.height = "14px";
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.strokeStyle = context.fillStyle = colourOf(scheduler);
  context.lineWidth = 2;
  context.setLineDash(kDashes[klass % kDashes.length]);
  context.beginPath();
  context.moveTo(0, 7);
  context.lineTo(30, 7);
  context.stroke();
  context.fill(markerPath(new Path2D(), kMarkers[klass % kMarkers.length], 15, 7, 4));
  return canvas;
}
