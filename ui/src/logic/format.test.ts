import { describe, expect, it } from 'vitest';
import { age, aligned, bytes, cell, clock, duration, fixed, number, placesOf, short, signed } from './format';

describe('numbers', () => {
  it.each([
    [0, '0'],
    [1234567, '1,234,567'],
    [1234.5, '1,234.50'],
    [-0.01234, '−0.0123'],
    [0.00001234, '0.00001234'],
    [0.00000012, '1.20e−7'],
    [16843211.42, '16,843,211'],
    [Infinity, 'Infinity'],
  ])('%d is %s', (value, text) => expect(number(value)).toBe(text));

  it.each([
    [0, '0'],
    [999, '999'],
    [9999, '9,999'],
    [12_345, '12.3 k'],
    [1_234_567, '1.2 M'],
    [-420_000_000, '−420 M'],
    [0.25, '0.25'],
  ])('%d is short as %s', (value, text) => expect(short(value)).toBe(text));

  it('a change has a sign, and none when it is nothing', () => {
    expect(signed(1.234)).toBe('+1.23');
    expect(signed(-1.234)).toBe('−1.23');
    expect(signed(0.001)).toBe('0.00');
    expect(fixed(-0.0001, 2)).toBe('0.00');
  });

  it('a column has places for its smallest value', () => {
    expect(placesOf([1, 2, 300])).toBe(0);
    expect(placesOf([64123.4, 3100.25])).toBe(2);
    expect(placesOf([64123.4, 1.2734])).toBe(4);
    expect(placesOf([0.00123, 0])).toBe(6);
    expect(placesOf([0.00005, 40])).toBe(4);
    expect(placesOf([9, 0.5])).toBe(4);
    expect(placesOf([null, 'x'])).toBe(0);
  });

  it('points of a column stand under each other', () => {
    expect([64123.4, 1.2734, 0].map((value) => aligned(value, 4))).toEqual([
      '64,123.40\u00a0\u00a0',
      '1.2734',
      '0.00\u00a0\u00a0',
    ]);
    expect(aligned(7, 0)).toBe('7');
    expect([short(5e6), short(5e6, 1), short(500e6, 1), short(20, 1)]).toEqual(['5 M', '5.0 M', '500 M', '20']);
    expect(aligned(9, 4)).toBe('9.00\u00a0\u00a0');
  });

  it('bytes go in steps of 1024', () => {
    expect([bytes(0), bytes(1023), bytes(1536), bytes(5 * 1024 ** 3)]).toEqual([
      '0 B',
      '1,023 B',
      '1.5 KiB',
      '5 GiB',
    ]);
  });
});

describe('times', () => {
  it.each([
    [80, '80 ms'],
    [1240, '1.2 s'],
    [59_999, '59 s'],
    [61_000, '1 min 1 s'],
    [3_600_000, '1 h'],
    [90_000_000, '1 d 1 h'],
  ])('%d ms is %s', (ms, text) => expect(duration(ms)).toBe(text));

  it('an age is counted from now, and may be ahead', () => {
    expect(age(1000, 4200)).toBe('3.2 s');
    expect(age(4200, 4200)).toBe('now');
    expect(age(64_200, 4200)).toBe('in 1 min');
  });

  it('a clock shows the day when it is not today', () => {
    const now = Date.parse('2026-01-05T14:30:00Z');
    expect(clock(now, 'UTC', now)).toBe('14:30:00');
    expect(clock(now - 86_400_000, 'UTC', now)).toBe('2026-01-04 14:30:00');
    expect(clock(now, 'Europe/Berlin', now)).toBe('15:30:00');
  });
});

describe('cells', () => {
  it.each([
    [null, 'double', '–'],
    ['12.340', 'decimal(10,3)', '12.34'],
    ['9007199254740993', 'bigint', '9,007,199,254,740,992'],
    ['NaN', 'double', 'NaN'],
    ['2026-01-05T14:30:00.250Z', 'timestamp', '2026-01-05 14:30:00'],
    [true, 'boolean', 'true'],
    [['a', 1], 'list', '["a",1]'],
  ])('%j of type %s is %s', (value, type, text) => expect(cell(value, type, 'UTC')).toBe(text));
});
