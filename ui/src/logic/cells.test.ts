import { expect, it } from 'vitest';
import type { Result } from '../live/result';
import { idOf, identityOf } from './cells';

const columns = [
  { name: 'symbol', type: 'text' },
  { name: 'price', type: 'double' },
];
const result = (rows: unknown[][], key: number[] = []): Result => ({ columns, key, rows, at: 0 });

it('rows are told apart by their key, else by a text that names each of them once', () => {
  expect(identityOf(result([], [1]))).toEqual([1]);
  expect(identityOf(result([['A', 1], ['B', 1]]))).toEqual([0]);
  expect(identityOf(result([['A', 1], ['A', 2]]))).toEqual([]);
  expect(identityOf(result([['A', 1], ['B', 2]]), 'price')).toEqual([1]);
});

it('a row without an identity is its place', () => {
  expect(idOf(['A', 1], [0], 5)).toBe('["A"]');
  expect(idOf(['A', 1], [], 5)).toBe('row 5');
});
