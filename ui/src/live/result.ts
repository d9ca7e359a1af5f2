// A live result: a snapshot, and the deltas applied to it in the order the live reference gives
// (delete, upsert, order). Rows without a key may repeat and are told apart by their whole content.
import type { ColumnInfo, Problem, Row, Value } from '../api/client';

/** A frame of one subscription, as the server sends it. */
export interface Frame {
  id?: string | null;
  seq?: number | null;
  snapshot?: { columns: ColumnInfo[]; key?: string[] | null; rows: Row[] } | null;
  upsert?: Row[] | null;
  delete?: Row[] | null;
  order?: number[] | null;
  error?: Problem | null;
  retrying?: boolean | null;
  heartbeat?: string | null;
}

/** What a subscriber sees; a new object for every frame. */
export interface Result {
  columns: ColumnInfo[];
  /** Positions of the key's columns; none when the server knows no key. */
  key: number[];
  rows: Row[];
  /** When the newest frame came, ms since 1970 of this machine's clock. */
  at: number;
}

/** What became of a frame. */
export type Applied =
  | { kind: 'result'; result: Result }
  | { kind: 'error'; problem: Problem; retrying: boolean }
  /** A frame is missing: the subscription must begin anew. */
  | { kind: 'broken' };

export class LiveResult {
  private seq = 0;
  private columns: ColumnInfo[] = [];
  private key: number[] | null = null;
  private rows: Row[] | null = null;
  private positions = new Map<string, number>();

  /** Applies a frame that came at `at`. */
  apply(frame: Frame, at: number): Applied {
    if (frame.seq !== this.seq + 1) return { kind: 'broken' };
    this.seq = frame.seq;
    if (frame.error) {
      return { kind: 'error', problem: frame.error, retrying: frame.retrying === true };
    }
    if (frame.snapshot) this.replace(frame.snapshot);
    else if (!this.rows || !this.change(frame)) return { kind: 'broken' };
    const rows = this.rows ?? [];
    return {
      kind: 'result',
      result: { columns: this.columns, key: this.key ?? [], rows, at },
    };
  }

  private replace(snapshot: NonNullable<Frame['snapshot']>): void {
    this.columns = snapshot.columns;
    const key = snapshot.key?.map((name) => this.columns.findIndex((c) => c.name === name));
    this.key = key && key.length > 0 && key.every((at) => at >= 0) ? key : null;
    this.rows = snapshot.rows;
    this.index();
  }

  private change(frame: Frame): boolean {
    const rows = [...(this.rows ?? [])];
    const isChanged = this.key ? this.byKey(rows, frame) : this.byContent(rows, frame);
    if (!isChanged) return false;
    if (!frame.order) {
      this.rows = rows.filter((row) => row !== GONE);
    } else {
      const kept = rows.filter((row) => row !== GONE);
      const ordered = frame.order.map((at) => kept[at]);
      if (ordered.length !== kept.length || ordered.includes(undefined)) return false;
      this.rows = ordered as Row[];
    }
    this.index();
    return true;
  }

  private byKey(rows: Row[], frame: Frame): boolean {
    for (const key of frame.delete ?? []) {
      const at = this.positions.get(text(key));
      if (at === undefined) return false;
      rows[at] = GONE;
      this.positions.delete(text(key));
    }
    for (const row of frame.upsert ?? []) {
      const key = this.keyOf(row);
      const at = this.positions.get(key);
      if (at === undefined) this.positions.set(key, rows.push(row) - 1);
      else rows[at] = row;
    }
    return true;
  }

  private byContent(rows: Row[], frame: Frame): boolean {
    for (const gone of frame.delete ?? []) {
      const wanted = text(gone);
      const at = rows.findIndex((row) => row !== GONE && text(row) === wanted);
      if (at < 0) return false;
      rows[at] = GONE;
    }
    rows.push(...(frame.upsert ?? []));
    return true;
  }

  private keyOf(row: Row): string {
    return text((this.key ?? []).map((at) => row[at]));
  }

  private index(): void {
    this.positions.clear();
    if (!this.key) return;
    this.rows?.forEach((row, at) => this.positions.set(this.keyOf(row), at));
  }
}

/** Stands where a row was until a delta is applied whole. */
const GONE: Row = [];

function text(values: Value[]): string {
  return JSON.stringify(values);
}
