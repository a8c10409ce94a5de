// chart.js - one chart: curves of (scheduler, class) over offered load.
"use strict";

// Returns the nice bounds that uPlot's axis shall have for values in [low, high].
function niceRange(low, high, log) {
  if (!log) {
    if (high <= 0) return [0, 1];
    const step = 10 ** Math.floor(Math.log10(high));
    const top = [1, 1.2, 1.5, 2, 3, 4, 5, 6, 8, 10, 12].find((m) => m * step >= high * 1.02);
    return [0, top * step];
  }
  const down = 10 ** Math.floor(Math.log10(low));
  const bottom = [5, 2, 1].find((m) => m * down <= low * 0.95) ?? 0.5;
  const up = 10 ** Math.floor(Math.log10(high));
  const top = [1, 2, 5, 10, 20].find((m) => m * up >= high * 1.05);
  return [bottom * down, top * up];
}

class Chart {
  // `host` receives the chart. `describe(point, curve)` returns the texts of one
  // row of the read-out: {name, value, mark}.
  constructor(host, { height, narrowHeight, describe, label, endLabels }) {
    this.host = host;
    this.options = { height, narrowHeight, describe, endLabels };
    this.readout = make("div", { class: "readout", hidden: "" });
    this.plotHost = make("div");
    host.append(this.plotHost, this.readout);
    host.tabIndex = 0;
    host.setAttribute("role", "group");
    host.setAttribute("aria-label", label);
    host.addEventListener("keydown", (event) => this.onKey(event));
    host.addEventListener("blur", () => this.moveTo(null));
    this.index = null;
    this.width = 0;
    new ResizeObserver(() => {
      if (this.view && Math.abs(host.clientWidth - this.width) > 1) this.draw(this.view);
    }).observe(host);
  }

  narrow() {
    return this.host.clientWidth < 600;
  }

