// page_fixture.mjs - results for the page's test: the schema "yamanote.load/1".
//
// The figures follow a queue's formula, not a measurement; they only have to
// exercise every kind of curve, mark and remark.

function figures(p50, tail) {
  const number = (x) => (Number.isFinite(x) ? x : x === Infinity ? "inf" : null);
  return { samples: 20000, p50: number(p50), p90: number(p50 * 1.8), p99: number(p50 * tail),
    p999: number(p50 * tail * 2.4), max: p50 * 30, mean: p50 * 1.2 };
}

const none = { samples: 0, p50: null, p90: null, p99: null, p999: null, max: null, mean: null };

// Loads as shares of the capacity; beyond 1 the server drowns.
const shares = [0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 1.0];

// blocking: how much a long request delays the short ones behind it.
export function result(label, blocking, { capacity = 100000, odd = false } = {}) {
  const points = shares.map((share, i) => {
    const queue = share < 0.97 ? 1 / (1 - share) : 40;
    const measure = (name, floor, tail) => {
      const slow = figures(queue ** 0.4, tail * queue ** 0.5);
      const latency = figures(floor * queue ** 0.4, tail * queue ** 0.5);
      return { name, share: name === "get" ? 0.995 : 0.005, floor_us: floor, sent: 20000, answered: 20000,
        lost: 0, refused: 0, latency_us: latency, slowdown: slow,
        latency_us_undisturbed: latency, slowdown_undisturbed: slow };
    };
    const classes = [measure("get", 40, 1.5 + blocking), measure("mget500", 900, 2 + blocking / 8)];
    const whole = measure("get", 44, 1.6 + blocking);
    const point = {
      offered_rps: Math.round(capacity * share), achieved_rps: Math.round(capacity * Math.min(share, 0.96)),
      valid: true, why_invalid: "", valid_undisturbed: true, sent: 40000, answered: 40000, late: 0,
      late_max_us: 0, lost: 0, refused: 0, duplicates: 0, unmatched: 0, misses: 0, closed_connections: 0,
      seeds: [1, 2], latency_us: whole.latency_us, slowdown: none,
      latency_us_undisturbed: whole.latency_us, slowdown_undisturbed: none, classes,
      gaps: { threshold_us: 100, count: 0, total_us: 0, max_us: 0, tagged: 0 }, runs: [],
    };
    if (odd && i === 2) point.gaps = { threshold_us: 100, count: 4, total_us: 5200, max_us: 2100, tagged: 310 };
    if (odd && i === 1) point.unsettled = "its runs disagree";
    if (odd && i === 5) {
      Object.assign(point, { valid: false, late: 1200, why_invalid: "3% of the requests were sent late" });
    }
    if (odd && i === 6) {
      point.lost = 700;
      for (const name of ["latency_us", "slowdown", "latency_us_undisturbed", "slowdown_undisturbed"]) {
        classes[0][name] = { ...classes[0][name], p99: "inf", p999: "inf" };
      }
    }
    return point;
  });
  return { schema: "yamanote.load/1", version: "0.0.0", started: "2026-01-02T03:04:05Z", label,
    target: "127.0.0.1:9000", application: "kv", protocol: "tcp", service: "get:99.5%,mget500:0.5%",
    arrivals: "poisson", connections: 64, threads: 1, duration_s: 3, warmup_s: 0.5, points };
}

// The report of the picture and of the test: four schedulers, two classes.
export function report(extra = []) {
  return {
    schema: "yamanote.report/1", title: "Four schedulers under the same load", lead: "",
    machine: [["Processor", "Example CPU 3000"], ["Usable CPUs", "2"], ["Kernel", "Linux 6.1.0 x86_64"],
      ["Virtual machine", "yes: the hypervisor may take cores away"]],
    notes: ["shinjuku: its 5 µs slice is enforced only at voluntary points until preemption lands."],
    objective: "get:p99-slowdown<=10",
    schedulers: [
      { label: "ix", summary: "First come, first served on each core; connections are hashed to cores.",
        config: [["order", "fifo"], ["slice", "none"], ["placement", "partitioned"], ["cores", "2"]] },
      { label: "zygos", summary: "As ix, and idle cores steal.",
        config: [["order", "fifo"], ["slice", "none"], ["placement", "stealing"], ["cores", "2"]] },
      { label: "shinjuku", summary: "One queue, preemption after a slice.",
        config: [["order", "fifo"], ["slice", "5 µs"], ["placement", "central"], ["cores", "2"]] },
      { label: "yamanote", summary: "The default.",
        config: [["order", "rr"], ["slice", "adaptive"], ["placement", "two-level"], ["cores", "2"]] },
    ],
    results: [result("ix", 16), result("zygos", 8, { odd: true }), result("shinjuku", 2.5), result("yamanote", 1.2),
      ...extra],
  };
}
