// The pages of queue:dashboard: their address opens them once, in one browser.

import { SERVER, withBrowser, visitor, watchedPage, picture, check, checkAccessibility, checkPolicy } from "./browser.mjs";

const ADDRESS = process.env.DASHBOARD_ADDRESS;
/** The browser itself says this of the page before the exchange. */
const STATUS = "401 (Unauthorized)";

await withBrowser(async (browser) => {
  const first = await visitor(browser, {});
  const page = await watchedPage(first, { name: "first browser", expected: STATUS });
  await page.goto(ADDRESS);
  await page.locator("a", { hasText: "legacy" }).first().waitFor();
  check("first browser", `the secret stays in the address: ${page.url()}`, page.url() === `${SERVER}/`);
  check("first browser", "a form is posted", (await page.locator("form[method=post]").count()) === 0);
  await page.goto(`${SERVER}/channels/legacy`);
  await page.locator("h1", { hasText: "legacy" }).waitFor();
  await checkPolicy(page, "first browser");

  const second = await visitor(browser, {});
  const late = await watchedPage(second, { name: "second browser", expected: STATUS });
  await late.goto(ADDRESS);
  await late.locator("h1", { hasText: "queue:dashboard" }).waitFor();
  await late.waitForLoadState("networkidle");
  check("second browser", "a channel is shown", !(await late.content()).includes("legacy"));
  await checkAccessibility(late, "second browser");
  await checkPolicy(late, "second browser");
  await picture(late, "entrance");
});
