import { describe, expect, it } from 'vitest';
import { standings } from './models';
import { placeOf } from './place';

const evaluation = (candidate: string, rmse: number | null, day = 5, version: number | null = null) => ({
  candidate,
  version,
  rmse,
  evaluated_at: `2026-01-0${day}T04:00:00Z`,
});

describe('the board of a model', () => {
  it('has the smallest error first, each with its gain on both naive forecasts', () => {
    const board = standings([
      evaluation('naive', 2),
      evaluation('ridge', 0.9, 5, 3),
      evaluation('strong_naive', 1),
      evaluation('ridge', 0.1, 4, 3),
    ]);
    expect(board.map(({ candidate, isNaive }) => [candidate, isNaive])).toEqual([
      ['ridge', false],
      ['strong_naive', true],
      ['naive', true],
    ]);
    expect(board[0]).toMatchObject({ rmse: 0.9, version: '3' });
    expect(board[0]?.gainOnNaive).toBeCloseTo(0.55);
    expect(board[0]?.gainOnStrongNaive).toBeCloseTo(0.1);
  });

  it('leaves out a version that was last evaluated on other rows', () => {
    const board = standings([evaluation('ridge', 1, 3, 1), evaluation('ridge', 1, 5, 2)]);
    expect(board.map(({ version }) => version)).toEqual(['2']);
  });

  it('is empty before the first evaluation', () => expect(standings([])).toEqual([]));
});

it.each([
  ['SELECT 1\nFROM x', 'no such table at Line: 2, Column: 6', 14],
  ['SELECT 1', 'expected an expression (line 1, column 8)', 7],
  ['SELECT 1', 'line 9, column 1', null],
  ['SELECT 1', 'the query took longer than 10 s', null],
])('%j: %s', (sql, text, place) => expect(placeOf(sql, text)).toBe(place));
