// Runs of jobs on a common line of time.
import { toInstant } from './format';
import { textOf, type Fields } from './flow';

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
