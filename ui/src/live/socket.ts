// One WebSocket for all live results of a tab: subscribes, applies frames, notices silence, connects
// again with back-off and subscribes anew. Clock, timers and sockets come from outside.
import type { Problem, Value } from '../api/client';
import { LiveResult, type Frame, type Result } from './result';

/** What is subscribed to: exactly one of `panel`, `view` and `sql`. */
export interface Request {
  panel?: string;
  view?: string;
  sql?: string;
  params?: Record<string, Value>;
  order_by?: string;
  limit?: number;
  key?: string[];
}

/** What a subscriber is told. */
export interface Listener {
  result(result: Result): void;
  /** `retrying`: the last result is old from now on; otherwise the subscription has ended. */
  error(problem: Problem, retrying: boolean): void;
}

/** The connection, for the top line. */
export type Link =
  | { state: 'idle' | 'connecting' | 'live' }
  /** Numbers are as old as `since`, ms since 1970. */
  | { state: 'stale'; since: number };

/** What is used of a WebSocket. */
export interface Socket {
  send(text: string): void;
  close(): void;
  onopen: ((event: never) => unknown) | null;
  onmessage: ((event: { data: unknown }) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
}

/** What the client needs of the world. */
export interface World {
  open(): Socket;
  now(): number;
  random(): number;
  after(ms: number, run: () => void): () => void;
}

/** Silence after which numbers are stale; heartbeats come every 10 s. */
export const SILENCE_MS = 30_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000;

interface Subscription {
  request: Request;
  listener: Listener;
  live: LiveResult;
}

export class LiveClient {
  private socket: Socket | null = null;
  private isOpen = false;
  private readonly subscriptions = new Map<string, Subscription>();
  private nextId = 1;
  private failures = 0;
  private heardAt: number;
  private cancelWatch = (): void => {};
  private cancelRetry: (() => void) | null = null;
  private link: Link = { state: 'idle' };

  constructor(
    private readonly world: World,
    /** Told of every change of the connection. */
    private readonly onLink: (link: Link) => void = () => {},
    /** Told when a connection could not be made: perhaps the session has ended. */
    private readonly onRefused: () => void = () => {},
  ) {
    this.heardAt = world.now();
  }

  /** Subscribes until the returned function is called. */
  subscribe(request: Request, listener: Listener): () => void {
    const id = String(this.nextId++);
    this.subscriptions.set(id, { request, listener, live: new LiveResult() });
    if (this.isOpen) this.begin(id);
    else if (!this.socket && !this.cancelRetry) this.connect();
    return () => {
      if (!this.subscriptions.delete(id) || !this.isOpen) return;
      this.send({ unsubscribe: id });
    };
  }

  /** Connects now instead of after the back-off, when the machine is back on line. */
  retryNow(): void {
    if (!this.cancelRetry) return;
    this.cancelRetry();
    this.cancelRetry = null;
    this.connect();
  }

  private connect(): void {
    if (this.link.state === 'idle') this.setLink({ state: 'connecting' });
    const socket = this.world.open();
    this.socket = socket;
    socket.onopen = () => {
      this.isOpen = true;
      this.hear();
      this.setLink({ state: 'live' });
      for (const id of this.subscriptions.keys()) this.begin(id);
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => this.lose(socket);
    this.watch();
  }

  private begin(id: string): void {
    const subscription = this.subscriptions.get(id);
    if (!subscription) return;
    subscription.live = new LiveResult();
    this.send({ subscribe: id, ...subscription.request });
  }

  private receive(data: unknown): void {
    const frame = parse(data);
    if (!frame) return;
    this.failures = 0;
    this.hear();
    const subscription = frame.id ? this.subscriptions.get(frame.id) : undefined;
    if (!frame.id || !subscription) return;
    const applied = subscription.live.apply(frame, this.world.now());
    switch (applied.kind) {
      case 'result':
        subscription.listener.result(applied.result);
        break;
      case 'error':
        if (!applied.retrying) this.subscriptions.delete(frame.id);
        subscription.listener.error(applied.problem, applied.retrying);
        break;
      case 'broken':
        this.begin(frame.id);
    }
  }

  private hear(): void {
    this.heardAt = this.world.now();
    this.watch();
  }

  private watch(): void {
    this.cancelWatch();
    this.cancelWatch = this.world.after(SILENCE_MS, () => {
      const socket = this.socket;
      if (!socket) return;
      this.lose(socket);
      socket.close();
    });
  }

  private lose(socket: Socket): void {
    if (socket !== this.socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    this.cancelWatch();
    const wasOpen = this.isOpen;
    this.socket = null;
    this.isOpen = false;
    this.setLink({ state: 'stale', since: this.heardAt });
    if (!wasOpen) this.onRefused();
    const most = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** this.failures);
    this.failures += 1;
    this.cancelRetry = this.world.after(most * (0.5 + this.world.random() / 2), () => {
      this.cancelRetry = null;
      this.connect();
    });
  }

  private send(message: object): void {
    this.socket?.send(JSON.stringify(message));
  }

  private setLink(link: Link): void {
    this.link = link;
    this.onLink(link);
  }
}

function parse(data: unknown): Frame | null {
  if (typeof data !== 'string') return null;
  try {
    return JSON.parse(data) as Frame;
  } catch {
    return null;
  }
}