  // view = {curves: [{scheduler, klass, name, colour, points: [{x, y, point}]}],
  //         log, format, yLabel, limit: {value, label, short} | null, diagonal}
  // A y of null breaks the curve; "inf" is drawn at the upper edge.
  draw(view) {
    this.view = view;
    this.width = this.host.clientWidth;
    if (this.plot) this.plot.destroy();
    const finite = (y) => typeof y === "number" && Number.isFinite(y) && (!view.log || y > 0);
    this.xs = [...new Set(view.curves.flatMap((c) => c.points.map((p) => p.x)))].sort((a, b) => a - b);
    const at = new Map(this.xs.map((x, i) => [x, i]));
    // undefined: this curve was not measured at that load; the line goes on.
    // null: measured without a figure that counts; the line breaks.
    const data = view.curves.map((curve) => {
      const ys = new Array(this.xs.length).fill(undefined);
      for (const p of curve.points) ys[at.get(p.x)] = finite(p.y) && !p.invalid ? p.y : null;
      return ys;
    });
    const values = view.curves.flatMap((c) => c.points.map((p) => p.y)).filter(finite);
    if (view.limit && values.length) values.push(view.limit.value);
    if (view.diagonal) values.push(...this.xs);
    const range = values.length ? niceRange(Math.min(...values), Math.max(...values), view.log) : [view.log ? 1 : 0, 10];
    const right = this.xs.length ? this.xs[this.xs.length - 1] : 1;
    this.plot = new uPlot(this.settings(view, range, right), [this.xs, ...data], this.plotHost);
    this.plot.over.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") this.follow(event);
    });
    this.plot.over.addEventListener("pointerdown", (event) => this.follow(event));
    this.index = null;
    this.showReadout();
  }

  follow(event) {
    const box = this.plot.over.getBoundingClientRect();
    this.plot.setCursor({ left: event.clientX - box.left, top: event.clientY - box.top });
  }

  settings(view, range, right) {
    const ink = cssVariable("--soft");
    const grid = { stroke: cssVariable("--grid"), width: 1 };
    const font = "12px " + getComputedStyle(document.body).fontFamily;
    const narrow = this.narrow();
    const axis = { stroke: ink, grid, ticks: { show: false }, font, labelFont: font };
    return {
      width: this.width,
      height: narrow ? this.options.narrowHeight : this.options.height,
      padding: [14, this.endLabelRoom(view), 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false, points: { show: false } },
      scales: {
        x: { time: false, range: [0, right * 1.03 || 1] },
        y: { distr: view.log ? 3 : 1, range },
      },
      axes: [
        { ...axis, values: (_, splits) => splits.map((v) => (v === 0 ? "0" : formatRate(v))), space: narrow ? 62 : 90,
          size: 34, gap: 8 },
        { ...axis, size: narrow ? 58 : 66, gap: 8,
          // Between the powers of ten only 2 and 5 are named, and only if few decades show.
          filter: (_, splits) => splits.map((v) => {
            if (!view.log) return v;
            const lead = v / 10 ** Math.floor(Math.log10(v) + 1e-9);
            const near = (m) => Math.abs(lead - m) < 0.01;
            const decades = Math.log10(range[1] / range[0]);
            return near(1) || (decades < 3.2 && (near(2) || near(5))) ? v : null;
          }),
          values: (_, splits) => splits.map((v) => (v === null ? "" : v === 0 ? "0" : view.format(v))) },
      ],
      series: [{}, ...view.curves.map((curve) => ({
        label: curve.name, stroke: curve.colour, width: 2,
        dash: kDashes[curve.klass % kDashes.length], spanGaps: false, points: { show: false },
        // Straight lines: a smooth curve would invent figures between points.
        paths: uPlot.paths.linear(),
      }))],
      hooks: {
        drawAxes: [(plot) => this.drawBehind(plot)],
        draw: [(plot) => this.drawInFront(plot)],
        setCursor: [(plot) => this.onCursor(plot)],
      },
    };
  }

  drawBehind(plot) {
    const { ctx, bbox } = plot;
    const scale = window.devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.strokeStyle = ctx.fillStyle = cssVariable("--soft");
    ctx.lineWidth = scale;
    if (this.view.diagonal) {
      const end = Math.min(plot.scales.x.max, plot.scales.y.max);
      ctx.beginPath();
      ctx.moveTo(plot.valToPos(0, "x", true), plot.valToPos(0, "y", true));
      ctx.lineTo(plot.valToPos(end, "x", true), plot.valToPos(end, "y", true));
      ctx.stroke();
    }
    if (this.view.limit) {
      const y = Math.round(plot.valToPos(this.view.limit.value, "y", true));
      ctx.setLineDash([3 * scale, 3 * scale]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      // On the right: past the knee most curves have left the line. Curves go
      // over the text, never the text over a figure.
      ctx.font = `600 ${11.5 * scale}px ${getComputedStyle(document.body).fontFamily}`;
      ctx.textAlign = "right";
      ctx.textBaseline = "bottom";
      ctx.fillText(this.narrow() ? this.view.limit.short : this.view.limit.label, bbox.left + bbox.width - 6 * scale, y - 3 * scale);
    }
    ctx.restore();
  }

  // Returns the device-pixel position of a point; "inf" sits at the upper edge,
  // beside the others of the same load, which it would hide.
  position(plot, p) {
    const x = plot.valToPos(p.x, "x", true);
    if (p.y === "inf") {
      const there = this.view.curves.flatMap((curve) => curve.points.filter((q) => q.x === p.x && q.y === "inf"));
      const beside = there.indexOf(p) - (there.length - 1) / 2;
      return { x: x + beside * 9 * (window.devicePixelRatio || 1), y: plot.bbox.top };
    }
    if (p.y === null || p.y === undefined) return null;
    return { x, y: plot.valToPos(p.y, "y", true) };
  }

  drawInFront(plot) {
    const { ctx } = plot;
    const scale = window.devicePixelRatio || 1;
    const card = cssVariable("--card");
    ctx.save();
    ctx.setLineDash([]);
    for (const curve of this.view.curves) {
      for (const p of curve.points) {
        const at = this.position(plot, p);
        if (!at) continue;
        const hollow = p.invalid || p.y === "inf";
        const shape = p.y === "inf" ? "triangle" : kMarkers[curve.klass % kMarkers.length];
        const path = markerPath(new Path2D(), shape, at.x, at.y, (p.x === this.xs[this.index] ? 6.5 : 4.5) * scale);
        ctx.fillStyle = hollow ? card : curve.colour;
        ctx.strokeStyle = hollow ? curve.colour : card;
        ctx.lineWidth = (hollow ? 2 : 1) * scale;
        ctx.fill(path);
        ctx.stroke(path);
      }
    }
    if (this.endLabelRoom(this.view) > 20) this.drawEndLabels(plot, scale);
    ctx.restore();
  }

  endLabelRoom(view) {
    return this.options.endLabels && !this.narrow() && view.curves.length <= 12 ? 150 : 14;
  }

  // Names at the curves' right ends, moved apart where they would overlap.
  drawEndLabels(plot, scale) {
    const { ctx, bbox } = plot;
    const labels = [];
    for (const curve of this.view.curves) {
      const ends = curve.points.filter((p) => !p.invalid && typeof p.y === "number");
      if (!ends.length) continue;
      const at = this.position(plot, ends[ends.length - 1]);
      labels.push({ curve, x: at.x, y: at.y, at: at.y });
    }
    labels.sort((a, b) => a.y - b.y);
    const gap = 16 * scale;
    const bottom = bbox.top + bbox.height - 4 * scale;
    labels.forEach((l, i) => { if (i) l.y = Math.max(l.y, labels[i - 1].y + gap); });
    for (let i = labels.length - 1; i >= 0; i--) {
      const below = i === labels.length - 1 ? bottom : labels[i + 1].y - gap;
      labels[i].y = Math.min(labels[i].y, below);
    }
    const left = bbox.left + bbox.width + 14 * scale;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.font = `${12 * scale}px ${getComputedStyle(document.body).fontFamily}`;
    for (const l of labels) {
      ctx.strokeStyle = ctx.fillStyle = l.curve.colour;
      ctx.globalAlpha = 0.35;
      ctx.lineWidth = scale;
      ctx.beginPath();
      ctx.moveTo(l.x + 7 * scale, l.at);
      ctx.lineTo(left - 4 * scale, l.y);
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.fillText(this.fit(ctx, l.curve.name, 132 * scale), left, l.y);
    }
  }

  fit(ctx, text, width) {
    if (ctx.measureText(text).width <= width) return text;
    let end = text.length;
    while (end > 1 && ctx.measureText(text.slice(0, end) + "…").width > width) end--;
    return text.slice(0, end) + "…";
  }

  onCursor(plot) {
    const { left, idx } = plot.cursor;
    const index = left >= 0 && idx !== null && idx !== undefined ? idx : null;
    if (index !== this.index) this.moveTo(index, true);
  }

  onKey(event) {
    const last = this.xs.length - 1;
    const from = this.index;
    const to = { ArrowLeft: from === null ? last : Math.max(0, from - 1),
      ArrowRight: from === null ? 0 : Math.min(last, from + 1), Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.moveTo(to);
    document.getElementById("live").textContent = to === null ? "" : this.readout.innerText;
  }

  // Puts the cursor on the load at `index` of xs; null hides it.
  moveTo(index, fromPlot = false) {
    this.index = index;
    if (!this.plot) return;
    if (!fromPlot) {
      const left = index === null ? -10 : this.plot.valToPos(this.xs[index], "x");
      this.plot.setCursor({ left, top: index === null ? -10 : 1 }, false);
    }
    this.plot.redraw(false);
    this.showReadout();
  }

  showReadout() {
    const { readout, view } = this;
    const narrow = this.narrow();
    readout.className = "readout " + (narrow ? "below" : "floating");
    readout.hidden = this.index === null && !narrow;
    if (this.index === null) {
      readout.replaceChildren(make("p", { class: "at", text: "Touch the chart, or use the arrow keys, to read the figures." }));
      return;
    }
    const x = this.xs[this.index];
    const rows = [];
    for (const curve of view.curves) {
      const p = curve.points.find((q) => q.x === x);
      if (p) rows.push({ curve, p, order: p.y === "inf" ? Infinity : p.y ?? -1 });
    }
    rows.sort((a, b) => b.order - a.order);
    readout.replaceChildren(
      make("p", { class: "at", text: "offered " + formatRate(x) }),
      ...rows.map(({ curve, p }) => {
        const texts = this.options.describe(p, curve);
        const row = make("div", { class: "row" }, swatch(curve.scheduler, curve.klass),
          make("span", { text: texts.name }), make("b", { text: texts.value }));
        if (texts.mark) row.append(make("span", { class: "mark", text: texts.mark }));
        return row;
      }));
    if (!narrow) {
      const over = this.plot.over;
      const centre = over.offsetLeft + this.plot.valToPos(x, "x");
      const toLeft = centre + 20 + readout.offsetWidth > this.host.clientWidth;
      readout.style.left = Math.max(0, toLeft ? centre - 16 - readout.offsetWidth : centre + 16) + "px";
      readout.style.top = "20px";
    } else {
      readout.style.left = readout.style.top = "";
    }
  }
}
