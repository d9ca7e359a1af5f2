// The screen of a server that runs market-lambda. What moves is compared with what it was, or with what
// the API says.
import { readFile } from 'node:fs/promises';
import AxeBuilder from '@axe-core/playwright';
import { expect, test as base, type Download, type Locator, type Page } from '@playwright/test';

const token = process.env.THALWEG_TOKEN ?? '';
const PAGES = [
  '/boards/market',
  '/boards/market/3-1',
  '/overview',
  '/quality',
  '/jobs',
  '/jobs/nightly',
  '/models/next_volume',
  '/models/next_price',
  '/sql?q=SELECT+1',
];

const test = base.extend({
  // The server is known when the tests begin, not when their configuration is read.
  baseURL: async ({}, use) => use(process.env.THALWEG_URL),
});

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

/** The browser notes answers that are no success by itself; those that a test asks for are right. */
function forgive(status: number) {
  complaints = complaints.filter((complaint) => !complaint.includes(String(status)));
}

/** Fails unless what a locator says becomes something else. */
async function moves(locator: Locator, attribute?: string) {
  const read = () => (attribute ? locator.getAttribute(attribute) : locator.textContent());
  const before = await read();
  await expect.poll(read).not.toBe(before);
}

async function content(download: Promise<Download>): Promise<Buffer> {
  return readFile(await (await download).path());
}

async function violations(page: Page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}

const ranking = (page: Page) => page.getByRole('grid', { name: 'changes' }).locator('tbody tr');
const candles = (page: Page) => page.getByRole('figure', { name: /^trades: \d+ candles/ });

test.describe('logging in', () => {
  test('the link leads to the first board, and its cookie holds', async ({ page }) => {
    await expect(page).toHaveURL(/\/boards\/market$/);
    await page.goto('/overview');
    await expect(page.getByRole('group', { name: /^Flow/ })).toBeVisible();
  });

  test('without a session there is only the way in', async ({ browser, baseURL }) => {
    const context = await browser.newContext(baseURL ? { baseURL } : {});
    const page = await context.newPage();
    await page.goto('/boards/market');
    await expect(page).toHaveURL(/\/login/);
    await expect(page.getByRole('navigation', { name: 'Pages' })).toHaveCount(0);
    const answer = await context.request.get('/api/v1/dashboards');
    expect(answer.status()).toBe(401);
    await context.close();
  });

  test('when the session has ended the page says how to log in', async ({ page }) => {
    await page.route('**/api/v1/**', (route) => route.fulfill({ status: 401, body: '{}' }));
    // The next look at the health finds out.
    await expect(page.getByRole('heading', { name: 'Log in to thalweg' })).toBeVisible();
    expect(await violations(page)).toEqual([]);
    forgive(401);
  });
});

