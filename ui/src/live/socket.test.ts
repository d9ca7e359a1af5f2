import { describe, expect, it } from 'vitest';
import type { Problem } from '../api/client';
import { LiveClient, SILENCE_MS, type Link, type Socket } from './socket';
import type { Result } from './result';

/** A world whose time passes by hand. */
class FakeWorld {
  time = 0;
  timers: { at: number; run: () => void }[] = [];
  sockets: FakeSocket[] = [];
  links: Link[] = [];
  refused = 0;
  client = new LiveClient(
    {
      open: () => {
        const socket = new FakeSocket();
        this.sockets.push(socket);
        return socket;
      },
      now: () => this.time,
      random: () => 1,
      after: (ms, run) => {
        const timer = { at: this.time + ms, run };
        this.timers.push(timer);
        return () => (this.timers = this.timers.filter((other) => other !== timer));
      },
    },
    (link) => this.links.push(link),
    () => (this.refused += 1),
  );

  get socket(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = this.timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.timers = this.timers.filter((timer) => timer !== due);
      this.time = due.at;
      due.run();
    }
    this.time = end;
  }
}

class FakeSocket implements Socket {
  sent: unknown[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: (() => void) | null = null;
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {}
  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

function listen() {
  const seen: { results: Result[]; problems: [Problem, boolean][] } = { results: [], problems: [] };
  return {
    ...seen,
    result: (result: Result) => seen.results.push(result),
    error: (problem: Problem, retrying: boolean) => seen.problems.push([problem, retrying]),
  };
}

const snapshot = (id: string, seq = 1) => ({
  id,
  seq,
  snapshot: { columns: [{ name: 'a', type: 'int' }], key: ['a'], rows: [[1]] },
});

describe('the live client', () => {
  it('opens one socket for everything, when the first subscribes', () => {
    const world = new FakeWorld();
    expect(world.sockets).toHaveLength(0);
    const first = listen();
    world.client.subscribe({ panel: 'market/2-1', params: { symbol: 'A' } }, first);
    const end = world.client.subscribe({ view: 'changes' }, listen());
    world.socket.onopen?.();
    world.socket.say(snapshot('1'));
    end();
    expect(world.sockets).toHaveLength(1);
    expect(world.socket.sent).toEqual([
      { subscribe: '1', panel: 'market/2-1', params: { symbol: 'A' } },
      { subscribe: '2', view: 'changes' },
      { unsubscribe: '2' },
    ]);
    expect(first.results.map((result) => result.rows)).toEqual([[[1]]]);
    expect(world.links.map((link) => link.state)).toEqual(['connecting', 'live']);
  });

  it('subscribes anew when a frame is missing', () => {
    const world = new FakeWorld();
    const listener = listen();
    world.client.subscribe({ view: 'changes' }, listener);
    world.socket.onopen?.();
    world.socket.say(snapshot('1'));
    world.socket.say({ id: '1', seq: 3, upsert: [[2]] });
    expect(world.socket.sent).toHaveLength(2);
    world.socket.say(snapshot('1'));
    world.socket.say({ id: '1', seq: 2, upsert: [[2]] });
    expect(listener.results.at(-1)?.rows).toEqual([[1], [2]]);
  });

  it('after silence numbers are stale, and it connects and subscribes anew', () => {
    const world = new FakeWorld();
    world.client.subscribe({ view: 'changes' }, listen());
    world.socket.onopen?.();
    world.pass(SILENCE_MS - 1);
    world.socket.say({ heartbeat: '2026-01-05T14:30:00Z' });
    world.pass(SILENCE_MS);
    expect(world.links.at(-1)).toEqual({ state: 'stale', since: SILENCE_MS - 1 });
    world.pass(500);
    expect(world.sockets).toHaveLength(2);
    world.socket.onopen?.();
    expect(world.socket.sent).toEqual([{ subscribe: '1', view: 'changes' }]);
    expect(world.links.at(-1)).toEqual({ state: 'live' });
    expect(world.refused).toBe(0);
  });

  it('waits longer each time it is refused, up to a bound', () => {
    const world = new FakeWorld();
    world.client.subscribe({ view: 'changes' }, listen());
    const waits: number[] = [];
    for (let attempt = 0; attempt < 8; attempt += 1) {
      world.socket.onclose?.();
      const before = world.time;
      const count = world.sockets.length;
      while (world.sockets.length === count) world.pass(100);
      waits.push(world.time - before);
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    expect(world.refused).toBe(8);
  });

  it('an error that is not retried ends the subscription, one that is does not', () => {
    const world = new FakeWorld();
    const [kept, ended] = [listen(), listen()];
    world.client.subscribe({ view: 'a' }, kept);
    world.client.subscribe({ view: 'b' }, ended);
    world.socket.onopen?.();
    const error = { type: 'x', title: 'no', status: 404, code: 'not_found' };
    world.socket.say({ id: '1', seq: 1, error, retrying: true });
    world.socket.say({ id: '2', seq: 1, error, retrying: false });
    world.socket.say({ error });
    world.socket.onmessage?.({ data: 'no JSON' });
    expect([kept.problems, ended.problems].map((all) => all.map(([, again]) => again))).toEqual([
      [true],
      [false],
    ]);
    world.socket.onclose?.();
    world.pass(1000);
    world.socket.onopen?.();
    expect(world.socket.sent).toEqual([{ subscribe: '1', view: 'a' }]);
  });
});
