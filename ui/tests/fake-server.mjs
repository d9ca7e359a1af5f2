// A server for development and screenshots: the routes the screen uses, over a market that moves by a
// seed. `npm run build && npm run fake` prints its address; the token is `fake`.
import { createReadStream, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { DASHBOARDS, Market } from './fake-market.mjs';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const TOKEN = 'fake';
const CSP =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };

const market = new Market(7, Date.now());
const problem = (status, code, title, hint, detail) => ({ type: `urn:thalweg:problem:${code}`, title, status, code, ...(hint ? { hint } : {}), ...(detail ? { detail } : {}) });

/** The result of a statement, or a problem. */
function evaluate(sql, params) {
  for (const board of DASHBOARDS) {
    for (const panel of board.rows.flat()) {
      if (panel.sql === sql) return market.panel(panel.id, params);
      if (panel.options.band?.sql === sql) return market.panel(`${panel.id} band`, params);
    }
    if (board.filters.some((filter) => filter.options_sql === sql)) {
      return { columns: [{ name: 'symbol', type: 'text' }], key: null, rows: [...market.latest.keys()].map((symbol) => [symbol]) };
    }
  }
  const system = /FROM system\.(\w+)/i.exec(sql);
  if (system) {
    const table = market.system(system[1], params);
    const picked = /^SELECT (\w+) FROM/.exec(sql);
    if (table && picked) {
      const at = table.columns.findIndex(({ name }) => name === picked[1]);
      return { columns: [table.columns[at]], key: null, rows: table.rows.map((row) => [row[at]]) };
    }
    if (table) return table;
  }
  if (/FROM (trades|changes)\b/i.test(sql)) return market.panel('2-1', {});
  if (sql === 'SELECT 1') return { columns: [{ name: 'Int64(1)', type: 'bigint' }], key: null, rows: [[1]] };
  const from = /FROM\s+(\S+)/i.exec(sql);
  const before = sql.slice(0, from ? from.index + from[0].length - from[1].length : 0).split('\n');
  const place = `line ${before.length}, column ${before.at(-1).length + 1}`;
  return problem(400, 'invalid', `there is no relation \`${from?.[1] ?? ''}\``, 'Did you mean `trades`?', place);
}

const isProblem = (result) => 'status' in result;

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://fake');
  const path = url.pathname;
  response.setHeader('content-security-policy', CSP);
  const isIn = (request.headers.cookie ?? '').includes(`session=${TOKEN}`) || request.headers.authorization === `Bearer ${TOKEN}`;
  const body = await read(request);
  if (path === '/login') {
    if (url.searchParams.get('token') === TOKEN || body.includes(`token=${TOKEN}`)) {
      response.writeHead(303, { location: '/', 'set-cookie': `session=${TOKEN}; Path=/; HttpOnly` }).end();
    } else response.writeHead(200, { 'content-type': 'text/html' }).end('<form method=post><input name=token></form>');
    return;
  }
  if (!path.startsWith('/api/')) return file(path, response);
  if (!isIn) return json(response, problem(401, 'unauthorized', 'a token is needed'), 401);
  const rest = path.slice('/api/v1'.length);
  if (rest === '/project') {
    return json(response, { name: 'market-lambda', timezone: 'UTC', version: '0.1.0', now: new Date().toISOString() });
  }
  if (rest === '/dashboards') return json(response, DASHBOARDS);
  if (rest === '/health/ready') {
    return json(response, { ready: true, sentence: '1 problem: sink speed_table does not take rows.', problems: [{ part: 'sink speed_table', message: 'the connection to 127.0.0.1:5432 was refused', hint: 'Start PostgreSQL; nothing is lost, rows wait in the outbox.' }] });
  }
  if (rest === '/sql') {
    const { sql, params = {} } = JSON.parse(body);
    const result = evaluate(sql, params);
    if (isProblem(result)) return json(response, result, result.status);
    if (request.headers.accept === 'text/csv') {
      const lines = [result.columns.map(({ name }) => name), ...result.rows];
      return response.writeHead(200, { 'content-type': 'text/csv' }).end(lines.map((line) => `${line.join(',')}\n`).join(''));
    }
    return json(response, { columns: result.columns, rows: result.rows, row_count: result.rows.length });
  }
  const pause = /^\/sources\/trades\/(pause|resume)$/.exec(rest);
  if (pause) market.paused = pause[1] === 'pause';
  if (request.method === 'POST') return json(response, { done: true });
  json(response, problem(404, 'not_found', `there is no \`${path}\``), 404);
});

