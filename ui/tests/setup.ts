// Once for all tests: a server, unless THALWEG_URL and THALWEG_TOKEN name one that runs.
import { start } from './server';

export default async function setup(): Promise<(() => Promise<void>) | void> {
  if (process.env.THALWEG_URL) return;
  const binary = process.env.THALWEG_BIN;
  if (!binary) throw new Error('THALWEG_BIN names no binary: `cargo xtask ui --test` does');
  const world = await start(binary);
  process.env.THALWEG_URL = world.url;
  process.env.THALWEG_TOKEN = world.token;
  return () => world.stop();
}
