// Runs of jobs on a common line of time.
import { NOTHING, duration, toInstant, toNumber } from './format';
import { nodeId, textOf, type Fields, type Flow } from './flow';

const OPEN = new Set(['scheduled', 'queued', 'running', 'retrying']);

/** Whether a run or task may still change by itself. */
export function isOpen(state: string | null): boolean {
  return state !== null && OPEN.has(state);
}

/** A task on the line of time of its run, in shares of its whole length. */
export interface Bar {
  task: string;
  state: string;
  /** Where it could have started, did start, and ended. */
  queued: number;
  started: number;
  ended: number;
  ms: number | null;
}

/** The tasks of a run as bars; one that has not started is where the line ends. */
export function gantt(tasks: Fields[], now: number): { bars: Bar[]; ms: number } {
  const times = tasks.map((row) => {
    const started = toInstant(row.started_at);
    const queued = toInstant(row.queued_at) ?? started;
    const isRunning = textOf(row, 'state') === 'running';
    const ended = isRunning ? now : (toInstant(row.ended_at) ?? started);
    return { row, queued, started, ended };
  });
  const known = times.flatMap(({ queued, ended }) => [queued, ended]).filter((t) => t !== null);
  if (known.length === 0) return { bars: times.map(({ row }) => bar(row, 0, 0, 0, null)), ms: 0 };
  const first = Math.min(...known);
  const length = Math.max(...known) - first || 1;
  const share = (at: number | null) => (at === null ? 1 : (at - first) / length);
  const bars = times.map(({ row, queued, started, ended }) => {
    const ms = started !== null && ended !== null ? ended - started : null;
    return bar(row, share(queued), share(started), share(ended), ms);
  });
  return { bars, ms: length };
}

function bar(row: Fields, queued: number, started: number, ended: number, ms: number | null): Bar {
  const [task, state] = [textOf(row, 'task') ?? '', textOf(row, 'state') ?? ''];
  return { task, state, queued, started, ended, ms };
}

/** The tasks of a run as a flow: each after those it waits for. */
export function graphOf(tasks: Fields[]): Flow {
  const names = tasks.map((row) => textOf(row, 'task') ?? '');
  const known = new Set(names);
  return {
    nodes: names.map((name) => ({ id: nodeId('task', name), kind: 'task', name })),
    edges: tasks.flatMap((row, at) =>
      (textOf(row, 'after') ?? '')
        .split(', ')
        .filter((name) => known.has(name))
        .map((name) => ({ from: nodeId('task', name), to: nodeId('task', names[at]!) })),
    ),
  };
}

/** The tasks of each run of a job, by the run's id. */
export function tasksByRun(tasks: Fields[]): Map<string, Fields[]> {
  const runs = new Map<string, Fields[]>();
  for (const row of tasks) {
    const run = textOf(row, 'run') ?? '';
    runs.set(run, [...(runs.get(run) ?? []), row]);
  }
  return runs;
}

/** The day that is `days` before an instant, in UTC as `$day` is: `2026-01-05`. */
export function dayBefore(now: number, days: number): string {
  return new Date(now - days * 86_400_000).toISOString().slice(0, 10);
}

/** How long a run or task took, or has run so far. */
export function runLength(row: Fields, now: number): string {
  const started = toInstant(row.started_at);
  if (textOf(row, 'state') === 'running' && started !== null) {
    return duration(Math.max(0, now - started));
  }
  const ms = toNumber(row.duration_ms);
  return ms === null ? NOTHING : duration(ms);
}

/** What each task of a job does, from the JSON that `system.jobs` has of them. */
export function shapesOf(json: string): Map<string, string> {
  const shapes: unknown = JSON.parse(json);
  if (!Array.isArray(shapes)) return new Map();
  return new Map(
    shapes.flatMap((shape: { task?: unknown; does?: unknown }) =>
      typeof shape.task === 'string' && typeof shape.does === 'string' ? [[shape.task, shape.does]] : [],
    ),
  );
}
