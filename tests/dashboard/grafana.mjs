// A picture of deploy/grafana.json over the values of a real Prometheus. Debian has no Grafana, so this script draws the panels: where
// they are, their queries, units, stacks and legends are those of the file. A panel whose query fails is a failure.

import { readFile, writeFile } from "node:fs/promises";

import { withBrowser, fail } from "./browser.mjs";

const PROMETHEUS = process.env.PROMETHEUS_URL;
const IMAGE = `${process.env.DASHBOARD_IMAGES}/grafana.webp`;
const SECONDS = Number(process.env.DASHBOARD_MINUTES) * 60;
const STEP = 5;
/** Panels below this row of the grid are not in the picture. */
const ROWS = 42;
const CELL = { width: 60, height: 30, gap: 8 };
const COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffa6b0", "#cccccc"];

const dashboard = JSON.parse(await readFile("deploy/grafana.json", "utf8"));
const now = Math.floor(Date.now() / 1000 / STEP) * STEP;

/** The values of a query of a panel, as series of points. */
async function series(panel, { expr, legendFormat, instant }) {
  const query = expr
    .replaceAll("$__rate_interval", "30s")
    .replaceAll("$__range", `${SECONDS}s`)
    .replaceAll(/\$(instance|channel)/g, ".*");
  const at = instant ? `query?time=${now}` : `query_range?start=${now - SECONDS}&end=${now}&step=${STEP}`;
  const answer = await fetch(`${PROMETHEUS}/api/v1/${at}&query=${encodeURIComponent(query)}`);
  const { data, error } = await answer.json();
  if (error) {
    fail(panel.title, error);
    return [];
  }
  return data.result.map(({ metric, values, value }) => ({
    name: legendFormat.replaceAll(/{{(\w+)}}/g, (_, label) => metric[label] ?? ""),
    points: (values ?? [value]).map(([time, text]) => [time, Number(text)]).filter(([, number]) => Number.isFinite(number)),
    metric,
  }));
}

function shown(number, unit) {
  const short = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString());
  switch (unit) {
    case "bytes":
      return number >= 2 ** 30 ? `${short(number / 2 ** 30)} GiB` : number >= 2 ** 20 ? `${short(number / 2 ** 20)} MiB` : `${short(number / 1024)} KiB`;
    case "percentunit":
      return `${short(number * 100)}%`;
    case "s":
      return number >= 60 ? `${short(number / 60)} min` : number >= 1 ? `${short(number)} s` : number >= 0.001 ? `${short(number * 1000)} ms` : `${short(number * 1e6)} µs`;
    case "ops":
      return `${short(number)} ops/s`;
    default:
      return number >= 1000 ? `${short(number / 1000)} K` : short(number);
  }
}

const escaped = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** Lines, or areas on each other, with their axes and their legend. */
function chart(panel, all, width, height) {
  const { unit, custom } = panel.fieldConfig.defaults;
  const [left, right, top, bottom] = [62, 8, 6, 40];
  const isStacked = custom.stacking?.mode === "normal";
  const sums = new Map();
  const lines = all.map(({ name, points }) => ({
    name,
    points: points.map(([time, value]) => {
      const below = isStacked ? (sums.get(time) ?? 0) : 0;
      sums.set(time, below + value);
      return [time, below, below + value];
    }),
  }));
  const most = Math.max(...lines.flatMap(({ points }) => points.map(([, , value]) => value)), 0) * 1.05 || 1;
  const x = (time) => left + ((time - (now - SECONDS)) / SECONDS) * (width - left - right);
  const y = (value) => height - bottom - (value / most) * (height - top - bottom);
  const isStepped = custom.lineInterpolation === "stepAfter";
  const path = (points, index) =>
    points.map((point, at) => `${at === 0 ? "M" : isStepped ? `H${x(point[0]).toFixed(1)}V` : "L"}${at > 0 && isStepped ? "" : `${x(point[0]).toFixed(1)} `}${y(point[index]).toFixed(1)}`).join("");
  let svg = "";
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const value = part * most;
    svg += `<line x1="${left}" x2="${width - right}" y1="${y(value)}" y2="${y(value)}" stroke="#2c3038"/>`;
    if (part < 1) svg += `<text x="${left - 5}" y="${y(value) + 3}" text-anchor="end">${shown(value, unit)}</text>`;
  }
  for (let time = now - SECONDS + 120; time < now; time += 180) {
    const clock = new Date(time * 1000).toISOString().slice(11, 16);
    svg += `<text x="${x(time)}" y="${height - bottom + 13}" text-anchor="middle">${clock}</text>`;
  }
  lines.forEach(({ points }, number) => {
    if (points.length === 0) return;
    const colour = COLOURS[number % COLOURS.length];
    const back = [...points].reverse().map(([time, below]) => `L${x(time).toFixed(1)} ${y(below).toFixed(1)}`);
    svg += `<path d="${path(points, 2)}${back.join("")}Z" fill="${colour}" fill-opacity="${(custom.fillOpacity ?? 0) / 100}"/>`;
    svg += `<path d="${path(points, 2)}" fill="none" stroke="${colour}" stroke-width="1.3"/>`;
  });
  const legend = lines.map(({ name }, number) => `<tspan fill="${COLOURS[number % COLOURS.length]}">▬ </tspan><tspan>${escaped(name)}   </tspan>`);
  const empty = lines.length === 0 ? `<text x="${width / 2}" y="${height / 2 - 12}" text-anchor="middle" font-size="13">No data</text>` : "";
  return `<svg width="${width}" height="${height}">${svg}${empty}<text x="${left - 40}" y="${height - 8}" xml:space="preserve">${legend.join("")}</text></svg>`;
}

