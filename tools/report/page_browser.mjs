// page_browser.mjs - drives headless Chromium over its DevTools pipe.
//
// The pipe (descriptors 3 and 4, one JSON message up to each NUL byte) needs no
// port, no WebSocket and no package beside Node.js.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const kFlags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"];

export class Browser {
  constructor(program) {
    this.profile = mkdtempSync(join(tmpdir(), "yamanote-chromium-"));
    this.process = spawn(program, [...kFlags, `--user-data-dir=${this.profile}`, "about:blank"],
      { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
    this.errors = "";
    this.process.stderr.on("data", (bytes) => { this.errors = (this.errors + bytes).slice(-4000); });
    this.exited = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.once("error", (error) => this.fail(error));
    this.exited.then(() => this.fail(new Error(`${program} ended:\n${this.errors}`)));
    this.calls = new Map();
    this.handlers = new Set();
    this.next = 1;
    let pending = Buffer.alloc(0);
    this.process.stdio[4].on("data", (bytes) => {
      pending = Buffer.concat([pending, bytes]);
      for (let end; (end = pending.indexOf(0)) >= 0; pending = pending.subarray(end + 1)) {
        this.receive(JSON.parse(pending.subarray(0, end).toString()));
      }
    });
    this.process.stdio[3].on("error", (error) => this.fail(error));
  }

  fail(error) {
    this.failed = error;
    for (const { reject } of this.calls.values()) reject(error);
    this.calls.clear();
  }

  receive(message) {
    if (message.id === undefined) {
      for (const handler of this.handlers) handler(message);
      return;
    }
    const call = this.calls.get(message.id);
    this.calls.delete(message.id);
    if (message.error) call.reject(new Error(`${call.method}: ${message.error.message}`));
    else call.resolve(message.result);
  }

  send(method, params = {}, sessionId = undefined) {
    if (this.failed) return Promise.reject(this.failed);
    const id = this.next++;
    this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    return new Promise((resolve, reject) => this.calls.set(id, { resolve, reject, method }));
  }

  async close() {
    if (!this.failed) await this.send("Browser.close").catch(() => {});
    await this.exited;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }

  // Opens `url`; `complaints` of the page collects errors, warnings and every
  // request that is not for the page itself.
  async open(url, { width, height, dark, touch = false, scale = touch ? 2 : 1 }) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId, targetId, url);
    await page.send("Runtime.enable");
    await page.send("Log.enable");
    await page.send("Page.enable");
    await page.send("Network.enable");
    await page.send("Emulation.setDeviceMetricsOverride",
      { width, height, deviceScaleFactor: scale, mobile: touch });
    await page.send("Emulation.setTouchEmulationEnabled", { enabled: touch });
    await page.send("Emulation.setEmulatedMedia",
      { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
    const loaded = page.once("Page.loadEventFired");
    await page.send("Page.navigate", { url });
    await loaded;
    return page;
  }
}

class Page {
  constructor(browser, sessionId, targetId, url) {
    Object.assign(this, { browser, sessionId, targetId });
    this.complaints = [];
    this.handler = (message) => {
      if (message.sessionId !== sessionId) return;
      const { method, params } = message;
      if (method === "Runtime.exceptionThrown") {
        this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
      }
      if (method === "Runtime.consoleAPICalled") {
        this.complaints.push(`console.${params.type}: ${params.args.map((a) => a.value).join(" ")}`);
      }
      if (method === "Log.entryAdded") this.complaints.push(`${params.entry.level}: ${params.entry.text}`);
      if (method === "Network.requestWillBeSent" && params.request.url !== url &&
          !params.request.url.startsWith("data:")) {
        this.complaints.push(`request for ${params.request.url}`);
      }
    };
    browser.handlers.add(this.handler);
  }

  send(method, params = {}) {
    return this.browser.send(method, params, this.sessionId);
  }

  once(method) {
    return new Promise((resolve) => {
      const handler = (message) => {
        if (message.sessionId !== this.sessionId || message.method !== method) return;
        this.browser.handlers.delete(handler);
        resolve(message.params);
      };
      this.browser.handlers.add(handler);
    });
  }

  // Runs `body` as a function in the page, after the next frame was drawn.
  async run(body, ...values) {
    const expression = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))
      .then(() => (${body})(...${JSON.stringify(values)}))`;
    const { result, exceptionDetails } =
      await this.send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  mouse(type, x, y) {
    return this.send("Input.dispatchMouseEvent", { type, x, y, button: type === "mouseMoved" ? "none" : "left",
      clickCount: type === "mouseMoved" ? 0 : 1 });
  }

  async key(key) {
    for (const type of ["keyDown", "keyUp"]) await this.send("Input.dispatchKeyEvent", { type, key, code: key });
  }

  async tap(x, y) {
    await this.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x, y }] });
    await this.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  }

  async screenshot() {
    const { data } = await this.send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
    return Buffer.from(data, "base64");
  }

  async close() {
    this.browser.handlers.delete(this.handler);
    await this.browser.send("Target.closeTarget", { targetId: this.targetId });
  }
}
