import { expect, it } from 'vitest';
import { search } from './palette';

const commands = ['Overview', 'Board · Market', 'Job · nightly', 'Model · next_price'].map((label) => ({
  label,
  href: '/',
}));

it.each([
  ['', ['Overview', 'Board · Market', 'Job · nightly', 'Model · next_price']],
  ['mark', ['Board · Market']],
  ['mnp', ['Model · next_price']],
  ['o', ['Overview', 'Board · Market', 'Job · nightly', 'Model · next_price']],
  ['zz', []],
])('%s means %j', (letters, labels) =>
  expect(search(commands, letters).map((command) => command.label)).toEqual(labels),
);
