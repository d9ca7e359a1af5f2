// The choices of a dashboard: from the address, or the default of the file.
import type { Filter, Value } from '../api/client';

/** Values of `$name` for every filter of a dashboard; what is not a filter is left out. */
export function chosen(filters: Filter[], query: Record<string, string>): Record<string, Value> {
  return Object.fromEntries(
    filters.map((filter) => [filter.name, query[filter.name] ?? filter.default ?? null]),
  );
}

/** The query after a choice; a choice of the default leaves it, so that addresses stay short. */
export function choose(
  filters: Filter[],
  query: Record<string, string>,
  name: string,
  value: Value,
): Record<string, string> {
  const filter = filters.find((candidate) => candidate.name === name);
  if (!filter || value === null || value === undefined) return query;
  const { [name]: _, ...rest } = query;
  return String(value) === String(filter.default) ? rest : { ...rest, [name]: String(value) };
}

/** The parameters a statement reads: the server refuses others. */
export function paramsOf(sql: string, values: Record<string, Value>): Record<string, Value> {
  const used = new Set(Array.from(sql.matchAll(/\$([A-Za-z_]\w*)/g), (match) => match[1]));
  return Object.fromEntries(Object.entries(values).filter(([name]) => used.has(name)));
}
