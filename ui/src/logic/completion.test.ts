import { expect, it } from 'vitest';
import { suggest, wordBefore } from './completion';

it('the word before the caret is completed, not one in a text or a comment', () => {
  expect(wordBefore('SELECT sym', 10)).toEqual({ word: 'sym', from: 7 });
  expect(wordBefore('SELECT * FROM system.le WHERE', 23)).toEqual({ word: 'system.le', from: 14 });
  expect(wordBefore('SELECT ', 7)).toBeNull();
  expect(wordBefore("WHERE a = 'AA", 13)).toBeNull();
  expect(wordBefore("WHERE a = 'AA' AND sy", 21)?.word).toBe('sy');
  expect(wordBefore('-- all tra', 10)).toBeNull();
  expect(wordBefore('-- all\nSELECT tra', 17)?.word).toBe('tra');
});

it('names of the project come before those of SQL', () => {
  const names = ['trades', 'trades_history', 'last_trade', 'trades', 'lagged'];
  expect(suggest('tra', names)).toEqual(['trades', 'trades_history']);
  expect(suggest('TRADES', names)).toEqual(['trades_history']);
  expect(suggest('la', names)).toEqual(['lagged', 'last_trade', 'latest', 'lag', 'last_value']);
  expect(suggest('l', names, 2)).toHaveLength(2);
  expect(suggest('zzz', names)).toEqual([]);
});
