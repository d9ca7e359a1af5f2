// Pictures of all pages in both themes and two sizes, to be looked at: SCREENSHOTS=<folder> npm run test:browser.
import { join } from 'node:path';
import { test } from '@playwright/test';

const folder = process.env.SCREENSHOTS ?? 'screenshots';
const PAGES = {
  board: '/boards/market',
  panel: '/boards/market/2-2',
  overview: '/overview',
  inspector: '/overview',
  quality: '/quality',
  jobs: '/jobs/nightly',
  run: '/jobs/model.next_volume.train',
  models: '/models/next_volume',
  'models-none': '/models/next_price',
  sql: '/sql?q=SELECT+*%0AFROM+system.ledger',
  'sql-error': '/sql?q=SELECT+symbol%0AFROM+trdaes',
};
const only = process.env.SCREENSHOTS_ONLY?.split(',');
/** How long a page may move before its picture is taken. */
const SETTLED_MS = { board: 15_000 } as Record<string, number>;

for (const [width, height] of [[1440, 900], [2560, 1440]] as const) {
  for (const [theme, colorScheme] of [['paper', 'light'], ['terminal', 'dark']] as const) {
    test(`${theme} at ${width}`, async ({ browser }) => {
      test.setTimeout(300_000);
      const baseURL = process.env.THALWEG_URL ?? '';
      const context = await browser.newContext({ baseURL, viewport: { width, height }, colorScheme });
      const page = await context.newPage();
      await page.goto(`/login?token=${encodeURIComponent(process.env.THALWEG_TOKEN ?? '')}`);
      for (const [name, path] of Object.entries(PAGES)) {
        if (only && !only.includes(name)) continue;
        await page.goto(path);
        await page.waitForTimeout(SETTLED_MS[name] ?? 2_500);
        if (name === 'inspector') await page.getByRole('button', { name: /^source trades/ }).click();
        if (name === 'run') await page.getByRole('region', { name: 'Runs' }).locator('tbody tr').first().click();
        if (name === 'inspector' || name === 'run') await page.waitForTimeout(1_000);
        await page.mouse.move(0, 0);
        const file = (part: string) => join(folder, `${width}`, `${part}-${theme}.png`);
        await page.screenshot({ path: file(name) });
        if (name !== 'board') continue;
        await page.locator('main').evaluate((main) => main.scrollTo(0, 9_999));
        await page.waitForTimeout(500);
        await page.screenshot({ path: file('board-below') });
      }
      await context.close();
    });
  }
}
