// A market that moves by a seed: what the market-lambda example would have after a day, for the fake
// server. Every result is computed from the state, as the real server computes it from tables.

const SYMBOLS = [
  ['AAPL', 190.4, 0.0004, 30],
  ['AMZN', 153.2, 0.0005, 24],
  ['BINANCE:BTCUSDT', 64_120, 0.0003, 0.2],
  ['BINANCE:ETHUSDT', 3_105, 0.0005, 3],
  ['GBP', 1.2734, 0.0001, 900],
  ['MSFT', 371.1, 0.0003, 18],
];
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Numbers in [0, 1) by a seed (mulberry32). */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const round = (value, places = 4) => Number(value.toFixed(places));
const iso = (ms) => new Date(ms).toISOString();
const columns = (text) =>
  text.split(' ').map((each) => {
    const [name, type = 'text'] = each.split(':');
    return { name, type };
  });

export class Market {
  constructor(seed, now) {
    this.random = randomOf(seed);
    this.prices = new Map(SYMBOLS.map(([symbol, price]) => [symbol, price]));
    this.latest = new Map();
    this.bars = [];
    this.seconds = [];
    this.hours = [];
    this.count = 184_213;
    this.paused = false;
    this.start = now;
    const dayStart = now - (now % (24 * HOUR));
    for (let at = dayStart; at <= now; at += HOUR) {
      for (const [symbol, , , size] of SYMBOLS) {
        const shape = 0.6 + 0.9 * Math.exp(-((((at / HOUR) % 24) - 14) ** 2) / 18);
        const full = size * 3600 * shape * (0.7 + 0.6 * this.random());
        const share = at + HOUR > now ? (now - at) / HOUR : 1;
        this.hours.push({ symbol, at, volume: full * share });
      }
    }
    const minute = now - (now % MINUTE);
    for (let at = minute - 180 * MINUTE; at < minute - 5 * MINUTE; at += MINUTE) this.makeBar(at);
    for (let at = minute - 5 * MINUTE; at < now; at += 200) this.step(at, 0.6);
    this.now = now;
  }

  makeBar(at) {
    for (const [symbol, , jitter, size] of SYMBOLS) {
      const open = this.prices.get(symbol);
      let [high, low, close] = [open, open, open];
      for (let tick = 0; tick < 20; tick += 1) {
        close *= 1 + jitter * (this.random() + this.random() - 1.0003);
        high = Math.max(high, close);
        low = Math.min(low, close);
      }
      this.prices.set(symbol, close);
      this.bars.push({ symbol, at, open, high, low, close, volume: size * 60 * (0.4 + 1.2 * this.random()) });
    }
  }

  /** A trade of some symbols at a time. */
  step(now, share = 0.5) {
    this.now = now;
    if (this.paused) return;
    for (const [symbol, , jitter, size] of SYMBOLS) {
      if (this.random() > share) continue;
      const before = this.prices.get(symbol);
      const places = before > 10 ? 2 : 4;
      const price = round(before * (1 + jitter * (this.random() + this.random() - 1)), places);
      const volume = round(size * (0.05 + this.random() ** 3 * 4), 3);
      this.prices.set(symbol, price);
      this.count += 1;
      const change = price - before;
      this.latest.set(symbol, [symbol, iso(now), price, volume, round(change, 4), round((100 * change) / before, 5)]);
      this.fill(this.seconds, symbol, now - (now % 1_000), price, volume);
      this.fill(this.bars, symbol, now - (now % MINUTE), price, volume);
      const hour = now - (now % HOUR);
      let sum = this.hours.find((each) => each.symbol === symbol && each.at === hour);
      if (!sum) this.hours.push((sum = { symbol, at: hour, volume: 0 }));
      sum.volume += volume;
    }
    if (this.seconds.length > 4_000) this.seconds.splice(0, 500);
  }

  fill(bars, symbol, at, price, volume) {
    const bar = bars.findLast((each) => each.symbol === symbol);
    if (bar?.at === at) {
      bar.high = Math.max(bar.high, price);
      bar.low = Math.min(bar.low, price);
      bar.close = price;
      bar.volume += volume;
    } else bars.push({ symbol, at, open: price, high: price, low: price, close: price, volume });
  }

