// A browser whose pages are watched: an error or a warning on the console, a break of the content policy, and a request to another
// place are failures of the script that opened the page.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.env.DASHBOARD_PACKAGES}/`);
const { chromium } = require("playwright-core");
const axe = require("axe-core");

export const SERVER = process.env.DASHBOARD_URL;
const PICTURES = process.env.DASHBOARD_PICTURES;
/** Time for anything that a page is waited for. */
export const PATIENCE = 30_000;

const failures = [];

/** Notes a failure; the script continues, so that one run shows all of them. */
export function fail(where, what) {
  failures.push(`${where}: ${what}`);
}

/** Notes a failure unless a condition is true. */
export function check(where, what, is) {
  if (!is) fail(where, what);
}

/** Runs a script with a browser, and exits with what it found. */
export async function withBrowser(script) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
  try {
    await script(browser);
  } catch (error) {
    fail("script", error.stack);
  }
  await browser.close();
  for (const failure of failures) console.error(failure);
  process.exit(failures.length ? 1 : 0);
}

/** A context with the settings of a visitor; the rules of accessibility are in each of its pages. */
export async function visitor(browser, settings) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, locale: "en-GB", ...settings });
  context.setDefaultTimeout(PATIENCE);
  if (settings.javaScriptEnabled === false) return context;
  await context.addInitScript({ content: axe.source });
  await context.addInitScript(() => {
    window.refused = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      window.refused.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  return context;
}

/** A watched page. The visit has the name of what it shows and `expected`, a text of the console that is no failure; both may change. */
export async function watchedPage(context, visit) {
  const page = await context.newPage();
  page.on("console", (message) => {
    const isExpected = visit.expected !== undefined && message.text().includes(visit.expected);
    if (isExpected || ["log", "info", "debug"].includes(message.type())) return;
    fail(visit.name, `the console says ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => fail(visit.name, `the script ended with ${error.stack}`));
  page.on("request", (request) => {
    const url = request.url();
    check(visit.name, `a request to another place: ${url}`, url.startsWith(`${SERVER}/`) || url.startsWith("data:"));
  });
  return page;
}

/** Fails for each break of the content policy so far. */
export async function checkPolicy(page, name) {
  for (const refused of await page.evaluate(() => window.refused)) fail(name, `the content policy refused ${refused}`);
}

/** Fails for each finding of axe that is serious or critical. */
export async function checkAccessibility(page, name) {
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, impact, help, nodes } of violations) {
    if (impact !== "serious" && impact !== "critical") continue;
    const places = nodes.slice(0, 3).map((node) => `${node.target} ${node.any.map((why) => why.message).join("; ")}`);
    fail(name, `axe: ${id} (${impact}): ${help}, ${nodes.length} times, as in ${places.join(" | ")}`);
  }
}

/** Fails if a page is wider than its window, with the elements that reach over the edge. */
export async function checkWidth(page, name) {
  const wide = await page.evaluate(() => {
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) return null;
    const over = [...document.querySelectorAll("main *, header *")].filter((e) => e.getBoundingClientRect().right > root.clientWidth + 1);
    return over.slice(0, 5).map((e) => `${e.tagName.toLowerCase()}.${e.getAttribute("class")}`).join(", ");
  });
  check(name, `the page scrolls sideways because of ${wide}`, wide === null);
}

/** Keeps a picture of the page where DASHBOARD_PICTURES names a folder. */
export async function picture(page, name, fullPage = true) {
  if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage });
}

/** Waits until a function of the page returns something true; the message names what was waited for. */
export async function until(page, what, look, argument) {
  await page.waitForFunction(look, argument).catch(() => {
    throw new Error(`waited too long for ${what} on ${page.url()}`);
  });
}

const answers = process.stdin.isTTY ? null : createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Asks the test for a change of the server, such as `stop` or `start`, and waits until it is made. */
export async function ask(change) {
  console.log(change);
  await answers.next();
}
