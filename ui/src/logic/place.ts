// Where in a statement an error is.

/** The place an error names, as an offset into the statement: `line 2, column 8` and the like. */
export function placeOf(sql: string, text: string): number | null {
  const found = /line:?\s*(\d+),?\s*col(?:umn)?:?\s*(\d+)/i.exec(text);
  if (!found) return null;
  const [line, column] = [Number(found[1]), Number(found[2])];
  const lines = sql.split('\n');
  if (line < 1 || line > lines.length) return null;
  const before = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  return Math.min(sql.length, before + Math.max(0, column - 1));
}

/** A name as SQL takes it whatever it is. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