  candles(bars, symbol, last = Infinity) {
    const mine = bars.filter((bar) => bar.symbol === symbol && bar.at < last).slice(-300).reverse();
    return {
      columns: columns('symbol window_start:timestamp open:double high:double low:double close:double volume:double'),
      key: ['symbol', 'window_start'],
      rows: mine.map((b) => [b.symbol, iso(b.at), round(b.open), round(b.high), round(b.low), round(b.close), round(b.volume, 3)]),
    };
  }

  /** Ends of minutes and what is forecast for the minute after. */
  forecast(symbol, of, spread) {
    const bars = this.bars.filter((bar) => bar.symbol === symbol);
    const rows = bars.map((bar, at) => {
      const mean = of === 'volume' ? average(bars.slice(Math.max(0, at - 4), at + 1)) : bar.close;
      const width = of === 'volume' ? spread : mean * spread;
      return [symbol, iso(bar.at + 2 * MINUTE), round(mean), round(mean - width), round(mean + width)];
    });
    return {
      columns: columns('symbol for_time:timestamp prediction:double lower:double upper:double'),
      key: null,
      rows: rows.slice(-300).reverse(),
    };
  }

  volumes(symbol) {
    const bars = this.bars.filter((bar) => bar.symbol === symbol).slice(-300).reverse();
    return {
      columns: columns('x:timestamp y:double color'),
      key: ['x', 'color'],
      rows: bars.map((bar) => [iso(bar.at + MINUTE), round(Math.log(1 + bar.volume)), symbol]),
    };
  }

  panel(id, { symbol }) {
    switch (id) {
      case '1-1':
        return { columns: columns('sum(volume):double'), key: null, rows: [[round(this.hours.reduce((sum, h) => sum + h.volume, 0), 3)]] };
      case '1-2':
        return { columns: columns('max(ts):timestamp'), key: null, rows: [[[...this.latest.values()].map((row) => row[1]).sort().at(-1) ?? null]] };
      case '2-1':
        return {
          columns: columns('symbol ts:timestamp price:double volume:double absolute_price_change:double percentage_change:double'),
          key: null,
          rows: [...this.latest.values()].sort((a, b) => b[5] - a[5]),
        };
      case '2-2':
        return this.candles(this.seconds, symbol);
      case '3-1':
        return {
          columns: columns('x:timestamp y:double color'),
          key: ['x', 'color'],
          rows: this.hours.toSorted((a, b) => b.at - a.at).map((h) => [iso(h.at), round(h.volume, 2), h.symbol]),
        };
      case '3-2':
        return {
          columns: columns('pivot_row pivot_column:int pivot_value:double'),
          key: ['pivot_row', 'pivot_column'],
          rows: this.hours.map((h) => [h.symbol, new Date(h.at).getUTCHours(), round(h.volume, 2)]),
        };
      case '4-1':
        return this.candles(this.bars, symbol);
      case '4-2':
        return this.volumes(symbol);
      case '4-1 band':
        return this.forecast(symbol, 'close', 0.0012);
      default:
        return this.forecast(symbol, 'volume', 0.55);
    }
  }

