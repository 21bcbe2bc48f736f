// The pictures of the documents: the overview and a channel under load, in light and dark. Pages stay open for as long as the charts
// shall show, because a master keeps a value per second only while a page is open.

import { writeFile } from "node:fs/promises";

import { SERVER, visitor, watchedPage, withBrowser } from "./browser.mjs";

const FOLDER = process.env.DASHBOARD_IMAGES;
const MINUTES = Number(process.env.DASHBOARD_MINUTES);
const LARGEST = 120 * 1024;
const PAGES = { overview: ["/", 450], channel: ["/channels/mails", 1_330] };

await withBrowser(async (browser) => {
  const looks = {};
  for (const scheme of ["light", "dark"]) {
    const context = await visitor(browser, { colorScheme: scheme, deviceScaleFactor: 1.5 });
    looks[scheme] = {};
    for (const [name, [path, height]] of Object.entries(PAGES)) {
      const page = await watchedPage(context, { name: `${name}, ${scheme}` });
      await page.setViewportSize({ width: 1200, height });
      await page.goto(SERVER + path);
      looks[scheme][name] = page;
    }
  }
  await new Promise((resolve) => setTimeout(resolve, MINUTES * 60_000));
  for (const [scheme, pages] of Object.entries(looks)) {
    for (const [name, page] of Object.entries(pages)) {
      await page.reload();
      await page.locator("[data-live-switch]").waitFor();
      const { height } = page.viewportSize();
      const bytes = await smallest(page, height);
      await writeFile(`${FOLDER}/dashboard-${name}-${scheme}.webp`, bytes);
    }
  }
});

/** The picture with the best quality that is small enough. */
async function smallest(page, height) {
  const session = await page.context().newCDPSession(page);
  for (const quality of [90, 80, 70, 60, 50]) {
    const clip = { x: 0, y: 0, width: 1200, height, scale: 1 };
    const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality, clip });
    const bytes = Buffer.from(data, "base64");
    if (bytes.length <= LARGEST) return bytes;
  }
  throw new Error(`${page.url()} has no picture of at most ${LARGEST} bytes`);
}
