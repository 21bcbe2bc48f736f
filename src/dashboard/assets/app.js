// Keeps an open page up to date: figures from one stream of events, tables and charts as parts of the page itself. Adds keys and
// the crosshair of charts. Without this script the page is whole, and a reload shows the present figures.

const root = document.documentElement;
// Markup comes from this server only, which escapes all text in it.
const markup = window.trustedTypes
  ? window.trustedTypes.createPolicy("aq", { createHTML: (text) => text })
  : { createHTML: (text) => text };
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector) => document.querySelector(selector);
const words = () => document.body.dataset;

// Where the browser keeps no settings, they last as long as the page.
const settings = {
  kept: {},
  // A pause of the updates ends with the tab.
  store: (name) => (name === "aq-live" ? sessionStorage : localStorage),
  get(name) {
    try {
      return this.store(name).getItem(name) ?? this.kept[name];
    } catch {
      return this.kept[name];
    }
  },
  set(name, value) {
    this.kept[name] = value;
    try {
      this.store(name).setItem(name, value);
    } catch {}
  },
};

// The theme is set before the page is drawn: the file is not deferred.
function applyTheme() {
  const theme = settings.get("aq-theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
}
applyTheme();

function setUpTheme() {
  const button = one("[data-theme-switch]");
  const themes = matchMedia("(prefers-color-scheme: dark)").matches ? ["system", "light", "dark"] : ["system", "dark", "light"];
  const names = JSON.parse(button.dataset.themeSwitch);
  const show = () => {
    button.title = button.ariaLabel = `${button.dataset.label}: ${names[root.dataset.theme || "system"]}`;
  };
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme || "system") + 1) % themes.length];
    settings.set("aq-theme", next);
    applyTheme();
    show();
  });
}

// ---- Live updates

let stream = null;
let silent = null;
let tries = 0;
let shownAt = 0;
let states = null;
let alerts = 0;
let isOffline = false;
const parts = new Map();
const seconds = () => Number(one("[data-rate]").value) || 1;
const isOff = () => settings.get("aq-live") === "off";

function showOffline(is) {
  const banner = one("[data-banner]");
  const { offline, back } = words();
  if (is === isOffline) return;
  isOffline = is;
  banner.hidden = false;
  banner.classList.toggle("is-back", !is);
  banner.textContent = is ? `${offline} ${new Date().toLocaleTimeString(root.lang)}` : back;
  one("main").classList.toggle("stale", is);
  if (is) return;
  for (const state of parts.values()) state.at = -Infinity;
  shownAt = -Infinity;
  setTimeout(() => (banner.hidden = !isOffline), 4000);
}

function showFigures(tick) {
  for (const element of all("[data-k]")) {
    const text = tick.figures[element.dataset.k];
    if (text !== undefined && element.textContent !== text) element.textContent = text;
  }
}

function showAlerts() {
  const badge = one("nav b");
  const count = Number(badge.textContent);
  document.title = (count ? `(${count}!) ` : "") + document.title.replace(/^\(\d+!\) /, "");
  const icon = one("link[rel=icon]");
  icon.href = count ? icon.dataset.alert : icon.dataset.calm;
  if (count > alerts) one("[data-news]").textContent = badge.parentElement.textContent;
  alerts = count;
}

const controls = (within) => all("a, button, summary, input", within);

// The new part keeps open details and the focus of the old one.
function replace(part, made) {
  const opened = all("details", part).map((details) => details.open);
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const row = focused?.closest("main [id], [data-part]");
  const place = focused && controls(row).indexOf(focused);
  const inner = made.firstElementChild;
  part.replaceChildren(...(inner && inner.dataset.part === part.dataset.part ? inner.childNodes : made.childNodes));
  all("details", part).forEach((details, index) => (details.open = opened[index] ?? false));
  if (focused) controls(document.getElementById(row.id) || part)[place]?.focus({ preventScroll: true });
  if (crossAt !== null) showCross();
}

// A part is asked for again only when the last answer is there, and not while a visitor selects text in it.
async function refresh(part, now, isChanged) {
  const state = parts.get(part) || { at: now, busy: false };
  parts.set(part, state);
  const every = Math.max(Number(part.dataset.every || 10), seconds()) * 1000;
  const isDue = now - state.at >= every - 300 || (isChanged && part.hasAttribute("data-states"));
  const selection = getSelection();
  const isSelected = !selection.isCollapsed && part.contains(selection.anchorNode);
  if (state.busy || !isDue || isSelected) return;
  state.busy = true;
  try {
    const answer = await fetch(location.href, { headers: { "x-part": part.dataset.part, accept: "text/html" } });
    if (answer.status === 401 || answer.status === 403) location.reload();
    if (answer.ok) {
      const made = document.createElement("template");
      made.innerHTML = markup.createHTML(await answer.text());
      replace(part, made.content);
    }
  } catch {
    // The stream shows that the master does not answer.
  }
  state.at = performance.now();
  state.busy = false;
}