test.describe('a board', () => {
  test('has something in every panel', async ({ page }) => {
    await expect(ranking(page)).toHaveCount(5);
    await expect(candles(page).locator('canvas').first()).toBeVisible();
    await expect(page.getByRole('figure', { name: /^hourly_volume: 5 series of \d+ points/ })).toBeVisible();
    await expect(page.getByRole('region', { name: 'hourly_volume' }).getByRole('row')).toHaveCount(6);
    await expect(page.getByText('Waiting for the first result.')).toHaveCount(0);
    await expect(page.getByRole('alert')).toHaveCount(0);
  });

  test('moves: the ranking, the candles and the age of the newest row', async ({ page }) => {
    await expect(ranking(page)).toHaveCount(5);
    await moves(page.getByRole('grid', { name: 'changes' }).locator('tbody'));
    await moves(candles(page), 'aria-label');
    await moves(page.getByRole('group', { name: 'Freshness' }).locator('.value'));
    // Not only what is said of the candles: the picture too.
    const picture = async () => (await candles(page).screenshot()).toString('base64');
    const before = await picture();
    await expect.poll(async () => (await picture()) === before).toBe(false);
  });

  test('shows what the filter says, and the address keeps it', async ({ page }) => {
    const filter = page.getByRole('combobox', { name: 'symbol' });
    const name = page.getByRole('group', { name: 'trades', exact: true }).locator('strong');
    await expect(filter).toHaveValue('BINANCE:BTCUSDT');
    await expect(name).toHaveText('BINANCE:BTCUSDT');
    await filter.selectOption('AAPL');
    await expect(page).toHaveURL(/symbol=AAPL/);
    await expect(name).toHaveText('AAPL');
    // Its price is of another size.
    await expect(candles(page)).toHaveAttribute('aria-label', /closed at 1\d\d\.\d\d/);
    await page.goBack();
    await expect(name).toHaveText('BINANCE:BTCUSDT');
    await expect(candles(page)).toHaveAttribute('aria-label', /closed at 4\d,\d\d\d\.\d\d/);
  });

  test('a click in the ranking sets the filter', async ({ page }) => {
    const filter = page.getByRole('combobox', { name: 'symbol' });
    await ranking(page).filter({ hasText: 'BINANCE:ETHUSDT' }).click();
    await expect(page).toHaveURL(/symbol=BINANCE%3AETHUSDT/);
    await expect(filter).toHaveValue('BINANCE:ETHUSDT');
    await page.reload();
    await expect(filter).toHaveValue('BINANCE:ETHUSDT');
  });

  test('a row of the ranking keeps the focus wherever it goes', async ({ page }) => {
    const row = ranking(page).filter({ hasText: 'AAPL' });
    await row.focus();
    await moves(page.getByRole('grid', { name: 'changes' }).locator('tbody'));
    await expect(row).toBeFocused();
    await page.keyboard.press('Enter');
    await expect(page).toHaveURL(/symbol=AAPL/);
  });

  test('numbers are greyed and dated when the server is silent', async ({ page }) => {
    let cut = async () => {};
    let isCut = false;
    await page.routeWebSocket('**/api/v1/live', (socket) => {
      if (isCut) return void socket.close();
      socket.connectToServer();
      cut = async () => {
        isCut = true;
        await socket.close();
      };
    });
    await page.reload();
    await expect(ranking(page)).toHaveCount(5);
    await cut();
    await expect(page.getByText(/Reconnecting\. Numbers are .* old\./)).toBeVisible();
    const panel = page.getByRole('group', { name: 'changes' });
    await expect(panel.locator('.stale')).toHaveText(/as of [\d:]+,\s+\S+ \S+ ago/);
    await expect(panel.locator('.body')).toHaveCSS('filter', 'grayscale(1)');
    isCut = false;
    await expect(panel.locator('.body')).toHaveCSS('filter', 'none');
  });
});

test.describe('a panel', () => {
  test('shows its SQL, and the same as a table', async ({ page }) => {
    const panel = page.getByRole('group', { name: 'Volume today' });
    await panel.hover();
    await panel.getByRole('button', { name: 'SQL' }).click();
    await expect(panel.getByText(/SELECT sum\(volume\)/)).toBeVisible();
    await panel.getByRole('button', { name: /Table/ }).click();
    await expect(panel.getByRole('grid')).toBeVisible();
  });

  test('is saved as CSV and as a picture', async ({ page }) => {
    const panel = page.getByRole('group', { name: 'changes' });
    await expect(ranking(page)).toHaveCount(5);
    await panel.hover();
    let download = page.waitForEvent('download');
    await panel.getByRole('button', { name: 'CSV' }).click();
    expect((await download).suggestedFilename()).toBe('market-2-1.csv');
    const lines = (await content(download)).toString().trimEnd().split('\n');
    expect(lines[0]).toBe('symbol,ts,price,volume,absolute_price_change,percentage_change');
    expect(lines).toHaveLength(6);
    download = page.waitForEvent('download');
    await panel.getByRole('button', { name: 'PNG' }).click();
    expect((await download).suggestedFilename()).toBe('market-2-1.png');
    const picture = await content(download);
    expect(picture.subarray(1, 4).toString()).toBe('PNG');
    expect(picture.length).toBeGreaterThan(10_000);
  });

  test('has an address of its own', async ({ page }) => {
    await page.goto('/boards/market?symbol=AAPL');
    const panel = page.getByRole('group', { name: 'trades', exact: true });
    await panel.hover();
    await panel.getByRole('link', { name: 'Link' }).click();
    await expect(page).toHaveURL(/\/boards\/market\/2-2\?symbol=AAPL$/);
    await expect(page.getByRole('grid', { name: 'changes' })).toHaveCount(0);
    await expect(panel.locator('strong')).toHaveText('AAPL');
    await page.reload();
    await expect(candles(page).locator('canvas').first()).toBeVisible();
  });
});