  system(name, params) {
    const { now } = this;
    const made = this.count;
    const ago = (ms) => iso(now - ms);
    const tables = {
      sources: [
        'source state:text connector frames_received:bigint bytes_received:bigint reconnects:int last_frame_at:timestamp watermark:timestamp gap_seconds:double',
        [['trades', this.paused ? 'paused' : 'live', 'finnhub', Math.round(made / 2.4), made * 96, 1, ago(180), ago(5_180), 3.2]],
      ],
      streams: [
        'stream state:text watermark:timestamp state_bytes:bigint emit',
        [
          ['bars_1m', 'running', ago(5_400), 49_152, 'update'],
          ['changes', 'running', ago(5_180), 1_920, ''],
          ['hourly', 'running', ago(5_400), 12_288, 'update'],
        ],
      ],
      tables: [
        'table state:text format version:bigint rows:bigint bytes:bigint',
        [
          ['bars', 'running', 'delta', 912, 51_840, 2_411_724],
          ['hourly_batch', 'ready', 'delta', 31, 4_320, 318_204],
          ['trades_history', 'running', 'delta', 2_204, made - 400, 96_410_112],
        ],
      ],
      sinks: [
        'sink state:text guarantee target rows_waiting:bigint reason',
        [['speed_table', 'retrying', 'exactly once', 'postgres 127.0.0.1:5432', 1_204 + Math.round((now - this.start) / 900), 'the connection was refused']],
      ],
      views: ['view kind', [['bar_features', 'sql'], ['hourly_volume', 'merged']]],
      models: [
        'model target horizon champion:bigint serves decision reason decided_at:timestamp',
        [
          ['next_price', 'close', '1m', null, 'strong_naive', 'no_champion', 'ridge 3 is 0.2 % worse than strong_naive (Diebold-Mariano p = 0.61).', ago(9 * HOUR)],
          ['next_volume', 'log_volume', '1m', 3, 'ridge', 'promoted', 'RMSE 4.2 % lower than that of strong_naive (p = 0.0004) on 9,840 rows.', ago(9 * HOUR)],
        ],
      ],
      graph: [
        'upstream_kind upstream downstream_kind downstream',
        [
          ['source', 'trades', 'stream', 'changes'],
          ['source', 'trades', 'stream', 'hourly'],
          ['source', 'trades', 'stream', 'bars_1m'],
          ['source', 'trades', 'table', 'trades_history'],
          ['stream', 'changes', 'sink', 'speed_table'],
          ['stream', 'bars_1m', 'table', 'bars'],
          ['stream', 'hourly', 'view', 'hourly_volume'],
          ['table', 'hourly_batch', 'view', 'hourly_volume'],
          ['table', 'trades_history', 'table', 'hourly_batch'],
          ['table', 'bars', 'view', 'bar_features'],
          ['view', 'bar_features', 'model', 'next_price'],
          ['view', 'bar_features', 'model', 'next_volume'],
        ],
      ],
      ledger: this.ledger(made),
      jobs: [
        'job schedule timezone catch_up:boolean wait_for:list paused:boolean next_fires:list open_runs:int',
        [
          ['nightly', '15 0 * * *', 'UTC', true, ['trades'], false, [1, 2, 3].map((day) => iso(now - (now % (24 * HOUR)) + day * 24 * HOUR + 15 * MINUTE)), 1],
          ['weekly_report', '0 6 * * MON', 'UTC', false, [], true, [], 0],
        ],
      ],
      runs: [
        'run job trigger day state reason cancelling:boolean created_at:timestamp started_at:timestamp ended_at:timestamp duration_ms:bigint tasks:int tasks_ended:int',
        this.runs(),
      ],
      tasks: [
        'run job task after:list state attempt:int failures:int queued_at:timestamp started_at:timestamp ended_at:timestamp duration_ms:bigint note',
        this.tasks(params.run ?? 'nightly-0'),
      ],
      model_versions: [
        'model version:bigint candidate state trained_at:timestamp rows:bigint',
        ['next_price', 'next_volume'].flatMap((model, at) =>
          [3, 2, 1].map((version) => [model, version, 'ridge', at === 1 && version === 3 ? 'champion' : version === 3 ? 'challenger' : 'retired', ago((3 - version) * 168 * HOUR + 10 * HOUR), 90_120 + version * 3_310]),
        ),
      ],
      evaluations: [
        'model version:bigint candidate evaluated_at:timestamp rows:bigint rmse:double mae:double mase:double direction:double coverage:double decision reason',
        this.evaluations(),
      ],
    };
    const table = tables[name];
    if (!table) return null;
    const made2 = { columns: columns(table[0]), key: null, rows: table[1] };
    for (const [column, value] of Object.entries(params)) {
      const at = made2.columns.findIndex((each) => each.name === column);
      if (at >= 0) made2.rows = made2.rows.filter((row) => row[at] === value);
    }
    return made2;
  }

