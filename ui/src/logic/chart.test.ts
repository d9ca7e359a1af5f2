import { expect, it } from 'vitest';
import { chartOf } from './chart';

const rows = (types: Record<string, string>, rows: unknown[][]) => ({
  columns: Object.entries(types).map(([name, type]) => ({ name, type })),
  rows,
});

it('numbers over a time are lines, one for each column', () => {
  const made = chartOf(rows({ at: 'timestamp', high: 'double', low: 'double' }, [['t', 2, 1]]));
  expect(made?.kind).toBe('line');
  expect(made?.rows.rows).toEqual([
    ['t', 2, 'high'],
    ['t', 1, 'low'],
  ]);
});

it('one number over a time is a line for each name', () => {
  const made = chartOf(rows({ symbol: 'text', at: 'timestamp', price: 'double' }, [['A', 't', 2]]));
  expect(made?.rows.rows).toEqual([['t', 2, 'A']]);
});

it('numbers over names are bars, while there are few', () => {
  const types = { symbol: 'text', trades: 'bigint' };
  const made = chartOf(rows(types, [['A', '9007199254740993']]));
  expect(made).toMatchObject({ kind: 'bars', rows: { rows: [['A', '9007199254740993', 'trades']] } });
  expect(chartOf(rows(types, Array.from({ length: 61 }, () => ['A', 1])))).toBeNull();
});

it('what has no number, no place for it or no row is no chart', () => {
  expect(chartOf(rows({ symbol: 'text' }, [['A']]))).toBeNull();
  expect(chartOf(rows({ trades: 'bigint' }, [[1]]))).toBeNull();
  expect(chartOf(rows({ symbol: 'text', trades: 'bigint' }, []))).toBeNull();
});
