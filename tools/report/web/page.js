// page.js - fills the page from the data that the report was written with.
"use strict";

const report = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

const state = {
  kind: report.objective ? report.objective.kind : "latency",
  percentile: report.objective ? report.objective.percentile : "p99",
  samples: report.samples,
  log: true,
  classes: new Set(),
  hidden: new Set(),  // Of curve ids.
};
// The whole repeats what the classes say; it is shown on demand.
report.classes.forEach((_, klass) => {
  if (klass !== report.overall) state.classes.add(klass);
});

const curveId = (scheduler, klass) => scheduler + ":" + klass;
const curveName = (scheduler, klass) =>
  report.schedulers[scheduler].name + (report.classes.length > 1 ? " · " + report.classes[klass] : "");
const kindName = { latency: "Latency", slowdown: "Slowdown" };

function pointsOf(scheduler) {
  return report.points.filter((p) => p.scheduler === scheduler).sort((a, b) => a.offered - b.offered);
}

function figure(point, klass, kind, percentile) {
  const measured = point.classes[klass];
  return measured ? measured[state.samples][kind][percentile] : null;
}

// Why the point's figures do not count; "" if they do.
function invalid(point) {
  return state.samples === "undisturbed" && point.valid_undisturbed ? "" : point.invalid;
}

// Why it is drawn hollow, outside its curve; "" if it is not.
function doubt(point) {
  return invalid(point) ? "not credible: " + invalid(point) : point.unsettled;
}

// What is unusual about a point, in words; "" if nothing is.
function remarks(point) {
  const words = [];
  const count = (number, text) => { if (number) words.push(number.toLocaleString("en") + " " + text); };
  if (doubt(point)) words.push(doubt(point));
  count(point.lost, "unanswered");
  count(point.refused, "refused by the server");
  count(point.misses, "keys missing");
  count(point.closed, "connections closed by the server");
  if (point.tagged) words.push(digits(100 * point.tagged / Math.max(point.tagged, point.samples)) + "% of samples during gaps");
  return words.join("; ");
}

// Curves of the chosen classes, of those that have any figure.
function curves({ kind, percentile, classes, hidden }) {
  const all = [];
  report.schedulers.forEach((_, scheduler) => {
    for (const klass of [...classes].sort((a, b) => a - b)) {
      if (hidden.has(curveId(scheduler, klass))) continue;
      const points = pointsOf(scheduler)
        .map((point) => ({ x: point.offered, y: figure(point, klass, kind, percentile), invalid: doubt(point), point }))
        .filter((p) => p.y !== null);
      if (points.length === 0) continue;
      all.push({ scheduler, klass, name: curveName(scheduler, klass), colour: colourOf(scheduler), points });
    }
  });
  return all;
}

// Says so if too few samples lie beyond a percentile for it to mean much.
function fewSamples(point, klass, percentile) {
  const { count } = point.classes[klass][state.samples];
  const beyond = { p50: 0.5, p99: 0.01, p999: 0.001 }[percentile] / point.apart;
  return count * beyond < 5 ? "from " + count.toLocaleString("en") + " samples only" : "";
}

const mainChart = new Chart($("chart"), {
  height: 440, narrowHeight: 320, endLabels: true,
  label: "Tail against offered load. Left and right arrow keys read the figures, load by load.",
  describe: (p, curve) => ({ name: curve.name, value: formatMetric(state.kind, p.y), mark: [fewSamples(p.point, curve.klass, state.percentile), remarks(p.point)].filter(Boolean).join("; ") }),
});
const achievedChart = new Chart($("achieved"), {
  height: 280, narrowHeight: 240, endLabels: false,
  label: "Achieved against offered load. Left and right arrow keys read the figures.",
  describe: (p, curve) => ({ name: curve.name, value: formatRate(p.y), mark: "" }),
});

function drawMain() {
  const { objective } = report;
  const matches = objective && objective.kind === state.kind && objective.percentile === state.percentile;
  $("charts-h").textContent =
    kindName[state.kind] + " at " + kPercentiles[state.percentile] + " against offered load";
  mainChart.draw({
    curves: curves(state), log: state.log,
    format: (v) => formatMetric(state.kind, v),
    limit: matches ? { value: objective.limit, label: objectiveText(), short: objectiveShort() } : null,
  });
  $("chart-foot").textContent = state.kind === "latency"
    ? "Latency counts from the moment a request was meant to be sent, so a stalled generator hides nothing. " + legendOfMarks()
    : report.slowdown_note + " " + legendOfMarks();
}

function legendOfMarks() {
  const words = [];
  if (report.points.some(doubt)) words.push("Hollow marks: points that are not credible or not settled, for the reason shown in the table.");
  if (report.points.some((p) => p.classes.some((c) => c && Object.values(c[state.samples].latency).includes("inf")))) {
    words.push("Triangles at the upper edge: so many requests stayed unanswered or were refused that the percentile is infinite.");
  }
  return words.join(" ");
}

function drawAchieved() {
  const lines = report.schedulers.map((s, scheduler) => ({
    scheduler, klass: 0, name: s.name, colour: colourOf(scheduler),
    points: pointsOf(scheduler).map((point) => ({ x: point.offered, y: point.achieved, point })),
  })).filter((c) => c.points.length);
  achievedChart.draw({ curves: lines, log: false, format: formatRate, limit: null, diagonal: true });
}

function drawLegend() {
  const buttons = [];
  report.schedulers.forEach((_, scheduler) => {
    for (const klass of [...state.classes].sort((a, b) => a - b)) {
      const id = curveId(scheduler, klass);
      const button = make("button", { type: "button", "data-curve": id,
        "aria-pressed": String(!state.hidden.has(id)), onclick: () => {
          if (!state.hidden.delete(id)) state.hidden.add(id);
          button.setAttribute("aria-pressed", String(!state.hidden.has(id)));
          drawMain();
        } }, swatch(scheduler, klass), make("span", { text: curveName(scheduler, klass) }));
      buttons.push(button);
    }
  });
  $("legend").replaceChildren(...buttons);
}

