import { describe, expect, it } from 'vitest';
import type { Filter } from '../api/client';
import { choose, chosen, paramsOf } from './filters';
import { formatRoute, parseRoute } from './route';

const filters: Filter[] = [
  { name: 'symbol', options: [], default: 'BINANCE:BTCUSDT' },
  { name: 'venue', options: [], default: null },
];

describe('filters', () => {
  it('come from the address, else from the file', () => {
    expect(chosen(filters, { symbol: 'AAPL', page: '2' })).toEqual({ symbol: 'AAPL', venue: null });
    expect(chosen(filters, {})).toEqual({ symbol: 'BINANCE:BTCUSDT', venue: null });
  });

  it('go into the address, the default out of it', () => {
    expect(choose(filters, { venue: 'x' }, 'symbol', 'AAPL')).toEqual({ venue: 'x', symbol: 'AAPL' });
    expect(choose(filters, { symbol: 'AAPL' }, 'symbol', 'BINANCE:BTCUSDT')).toEqual({});
    expect(choose(filters, {}, 'other', 'AAPL')).toEqual({});
  });

  it('only what a statement reads is sent with it', () => {
    const values = { symbol: 'AAPL', sym: 1 };
    expect(paramsOf('SELECT 1 WHERE symbol = $symbol', values)).toEqual({ symbol: 'AAPL' });
    expect(paramsOf('SELECT 1', values)).toEqual({});
  });
});

describe('addresses', () => {
  it('go there and back', () => {
    const address = formatRoute('boards', 'a/b c', { symbol: 'BINANCE:BTCUSDT' });
    const [path = '', search = ''] = address.split('?');
    expect(parseRoute(path, search)).toEqual({
      page: 'boards',
      name: 'a/b c',
      part: null,
      query: { symbol: 'BINANCE:BTCUSDT' },
    });
  });

  it.each([
    ['/', null, null],
    ['/nowhere', null, null],
    ['/jobs', 'jobs', null],
    ['/jobs/%E0%A4%A', 'jobs', '%E0%A4%A'],
  ])('%s', (path, page, name) => expect(parseRoute(path, '')).toEqual({ page, name, part: null, query: {} }));
});
