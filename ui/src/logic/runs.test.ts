import { expect, it } from 'vitest';
import { dayBefore, gantt, graphOf, isOpen, runLength, shapesOf, tasksByRun } from './runs';

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

it('a task stands behind those it comes after', () => {
  const flow = graphOf([
    { task: 'hourly', after: '' },
    { task: 'daily', after: null },
    { task: 'compact', after: 'hourly, daily, of another run' },
  ]);
  expect(flow.nodes.map(({ id }) => id)).toEqual(['task hourly', 'task daily', 'task compact']);
  expect(flow.edges).toEqual([
    { from: 'task hourly', to: 'task compact' },
    { from: 'task daily', to: 'task compact' },
  ]);
});

it('tasks are found by their run, in their order', () => {
  const runs = tasksByRun([
    { run: '1', task: 'a' },
    { run: '2', task: 'a' },
    { run: '1', task: 'b' },
  ]);
  expect(runs.get('1')?.map(({ task }) => task)).toEqual(['a', 'b']);
  expect(runs.get('2')).toHaveLength(1);
});

it('a run that goes on is as long as it has been', () => {
  const now = Date.parse(at(9));
  expect(runLength({ state: 'running', started_at: at(2), duration_ms: 1 }, now)).toBe('7.0 s');
  expect(runLength({ state: 'succeeded', started_at: at(2), duration_ms: 1_500 }, now)).toBe('1.5 s');
  expect(runLength({ state: 'queued', started_at: null, duration_ms: null }, now)).toBe('–');
});

it('what tasks do is read from the job', () => {
  const shapes = shapesOf('[{"task":"hourly","does":"refresh hourly_batch"},{"task":"x"}]');
  expect([...shapes]).toEqual([['hourly', 'refresh hourly_batch']]);
  expect(shapesOf('null').size).toBe(0);
});

it('days are those of UTC', () => {
  expect(dayBefore(Date.parse('2026-03-01T00:30:00Z'), 1)).toBe('2026-02-28');
});