test.describe('the flow', () => {
  test('has all parts, live rates, and a ledger that grows and balances', async ({ page }) => {
    await page.goto('/overview');
    const flow = page.getByRole('group', { name: /^Flow/ });
    for (const part of ['source trades', 'stream changes', 'table bars', 'view hourly_volume', 'model next_volume']) {
      await expect(flow.getByRole('button', { name: new RegExp(`^${part}`) })).toBeVisible();
    }
    for (const part of ['source trades', 'stream changes']) {
      const rate = flow.getByRole('button', { name: new RegExp(`^${part}`) }).locator('.rate');
      await expect(rate).toHaveText(/^[1-9][\d.,]*\s*rows\/s$/);
    }
    await moves(flow.getByRole('button', { name: /^source trades/ }).locator('.rate'));
    const account = page.getByRole('row', { name: /^trades source/ });
    await moves(account);
    await expect(account).toContainText('balances');
    await expect(page.getByText('missing')).toHaveCount(0);
  });

  test('opens a part at the right', async ({ page }) => {
    await page.goto('/overview');
    await page.getByRole('button', { name: /^source trades/ }).click();
    const inspector = page.getByRole('complementary', { name: 'source trades' });
    await expect(inspector).toContainText('finnhub');
    await inspector.getByRole('button', { name: 'Close' }).click();
    await expect(inspector).toHaveCount(0);
  });
});

test('what was refused is shown with its check, its reason and its message', async ({ page }) => {
  await page.goto('/overview');
  await page.getByRole('link', { name: 'In quarantine' }).click();
  const sources = page.getByRole('region', { name: 'Sources' });
  await moves(sources.getByRole('row', { name: /^trades/ }));
  const rows = page.getByRole('region', { name: 'Quarantine' }).locator('tbody tr');
  await expect(rows).toHaveCount(6);
  await expect(rows.first()).toContainText('price_positive');
  await rows.first().getByRole('button', { name: 'Message' }).click();
  await expect(page.getByRole('region', { name: 'Quarantine' }).locator('pre')).toContainText('"type": "trade"');
});

