// The tab's live client, and results as state that components read.
import type { Problem } from '../api/client';
import type { Result } from './result';
import { LiveClient, type Link, type Request, type Socket } from './socket';

/** The connection, for the top line. */
export const connection = $state<{ link: Link }>({ link: { state: 'idle' } });

let refused = (): void => {};

/** Calls `listener` when the socket could not be opened. */
export function onRefused(listener: () => void): void {
  refused = listener;
}

const client = new LiveClient(
  {
    open: () => new WebSocket(`${location.origin.replace(/^http/, 'ws')}/api/v1/live`) as Socket,
    now: () => Date.now(),
    random: () => Math.random(),
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
  },
  (link) => {
    connection.link = link;
  },
  () => refused(),
);

globalThis.addEventListener?.('online', () => client.retryNow());

/** A live result: what came last, and what is wrong with it. */
export class Live {
  result = $state.raw<Result | null>(null);
  problem = $state.raw<Problem | null>(null);

  /** Subscribes to what `request` returns while the calling component lives; `null` is nothing. */
  constructor(request: () => Request | null) {
    let asked = '';
    $effect(() => {
      const wanted = request();
      const text = JSON.stringify(wanted);
      if (text !== asked) this.result = null;
      asked = text;
      this.problem = null;
      if (!wanted) return;
      return client.subscribe(wanted, {
        result: (result) => {
          this.result = result;
          this.problem = null;
        },
        error: (problem) => (this.problem = problem),
      });
    });
  }

  /** Whether the numbers are older than they should be. */
  get isStale(): boolean {
    return this.problem !== null || connection.link.state === 'stale';
  }
}