  ledger(made) {
    const frames = Math.round(made / 2.4);
    const names =
      'kind name frames_received frames_decoded frames_filtered frames_quarantined rows_decoded rows_valid rows_quarantined rows_duplicate rows_in rows_filtered rows_late rows_emitted rows_closed rows_open rows_handed rows_written rows_superseded';
    const list = names.split(' ');
    const row = (fields) => list.map((name) => fields[name] ?? null);
    const types = list.map((name, at) => (at < 2 ? name : `${name}:bigint`)).join(' ');
    const late = 12;
    return [
      types,
      [
        row({ kind: 'source', name: 'trades', frames_received: frames + 331, frames_decoded: frames, frames_filtered: 330, frames_quarantined: 1, rows_decoded: made + 43, rows_valid: made, rows_quarantined: 7, rows_duplicate: 36 }),
        row({ kind: 'stream', name: 'changes', rows_in: made, rows_filtered: 0, rows_quarantined: 0, rows_late: 0, rows_emitted: made, rows_closed: 0, rows_open: 0 }),
        row({ kind: 'stream', name: 'hourly', rows_in: made, rows_filtered: 0, rows_quarantined: 0, rows_late: late, rows_emitted: 0, rows_closed: made - late - 9_214, rows_open: 9_214 }),
        row({ kind: 'stream', name: 'bars_1m', rows_in: made, rows_filtered: 0, rows_quarantined: 0, rows_late: late, rows_emitted: 0, rows_closed: made - late - 310, rows_open: 310 }),
        row({ kind: 'table', name: 'trades_history', rows_handed: made - 400, rows_written: made - 400, rows_superseded: 0 }),
        row({ kind: 'sink', name: 'speed_table', rows_handed: 171_003, rows_written: 64_120, rows_superseded: 106_883 }),
      ],
    ];
  }

  runs() {
    const day = 24 * HOUR;
    const midnight = this.now - (this.now % day);
    return Array.from({ length: 14 }, (_, at) => {
      const period = midnight - (at + 1) * day;
      const started = at === 0 ? this.start - 42_000 : period + day + 15 * MINUTE;
      const state = at === 0 ? 'running' : at === 4 ? 'failed' : at === 9 ? 'cancelled' : 'succeeded';
      const length = 61_000 + ((at * 7919) % 23_000);
      const ended = at === 0 ? null : started + length;
      const reason = at === 4 ? 'task `hourly` failed after 3 attempts: the object store did not answer for 30 s' : at === 9 ? 'a person cancelled it' : null;
      return [`nightly-${at}`, 'nightly', at === 6 ? 'backfill' : at === 0 ? 'manual' : 'schedule', iso(period).slice(0, 10), state, reason, false, iso(started - 800), iso(started), ended && iso(ended), ended && length, 2, at === 0 ? 1 : 2];
    });
  }

  tasks(run) {
    const at = Number(run.split('-').at(-1));
    const row = this.runs()[at];
    if (!row) return [];
    const started = Date.parse(row[8]);
    const failed = row[4] === 'failed';
    const first = started + 29_400;
    const last = row[9] ? Date.parse(row[9]) : null;
    return [
      [run, 'nightly', 'hourly', [], failed ? 'failed' : 'succeeded', failed ? 3 : 1, failed ? 3 : 0, iso(started), iso(started + 300), iso(first), 29_100, failed ? 'the object store did not answer for 30 s' : 'replaced 144 rows of 2026-11-20 in 1 file'],
      [run, 'nightly', 'compact', ['hourly'], failed ? 'skipped' : last ? 'succeeded' : 'running', failed ? 0 : 1, 0, failed ? null : iso(first), failed ? null : iso(first + 900), failed || !last ? null : iso(last), failed || !last ? null : last - first - 900, failed ? '`hourly` did not succeed' : last ? 'wrote 3 files of 128 MB from 211' : null],
    ];
  }