test.describe('jobs', () => {
  test('one is run from the list, and its run tells what it does', async ({ page }) => {
    await page.goto('/jobs');
    await page.getByRole('navigation', { name: 'Jobs' }).getByRole('link', { name: /^nightly/ }).click();
    await expect(page.getByRole('heading', { name: 'nightly', level: 2 })).toBeVisible();
    await page.getByRole('button', { name: 'Run now' }).click();
    await expect(page).toHaveURL(/\/jobs\/nightly\/nightly%40/);
    const header = page.locator('header').filter({ has: page.getByRole('heading', { level: 2, name: /^nightly/ }) });
    await expect(header).toContainText('succeeded');
    const graph = page.getByRole('region', { name: 'Graph' });
    await expect(graph.getByRole('button', { name: 'task hourly, succeeded' })).toBeVisible();
    await expect(graph.getByRole('button', { name: 'task compact, succeeded' })).toBeVisible();
    const tasks = page.getByRole('region', { name: 'Tasks of the run' }).getByRole('listitem');
    await expect(tasks).toHaveCount(2);
    await expect(tasks.first()).toContainText('refresh hourly_batch');
    const log = page.getByRole('region', { name: 'Log of hourly' });
    await expect(log).toContainText(/reading \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d/);
    await log.getByRole('searchbox').fill('no line has this');
    await expect(log).not.toContainText('reading');
    await graph.getByRole('button', { name: 'task compact, succeeded' }).click();
    await expect(page.getByRole('region', { name: 'Log of compact' })).toContainText(/merged \d+ files into \d+/);
    await page.getByRole('heading', { level: 2 }).getByRole('link', { name: 'nightly' }).click();
    const run = page.getByRole('region', { name: 'Runs' }).getByRole('row', { name: /succeeded/ }).first();
    await expect(run.getByRole('img', { name: 'hourly succeeded, compact succeeded' })).toBeVisible();
  });

  test('a back-fill says its days before it runs them', async ({ page }) => {
    await page.goto('/jobs/nightly');
    const form = page.getByRole('region', { name: 'Back-fill' });
    const day = (before: number) => new Date(Date.now() - before * 86_400_000).toISOString().slice(0, 10);
    await form.getByLabel('first day').fill(day(2));
    await form.getByLabel('last day').fill(day(1));
    await form.getByRole('button', { name: 'Preview' }).click();
    const days = form.getByRole('table', { name: 'Days of the back-fill' }).locator('tbody tr');
    await expect(days).toHaveCount(2);
    await expect(days.first()).toContainText(day(2));
    await expect(page.getByRole('region', { name: 'Runs' }).getByText('backfill')).toHaveCount(0);
    await form.getByRole('button', { name: /^Run 2 days/ }).click();
    const runs = page.getByRole('region', { name: 'Runs' }).getByRole('row').filter({ hasText: 'backfill' });
    await expect(runs).toHaveCount(2);
    await expect(runs.filter({ hasText: 'succeeded' })).toHaveCount(2);
  });

  test('runs are walked with the arrows and opened with Enter', async ({ page }) => {
    await page.goto('/jobs/model.next_volume.train');
    const runs = page.getByRole('region', { name: 'Runs' }).locator('tbody tr');
    await runs.first().focus();
    await page.keyboard.press('Enter');
    await expect(page.getByRole('region', { name: 'Log of train' })).toContainText('rows of `bar_features`');
  });
});

test.describe('models', () => {
  test('every candidate stands beside both naive forecasts', async ({ page }) => {
    await page.goto('/models');
    const list = page.getByRole('navigation', { name: 'Models' });
    await expect(list.getByRole('link')).toHaveText([/next_price.*no champion/, /next_volume.*champion: version 3/]);
    await list.getByRole('link', { name: /next_volume/ }).click();
    const board = page.getByRole('region', { name: 'Leaderboard' });
    for (const candidate of ['ridge', 'strong naive', 'naive']) {
      await expect(board.getByRole('cell', { name: candidate, exact: true })).toBeVisible();
    }
    await expect(board.getByRole('row', { name: /ridge/ })).toContainText('champion');
    await expect(page.getByRole('region', { name: 'Decisions' }).getByRole('listitem')).toHaveCount(1);
    await expect(page.getByRole('region', { name: 'Decisions' })).toContainText('version 3 in place of no champion');
    await expect(page.getByRole('region', { name: 'Versions' }).locator('tbody tr')).toHaveCount(3);
  });

  test('what was predicted is drawn with what came, for any series', async ({ page }) => {
    await page.goto('/models/next_volume');
    const section = page.getByRole('region', { name: 'Predicted and actual' });
    const chart = section.getByRole('figure', { name: /predicted and actual: 1 series of \d\d+ points/ });
    await expect(chart.locator('canvas')).toBeVisible();
    const before = (await chart.screenshot()).toString('base64');
    await section.getByRole('combobox', { name: 'Series' }).selectOption('MSFT');
    await expect.poll(async () => (await chart.screenshot()).toString('base64') === before).toBe(false);
  });

  test('one without a champion says why', async ({ page }) => {
    await page.goto('/models/next_price');
    await expect(page.getByText('No champion.')).toBeVisible();
    await expect(page.getByRole('region', { name: 'Decisions' })).toContainText(/gain over strong_naive/);
  });
});

