// Holds the build against its budget: the first load below 60 kB of code (gzip), all of it below 1 MB.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const FIRST_LOAD_MAX = 60_000;
const ALL_MAX = 1_000_000;
const DIST = new URL('../dist/', import.meta.url);

const files = readdirSync(DIST, { recursive: true }).filter((name) => statSync(new URL(name, DIST)).isFile());
const html = readFileSync(new URL('index.html', DIST), 'utf8');
const first = files.filter((name) => name === 'index.html' || (/\.(js|css)$/.test(name) && html.includes(name)));
const sum = (names, size) => names.reduce((total, name) => total + size(readFileSync(new URL(name, DIST))), 0);

const firstLoad = sum(first, (bytes) => gzipSync(bytes, { level: 9 }).length);
const all = sum(files, (bytes) => bytes.length);
console.log(`first load ${(firstLoad / 1000).toFixed(1)} kB gzip, all ${(all / 1000).toFixed(0)} kB in ${files.length} files`);
if (firstLoad > FIRST_LOAD_MAX || all > ALL_MAX) {
  console.error(`over the budget of ${FIRST_LOAD_MAX / 1000} kB for the first load and ${ALL_MAX / 1000} kB for all`);
  process.exit(1);
}
