// Trades of some hours made up by a seed, as Finnhub sends them: one message a line, oldest first.
// They end where the simulator begins: at its prices, with about its volumes. What only time would
// bring (full hours, enough minutes to learn from) is there when a test begins.

const MARKETS = [
  { symbol: 'AAPL', price: 194.7, jitter: 0.0006, volume: 24_000 },
  { symbol: 'AMZN', price: 153.6, jitter: 0.0008, volume: 20_000 },
  { symbol: 'BINANCE:BTCUSDT', price: 43_650, jitter: 0.0005, volume: 3 },
  { symbol: 'BINANCE:ETHUSDT', price: 2_310, jitter: 0.0007, volume: 34 },
  { symbol: 'MSFT', price: 374.7, jitter: 0.0006, volume: 22_000 },
];
const MINUTE_MS = 60_000;
const TRADES_A_MINUTE = 2;
/** How often there is a trade whose price no market has: it ends in quarantine. */
const SPOILT_EVERY_MINUTES = 600;

interface Trade {
  s: string;
  p: number;
  v: number;
  t: number;
  c: string[];
}

/** The messages of `hours` hours that end a minute before `now`, one for each minute. */
export function history(seed: number, hours: number, now: number): string[] {
  const random = randomOf(seed);
  const start = now - (now % MINUTE_MS) - (hours * 60 + 1) * MINUTE_MS;
  const minutes = Array.from({ length: hours * 60 }, (): Trade[] => []);
  for (const { symbol, price, jitter, volume } of MARKETS) {
    let level = 1;
    // How busy a market is lasts: that is what can be learned of volume.
    let busy = 0;
    const made: Trade[] = [];
    for (const [at, minute] of minutes.entries()) {
      busy = 0.6 * busy + 0.9 * (random() + random() - 1);
      for (let nth = 0; nth < TRADES_A_MINUTE; nth += 1) {
        level *= 1 + jitter * (random() + random() - 1);
        const size = (volume / TRADES_A_MINUTE) * Math.exp(busy) * (0.8 + 0.4 * random());
        const t = start + at * MINUTE_MS + Math.floor(((nth + random()) * MINUTE_MS) / TRADES_A_MINUTE);
        const trade = { s: symbol, p: level, v: Number(size.toPrecision(5)), t, c: [] };
        minute.push(trade);
        made.push(trade);
      }
    }
    for (const trade of made) trade.p = Number(((price * trade.p) / level).toFixed(2));
  }
  return minutes.map((data, at) => {
    data.sort((a, b) => a.t - b.t);
    if (at % SPOILT_EVERY_MINUTES === 0) data[0]!.p *= -1;
    return JSON.stringify({ type: 'trade', data });
  });
}

/** Numbers in [0, 1) by a seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