function ticked(event) {
  tries = 0;
  listenFor(5000);
  showOffline(false);
  const now = performance.now();
  if (now - shownAt < seconds() * 1000 - 300) return;
  shownAt = now;
  const tick = JSON.parse(event.data);
  showFigures(tick);
  showAlerts();
  const before = states;
  states = JSON.stringify(tick.states);
  for (const part of all("[data-part]")) refresh(part, now, before !== null && before !== states);
}

function listenFor(millis) {
  clearTimeout(silent);
  silent = setTimeout(() => showOffline(true), millis);
}

function open() {
  if (stream || document.hidden || isOff()) return;
  const { base, live } = words();
  stream = new EventSource(`${base}/events?channel=${live}`);
  listenFor(5000);
  stream.addEventListener("tick", ticked);
  stream.addEventListener("bye", () => showOffline(true));
  stream.addEventListener("error", () => {
    if (!stream || stream.readyState !== EventSource.CLOSED) return;
    close();
    showOffline(true);
    // A session that has ended is no reason to call the master offline.
    fetch(location.href, { headers: { accept: "text/html" } })
      .then((answer) => (answer.status === 401 || answer.status === 403) && location.reload())
      .catch(() => {});
    tries += 1;
    setTimeout(open, Math.min(30, 2 ** tries) * (500 + Math.random() * 500));
  });
}

function close() {
  clearTimeout(silent);
  if (stream) stream.close();
  stream = null;
}

function setUpLive() {
  const button = one("[data-live-switch]");
  const rate = one("[data-rate]");
  const show = () => {
    button.lastElementChild.textContent = isOff() ? button.dataset.off : button.dataset.on;
    button.setAttribute("aria-pressed", String(!isOff()));
    rate.hidden = isOff();
  };
  rate.value = settings.get("aq-rate");
  if (!rate.value) rate.value = 1;
  rate.addEventListener("change", () => settings.set("aq-rate", rate.value));
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    settings.set("aq-live", isOff() ? "on" : "off");
    show();
    shownAt = -Infinity;
    if (isOff()) close();
    else open();
  });
  // A hidden page costs nothing: browsers allow six connections to one server.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  showAlerts();
  open();
}

// ---- The crosshair: one time in all charts; their keys show the values of that time

let crossAt = null;
const read = new WeakMap();
const newest = new WeakMap();

function decimal(value) {
  const decimals = value >= 99.95 ? 0 : value >= 9.995 ? 1 : value >= 0.1 || value === 0 ? 2 : value >= 0.01 ? 3 : 4;
  const [whole, fraction = ""] = value.toFixed(decimals).split(".");
  const digits = fraction.replace(/0+$/, "");
  return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (digits && `.${digits}`);
}

function scaled(value, steps) {
  const [size, name] = steps.find(([least]) => value >= least * 0.9995) || steps.at(-1);
  return decimal(value / size) + name;
}

const UNITS = {
  count: (value) => (value < 1e6 ? decimal(value) : scaled(value, [[1e12, "T"], [1e9, "G"], [1e6, "M"]])),
  "per-second": (value) => `${UNITS.count(value)}/s`,
  seconds: (value) =>
    value <= 0 ? "0 s" : scaled(value, [[86400 * 3, " d"], [3600, " h"], [60, " min"], [1, " s"], [1e-3, " ms"], [1e-6, " µs"]]),
  bytes: (value) => scaled(value, [[2 ** 40, " TiB"], [2 ** 30, " GiB"], [2 ** 20, " MiB"], [2 ** 10, " KiB"], [1, " B"]]),
};

function pointsOf(svg) {
  if (!read.has(svg)) {
    const chart = JSON.parse(svg.dataset.points);
    let at = chart.from;
    chart.times = chart.t.map((distance) => (at += distance * chart.per));
    chart.span = chart.per * 10000;
    read.set(svg, chart);
  }
  return read.get(svg);
}

// The point of a time: the bar around it, or the nearest point of the lines.
function indexAt({ times, bar }, at) {
  let index = times.findIndex((time) => time > at);
  if (index < 0) index = times.length;
  if (bar) return times[index - 1] + bar > at ? index - 1 : -1;
  return index > 0 && (index === times.length || at - times[index - 1] < times[index] - at) ? index - 1 : index;
}

