// Takes a picture of every page in both themes: `node tests/screenshots.mjs <address> <folder>`.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from '@playwright/test';

const [address, folder = 'screenshots', size = '1440x900'] = process.argv.slice(2);
const [width, height] = size.split('x').map(Number);
const PAGES = {
  board: '/boards/market',
  overview: '/overview',
  inspector: '/overview',
  jobs: '/jobs/nightly',
  models: '/models/next_volume',
  'models-none': '/models/next_price',
  sql: '/sql?q=SELECT+*%0AFROM+system.ledger',
  'sql-error': '/sql?q=SELECT+symbol%0AFROM+trdaes',
};
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
});
for (const [theme, scheme] of [['paper', 'light'], ['terminal', 'dark']]) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && console.log(theme, message.text()));
  page.on('pageerror', (error) => console.log(theme, error.stack));
  await page.goto(address);
  for (const [name, path] of Object.entries(PAGES)) {
    await page.goto(new URL(path, address).href);
    await page.waitForTimeout(name === 'board' ? 6_000 : 1_800);
    if (name === 'inspector') {
      await page.getByRole('button', { name: /sink speed_table/ }).click();
      await page.waitForTimeout(300);
    }
    await page.screenshot({ path: join(folder, `${name}-${theme}.png`) });
    if (name === 'board') {
      await page.locator('main').evaluate((main) => main.scrollTo(0, 9_999));
      await page.waitForTimeout(500);
      await page.screenshot({ path: join(folder, `${name}-below-${theme}.png`) });
    }
  }
  await context.close();
}
await browser.close();
