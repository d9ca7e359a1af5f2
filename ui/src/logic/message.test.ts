import { expect, it } from 'vitest';
import { pretty } from './message';

it('JSON is laid out, all else is left alone', () => {
  expect(pretty('{"p":-1,"s":["A"]}')).toBe('{\n  "p": -1,\n  "s": [\n    "A"\n  ]\n}');
  expect(pretty('{"p":-1')).toBe('{"p":-1');
  expect(pretty('')).toBe('');
});