function drawn(svg, name, properties) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  svg.append(element);
  return element;
}

function clockText(at, offset) {
  const clock = new Date(at + offset * 60000).toISOString().slice(11, 19);
  const isOther = -new Date(at).getTimezoneOffset() !== offset;
  return isOther ? `${clock} (${words().local} ${new Date(at).toLocaleTimeString(root.lang)})` : clock;
}

function drawCross(svg) {
  for (const old of all(".cross, .cross-time", svg)) old.remove();
  const chart = pointsOf(svg);
  const [left, right, top, bottom] = chart.plot;
  const index = crossAt === null ? -1 : indexAt(chart, crossAt);
  all(".chart-key li", svg.closest("figure")).forEach((item, of) => {
    const series = chart.series[of];
    if (!series) return;
    const shown = item.querySelector("b") || item.appendChild(document.createElement("b"));
    if (!newest.has(shown)) newest.set(shown, shown.textContent);
    const [value, lower] = [series.v[index], series.lower?.[index]];
    const text = [lower, value].filter((edge) => edge != null).map(UNITS[chart.unit]).join(" – ");
    shown.textContent = crossAt === null ? newest.get(shown) : text || "–";
  });
  if (crossAt === null) return;
  const x = left + ((crossAt - chart.from) / chart.span) * (right - left);
  drawn(svg, "path", { class: "cross", d: `M${x} ${top}V${bottom}` });
  const text = drawn(svg, "text", { class: "cross-time", y: top - 3 });
  text.textContent = clockText(crossAt, chart.offset);
  const half = text.getComputedTextLength() / 2;
  text.setAttribute("x", Math.max(half, Math.min(400 - half, x)));
}

function showCross() {
  for (const svg of all("svg[data-points]")) drawCross(svg);
}

function setUpCross() {
  let waits = false;
  const point = (event) => {
    const svg = event.target.closest?.("svg[data-points]");
    if (!svg && crossAt === null) return;
    crossAt = null;
    if (svg) {
      const { plot, from, span } = pointsOf(svg);
      const { x } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      crossAt = from + Math.max(0, Math.min(1, (x - plot[0]) / (plot[1] - plot[0]))) * span;
    }
    if (waits) return;
    waits = true;
    requestAnimationFrame(() => {
      waits = false;
      showCross();
    });
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
  root.addEventListener("pointerleave", point);
}

// ---- Keys, rows and times

function setUpKeys() {
  const help = one("[data-keys]");
  const button = one("[data-help]");
  const choice = one("[data-keys-choice]");
  const click = (selector) => () => one(selector)?.click();
  let isAfterG = false;
  const range = (step) => {
    const links = all(".ranges a");
    links[links.findIndex((link) => link.hasAttribute("aria-current")) + step]?.click();
  };
  const row = (step) => {
    const links = all("main tbody tr").map((line) => line.querySelector("a")).filter(Boolean);
    const now = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
    links[now + step]?.focus();
  };
  const actions = {
    "?": () => help.showModal(),
    " ": click("[data-live-switch]"),
    "[": () => range(-1),
    "]": () => range(1),
    j: () => row(1),
    k: () => row(-1),
    t: click("[data-theme-switch]"),
    g: () => {
      isAfterG = true;
      setTimeout(() => (isAfterG = false), 1500);
    },
  };
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());
  choice.checked = settings.get("aq-keys") !== "off";
  choice.addEventListener("change", () => settings.set("aq-keys", choice.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (target.closest("input, select, textarea, [contenteditable]")) return;
    if (key === "Escape") document.activeElement.blur();
    if (!choice.checked || (key === " " && target.closest("a, button, summary"))) return;
    const action = isAfterG ? click(`[data-go="${CSS.escape(key)}"]`) : actions[key];
    isAfterG = false;
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function setUpRows() {
  document.addEventListener("click", (event) => {
    const line = event.target.closest(".channels tbody tr");
    if (line && !event.target.closest("a, button") && getSelection().isCollapsed) line.querySelector("a").click();
  });
  document.addEventListener("pointerover", (event) => {
    const time = event.target.closest?.("time[datetime]");
    if (time) time.title = new Date(time.dateTime).toLocaleString(root.lang);
  });
}

document.addEventListener("DOMContentLoaded", () => {
  setUpTheme();
  setUpKeys();
  setUpRows();
  setUpCross();
  if (words().live) setUpLive();
});
