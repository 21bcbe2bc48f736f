// One page that stays open: its figures follow the master, its switches and keys work, and it outlives the master.

import { PATIENCE, SERVER, ask, check, checkPolicy, checkAccessibility, picture, until, visitor, watchedPage, withBrowser } from "./browser.mjs";

/** In this time a page that still changed would change at least once. */
const TWO_UPDATES = 2_500;

const figure = (key) => document.querySelector(`[data-k="${key}"]`).textContent;

await withBrowser(async (browser) => {
  const context = await visitor(browser, { colorScheme: "light" });
  // While the master is away, the browser itself says that it cannot connect.
  const page = await watchedPage(context, { name: "open page", expected: "net::ERR_" });
  await page.goto(`${SERVER}/channels/default`);
  await page.evaluate(() => (window.sameDocument = true));

  await checkFigures(page);
  await checkPause(page);
  await checkThemes(page);
  await checkCrosshair(page);
  await checkKeys(page);
  await page.goto(`${SERVER}/channels/default`);
  await page.evaluate(() => (window.sameDocument = true));
  await checkOutage(page);
  await checkPolicy(page, "open page");
  await context.close();
});

/** Figures, tables and charts change, and the page is not loaded again. */
async function checkFigures(page) {
  const seen = await page.evaluate(() => ({
    done: document.querySelector('[data-k="default.done"]').textContent,
    worker: document.querySelector("[data-part=workers]").textContent,
    chart: document.querySelector("svg[data-points]").dataset.points,
  }));
  await until(page, "the figures to change", (old) => document.querySelector('[data-k="default.done"]').textContent !== old, seen.done);
  await until(page, "the tables to change", (old) => document.querySelector("[data-part=workers]").textContent !== old, seen.worker);
  await page.locator(".chart-table summary").first().click();
  await page.locator(".chart-table summary").first().focus();
  await until(page, "the charts to change", (old) => document.querySelector("svg[data-points]").dataset.points !== old, seen.chart);
  const kept = await page.evaluate(() => ({
    isSame: window.sameDocument,
    isOpen: document.querySelector(".chart-table").open,
    hasFocus: document.activeElement === document.querySelector(".chart-table summary"),
  }));
  check("live updates", "the page was loaded again", kept.isSame);
  check("live updates", "an open table of a chart is closed by an update", kept.isOpen);
  check("live updates", "an update takes the focus", kept.hasFocus);
  await page.locator(".chart-table summary").first().click();
}

/** The switch stops the stream and all changes, and starts them again. */
async function checkPause(page) {
  const where = "pause of updates";
  const live = page.locator("[data-live-switch]");
  await live.click();
  check(where, "the switch does not say that updates are off", (await live.getAttribute("aria-pressed")) === "false");
  // An answer may be on its way.
  await page.waitForLoadState("networkidle");
  let requests = 0;
  const count = () => (requests += 1);
  page.on("request", count);
  const before = await page.locator("main").innerText();
  await page.waitForTimeout(TWO_UPDATES);
  check(where, "the page changes all the same", (await page.locator("main").innerText()) === before);
  check(where, `${requests} requests were sent`, requests === 0);
  page.off("request", count);
  await live.click();
  await until(page, "updates after the pause", (old) => document.querySelector("main").innerText !== old, before);
  await page.locator("[data-rate]").selectOption("30");
  const slow = await page.evaluate(figure, "default.done");
  await page.waitForTimeout(TWO_UPDATES);
  check("rate of updates", "figures change each second at 30 s", (await page.evaluate(figure, "default.done")) === slow);
  await page.locator("[data-rate]").selectOption("1");
  await until(page, "updates at 1 s", (old) => document.querySelector('[data-k="default.done"]').textContent !== old, slow);
}

/** The switch goes from the theme of the system over the other one back to that of the system, and each page has the choice. */
async function checkThemes(page) {
  const where = "theme";
  const button = page.locator("[data-theme-switch]");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await button.click();
  const dark = await ground();
  check(where, "the switch does not make the page dark", light !== dark);
  check(where, "the label does not name the theme", (await button.getAttribute("aria-label")).endsWith("dark"));
  await page.reload();
  check(where, "the choice is lost with a reload", (await ground()) === dark);
  await checkAccessibility(page, "the chosen dark theme");
  await button.click();
  await button.click();
  check(where, "the third press does not follow the system", (await page.locator("html").getAttribute("data-theme")) === null);
  check(where, "the system's theme is not light", (await ground()) === light);
  await page.locator("a[hreflang=zh-CN]").click();
  await page.waitForURL("**lang=zh-CN");
  check("language", "the page is not Chinese", (await page.locator("html").getAttribute("lang")) === "zh-CN");
  await page.goto(SERVER);
  check("language", "the choice is not kept", (await page.locator("html").getAttribute("lang")) === "zh-CN");
  await checkAccessibility(page, "the Chinese overview");
  await picture(page, "overview-chinese");
  await page.locator("a[hreflang=en]").click();
  await page.waitForURL("**lang=en");
  check("language", "the page is not English again", (await page.locator("html").getAttribute("lang")) === "en");
}

