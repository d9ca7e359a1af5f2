// The flow as the overview draws it: nodes and edges from `system.graph`, rates from the counters of
// the ledger, and whether its identities hold. Which columns of which system table are read stands
// in the README of the screen.
import type { ColumnInfo, Row, Rows, Value } from '../api/client';
import { duration, number, toNumber } from './format';

/** A row by the names of its columns. */
export type Fields = Record<string, Value>;

/** Rows as objects. */
export function fields(rows: Rows | null | undefined): Fields[] {
  return (rows?.rows ?? []).map((row) => object(rows!.columns, row));
}

function object(columns: ColumnInfo[], row: Row): Fields {
  return Object.fromEntries(columns.map((column, at) => [column.name, row[at]]));
}

/** A text of a row; none for NULL and for a column that is not there. */
export function textOf(row: Fields, name: string): string | null {
  const value = row[name];
  return value === null || value === undefined || value === '' ? null : String(value);
}

/** A part of the flow. */
export interface Node {
  id: string;
  kind: string;
  name: string;
}

export interface Edge {
  from: string;
  to: string;
}

export interface Flow {
  nodes: Node[];
  edges: Edge[];
}

/** Names a node: a name alone may be a stream and a sink. */
export function nodeId(kind: string, name: string): string {
  return `${kind} ${name}`;
}

/** The flow of `system.graph`, and the parts that no edge names. */
export function flowOf(edges: Fields[], parts: Node[]): Flow {
  const nodes = new Map(parts.map((node) => [node.id, node]));
  const made: Edge[] = [];
  for (const edge of edges) {
    const ends = ['upstream', 'downstream'].map((end) => {
      const [kind, name] = [textOf(edge, `${end}_kind`), textOf(edge, end)];
      if (!kind || !name) return null;
      const id = nodeId(kind, name);
      if (!nodes.has(id)) nodes.set(id, { id, kind, name });
      return id;
    });
    if (ends[0] && ends[1]) made.push({ from: ends[0], to: ends[1] });
  }
  return { nodes: [...nodes.values()], edges: made };
}

/** The parts a system table lists; its name column is called as the kind, or `name`. */
export function partsOf(kind: string, rows: Fields[]): (Node & { row: Fields })[] {
  return rows.flatMap((row) => {
    const name = textOf(row, kind) ?? textOf(row, 'name');
    return name ? [{ id: nodeId(kind, name), kind, name, row }] : [];
  });
}

/** One identity of the ledger: `left` and the sum of `right` are equal, or something leaks. */
export interface Identity {
  /** What is counted: `frames`, `rows`. */
  what: string;
  left: { name: string; count: number };
  right: { name: string; count: number }[];
  /** What is on the left and not on the right. */
  missing: number;
}

const IDENTITIES: [string, string, string[]][] = [
  ['frames', 'frames_received', ['frames_decoded', 'frames_filtered', 'frames_quarantined']],
  ['rows', 'rows_decoded', ['rows_valid', 'rows_quarantined', 'rows_duplicate']],
  [
    'rows',
    'rows_in',
    ['rows_filtered', 'rows_quarantined', 'rows_late', 'rows_emitted', 'rows_closed', 'rows_open'],
  ],
  ['rows', 'rows_handed', ['rows_written', 'rows_superseded']],
];

/** Rows of `system.ledger` (a row a count) as one row a part, its counts by their names. */
export function ledgerOf(rows: Fields[]): Fields[] {
  const parts = new Map<string, Fields>();
  for (const row of rows) {
    const [kind, name, count] = [textOf(row, 'part'), textOf(row, 'name'), textOf(row, 'count')];
    if (kind === null || name === null || count === null) continue;
    const id = nodeId(kind, name);
    const part = parts.get(id) ?? { kind, name };
    part[count] = row.value ?? null;
    parts.set(id, part);
  }
  return [...parts.values()];
}

/** The identities of a row of `system.ledger`: those whose left side is counted there. */
export function identitiesOf(row: Fields): Identity[] {
  return IDENTITIES.flatMap(([what, left, right]) => {
    const count = toNumber(row[left]);
    if (count === null) return [];
    const terms = right.flatMap((name) => {
      const term = toNumber(row[name]);
      return term === null ? [] : [{ name: nounOf(name), count: term }];
    });
    const missing = count - terms.reduce((sum, term) => sum + term.count, 0);
    return [{ what, left: { name: nounOf(left), count }, right: terms, missing }];
  });
}

function nounOf(column: string): string {
  return column.slice(column.indexOf('_') + 1);
}

/** The counter of a row of the ledger that tells how fast the part is. */
export function counterOf(row: Fields): number | null {
  return toNumber(row.rows_valid) ?? toNumber(row.rows_in) ?? toNumber(row.rows_written);
}

/** Where the ledger accounts for a part: what is written to a table is delivered like to a sink. */
export function accountOf(kind: string, name: string): string {
  return nodeId(kind === 'table' ? 'sink' : kind, name);
}

/** Rows waiting for a sink for longer than this are back-pressure. */
const PRESSURE_SECONDS = 2;

/** Where the flow is held up, in a sentence; none when it is not. */
export function pressure(
  parts: { name: string; row: Fields; rate: number | null }[],
): string | null {
  const waits = parts.flatMap(({ name, row, rate }) => {
    const waiting = toNumber(row.rows_waiting) ?? toNumber(row.lag_records) ?? 0;
    const seconds = rate ? waiting / rate : Infinity;
    return waiting > 0 && seconds > PRESSURE_SECONDS ? [{ name, row, rate, waiting, seconds }] : [];
  });
  const worst = waits.sort((a, b) => b.seconds - a.seconds || b.waiting - a.waiting)[0];
  if (!worst) return null;
  const rows = `${number(worst.waiting)} ${worst.waiting === 1 ? 'row waits' : 'rows wait'}`;
  if (!worst.rate) return `${worst.name} takes nothing, ${rows}.`;
  return `${worst.name} is slow: ${rows}, ${duration(worst.seconds * 1000)} at its pace.`;
}

/** Rates of counters, by a window that slides. */
export class Rates {
  private readonly readings = new Map<string, [number, number][]>();

  constructor(private readonly windowMs = 5_000) {}

  /** Notes what a counter stood at. */
  note(name: string, count: number, now: number): void {
    const readings = this.readings.get(name) ?? [];
    const last = readings.at(-1);
    // A counter that fell began anew.
    if (last && count < last[1]) readings.length = 0;
    readings.push([now, count]);
    while (readings.length > 2 && readings[1]![0] <= now - this.windowMs) readings.shift();
    this.readings.set(name, readings);
  }

  /** A second's worth; none before two readings. */
  rate(name: string, now: number): number | null {
    const readings = this.readings.get(name);
    const first = readings?.[0];
    const last = readings?.at(-1);
    if (!first || !last || first === last) return null;
    const span = Math.max(last[0], Math.min(now, last[0] + this.windowMs)) - first[0];
    return span <= 0 ? null : ((last[1] - first[1]) * 1000) / span;
  }
}