/** Counts per bucket and time, darker for fewer. */
function heatmap(all, width, height) {
  const buckets = all.map((one) => ({ ...one, le: Number(one.metric.le.replace("+Inf", "Infinity")) })).sort((a, b) => a.le - b.le);
  const [left, bottom] = [52, 22];
  const cells = [];
  buckets.forEach(({ points }, row) => {
    const below = new Map(row > 0 ? buckets[row - 1].points : []);
    for (const [time, value] of points) cells.push([time, row, value - (below.get(time) ?? 0)]);
  });
  const most = Math.max(...cells.map(([, , count]) => count), 1);
  const tall = (height - bottom) / Math.max(buckets.length, 1);
  const wide = ((width - left) * STEP) / SECONDS;
  let svg = "";
  for (const [time, row, count] of cells) {
    if (count <= 0) continue;
    const at = left + ((time - now + SECONDS) / SECONDS) * (width - left);
    svg += `<rect x="${at.toFixed(1)}" y="${(height - bottom - (row + 1) * tall).toFixed(1)}" width="${(wide + 0.4).toFixed(1)}" height="${tall.toFixed(1)}" fill="#f2a72e" fill-opacity="${(0.15 + 0.85 * Math.sqrt(count / most)).toFixed(2)}"/>`;
  }
  buckets.forEach(({ le }, row) => {
    if (row % 4 === 0) svg += `<text x="${left - 5}" y="${height - bottom - row * tall - 2}" text-anchor="end">${le === Infinity ? "more" : shown(le, "s")}</text>`;
  });
  return `<svg width="${width}" height="${height}">${svg}</svg>`;
}

function stat(panel, all) {
  const { unit, thresholds, decimals } = panel.fieldConfig.defaults;
  const last = all.map(({ points }) => points.at(-1)?.[1]).filter((value) => value !== undefined);
  const most = last.length === 0 ? undefined : Math.max(...last);
  const value = decimals === undefined ? most : Number(most?.toFixed(decimals));
  const step = thresholds?.steps.findLast((each) => each.value === null || value >= each.value);
  const colour = step?.color === "red" ? COLOURS[4] : step?.color === "orange" ? COLOURS[3] : COLOURS[0];
  return `<b style="color:${colour}">${value === undefined ? "No data" : shown(value, unit)}</b>`;
}

const panels = [];
for (const panel of dashboard.panels) {
  const { x, y, w, h } = panel.gridPos;
  const all = (await Promise.all((panel.targets ?? []).map((target) => series(panel, target)))).flat();
  if (y >= ROWS) continue;
  const [width, height] = [w * CELL.width - CELL.gap, h * CELL.height - CELL.gap];
  const place = `left:${x * CELL.width}px;top:${y * CELL.height}px;width:${width}px;height:${height}px`;
  if (panel.type === "row") {
    panels.push(`<h2 style="${place}">⌄ ${escaped(panel.title)}</h2>`);
    continue;
  }
  const inner = [width - 16, height - 32];
  const drawn = panel.type === "stat" ? stat(panel, all) : panel.type === "heatmap" ? heatmap(all, ...inner) : chart(panel, all, ...inner);
  panels.push(`<section style="${place}"><h3>${escaped(panel.title)}</h3>${drawn}</section>`);
}

const html = `<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #111217; font: 12px Inter, "DejaVu Sans", sans-serif; color: #ccccdc }
main { position: relative; margin: 12px; width: ${24 * CELL.width}px; height: ${ROWS * CELL.height}px }
main > * { position: absolute; box-sizing: border-box; margin: 0 }
section { background: #181b1f; border: 1px solid #25282e; border-radius: 2px; padding: 0 8px }
h2 { font-size: 15px; font-weight: 500 } h3 { font-size: 13px; font-weight: 500; margin: 6px 0 }
b { display: block; text-align: center; font-size: 36px; font-weight: 500; margin-top: 10px }
text { font-size: 10.5px; fill: #a0a4ae }
</style><main>${panels.join("")}</main>`;

await withBrowser(async (browser) => {
  const page = await browser.newPage({ viewport: { width: 24 * CELL.width + 24, height: ROWS * CELL.height + 24 } });
  await page.setContent(html);
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 80 });
  await writeFile(IMAGE, Buffer.from(data, "base64"));
});