/** The pointer over one chart shows its time and values in all. */
async function checkCrosshair(page) {
  const where = "crosshair";
  await page.goto(`${SERVER}/channels/default`);
  const charts = page.locator("svg[data-points]");
  const keys = () => page.locator(".chart-key").allInnerTexts();
  await page.locator("[data-live-switch]").click();
  await page.waitForLoadState("networkidle");
  const newest = await keys();
  const box = await charts.first().boundingBox();
  await page.mouse.move(box.x + box.width * 0.96, box.y + box.height / 2);
  await until(page, "the crosshair", () => document.querySelector(".cross"));
  const lines = await page.locator(".cross").count();
  check(where, `${lines} charts of ${await charts.count()} have it`, lines === (await charts.count()));
  const time = await page.locator(".cross-time").first().textContent();
  check(where, `the time is ${time}`, /^\d\d:\d\d:\d\d/.test(time));
  check(where, "the keys show the newest values still", (await keys()).join() !== newest.join());
  await picture(page, "channel-crosshair", false);
  await page.mouse.move(2, 2);
  await until(page, "the end of the crosshair", () => !document.querySelector(".cross"));
  check(where, "the keys do not show the newest values again", (await keys()).join() === newest.join());
  await page.locator("[data-live-switch]").click();
}

/** Each key does what the help says; none does while it is switched off, or while a visitor types. */
async function checkKeys(page) {
  const where = "keys";
  const press = (keys) => Promise.resolve().then(async () => { for (const key of keys.split(" ")) await page.keyboard.press(key); });
  await page.evaluate(() => document.activeElement.blur());
  await press("?");
  const help = page.locator("dialog");
  check(where, "? does not open the help", await help.isVisible());
  await checkAccessibility(page, "help of the keys");
  await picture(page, "help", false);
  await press("Escape");
  await until(page, "Esc to close the help", () => !document.querySelector("dialog").open && document.activeElement === document.body);
  await press("]");
  await page.waitForURL("**range=1h");
  await press("[");
  await page.waitForURL("**range=15m");
  await press("Space");
  check(where, "Space does not stop the updates", (await page.locator("[data-live-switch]").getAttribute("aria-pressed")) === "false");
  await press("Space");
  check(where, "Space does not start the updates", (await page.locator("[data-live-switch]").getAttribute("aria-pressed")) === "true");
  await press("t");
  check(where, "t does not change the theme", (await page.locator("html").getAttribute("data-theme")) === "dark");
  await press("t t");
  await press("g o");
  await page.waitForURL(`${SERVER}/`);
  await press("j j k j");
  const focused = await page.evaluate(() => document.activeElement.closest("tr")?.sectionRowIndex);
  check(where, `j and k lead to the row ${focused}`, focused === 1);
  const name = await page.evaluate(() => document.activeElement.textContent);
  await press("Enter");
  await page.waitForURL(`**/channels/${name}`);
  await page.locator("[data-help]").click();
  await page.locator("[data-keys-choice]").uncheck();
  await press("Escape");
  await press("t");
  check(where, "a key works though keys are off", (await page.locator("html").getAttribute("data-theme")) === null);
  await page.locator("[data-help]").click();
  await page.locator("[data-keys-choice]").check();
  await press("Escape");
  await page.goto(`${SERVER}/login`);
  await page.locator("#token").focus();
  await press("t ?");
  check(where, "a key works while a visitor types", (await page.locator("#token").inputValue()) === "t?" && !(await help.isVisible()));
}

/** The page shows that the master does not answer, keeps its last figures, and follows the next master. */
async function checkOutage(page) {
  const where = "outage";
  const banner = page.locator("[data-banner]");
  check(where, "the banner is shown before", !(await banner.isVisible()));
  await ask("stop");
  await banner.waitFor({ timeout: PATIENCE });
  check(where, `the banner says ${await banner.textContent()}`, (await banner.textContent()).includes("does not answer"));
  check(where, "the last figures are gone", /\d/.test(await page.evaluate(figure, "default.done")));
  await checkAccessibility(page, "a page without its master");
  await picture(page, "channel-offline");
  await ask("start");
  await until(page, "the page to be online again", () => !document.querySelector("main").classList.contains("stale"));
  const seen = await page.evaluate(figure, "default.done");
  await until(page, "figures of the next master", (old) => document.querySelector('[data-k="default.done"]').textContent !== old, seen);
  check(where, "the page was loaded again", await page.evaluate(() => window.sameDocument));
  await banner.waitFor({ state: "hidden" });
}
