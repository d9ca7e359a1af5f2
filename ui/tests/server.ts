// What the browser tests look at: market-lambda in a folder of its own, with days behind it, both
// models trained and judged, and live from the simulator. Ports are free ones; what is started here
// is ended here.
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { history } from './history';
import { Program } from './program';

const EXAMPLE = join(import.meta.dirname, '../../examples/market-lambda/thalweg.toml');
const HOURS = 60;
const HOURS_LEARNED = 50;
const HOUR_MS = 3_600_000;
const SEED = 7;
const MODELS = ['next_volume', 'next_price'];

/** A running server, and how to come in. */
export interface World {
  url: string;
  token: string;
  stop(): Promise<void>;
}

/** Starts all of it; `binary` is the path of `thalweg`. */
export async function start(binary: string): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'thalweg-screen-'));
  const data = join(folder, '.thalweg');
  const hook = createServer((_, answer) => answer.writeHead(204).end());
  hook.listen(0, '127.0.0.1');
  await once(hook, 'listening');
  const running: Program[] = [];
  const run = (...words: string[]) => {
    const program = new Program(binary, words);
    running.push(program);
    return program;
  };
  const stop = async () => {
    for (const program of running.reverse()) await program.stop();
    hook.close();
    hook.closeAllConnections();
    await rm(folder, { recursive: true, force: true });
  };
  const simulate = async (...options: string[]) => {
    const simulator = run('simulate', '--listen', '127.0.0.1:0', ...options);
    const { port } = hook.address() as AddressInfo;
    await writeProject(folder, await simulator.firstLine(), `http://127.0.0.1:${port}/ops`);
    return simulator;
  };
  const replay = async (lines: string[]) => {
    await writeFile(join(folder, 'messages.ndjson'), lines.join('\n'));
    return simulate('--replay', join(folder, 'messages.ndjson'), '--speed', 'max');
  };
  /** The project reads these messages and ends. */
  const drain = async (lines: string[]) => {
    const feed = await replay(lines);
    await run('run', folder, '--drain', '--idle', '1s').end();
    await feed.stop();
  };
  const serve = async (...options: string[]): Promise<Served> => {
    const server = run('run', folder, '--http', '127.0.0.1:0', ...options);
    const url = await server.until('the server listens', async () => {
      const text = await readFile(join(data, 'addresses.json'), 'utf8').catch(() => null);
      return text && (JSON.parse(text) as { http: string }).http;
    });
    const token = (await readFile(join(data, 'admin_token'), 'utf8')).trim();
    return new Served(server, url, token);
  };
  try {
    const now = Date.now();
    const messages = history(SEED, HOURS, now);
    await drain(messages.slice(0, HOURS_LEARNED * 60));
    const silence = await replay(['{"type":"ping"}']);
    const then = new Date(now - (HOURS - HOURS_LEARNED) * HOUR_MS).toISOString();
    const learning = await serve('--clock', `${then}@1`);
    await learning.everyModel('train');
    await learning.server.stop();
    await silence.stop();
    // Models are judged by what came after they had learned.
    await drain(messages.slice(HOURS_LEARNED * 60));
    await simulate('--rate', '20', '--seed', String(SEED));
    const served = await serve();
    await served.everyModel('evaluate');
    return { url: served.url, token: served.token, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The example, fed by `feed`, its alerts sent to `hook`, without its database. */
async function writeProject(folder: string, feed: string, hook: string): Promise<void> {
  const example = await readFile(EXAMPLE, 'utf8');
  const text = example
    .replace('finnhub.symbols', `finnhub.url     = "${feed}"\nfinnhub.symbols`)
    .replace(/^\[sink\.speed_table\]\n(?:(?!\n\[)[^])*\n(?=\n)/m, '');
  if (!text.includes(feed) || text.includes('speed_table')) throw new Error('the example has changed');
  await writeFile(join(folder, 'thalweg.toml'), text);
  await writeFile(join(folder, '.env'), `FINNHUB_TOKEN=demo\nOPS_WEBHOOK=${hook}\n`);
}

class Served {
  constructor(
    readonly server: Program,
    readonly url: string,
    readonly token: string,
  ) {}

  /** Asks every model to train or be judged, and waits until each has. */
  async everyModel(verb: 'train' | 'evaluate'): Promise<void> {
    for (const model of MODELS) await this.post(`/models/${model}/${verb}`, {});
    const sql = `SELECT job, state, reason FROM system.runs WHERE job LIKE 'model.%.${verb}' AND ended_at IS NOT NULL`;
    await this.server.until(`every model has its ${verb}`, async () => {
      const { rows } = (await this.post('/sql', { sql })) as { rows: string[][] };
      const failed = rows.find(([, state]) => state !== 'succeeded');
      if (failed) throw new Error(failed.join(' '));
      return rows.length === MODELS.length || null;
    });
  }

  private async post(path: string, body: unknown): Promise<unknown> {
    const answer = await fetch(`${this.url}/api/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }
}
