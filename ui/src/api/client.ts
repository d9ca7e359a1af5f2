// The typed client of `/api/v1`, and its problems as errors. Types come from the OpenAPI document:
// `npm run api` writes `schema.d.ts`.
import createClient from 'openapi-fetch';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];
export type Dashboard = Schemas['Dashboard'];
export type Panel = Schemas['Panel'];
export type Filter = Schemas['Filter'];
export type Problem = Schemas['Problem'];
export type Project = Schemas['Project'];
export type Health = Schemas['Health'];
export type TaskLog = Schemas['TaskLog'];
export type ColumnInfo = Schemas['ColumnInfo'];
/** A value as JSON has it; see the table "Values" of the HTTP reference. */
export type Value = unknown;
export type Row = Value[];

/** A result, read once. */
export interface Rows {
  columns: ColumnInfo[];
  rows: Row[];
}

/** The server answered with a problem document, or not at all. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

export const client = createClient<paths>({
  baseUrl: globalThis.location?.origin ?? '',
  credentials: 'same-origin',
});

let unauthorized = (): void => {};

/** Calls `listener` whenever an answer is 401. */
export function onUnauthorized(listener: () => void): void {
  unauthorized = listener;
}

interface Answer {
  data?: unknown;
  error?: unknown;
  response: Response;
}

/** The body of an answer that is a success; a problem is thrown. */
export async function ask<T>(request: Promise<Answer>): Promise<T> {
  let answer: Answer;
  try {
    answer = await request;
  } catch (error) {
    throw new ApiError(unreachable(error));
  }
  if (answer.response.ok) return answer.data as T;
  const problem = asProblem(answer.error, answer.response.status);
  if (problem.status === 401) unauthorized();
  throw new ApiError(problem);
}

/** Runs one read-only statement. */
export async function runSql(
  sql: string,
  params: Record<string, Value> = {},
  signal?: AbortSignal,
): Promise<Rows> {
  const init = { body: { sql, params }, ...(signal ? { signal } : {}) };
  return ask<Rows>(client.POST('/api/v1/sql', init as never) as Promise<Answer>);
}

/** The result of a statement as CSV, ready to be saved. */
export async function runSqlAsCsv(sql: string, params: Record<string, Value>): Promise<Blob> {
  const response = await fetch('/api/v1/sql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/csv' },
    body: JSON.stringify({ sql, params }),
  });
  if (response.ok) return response.blob();
  throw new ApiError(asProblem(await response.json().catch(() => null), response.status));
}

/** The health, which is a body with 200 and with 503. */
export async function readHealth(): Promise<Health> {
  const response = await fetch('/api/v1/health/ready');
  const body: unknown = await response.json().catch(() => null);
  if (isHealth(body)) return body;
  const problem = asProblem(body, response.status);
  if (problem.status === 401) unauthorized();
  throw new ApiError(problem);
}

/** Carries out an action: a `POST` whose answer says what was done. */
export async function act(path: string, body?: unknown): Promise<unknown> {
  const init: RequestInit =
    body === undefined
      ? { method: 'POST' }
      : {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        };
  const answer = fetch(`/api/v1${path}`, init).then(async (response) => {
    const json: unknown = await response.json().catch(() => null);
    return response.ok ? { response, data: json } : { response, error: json };
  });
  return ask<unknown>(answer);
}

function isHealth(body: unknown): body is Health {
  return typeof body === 'object' && body !== null && 'sentence' in body && 'problems' in body;
}

function asProblem(body: unknown, status: number): Problem {
  if (typeof body === 'object' && body !== null && 'title' in body) return body as Problem;
  return {
    type: 'urn:thalweg:problem:internal',
    title: `the server answered with status ${status}`,
    status,
    code: 'internal',
  };
}

function unreachable(cause: unknown): Problem {
  return {
    type: 'urn:thalweg:problem:unavailable',
    title: 'the server does not answer',
    detail: cause instanceof Error ? cause.message : null,
    hint: 'Look whether thalweg still runs.',
    status: 503,
    code: 'unavailable',
  };
}
