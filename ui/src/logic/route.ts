// Where the reader is, as the address has it: `/boards/market?symbol=AAPL`. Filters stand in the
// query, so that the back button and a sent link show the same.

/** Pages that have a place on the rail. */
export const PAGES = ['overview', 'boards', 'quality', 'jobs', 'models', 'sql'] as const;
export type Page = (typeof PAGES)[number];

export interface Route {
  page: Page | null;
  /** The object the page is about: a dashboard, a job, a model. */
  name: string | null;
  /** A part of the object: a panel of a dashboard, a run of a job. */
  part: string | null;
  query: Record<string, string>;
}

/** Reads an address; a page that is not known is none. */
export function parseRoute(path: string, search: string): Route {
  const [page = '', ...rest] = path.split('/').filter(Boolean).map(decode);
  const known = PAGES.find((candidate) => candidate === page) ?? null;
  return {
    page: known,
    name: rest[0] ?? null,
    part: rest[1] ?? null,
    query: Object.fromEntries(new URLSearchParams(search)),
  };
}

/** Writes an address. */
export function formatRoute(
  page: Page,
  name?: string | null,
  query: Record<string, string> = {},
  part?: string | null,
): string {
  const path = [page, name, part].filter(Boolean).map((each) => `/${encodeURIComponent(each!)}`);
  const search = new URLSearchParams(query).toString();
  return path.join('') + (search ? `?${search}` : '');
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