test.describe('SQL', () => {
  test('runs, is saved as CSV, and an error says where it is', async ({ page }) => {
    await page.goto('/sql');
    const area = page.getByRole('textbox', { name: 'SQL' });
    await area.fill('SELECT symbol, count(*) AS trades FROM trades GROUP BY symbol ORDER BY symbol');
    await area.press('Control+Enter');
    const rows = page.getByRole('grid', { name: 'Result' }).locator('tbody tr');
    await expect(rows).toHaveCount(5);
    await expect(rows.first()).toContainText('AAPL');
    await rows.first().focus();
    await page.keyboard.press('ArrowDown');
    await expect(rows.nth(1)).toBeFocused();
    await page.keyboard.press('End');
    await expect(rows.last()).toBeFocused();
    await expect(page).toHaveURL(/q=SELECT/);
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'CSV' }).click();
    expect((await content(download)).toString()).toMatch(/^symbol,trades\nAAPL,\d+\n/);
    await area.fill('SELECT symbol FROM trdaes');
    await area.press('Control+Enter');
    await expect(page.getByRole('alert')).toContainText('trdaes');
    forgive(400);
  });

  test('names are completed, and a result is drawn', async ({ page }) => {
    await page.goto('/sql');
    const area = page.getByRole('textbox', { name: 'SQL' });
    await expect(page.getByRole('navigation', { name: 'Relations' }).getByRole('button', { name: 'bars_1m' })).toBeVisible();
    await area.fill('');
    await area.pressSequentially('SELECT symbol, sum(volume) AS volume FROM bars_');
    await expect(page.getByRole('button', { name: 'bars_1m' }).last()).toBeVisible();
    await area.press('Tab');
    await expect(area).toHaveValue(/FROM bars_1m$/);
    // Its columns are known as soon as it is named.
    await area.pressSequentially(' GROUP BY symb');
    await expect(page.locator('#suggestions')).toContainText('symbol');
    await area.press('Tab');
    await expect(area).toHaveValue(/GROUP BY symbol$/);
    await area.press('Control+Enter');
    await page.getByRole('button', { name: 'Chart' }).click();
    await expect(page.getByRole('figure', { name: 'Result: 1 series of 5 points' }).locator('canvas')).toBeVisible();
  });

  test('a relation is opened from the list', async ({ page }) => {
    await page.goto('/sql');
    await page.getByRole('navigation', { name: 'Relations' }).getByRole('button', { name: 'hourly_volume' }).click();
    await expect(page.getByRole('grid', { name: 'Result' })).toBeVisible();
    await expect(page.getByRole('textbox', { name: 'SQL' })).toHaveValue(/FROM hourly_volume/);
  });
});

test('the palette goes to a page by a few letters', async ({ page }) => {
  await page.keyboard.press('Control+k');
  await expect(page.getByRole('dialog', { name: 'Go to' })).toBeVisible();
  await page.keyboard.type('nvol');
  await expect(page.getByRole('option', { name: 'Model · next_volume' })).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/next_volume/);
  await page.keyboard.press('Control+k');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog', { name: 'Go to' })).toHaveCount(0);
});

/** Waits until a page shows what it is about. */
async function filled(page: Page) {
  await expect(page.locator('main h1')).toHaveCount(1);
  await expect(page.locator('main table, main svg[role=group], main canvas').first()).toBeVisible();
}

for (const scheme of ['light', 'dark'] as const) {
  for (const path of PAGES) {
    test(`${path} can be used by everybody, ${scheme}`, async ({ page }) => {
      await page.emulateMedia({ colorScheme: scheme });
      await page.goto(path);
      await filled(page);
      expect(await violations(page)).toEqual([]);
    });
  }

  test(`a run can be used by everybody, ${scheme}`, async ({ page }) => {
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto('/jobs/model.next_volume.train');
    await page.getByRole('region', { name: 'Runs' }).locator('tbody tr').first().click();
    await expect(page.getByRole('region', { name: 'Log of train' }).locator('li').first()).toBeVisible();
    expect(await violations(page)).toEqual([]);
  });
}

for (const width of [760, 1024, 1440, 2560]) {
  test(`nothing runs over the page at ${width}`, async ({ page }) => {
    await page.setViewportSize({ width, height: 900 });
    for (const path of PAGES) {
      await page.goto(path);
      await filled(page);
      const over = await page.evaluate(() => {
        const main = document.querySelector('main')!;
        return main.scrollWidth - main.clientWidth;
      });
      expect(over, path).toBeLessThanOrEqual(0);
    }
  });
}
