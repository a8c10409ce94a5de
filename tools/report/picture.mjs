// picture.mjs - a report as PNG, for the README: `yamanote demo`, then
//
//   node tools/report/picture.mjs yamanote-demo.html docs/report.png
//        [--section charts|verdict|page] [--width 1120] [--dark] [--chromium PROGRAM]
//
// --section charts, the default, cuts out the card with the curves; page is all of
// it. Below 500 pixels of width the page is shown as a phone shows it.

import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { Browser } from "./page_browser.mjs";

const kSections = ["charts", "verdict", "page"];

function usage(words) {
  console.error(`picture.mjs: ${words}; its first lines show how to call it`);
  process.exit(2);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        section: { type: "string", default: "charts" }, width: { type: "string", default: "1120" },
        dark: { type: "boolean", default: false }, chromium: { type: "string", default: "chromium" },
      },
    });
  } catch (error) {
    return usage(error.message);
  }
}

// The rectangle of a section in the page, with a margin of the page around it.
function rectangle(section) {
  const margin = 12;
  const { left, top, right, bottom } = (section === "page" ? document.documentElement
    : document.getElementById(section)).getBoundingClientRect();
  const pad = section === "page" ? 0 : margin;
  return { x: left - pad, y: top + scrollY - pad, width: right - left + 2 * pad,
    height: bottom - top + 2 * pad };
}

const { values, positionals } = readArguments();
if (positionals.length !== 2) usage("REPORT.html and OUT.png are needed");
if (!kSections.includes(values.section)) usage(`--section is '${values.section}', not one of ${kSections.join(", ")}`);
const width = Number(values.width);
if (!Number.isInteger(width) || width < 320 || width > 4000) usage(`--width is '${values.width}', not 320 .. 4000`);

const [report, out] = positionals.map((path) => resolve(path));
const browser = new Browser(values.chromium);
try {
  const page = await browser.open(pathToFileURL(report).href,
    // Twice the pixels: sharp on the screens of today.
    { width, height: 900, dark: values.dark, touch: width < 500, scale: 2 });
  const clip = await page.run(rectangle.toString(), values.section);
  if (!(clip.height > 24)) throw new Error(`${report} shows nothing in its section '${values.section}'`);
  if (page.complaints.length) throw new Error(`${report}: ${page.complaints.join("; ")}`);
  const { data } = await page.send("Page.captureScreenshot",
    { format: "png", captureBeyondViewport: true, clip: { ...clip, scale: 1 } });
  writeFileSync(out, Buffer.from(data, "base64"));
} finally {
  await browser.close();
}