function segments(title, name, choices, onChange, type = "radio") {
  const group = make("div", { class: "segments" });
  for (const { value, text, checked, picture } of choices) {
    const input = make("input", { type, name, value, onchange: (event) => onChange(value, event.target.checked) });
    input.checked = checked;
    const label = make("label", {}, input);
    if (picture) label.append(picture);
    label.append(make("span", { text }));
    group.append(label);
  }
  return make("fieldset", {}, make("legend", { text: title }), group);
}

function buildControls() {
  const redraw = (key) => (value) => { state[key] = value; drawMain(); };
  const kinds = ["latency", "slowdown"].filter((kind) =>
    report.points.some((p) => p.classes.some((c) => c && c.all[kind].p99 !== null)));
  if (!kinds.includes(state.kind)) state.kind = kinds[0] || "latency";
  const groups = [];
  if (kinds.length > 1) {
    groups.push(segments("Metric", "kind", kinds.map((kind) =>
      ({ value: kind, text: kindName[kind], checked: kind === state.kind })), redraw("kind")));
  }
  groups.push(segments("Percentile", "percentile", Object.entries(kPercentiles).map(([value, text]) =>
    ({ value, text, checked: value === state.percentile })), redraw("percentile")));
  if (report.classes.length > 1) {
    groups.push(segments("Class", "class", report.classes.map((text, klass) =>
      ({ value: klass, text, checked: state.classes.has(klass) })), (klass, on) => {
      if (on) state.classes.add(klass); else state.classes.delete(klass);
      drawLegend();
      drawMain();
    }, "checkbox"));
  }
  if (report.points.some((p) => p.tagged)) {
    groups.push(segments("Samples", "samples", [
      { value: "all", text: "All", checked: state.samples === "all" },
      { value: "undisturbed", text: "Undisturbed", checked: state.samples === "undisturbed" }],
    (value) => { state.samples = value; redrawAll(); }));
  }
  groups.push(segments("Scale", "scale", [
    { value: "log", text: "Log", checked: true }, { value: "linear", text: "Linear", checked: false }],
  (value) => { state.log = value === "log"; drawMain(); }));
  $("controls").replaceChildren(...groups);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
}

function objectiveText() {
  const { klass, kind, percentile, limit } = report.objective;
  return (report.classes.length > 1 ? report.classes[klass] + " " : "") +
    kPercentiles[percentile] + " " + kind + " ≤ " + formatMetric(kind, limit);
}

function objectiveShort() {
  return "≤ " + formatMetric(report.objective.kind, report.objective.limit);
}

// The highest offered load up to which every measured point meets the objective.
// One that is not settled counts neither way.
function highestLoad(scheduler) {
  const { klass, kind, percentile, limit } = report.objective;
  let highest = null;
  for (const point of pointsOf(scheduler)) {
    const value = figure(point, klass, kind, percentile);
    if (!invalid(point) && point.unsettled) continue;
    if (invalid(point) || typeof value !== "number" || value > limit) break;
    highest = point.offered;
  }
  return highest;
}

function drawVerdict() {
  if (!report.objective) return;
  $("verdict").hidden = false;
  $("verdict-h").textContent = "Highest load with " + objectiveText();
  const loads = report.schedulers.map((s, scheduler) => ({ name: s.name, scheduler, load: highestLoad(scheduler) }));
  const best = Math.max(1, ...loads.map((l) => l.load || 0));
  $("bars").replaceChildren(...loads.map(({ name, scheduler, load }) => {
    const fill = make("span", { class: "fill" });
    fill.style.width = (load ? (100 * load) / best : 0) + "%";
    fill.style.background = load ? colourOf(scheduler) : "transparent";
    return make("div", { class: load ? "bar" : "bar none" }, make("span", { class: "name", text: name }),
      make("span", { class: "track", "aria-hidden": "true" }, fill),
      make("b", { class: "value", text: load ? formatRate(load) : "none" }));
  }));
  $("verdict-foot").textContent = "The highest of the measured loads; every lower one met the objective too, or is not settled. " +
    "“None” means that not even the lowest did.";
}

function fillList(list, entries) {
  list.replaceChildren(...entries.flatMap(([key, value]) =>
    [make("dt", { text: key }), make("dd", { text: value })]));
}

function fillFacts() {
  document.title = report.title;
  $("title").textContent = report.title;
  $("lead").textContent = report.lead;
  fillList($("facts"), report.facts);
  fillList($("workload"), report.workload);
  $("notes").replaceChildren(...report.notes.map((text) => make("li", { text })));
  $("configs").replaceChildren(...report.schedulers.map((s, scheduler) => {
    const list = make("dl");
    fillList(list, s.config);
    const card = make("div", { class: "config" }, make("h4", { text: s.name }));
    if (s.summary) card.append(make("p", { text: s.summary }));
    if (s.config.length) card.append(list);
    card.style.borderLeftColor = colourOf(scheduler);
    return card;
  }));
  $("bottom").textContent = report.footer;
}

function redrawAll() {
  drawVerdict();
  drawLegend();
  drawMain();
  drawAchieved();
  drawTable();
  fillFacts();
}

buildControls();
redrawAll();
darkMode.addEventListener("change", redrawAll);
window.addEventListener("beforeprint", redrawAll);
// For tests and for the curious: what is drawn, and where.
window.yamanoteReport = { report, state, mainChart, achievedChart, drawMain, curves };
