// table.js - every point and class in a table that sorts by any column.
"use strict";

const sorting = { column: null, down: false };

function tableRows() {
  const rows = [];
  for (const point of report.points) {
    point.classes.forEach((measured, klass) => {
      if (!measured) return;
      rows.push({ point, klass, measured: measured[state.samples] });
    });
  }
  return rows;
}

const kColumns = [
  { title: "Scheduler", key: (r) => report.schedulers[r.point.scheduler].name,
    text: (r) => report.schedulers[r.point.scheduler].name, dot: true },
  { title: "Class", key: (r) => report.classes[r.klass], text: (r) => report.classes[r.klass] },
  { title: "Offered", key: (r) => r.point.offered, text: (r) => formatRate(r.point.offered) },
  { title: "Achieved", key: (r) => r.point.achieved, text: (r) => formatRate(r.point.achieved) },
  { title: "Samples", key: (r) => r.measured.count, text: (r) => r.measured.count.toLocaleString("en") },
  ...["latency", "slowdown"].flatMap((kind) => Object.entries(kPercentiles).map(([percentile, text]) => ({
    title: text + (kind === "latency" ? "\nlatency" : "\nslowdown"),
    kind,
    key: (r) => {
      const value = r.measured[kind][percentile];
      return value === "inf" ? Infinity : value ?? -1;
    },
    text: (r) => formatMetric(kind, r.measured[kind][percentile]),
  }))),
  { title: "Remarks", key: (r) => remarks(r.point), text: (r) => remarks(r.point) },
];

function compareKeys(a, b) {
  if (typeof a === "string") return a.localeCompare(b);
  return a === b ? 0 : a - b;
}

function drawTable() {
  const hasSlowdown = report.points.some((p) => p.classes.some((c) => c && c.all.slowdown.p99 !== null));
  const columns = kColumns.filter((c) => c.kind !== "slowdown" || hasSlowdown);
  const rows = tableRows();
  if (sorting.column !== null) {
    const { key } = columns[sorting.column];
    rows.sort((a, b) => (sorting.down ? -1 : 1) * compareKeys(key(a), key(b)));
  }
  const head = make("tr", {}, ...columns.map((column, index) => make("th", {
    scope: "col", "aria-sort": sorting.column === index ? (sorting.down ? "descending" : "ascending") : null,
  }, make("button", { type: "button", text: column.title, onclick: () => {
    sorting.down = sorting.column === index ? !sorting.down : false;
    sorting.column = index;
    drawTable();
    $("table").querySelectorAll("thead button")[index].focus();
  } }))));
  const body = rows.map((row) => make("tr", { class: doubt(row.point) ? "invalid" : null },
    ...columns.map((column) => {
      const cell = make("td");
      if (column.dot) {
        const dot = make("span", { class: "dot", "aria-hidden": "true" });
        dot.style.background = colourOf(row.point.scheduler);
        cell.append(dot);
      }
      cell.append(column.text(row));
      return cell;
    })));
  $("table").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
  $("table-foot").textContent = rows.length === 0 ? "No point was measured."
    : "Press a heading to sort. A dash means that the figure was not measured.";
}
