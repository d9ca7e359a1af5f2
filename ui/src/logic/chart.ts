// A result as a chart, when there is one in it: what stands on x, and what is drawn over it.
import type { Row, Rows } from '../api/client';
import { isInstant, isNumeric } from './format';

/** More bars than these are no picture. */
const NAMES_MAX = 60;

/** A result as columns `x`, `y` and `color`, and how it is drawn; none when it has no number over a
    time or a name. */
export function chartOf({ columns, rows }: Rows): { kind: 'line' | 'bars'; rows: Rows } | null {
  const find = (is: (type: string) => boolean) =>
    columns.flatMap(({ type }, at) => (is(type) ? [at] : []));
  const [time] = find(isInstant);
  const texts = find((type) => type === 'text');
  const x = time ?? (rows.length <= NAMES_MAX ? texts[0] : undefined);
  const numbers = find(isNumeric);
  if (x === undefined || numbers.length === 0 || rows.length === 0) return null;
  // One number for each name of a text is a line for each name.
  const by = time !== undefined && numbers.length === 1 ? texts[0] : undefined;
  const melted = rows.flatMap((row): Row[] =>
    numbers.map((y) => [row[x], row[y], by === undefined ? columns[y]!.name : row[by]]),
  );
  return {
    kind: time === undefined ? 'bars' : 'line',
    rows: {
      columns: [
        { name: 'x', type: columns[x]!.type },
        { name: 'y', type: 'double' },
        { name: 'color', type: 'text' },
      ],
      rows: melted,
    },
  };
}
