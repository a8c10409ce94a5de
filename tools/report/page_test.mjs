// page_test.mjs - opens a report in headless Chromium and looks at its pixels.
//
//   node page_test.mjs YAMANOTE CHROMIUM [PICTURES]
//
// For each size and theme: the console is clean, nothing is requested, nothing
// overflows sideways, and each curve alone paints its points and its line in its
// own colour. Then hover, touch, keys, selectors, the table, hostile names.
// With PICTURES a folder gets a screenshot of each.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Browser } from "./page_browser.mjs";
import { report, result } from "./page_fixture.mjs";

const [yamanote, chromium, pictures] = process.argv.slice(2);
assert(chromium, "usage: node page_test.mjs YAMANOTE CHROMIUM [PICTURES]");
const folder = mkdtempSync(join(tmpdir(), "yamanote-page-"));
if (pictures) mkdirSync(pictures, { recursive: true });

// Writes `json` and has the real command make the page of it.
function makePage(name, json) {
  const from = join(folder, name + ".json");
  const to = join(folder, name + ".html");
  writeFileSync(from, JSON.stringify(json));
  const printed = execFileSync(yamanote, ["report", from, "-o", to], { encoding: "utf8" });
  assert.equal(printed.trim(), to);
  return pathToFileURL(to).href;
}

// Runs in the page. Shows one curve alone and counts, in its colour, the points
// and the middles of segments that are painted. Returns what is missing.
async function missingPaint(metric) {
  const { report: data, state, mainChart, drawMain, curves } = window.yamanoteReport;
  Object.assign(state, metric);
  state.classes = new Set(data.classes.keys());
  state.hidden = new Set();
  const all = curves(state);
  const missing = [];
  let checked = 0;
  for (const wanted of all) {
    state.hidden = new Set(all.filter((c) => c !== wanted).map((c) => c.scheduler + ":" + c.klass));
    drawMain();
    await null;  // uPlot draws in a microtask, queued before this one.
    const { canvas } = mainChart.plot.ctx;
    // A copy is read: reading the page's own canvas often would slow it down.
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.fillStyle = wanted.colour;
    copy.fillRect(0, 0, 1, 1);
    const colour = copy.getImageData(0, 0, 1, 1).data;
    copy.clearRect(0, 0, 1, 1);
    copy.drawImage(canvas, 0, 0);
    const painted = (x, y, radius) => {
      const size = Math.ceil(2 * radius * devicePixelRatio);
      const { data: pixels } = copy.getImageData(x - size / 2, y - size / 2, size, size);
      let count = 0;
      for (let i = 0; i < pixels.length; i += 4) {
        const distance = Math.max(...[0, 1, 2].map((c) => Math.abs(pixels[i + c] - colour[c])));
        if (distance < 40 && pixels[i + 3] > 128) count++;
      }
      return count;
    };
    let last = null;
    for (const p of wanted.points) {
      const at = mainChart.position(mainChart.plot, p);
      checked++;
      if (!at || painted(at.x, at.y, 6) < 6) missing.push(`${wanted.name} at ${p.x} (${p.y})`);
      const joined = !p.invalid && typeof p.y === "number";
      // A window wider than the longest gap of a dash, so some of it is ink.
      if (joined && last && painted((at.x + last.x) / 2, (at.y + last.y) / 2, 6) < 4) {
        missing.push(`${wanted.name}, the line before ${p.x}`);
      }
      last = joined ? at : null;
    }
  }
  state.hidden = new Set();
  drawMain();
  return { missing, curves: all.length, checked };
}

const sideways = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
const readout = () => {
  const element = document.querySelector("#chart .readout");
  return element.hidden ? null : element.innerText;
};

// The centre of the plot at the load with `index`, in the window's coordinates.
const placeOf = (index) => {
  document.getElementById("chart").scrollIntoView({ block: "center", behavior: "instant" });
  const { mainChart } = window.yamanoteReport;
  const box = mainChart.plot.over.getBoundingClientRect();
  return { x: box.left + mainChart.plot.valToPos(mainChart.xs[index], "x"), y: box.top + box.height / 2 };
};

async function checkLook(browser, url, name, look) {
  const page = await browser.open(url, look);
  if (pictures) writeFileSync(join(pictures, name + ".png"), await page.screenshot());
  assert.equal(await page.run(sideways), 0, `${name}: the page scrolls sideways`);
  for (const kind of ["slowdown", "latency"]) {
    for (const percentile of ["p50", "p99", "p999"]) {
      for (const log of [true, false]) {
        // Four schedulers, two classes; the whole has no slowdown in the fixture.
        const painted = await page.run(missingPaint, { kind, percentile, log, samples: "all" });
        assert.deepEqual(painted.missing, [], `${name}: ${kind} ${percentile} ${log ? "log" : "linear"}`);
        assert.equal(painted.curves, kind === "latency" ? 12 : 8);
        assert.equal(painted.checked, painted.curves * 7);
      }
    }
  }
  const place = await page.run(placeOf, 4);
  if (look.touch) await page.tap(place.x, place.y);
  else await page.mouse("mouseMoved", place.x, place.y);
  const text = await page.run(readout);
  assert.match(text ?? "", /offered 80k\/s/, `${name}: hover shows no figures`);
  for (const curve of ["ix · get", "yamanote · mget500"]) assert(text.includes(curve), `${name}: no ${curve} in ${text}`);
  if (pictures) writeFileSync(join(pictures, name + "-hover.png"), await page.screenshot());
  assert.equal(await page.run(sideways), 0, `${name}: the read-out makes the page scroll sideways`);
  assert.deepEqual(page.complaints, [], `${name}: the console`);
  await page.close();
}

