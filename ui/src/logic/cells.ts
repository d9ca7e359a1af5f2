// What tells the rows of a result apart, so that a row on the screen stays the same row when its
// values change: the result's key, or when it has none a column that names them.
import type { ColumnInfo, Row } from '../api/client';
import type { Result } from '../live/result';

/** Positions of the columns that tell rows apart; none when nothing does. */
export function identityOf(result: Result, named?: string | null): number[] {
  if (result.key.length > 0) return result.key;
  const text = result.columns.findIndex((column) => column.type === 'text');
  const at = named ? position(result.columns, named) : text;
  const place = at >= 0 ? at : text;
  if (place < 0) return [];
  return new Set(result.rows.map((row) => row[place])).size === result.rows.length ? [place] : [];
}

/** The position of a column, -1 when there is none. */
export function position(columns: ColumnInfo[], name: string): number {
  return columns.findIndex((column) => column.name === name);
}

/** What tells a row from the others. */
export function idOf(row: Row, identity: number[], at: number): string {
  return identity.length > 0 ? JSON.stringify(identity.map((i) => row[i])) : `row ${at}`;
}