  evaluations() {
    const rows = [];
    for (let day = 0; day < 5; day += 1) {
      const at = iso(this.now - 9 * HOUR - day * 24 * HOUR);
      const wave = 1 + 0.02 * Math.sin(day * 2);
      const add = (model, version, candidate, rmse, mae, mase, direction, coverage, decision, reason) =>
        rows.push([model, version, candidate, at, 9_840 - day * 7, round(rmse * wave, 5), round(mae * wave, 5), mase, direction, coverage, decision, reason]);
      add('next_volume', 3, 'ridge', 0.4211, 0.3262, 0.812, 0.664, 0.797, day === 0 ? 'kept' : day === 1 ? 'promoted' : 'not_yet', day === 0 ? 'No challenger is better by 1 %.' : day === 1 ? 'RMSE 4.2 % lower than that of strong_naive (p = 0.0004) on 9,840 rows.' : `Only ${1_990 - day * 400} rows since both were trained; 2,000 are asked for.`);
      add('next_volume', null, 'strong_naive', 0.4396, 0.3413, 0.85, 0.641, 0.803, null, null);
      add('next_volume', null, 'naive', 0.5462, 0.4236, 1, 0.5, 0.801, null, null);
      add('next_price', 3, 'ridge', 18.744, 11.92, 1.004, 0.507, 0.796, 'no_champion', 'RMSE 0.2 % higher than that of strong_naive (Diebold-Mariano p = 0.61): the price of the next minute cannot be told from this.');
      add('next_price', null, 'strong_naive', 18.702, 11.87, 1, 0.502, 0.801, null, null);
      add('next_price', null, 'naive', 18.71, 11.88, 1, 0.499, 0.802, null, null);
    }
    return rows;
  }
}

function average(bars) {
  return bars.reduce((sum, bar) => sum + Math.log(1 + bar.volume), 0) / bars.length;
}

const candlesSql = `SELECT symbol, window_start, first_value(price ORDER BY ts) AS open, max(price) AS high, min(price) AS low, last_value(price ORDER BY ts) AS close, sum(volume) AS volume FROM tumble(trades, ts, interval '1 second') WHERE symbol = $symbol GROUP BY symbol, window_start ORDER BY window_start DESC LIMIT 300`;
const bandSql = (model) =>
  `SELECT symbol, for_time, prediction, lower, upper FROM ${model} WHERE symbol = $symbol ORDER BY for_time DESC LIMIT 300`;
const panel = (id, kind, label, sql, key, width, options = {}, sets = undefined) => ({
  id, kind, label, sql, key, options, width, ...(sets ? { sets } : {}),
});

/** The dashboard of market-lambda, as the real server serves it. */
export const DASHBOARDS = [
  {
    name: 'market',
    title: 'Market',
    filters: [{ name: 'symbol', label: 'symbol', options_sql: 'SELECT symbol FROM latest(trades)', options: [], default: 'BINANCE:BTCUSDT' }],
    rows: [
      [
        panel('1-1', 'kpi', 'Volume today', 'SELECT sum(volume) FROM hourly_volume WHERE window_start >= current_date', [], 6, { format: 'number' }),
        panel('1-2', 'kpi', 'Freshness', 'SELECT max(ts) FROM trades', [], 6, { format: 'age' }),
      ],
      [
        panel('2-1', 'ranking', 'changes', 'SELECT * FROM latest(changes) ORDER BY percentage_change desc NULLS LAST LIMIT 100', [], 6, { flash: 'price', spark: 'price' }, 'symbol'),
        panel('2-2', 'candles', 'trades', candlesSql, ['symbol', 'window_start'], 6, { by: 'symbol' }),
      ],
      [
        panel('3-1', 'bars', 'hourly_volume', 'SELECT window_start AS x, volume AS y, symbol AS color FROM hourly_volume ORDER BY 1 DESC LIMIT 300', ['x', 'color'], 6),
        panel('3-2', 'pivot', 'hourly_volume', 'SELECT symbol AS pivot_row, hour(window_start) AS pivot_column, sum(volume) AS pivot_value FROM hourly_volume GROUP BY 1, 2 ORDER BY 1, 2', ['pivot_row', 'pivot_column'], 6),
      ],
      [
        panel('4-1', 'candles', 'Price, one minute ahead', 'SELECT symbol, window_start AS window_start, open, high, low, close, volume AS volume FROM bars_1m WHERE symbol = $symbol ORDER BY window_start DESC LIMIT 300', ['symbol', 'window_start'], 6, { by: 'symbol', band: { model: 'next_price', sql: bandSql('next_price') } }),
        panel('4-2', 'line', 'Log volume, one minute ahead', 'SELECT window_end AS x, log_volume AS y, symbol AS color FROM bar_features WHERE symbol = $symbol ORDER BY 1 DESC LIMIT 300', ['x', 'color'], 6, { band: { model: 'next_volume', sql: bandSql('next_volume') } }),
      ],
    ],
  },
];