async function checkUse(browser, url) {
  const page = await browser.open(url, { width: 1280, height: 900, dark: false });
  const heading = () => document.getElementById("charts-h").textContent;
  assert.equal(await page.run(heading), "Slowdown at p99 against offered load");
  const click = (selector) => document.querySelector(selector).click();
  await page.run(click, "input[name=kind][value=latency]");
  await page.run(click, "input[name=percentile][value=p999]");
  assert.equal(await page.run(heading), "Latency at p99.9 against offered load");

  // Keys: the chart takes focus, arrows walk the loads, Escape ends it.
  await page.run(() => document.getElementById("chart").focus());
  await page.key("ArrowRight");
  await page.key("ArrowRight");
  assert.match(await page.run(readout), /offered 30k\/s/);
  assert.match(await page.run(() => document.getElementById("live").textContent), /offered 30k\/s/);
  await page.key("End");
  assert.match(await page.run(readout), /∞/);
  await page.key("Escape");
  assert.equal(await page.run(readout), null);

  // The legend hides a curve, the class selector takes its buttons away.
  const buttons = () => document.querySelectorAll("#legend button").length;
  assert.equal(await page.run(buttons), 8);
  await page.run(click, "#legend button");
  assert.equal(await page.run(() => document.querySelector("#legend button").getAttribute("aria-pressed")), "false");
  assert.equal(await page.run(() => window.yamanoteReport.mainChart.view.curves.length), 7);
  await page.run(click, "input[name=class][value='1']");
  assert.equal(await page.run(buttons), 4);

  // The late point counts by its undisturbed samples, so the page began with these.
  const invalid = () => document.querySelectorAll("tr.invalid").length;
  // The unsettled one stays in doubt either way.
  assert.equal(await page.run(invalid), 3);
  await page.run(click, "input[name=samples][value=all]");
  assert.equal(await page.run(invalid), 6);
  assert.match(await page.run(() => document.querySelector("tr.invalid").lastChild.textContent), /its runs disagree/);

  // The table: every point and class, sorted by a heading, infinity last.
  assert.equal(await page.run(() => document.querySelectorAll("tbody tr").length), 4 * 7 * 3);
  const sort = () => [...document.querySelectorAll("thead button")].find((b) => b.textContent === "p99\nlatency").click();
  await page.run(sort);
  const lastCell = () => document.querySelector("tbody tr:last-child").cells[6].textContent;
  assert.equal(await page.run(lastCell), "∞");

  // By the fixture's formula p99 slowdown at 65% is 10.3 for shinjuku, 6.9 for
  // yamanote; ix and zygos exceed 10 even at 10%.
  const loads = await page.run(() => [...document.querySelectorAll(".bar .value")].map((e) => e.textContent));
  assert.deepEqual(loads, ["none", "none", "50k/s", "65k/s"]);
  assert.deepEqual(page.complaints, []);
  await page.close();
}

async function checkHostileNames(browser) {
  const hostile = `</script><img src="https://example.invalid/x" onerror="window.broken=1"> "'&<b>@DATA@ ${"W".repeat(200)}`;
  const json = report([result(hostile, 3)]);
  json.title = hostile;
  json.notes = [hostile];
  json.machine = [[hostile, hostile]];
  json.schedulers.push({ label: hostile, summary: hostile, config: [[hostile, hostile]] });
  for (const r of json.results) for (const p of r.points) p.classes[1].name = hostile;
  for (const look of [{ width: 360, height: 740, dark: false, touch: true }, { width: 1280, height: 900, dark: true }]) {
    const page = await browser.open(makePage("hostile", json), look);
    assert.equal(await page.run(() => window.broken), undefined);
    assert.equal(await page.run(() => document.querySelectorAll("img, b.value ~ script, h1 *").length), 0);
    assert.equal(await page.run(() => document.querySelector("h1").textContent), hostile);
    assert.equal(await page.run(sideways), 0, "a long name makes the page scroll sideways");
    if (pictures) writeFileSync(join(pictures, `hostile-${look.width}.png`), await page.screenshot());
    assert.deepEqual(page.complaints, []);
    await page.close();
  }
}

// A page without a single figure still opens and says so.
async function checkEmpty(browser) {
  const page = await browser.open(makePage("empty", { ...result("nothing", 1), points: [] }),
    { width: 360, height: 740, dark: false, touch: true });
  assert.equal(await page.run(() => document.getElementById("table-foot").textContent), "No point was measured.");
  assert.deepEqual(page.complaints, []);
  await page.close();
}

const browser = new Browser(chromium);
let failed = false;
try {
  const url = makePage("report", report());
  const wide = { width: 1280, height: 900 };
  const phone = { width: 360, height: 740, touch: true };
  await checkLook(browser, url, "wide-light", { ...wide, dark: false });
  await checkLook(browser, url, "wide-dark", { ...wide, dark: true });
  await checkLook(browser, url, "phone-light", { ...phone, dark: false });
  await checkLook(browser, url, "phone-dark", { ...phone, dark: true });
  await checkUse(browser, url);
  await checkHostileNames(browser);
  await checkEmpty(browser);
} catch (error) {
  console.error(error);
  failed = true;
} finally {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
