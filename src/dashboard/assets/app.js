// Keeps an open page up to date: figures from one stream of events, tables and charts as parts of the page itself.
// Without this script the page is whole, and a reload shows the present figures.

const body = document.body;
const about = body.dataset.live;
// Markup comes from this server only, which escapes all text in it.
const markup = window.trustedTypes
  ? window.trustedTypes.createPolicy("aq", { createHTML: (text) => text })
  : { createHTML: (text) => text };

function setUpTheme() {
  const root = document.documentElement;
  const kept = localStorage.getItem("aq-theme");
  if (kept) root.dataset.theme = kept;
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("aq-theme", root.dataset.theme);
  });
}

const banner = document.querySelector("[data-banner]");
let stream = null;
let silent = null;

function showOffline(is) {
  banner.hidden = !is;
  banner.textContent = is ? body.dataset.offline : "";
  document.getElementById("main").classList.toggle("stale", is);
}

function showFigures(tick) {
  for (const element of document.querySelectorAll("[data-k]")) {
    const text = tick.figures[element.dataset.k];
    if (text !== undefined && element.textContent !== text) element.textContent = text;
  }
}

// A part is asked for again only when the last answer is there, and not while a visitor has something in it open or in focus.
const parts = new Map();
async function refresh(part, now) {
  const every = Number(part.dataset.every || 10) * 1000;
  const state = parts.get(part) || { at: now, busy: false };
  parts.set(part, state);
  const inUse = part.contains(document.activeElement) || part.querySelector("details[open]");
  if (state.busy || inUse || now - state.at < every) return;
  state.busy = true;
  try {
    const answer = await fetch(location.href, { headers: { "x-part": part.dataset.part, accept: "text/html" } });
    if (answer.status === 401 || answer.status === 403) location.reload();
    if (answer.ok) {
      part.setAttribute("aria-busy", "true");
      const text = await answer.text();
      const made = document.createElement("template");
      made.innerHTML = markup.createHTML(text);
      const inner = made.content.firstElementChild;
      part.replaceChildren(...(inner && inner.dataset.part === part.dataset.part ? inner.childNodes : made.content.childNodes));
      part.removeAttribute("aria-busy");
    }
  } catch {
    // The stream tells that the master is away.
  }
  state.at = performance.now();
  state.busy = false;
}

function heard() {
  clearTimeout(silent);
  showOffline(false);
  silent = setTimeout(() => showOffline(true), 5000);
}

function open() {
  if (stream || document.hidden || isOff()) return;
  stream = new EventSource(`${body.dataset.base}/events?channel=${encodeURIComponent(about)}`);
  silent = setTimeout(() => showOffline(true), 5000);
  stream.addEventListener("tick", (event) => {
    heard();
    showFigures(JSON.parse(event.data));
    const now = performance.now();
    for (const part of document.querySelectorAll("[data-part]")) refresh(part, now);
  });
  stream.addEventListener("bye", () => showOffline(true));
  stream.addEventListener("error", () => {
    if (stream && stream.readyState === EventSource.CLOSED) {
      close();
      showOffline(true);
      setTimeout(open, 2000 + Math.random() * 8000);
    }
  });
}

function close() {
  clearTimeout(silent);
  if (stream) stream.close();
  stream = null;
}

const isOff = () => sessionStorage.getItem("aq-live") === "off";

function setUpLive() {
  const button = document.querySelector("[data-live-switch]");
  const show = () => {
    button.textContent = isOff() ? body.dataset.offWord : body.dataset.liveWord;
    button.setAttribute("aria-pressed", String(!isOff()));
  };
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    sessionStorage.setItem("aq-live", isOff() ? "on" : "off");
    show();
    if (isOff()) close();
    else open();
  });
  // A hidden page costs nothing: browsers allow six connections to one server.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
}


setUpTheme();
if (about) setUpLive();