function read(request) {
  return new Promise((resolve) => {
    let text = '';
    request.on('data', (chunk) => (text += chunk));
    request.on('end', () => resolve(text));
  });
}

function json(response, value, status = 200) {
  response.writeHead(status, { 'content-type': status < 400 ? 'application/json' : 'application/problem+json' }).end(JSON.stringify(value));
}

function file(path, response) {
  const wanted = join(DIST, normalize(path));
  const found = extname(wanted) && wanted.startsWith(DIST) && existsSync(wanted) ? wanted : join(DIST, 'index.html');
  response.writeHead(200, { 'content-type': TYPES[extname(found)] ?? 'application/octet-stream' });
  createReadStream(found).pipe(response);
}

const sockets = new WebSocketServer({ server, path: '/api/v1/live' });
sockets.on('connection', (socket, request) => {
  if (!(request.headers.cookie ?? '').includes(`session=${TOKEN}`)) return socket.close(1008);
  const subscriptions = new Map();
  socket.on('message', (data) => {
    const { subscribe, unsubscribe, panel, sql, params = {}, key } = JSON.parse(String(data));
    if (unsubscribe) return subscriptions.delete(unsubscribe);
    const [board, id] = panel?.split('/') ?? [];
    const known = DASHBOARDS.find(({ name }) => name === board)?.rows.flat().find((each) => each.id === id);
    const filters = known ? { symbol: 'BINANCE:BTCUSDT' } : {};
    subscriptions.set(subscribe, { sql: known?.sql ?? sql, params: { ...filters, ...params }, key, seq: 0, sent: null });
    send(subscribe);
  });
  const timer = setInterval(() => [...subscriptions.keys()].forEach(send), 200);
  const heart = setInterval(() => socket.send(JSON.stringify({ heartbeat: new Date().toISOString() })), 10_000);
  socket.on('close', () => [timer, heart].forEach(clearInterval));

  function send(id) {
    const subscription = subscriptions.get(id);
    const result = evaluate(subscription.sql, subscription.params);
    if (isProblem(result)) {
      subscriptions.delete(id);
      return socket.send(JSON.stringify({ id, seq: subscription.seq + 1, error: result, retrying: false }));
    }
    const frame = difference(subscription, { ...result, key: subscription.key ?? result.key });
    if (!frame) return;
    subscription.seq += 1;
    socket.send(JSON.stringify({ id, seq: subscription.seq, ...frame }));
  }
});

/** A snapshot at first, then what changed; none when nothing did. */
function difference(subscription, result) {
  const { sent } = subscription;
  const rows = new Map(result.rows.map((row) => [keyOf(row, result), row]));
  subscription.sent = rows;
  if (!sent || !result.key) {
    const text = JSON.stringify(result.rows);
    if (sent && subscription.text === text) return null;
    subscription.text = text;
    return { snapshot: { columns: result.columns, key: result.key, rows: result.rows } };
  }
  const upsert = [...rows].filter(([key, row]) => JSON.stringify(sent.get(key)) !== JSON.stringify(row)).map(([, row]) => row);
  const gone = [...sent.keys()].filter((key) => !rows.has(key)).map((key) => JSON.parse(key));
  if (upsert.length === 0 && gone.length === 0) return null;
  const before = [...sent.keys()].filter((key) => rows.has(key));
  const after = [...before, ...[...rows.keys()].filter((key) => !sent.has(key))];
  const order = [...rows.keys()].map((key) => after.indexOf(key));
  const isOrdered = order.every((at, index) => at === index);
  return { delete: gone, upsert, ...(isOrdered ? {} : { order }) };
}

function keyOf(row, result) {
  const key = result.key ?? result.columns.map(({ name }) => name);
  return JSON.stringify(key.map((name) => row[result.columns.findIndex((column) => column.name === name)]));
}

setInterval(() => market.step(Date.now(), 0.35), 250);
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  const { port } = server.address();
  console.log(`http://127.0.0.1:${port}/login?token=${TOKEN}`);
});
