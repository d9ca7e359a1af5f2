import { describe, expect, it } from 'vitest';
import { band, barStep, barTicks, candles, pivot, plot, seriesNames, spread, stack } from './series';
import { History, sparkPoints } from './history';

const rows = (names: string[], rows: unknown[][]) => ({
  columns: names.map((name) => ({ name, type: 'text' })),
  rows,
});

describe('candles', () => {
  const result = rows(
    ['symbol', 'window_start', 'open', 'high', 'low', 'close'],
    [
      ['B', '2026-01-05T00:00:01Z', 1, 2, 1, 2],
      ['A', '2026-01-05T00:00:01Z', '5.5', 6, 5, 6],
      ['A', '2026-01-05T00:00:00Z', 4, 5, 4, 5],
      ['A', '2026-01-05T00:00:02Z', null, 5, 4, 5],
    ],
  );

  it('are those of one series, oldest first, without the broken ones', () => {
    expect(seriesNames(result, 'symbol')).toEqual(['A', 'B']);
    const made = candles(result, 'symbol', 'A');
    expect(made.map(({ open, close }) => [open, close])).toEqual([
      [4, 5],
      [5.5, 6],
    ]);
    expect(made[0]?.time).toBe(Date.parse('2026-01-05T00:00:00Z') / 1000);
  });
});

it('a band keeps the last point of a time', () => {
  const result = rows(
    ['for_time', 'prediction', 'lower', 'upper'],
    [
      ['2026-01-05T00:01:00Z', 2, 1, 3],
      ['2026-01-05T00:00:00Z', 1, null, null],
    ],
  );
  expect(band(result, null, null).map(({ prediction }) => prediction)).toEqual([1, 2]);
});

describe('plots', () => {
  it('share one x, and leave holes where a series has no value', () => {
    const made = plot(rows(['x', 'y', 'color'], [[2, 5, 'b'], [1, 4, 'a'], [1, 3, 'b']]));
    expect(made).toEqual({
      scale: 'number',
      x: [1, 2],
      names: [],
      series: [
        { name: 'a', y: [4, null] },
        { name: 'b', y: [3, 5] },
      ],
    });
    expect(stack(made.series)).toEqual([
      [4, 0],
      [7, 5],
    ]);
  });

  it('names stand in the order of the rows, newest last', () => {
    const made = plot(rows(['x', 'y'], [['two', 2], ['one', 1]]));
    expect(made.names).toEqual(['one', 'two']);
    expect(made.series).toEqual([{ name: '', y: [1, 2] }]);
  });

  it('nothing is a plot of nothing', () => {
    expect(plot(rows(['x', 'y'], [])).series).toEqual([]);
  });
});

describe('labels', () => {
  it.each([
    [[10, 50], [10, 50]],
    [[50, 50], [50, 64]],
    [[98, 99], [79, 93]],
    [[0], [7]],
  ])('%j stand at %j', (wanted, placed) => expect(spread(wanted, 14, 100)).toEqual(placed));
});

it('a pivot is in order both ways, numbers as numbers', () => {
  const made = pivot(
    rows(['pivot_row', 'pivot_column', 'pivot_value'], [['b', 10, 1], ['a', 9, -3], ['b', 9, 2]]),
  );
  expect(made).toEqual({
    columns: ['9', '10'],
    rows: [
      { name: 'a', values: [-3, null] },
      { name: 'b', values: [2, 1] },
    ],
    largest: 3,
  });
});

it('a history has a point a second, and bounds', () => {
  const history = new History();
  history.note('a', 1, 0);
  expect(history.note('a', 2, 500)).toEqual([2]);
  expect(history.note('a', 3, 1500)).toEqual([2, 3]);
  expect(history.note('a', null, 3000)).toEqual([2, 3]);
  for (let at = 2; at < 200; at += 1) history.note('a', at, at * 1000);
  expect(history.note('a', null, 0)).toHaveLength(60);
  expect(sparkPoints([1], 59, 10)).toBe('');
  expect(sparkPoints([1, 2], 59, 10)).toBe('58.0,9.0 59.0,1.0');
});

describe('bars', () => {
  const hours = (count: number) => Array.from({ length: count }, (_, at) => 1_767_571_200 + at * 3_600);

  it('are as far apart as the nearest two; one alone is an hour, or 1', () => {
    expect(barStep([0, 7_200, 10_800], 'time')).toBe(3_600);
    expect(barStep([5], 'time')).toBe(3_600);
    expect(barStep([5], 'name')).toBe(1);
    expect(barStep([], 'number')).toBe(1);
  });

  it('are all labelled while there is room, one alone too', () => {
    expect(barTicks(hours(1), 'time', 9)).toEqual(hours(1));
    expect(barTicks(hours(9), 'time', 9)).toEqual(hours(9));
  });

  it('are labelled at round hours when there is not', () => {
    const shown = barTicks(hours(48).slice(1), 'time', 9).map((at) => (at / 3_600) % 24);
    expect(shown).toEqual([6, 12, 18, 0, 6, 12, 18]);
    expect(barTicks([0, 1, 2, 3, 4], 'name', 3)).toEqual([0, 2, 4]);
  });

  it('that are too many for that have labels evenly', () => {
    const many = Array.from({ length: 10_000 }, (_, at) => at * 3_600);
    expect(barTicks(many, 'time', 5).length).toBeLessThanOrEqual(5);
  });
});
