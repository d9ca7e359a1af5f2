import { expect, it } from 'vitest';
import { SERIES_COLOURS, colourOf, coloursOf } from './colour';

it('a name always has the same colour', () => {
  expect(colourOf('BINANCE:BTCUSDT')).toBe(colourOf('BINANCE:BTCUSDT'));
  expect(coloursOf(['b', 'a'])).toEqual(coloursOf(['a', 'b', 'a']));
});

it('names of one chart differ while colours last', () => {
  const names = Array.from({ length: 20 }, (_, at) => `series ${at}`);
  for (let count = 1; count <= SERIES_COLOURS; count += 1) {
    expect(new Set(coloursOf(names.slice(0, count)).values()).size).toBe(count);
  }
  for (const colour of coloursOf(names).values()) expect(colour).toBeLessThan(SERIES_COLOURS);
});
