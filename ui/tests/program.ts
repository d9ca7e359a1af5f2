// A process of `thalweg`, and waits that end: each has a deadline and says what it waited for.
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';

const PATIENCE_MS = 120_000;
const TICK_MS = 50;
const KEPT = 8_000;

/** A running `thalweg`, known by its handle alone. */
export class Program {
  stdout = '';
  stderr = '';
  private readonly child: ChildProcessByStdio<null, Readable, Readable>;
  private readonly closed: Promise<unknown[]>;

  constructor(
    binary: string,
    private readonly words: string[],
  ) {
    const env = { ...process.env };
    for (const name of ['THALWEG_DATA_DIR', 'THALWEG_SERVER', 'THALWEG_HTTP']) delete env[name];
    this.child = spawn(binary, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.on('data', (text: Buffer) => (this.stdout += String(text)));
    this.child.stderr.on('data', (text: Buffer) => {
      this.stderr = (this.stderr + String(text)).slice(-KEPT);
    });
    // It comes after the last of both outputs.
    this.closed = once(this.child, 'close');
    // Whoever waits for it is told; until then a program that cannot be started must not end the run.
    this.closed.catch(() => {});
  }

  private get name(): string {
    return `thalweg ${this.words.join(' ')}`;
  }

  private get isOver(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** The first line of its standard output. */
  firstLine(): Promise<string> {
    return this.until(`a line of ${this.name}`, async () => {
      const end = this.stdout.indexOf('\n');
      return end < 0 ? null : this.stdout.slice(0, end);
    });
  }

  /** Asks until there is an answer other than null, as long as it runs. */
  async until<T>(what: string, ask: () => Promise<T | null>): Promise<T> {
    const deadline = Date.now() + PATIENCE_MS;
    while (Date.now() < deadline) {
      if (this.isOver) throw new Error(`${this.name} ended\n${this.stderr}`);
      const answer = await ask();
      if (answer !== null) return answer;
      await pause(TICK_MS);
    }
    throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s\n${this.stderr}`);
  }

  /** Waits until it has ended well. */
  async end(): Promise<void> {
    const [code] = await this.close();
    if (code !== 0) throw new Error(`${this.name} ended with ${code}\n${this.stderr}`);
  }

  /** Asks it to stop, and waits until it has. */
  async stop(): Promise<void> {
    if (!this.isOver) this.child.kill('SIGTERM');
    await this.close();
  }

  private async close(): Promise<unknown[]> {
    const late = new AbortController();
    const lateness = pause(PATIENCE_MS, null, { signal: late.signal }).then(() => {
      this.child.kill('SIGKILL');
      throw new Error(`${this.name}: no end within ${PATIENCE_MS / 1000} s\n${this.stderr}`);
    });
    lateness.catch(() => {});
    try {
      return await Promise.race([this.closed, lateness]);
    } finally {
      late.abort();
    }
  }
}
