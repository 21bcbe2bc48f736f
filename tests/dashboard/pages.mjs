// All pages, as different visitors see them: in light and dark, on a phone, without a script, on paper, by keyboard only.

import {
  SERVER, withBrowser, visitor, watchedPage, picture, check, checkAccessibility, checkPolicy, checkWidth,
} from "./browser.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const LOOKS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  phone: { colorScheme: "light", ...PHONE },
};
const PAGES = {
  overview: "/",
  channel: "/channels/default",
  unserved: "/channels/legacy",
  jobs: "/channels/mail/jobs?state=failed",
  alerts: "/alerts",
  activity: "/activity",
  system: "/system",
  report: "/report?range=15m&channel=default",
  login: "/login",
  missing: "/nowhere",
};
/** The browser itself says this of a page that is not there. */
const STATUS = "404 (Not Found)";

await withBrowser(async (browser) => {
  for (const [look, settings] of Object.entries(LOOKS)) {
    const context = await visitor(browser, settings);
    const visit = {};
    const page = await watchedPage(context, visit);
    for (const [name, path] of Object.entries(PAGES)) {
      const where = `${name}, ${look}`;
      Object.assign(visit, { name: where, expected: name === "missing" ? STATUS : undefined });
      await page.goto(SERVER + path, { waitUntil: "load" });
      await page.locator("[data-theme-switch]").waitFor();
      await checkAccessibility(page, where);
      await checkWidth(page, where);
      if (look === "light") await checkKeyboard(page, where);
      if (look === "light" && ["channel", "report"].includes(name)) await checkPaper(page, where, name);
      if (look === "light" && name === "channel") await checkStillness(page, where);
      await checkPolicy(page, where);
      await picture(page, `${name}-${look}`);
    }
    await context.close();
  }
  await checkWithoutScript(browser);
  await checkActions(browser);
  for (const look of ["light", "phone"]) await checkOperator(browser, look);
});

/** The forms of an operator, all opened, and the page of a worker. */
async function checkOperator(browser, look) {
  const visit = { name: `operator, ${look}` };
  const context = await visitor(browser, LOOKS[look]);
  const page = await watchedPage(context, visit);
  await page.goto(`${SERVER}/login`);
  await page.locator("#token").fill("the-token-of-ann-1");
  await page.locator("main button").click();
  await page.waitForURL(`${SERVER}/`);
  await page.goto(`${SERVER}/channels/default`);
  const worker = await page.locator("a[href*='/workers/']").first().getAttribute("href");
  for (const [name, path] of Object.entries({
    forms: "/channels/default", worker, alerting: "/alerts", configuration: "/system", acted: "/activity",
  })) {
    visit.name = `${name}, ${look}`;
    await page.goto(SERVER + path);
    await page.locator("[data-theme-switch]").waitFor();
    await page.evaluate(() => document.querySelectorAll("main details:not(.chart-table)").forEach((one) => (one.open = true)));
    await checkAccessibility(page, visit.name);
    await checkWidth(page, visit.name);
    await checkPolicy(page, visit.name);
    await picture(page, `${name}-${look}`);
  }
  check(visit.name, "the pause is not among the activities", (await page.locator("main td", { hasText: "pause" }).count()) > 0);
  await page.goto(`${SERVER}/channels/default`);
  await page.locator("summary", { hasText: "Push a job" }).click();
  await page.locator("#job").fill("noop");
  await page.locator("button.main").click();
  check(visit.name, "a job is not pushed", /pushed with the id \d+/.test(await page.locator(".notice").textContent()));
  await page.reload();
  check(visit.name, "a reload shows the notice again", (await page.locator(".notice").count()) === 0);
  await context.close();
}

/** An operator acts by forms alone: with a script, and without. */
async function checkActions(browser) {
  for (const javaScriptEnabled of [false, true]) {
    const where = `actions ${javaScriptEnabled ? "with" : "without"} a script`;
    const context = await visitor(browser, { javaScriptEnabled });
    const page = await watchedPage(context, { name: where });
    await page.goto(`${SERVER}/login`);
    await page.locator("#token").fill("the-token-of-ann-1");
    await page.locator("main button").click();
    await page.waitForURL(`${SERVER}/`);
    await page.goto(`${SERVER}/channels/mail`);
    for (const [button, state] of [["Pause", "paused on all machines"], ["Resume", "takes jobs again"]]) {
      await page.locator(".actions button", { hasText: button }).click();
      const said = await page.locator(".notice").textContent();
      check(where, `${button} says ${said}`, said.includes(state));
    }
    await page.locator(".actions a", { hasText: "Jobs" }).click();
    await page.locator("table.jobs th a").first().click();
    check(where, "the job does not show its error", (await page.locator("main pre").allTextContents()).join().includes("no such address"));
    if (javaScriptEnabled) {
      await checkAccessibility(page, "job");
      await checkWidth(page, "job");
      await checkPolicy(page, "job");
      await picture(page, "job-light");
    }
    await page.locator(".actions button", { hasText: "Remove" }).click();
    const removed = await page.locator(".notice").textContent();
    check(where, `Remove says ${removed}`, removed.includes("was removed"));
    await page.locator("#q").fill("no such address");
    await page.locator(".search button").click();
    const found = await page.locator("table.jobs tbody tr").count();
    check(where, `the search finds ${found} jobs`, found >= 1 && found <= 4);
    await context.close();
  }
}

