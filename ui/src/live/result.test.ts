import { describe, expect, it } from 'vitest';
import { LiveResult, type Frame } from './result';

const columns = [
  { name: 'symbol', type: 'text' },
  { name: 'high', type: 'double' },
];

function check(key: string[] | null, rows: unknown[][], delta: Frame, expected: unknown[][] | 'broken') {
  const live = new LiveResult();
  live.apply({ id: 'a', seq: 1, snapshot: { columns, key, rows } }, 0);
  const applied = live.apply({ id: 'a', seq: 2, ...delta }, 5);
  if (expected === 'broken') expect(applied.kind).toBe('broken');
  else expect(applied).toMatchObject({ kind: 'result', result: { rows: expected, at: 5 } });
}

const start = [['AAPL', 190.5], ['MSFT', 371]];

describe('with a key', () => {
  it('deletes, replaces in place, appends', () =>
    check(
      ['symbol'],
      start,
      { delete: [['MSFT']], upsert: [['AAPL', 191], ['AMZN', 153.4]] },
      [['AAPL', 191], ['AMZN', 153.4]],
    ));
  it('a row that was deleted comes back at the end', () =>
    check(
      ['symbol'],
      start,
      { delete: [['AAPL']], upsert: [['AAPL', 1]] },
      [['MSFT', 371], ['AAPL', 1]],
    ));
  it('orders what is left', () =>
    check(
      ['symbol'],
      start,
      { upsert: [['AMZN', 1]], order: [2, 0, 1] },
      [['AMZN', 1], ['AAPL', 190.5], ['MSFT', 371]],
    ));
  it('a row that is not there cannot go', () =>
    check(['symbol'], start, { delete: [['X']] }, 'broken'));
  it('an order of other rows is broken', () => {
    check(['symbol'], start, { order: [0] }, 'broken');
    check(['symbol'], start, { order: [0, 7] }, 'broken');
  });
});

describe('without a key', () => {
  it('removes the first of equal rows, appends', () =>
    check(
      null,
      [['A', 1], ['B', 2], ['A', 1]],
      { delete: [['A', 1]], upsert: [['C', 3]] },
      [['B', 2], ['A', 1], ['C', 3]],
    ));
  it('equal rows may go together', () =>
    check(null, [['A', 1], ['A', 1]], { delete: [['A', 1], ['A', 1]] }, []));
});

it('a hole in the numbers breaks it, and so does a delta before a snapshot', () => {
  check(['symbol'], start, { seq: 3, upsert: [] }, 'broken');
  expect(new LiveResult().apply({ seq: 1, upsert: [] }, 0).kind).toBe('broken');
});

it('deltas go on after an error', () => {
  const live = new LiveResult();
  live.apply({ seq: 1, snapshot: { columns, key: ['symbol'], rows: start } }, 0);
  const problem = { type: 'x', title: 'slow', status: 503, code: 'unavailable' as const };
  const failed = live.apply({ seq: 2, error: problem, retrying: true }, 1);
  expect(failed).toEqual({ kind: 'error', problem, retrying: true });
  const next = live.apply({ seq: 3, snapshot: { columns, key: null, rows: [['B', 1]] } }, 2);
  expect(next).toMatchObject({ kind: 'result', result: { rows: [['B', 1]], key: [] } });
});

it('a result that was handed out does not change', () => {
  const live = new LiveResult();
  const first = live.apply({ seq: 1, snapshot: { columns, key: ['symbol'], rows: start } }, 0);
  live.apply({ seq: 2, delete: [['AAPL']], upsert: [['MSFT', 0]] }, 1);
  expect(first).toMatchObject({ result: { rows: [['AAPL', 190.5], ['MSFT', 371]] } });
});

it('deltas lead to what a snapshot would say', () => {
  let seed = 7;
  const below = (n: number) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % n;
  const live = new LiveResult();
  let rows = new Map<number, unknown[]>();
  live.apply({ seq: 1, snapshot: { columns, key: ['symbol'], rows: [] } }, 0);
  for (let seq = 2; seq < 500; seq += 1) {
    const gone = [...rows.keys()].filter(() => below(4) === 0);
    for (const key of gone) rows.delete(key);
    const upsert = Array.from({ length: below(4) }, () => [below(12), seq + below(9)]);
    for (const row of upsert) rows.set(row[0]!, row);
    // A map appends and replaces in place as the protocol does.
    let order: number[] | null = null;
    if (below(3) === 0) {
      const entries = [...rows];
      order = entries.map((_, at) => at).sort(() => below(3) - 1);
      rows = new Map(order.map((at) => entries[at]!));
    }
    const applied = live.apply({ seq, delete: gone.map((key) => [key]), upsert, order }, 0);
    expect(applied).toMatchObject({ kind: 'result', result: { rows: [...rows.values()] } });
  }
});
