// The screen of a server that runs the market-lambda project. Nothing here knows a value: what moves is
// compared with what the API says.
import AxeBuilder from '@axe-core/playwright';
import { expect, test, type Page } from '@playwright/test';

const token = process.env.THALWEG_TOKEN ?? '';
const PAGES = ['/boards/market', '/overview', '/jobs', '/models', '/sql?q=SELECT+1'];

let complaints: string[] = [];

test.beforeEach(async ({ page }) => {
  complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol.startsWith('http') && origin !== new URL(page.url(), request.url()).origin) {
      if (page.url() !== 'about:blank') complaints.push(`a request to ${origin}`);
    }
  });
  await page.goto(`/login?token=${encodeURIComponent(token)}`);
  await expect(page.getByRole('navigation', { name: 'Pages' })).toBeVisible();
});

test.afterEach(() => expect(complaints).toEqual([]));

test('the first page is the first board, with every panel filled', async ({ page }) => {
  await expect(page).toHaveURL(/\/boards\/market$/);
  await expect(page.getByRole('grid', { name: 'changes' }).locator('tbody tr')).not.toHaveCount(0);
  const charts = page.getByRole('figure', { name: /candles|series of/ });
  await expect(charts.first()).toBeVisible();
  await expect(charts.first().locator('canvas').first()).toBeVisible();
  await expect(page.getByText('Waiting for the first result.')).toHaveCount(0);
});

test('numbers move without loading the page anew', async ({ page }) => {
  const age = page.getByRole('group', { name: 'Freshness' }).locator('.value');
  const before = await age.textContent();
  await expect(age).not.toHaveText(before ?? '');
});

test('a click in the ranking sets the filter, the address keeps it, back undoes it', async ({ page }) => {
  const rows = page.getByRole('grid', { name: 'changes' }).locator('tbody tr');
  const filter = page.getByRole('combobox', { name: 'symbol' });
  await expect(filter).toHaveValue('BINANCE:BTCUSDT');
  const other = rows.filter({ hasNotText: 'BINANCE:BTCUSDT' }).first();
  await expect(other).toBeVisible();
  await rows.filter({ hasText: 'BINANCE:ETHUSDT' }).click();
  await expect(page).toHaveURL(/symbol=BINANCE%3AETHUSDT/);
  await expect(filter).toHaveValue('BINANCE:ETHUSDT');
  await page.reload();
  await expect(filter).toHaveValue('BINANCE:ETHUSDT');
  await page.goBack();
  await expect(filter).toHaveValue('BINANCE:BTCUSDT');
});

test('a panel shows its SQL, the same as a table, and saves it as CSV', async ({ page }) => {
  const panel = page.getByRole('group', { name: 'Volume today' });
  await panel.getByRole('button', { name: 'SQL' }).click();
  await expect(panel.getByText(/SELECT sum\(volume\)/)).toBeVisible();
  await panel.getByRole('button', { name: /Table/ }).click();
  await expect(panel.getByRole('grid')).toBeVisible();
  const download = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'CSV' }).click();
  expect((await download).suggestedFilename()).toMatch(/\.csv$/);
});

test('the ranking is walked with the arrows', async ({ page }) => {
  const rows = page.getByRole('grid', { name: 'changes' }).locator('tbody tr');
  await rows.first().focus();
  await page.keyboard.press('ArrowDown');
  await expect(rows.nth(1)).toBeFocused();
  await page.keyboard.press('End');
  await expect(rows.last()).toBeFocused();
});

test('the palette goes to a page by a few letters', async ({ page }) => {
  await page.keyboard.press('Control+k');
  await page.keyboard.type('flow');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/overview$/);
});

test('the flow has the source, and opens a part at the right', async ({ page }) => {
  await page.goto('/overview');
  await page.getByRole('button', { name: /^source trades/ }).click();
  await expect(page.getByRole('complementary', { name: 'source trades' })).toBeVisible();
  await expect(page.getByText('balances').first()).toBeVisible();
});

test('SQL runs, and an error says where', async ({ page }) => {
  await page.goto('/sql');
  const area = page.getByRole('textbox', { name: 'SQL' });
  await area.fill('SELECT symbol FROM trades LIMIT 1');
  await area.press('Control+Enter');
  await expect(page.getByRole('grid', { name: 'Result' })).toBeVisible();
  await expect(page).toHaveURL(/q=SELECT/);
  await area.fill('SELECT symbol FROM trdaes');
  await area.press('Control+Enter');
  await expect(page.getByRole('alert')).toContainText('trdaes');
  // The browser notes the answer 400 by itself.
  complaints = complaints.filter((complaint) => !complaint.includes('400'));
});

test('when the session has ended the page says how to log in', async ({ page }) => {
  await page.route('**/api/v1/**', (route) => route.fulfill({ status: 401, body: '{}' }));
  // The next look at the health finds out.
  await expect(page.getByRole('heading', { name: 'Log in to thalweg' })).toBeVisible({ timeout: 15_000 });
  expect(await violations(page)).toEqual([]);
  complaints = complaints.filter((complaint) => !complaint.includes('401'));
});

async function violations(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

for (const scheme of ['light', 'dark'] as const) {
  for (const path of PAGES) {
    test(`${path} can be used by everybody, ${scheme}`, async ({ page }) => {
      await page.emulateMedia({ colorScheme: scheme });
      await page.goto(path);
      await expect(page.locator('main h1')).toHaveCount(1);
      await expect(page.locator('main table, main svg[role=group], main canvas').first()).toBeVisible();
      expect(await violations(page)).toEqual([]);
    });
  }
}

for (const width of [760, 1024, 1440, 2560]) {
  test(`nothing runs over the page at ${width}`, async ({ page }) => {
    await page.setViewportSize({ width, height: 900 });
    for (const path of PAGES) {
      await page.goto(path);
      await expect(page.locator('main h1')).toHaveCount(1);
      const over = await page.evaluate(() => {
        const main = document.querySelector('main')!;
        return main.scrollWidth - main.clientWidth;
      });
      expect(over, path).toBeLessThanOrEqual(0);
    }
  });
}
