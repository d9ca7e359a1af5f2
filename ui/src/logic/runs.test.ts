import { expect, it } from 'vitest';
import { gantt, isOpen } from './runs';

const at = (second: number) => `2026-01-05T00:00:${String(second).padStart(2, '0')}Z`;

it('tasks stand on one line of time', () => {
  const made = gantt(
    [
      { task: 'a', state: 'succeeded', queued_at: at(0), started_at: at(1), ended_at: at(5) },
      { task: 'b', state: 'running', queued_at: at(5), started_at: at(5), ended_at: null },
      { task: 'c', state: 'scheduled', queued_at: null, started_at: null, ended_at: null },
    ],
    Date.parse(at(10)),
  );
  expect(made.ms).toBe(10_000);
  expect(made.bars).toEqual([
    { task: 'a', state: 'succeeded', queued: 0, started: 0.1, ended: 0.5, ms: 4_000 },
    { task: 'b', state: 'running', queued: 0.5, started: 0.5, ended: 1, ms: 5_000 },
    { task: 'c', state: 'scheduled', queued: 1, started: 1, ended: 1, ms: null },
  ]);
});

it('a run that has not begun has no length', () => {
  expect(gantt([{ task: 'a', state: 'scheduled' }], 0).ms).toBe(0);
  expect(gantt([], 0)).toEqual({ bars: [], ms: 0 });
});

it('what has ended is not open', () => {
  expect(['running', 'queued', 'succeeded', null].map(isOpen)).toEqual([true, true, false, false]);
});
