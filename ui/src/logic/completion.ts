// Completion of SQL: which names the letters before the caret may become.

const KEYWORDS =
  'SELECT FROM WHERE GROUP BY ORDER LIMIT HAVING JOIN LEFT ON AS AND OR NOT NULL IS IN LIKE BETWEEN CASE WHEN THEN ELSE END DISTINCT DESC ASC WITH OVER PARTITION INTERVAL count sum avg min max tumble latest date_trunc lag first_value last_value'.split(
    ' ',
  );

/** The name before the caret, and where it begins; none inside a text or a comment. */
export function wordBefore(sql: string, caret: number): { word: string; from: number } | null {
  const before = sql.slice(0, caret);
  const line = before.slice(before.lastIndexOf('\n') + 1);
  if (line.includes('--') || before.split("'").length % 2 === 0) return null;
  const word = /[A-Za-z_][\w.]*$/.exec(before)?.[0];
  return word ? { word, from: caret - word.length } : null;
}

/** Names that begin with the word, those of the project before those of SQL. */
export function suggest(word: string, names: string[], most = 8): string[] {
  const wanted = word.toLowerCase();
  const begins = (name: string) => name.toLowerCase().startsWith(wanted) && name.toLowerCase() !== wanted;
  const own = [...new Set(names)].filter(begins).sort();
  return [...own, ...KEYWORDS.filter(begins)].slice(0, most);
}