/** Tab reaches every control, and shows where it is. */
async function checkKeyboard(page, where) {
  const wanted = await page.evaluate(() => {
    document.activeElement.blur();
    const controls = [...document.querySelectorAll("a[href], button, input, select, summary")];
    const reachable = controls.filter((control) => control.checkVisibility({ visibilityProperty: true }));
    reachable.forEach((control, index) => (control.dataset.control = index));
    return reachable.length;
  });
  const reached = new Set();
  for (let presses = 0; presses < wanted + 3; presses += 1) {
    await page.keyboard.press("Tab");
    const focus = await page.evaluate(() => {
      const element = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const isShown = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
      return { control: element.dataset.control, isShown, markup: element.outerHTML.slice(0, 80) };
    });
    if (focus.control === undefined) continue;
    check(where, `the focus is not seen on ${focus.markup}`, focus.isShown);
    reached.add(focus.control);
  }
  // A part that was replaced meanwhile has controls without a number.
  check(where, `Tab reaches ${reached.size} of ${wanted} controls`, reached.size >= wanted - 8 && reached.size > 3);
}

/** Paper has the content and no navigation. */
async function checkPaper(page, where, name) {
  await page.emulateMedia({ media: "print" });
  const shown = await page.evaluate(() => {
    const isShown = (selector) => [...document.querySelectorAll(selector)].some((element) => element.checkVisibility());
    const controls = isShown("nav, .tools, .ranges, .actions, main form, dialog");
    return { controls, figures: isShown(".figures, main td.number"), charts: isShown("svg.chart") };
  });
  check(where, "navigation or controls are printed", !shown.controls);
  check(where, "figures and charts are not printed", shown.figures && shown.charts);
  await picture(page, `${name}-paper`);
  const paper = await page.pdf({ format: "A4" });
  check(where, "there is no PDF", paper.subarray(0, 5).toString() === "%PDF-");
  await page.emulateMedia({ media: "screen" });
}

/** Nothing moves for a visitor who asked for that. */
async function checkStillness(page, where) {
  await page.emulateMedia({ reducedMotion: "reduce" });
  const moving = await page.evaluate(() =>
    [...document.querySelectorAll("*")].filter((element) => {
      const { animationName, transitionDuration } = getComputedStyle(element);
      return animationName !== "none" || transitionDuration.split(", ").some((time) => parseFloat(time) > 0);
    }).length,
  );
  check(where, `${moving} elements move in spite of the wish for less motion`, moving === 0);
  await page.emulateMedia({ reducedMotion: "no-preference" });
}

/** The pages are whole without the script, and their links and forms work. */
async function checkWithoutScript(browser) {
  const where = "without a script";
  const context = await visitor(browser, { javaScriptEnabled: false });
  const page = await watchedPage(context, { name: where });
  await page.goto(SERVER);
  const waiting = await page.locator(".figures dd").first().textContent();
  check(where, `the overview has no figures but ${waiting}`, /\d/.test(waiting));
  const switches = page.locator("[data-live-switch], [data-theme-switch], [data-help], [data-rate]");
  for (const one of await switches.all()) check(where, "a switch that does nothing is shown", !(await one.isVisible()));
  await page.locator(".channels a", { hasText: "default" }).click();
  await page.waitForURL("**/channels/default");
  const charts = await page.locator("svg.chart").count();
  check(where, `the channel has ${charts} charts`, charts === 8);
  check(where, "the charts have no lines", (await page.locator("svg.chart .chart-line").count()) > 8);
  await page.locator(".ranges a", { hasText: "1h" }).click();
  await page.waitForURL("**/channels/default?range=1h");
  await page.locator("a[hreflang=zh-CN]").click();
  check(where, "the range is lost with the language", page.url().includes("range=1h"));
  check(where, "the language does not change", (await page.locator("html").getAttribute("lang")) === "zh-CN");
  await page.locator("a[hreflang=en]").click();
  const table = page.locator(".chart-table").first();
  await table.locator("summary").click();
  check(where, "the table of a chart does not open", await table.locator("table").first().isVisible());
  await page.goto(`${SERVER}/login`);
  await page.locator("#token").fill("the-token-of-the-team");
  await page.locator("main button").click();
  await page.waitForURL(`${SERVER}/`);
  check(where, "the name of the visitor is not shown", (await page.locator(".who").textContent()) === "team");
  await context.close();
}
