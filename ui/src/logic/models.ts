// The board of a model: every candidate of the newest evaluation against both naive forecasts.
import { toInstant, toNumber } from './format';
import { textOf, type Fields } from './flow';

export const NAIVE = 'naive';
export const STRONG_NAIVE = 'strong_naive';

export interface Standing {
  candidate: string;
  version: string | null;
  row: Fields;
  rmse: number | null;
  /** How much less the error is than a naive forecast's, as a share; below 0 it is worse. */
  gainOnNaive: number | null;
  gainOnStrongNaive: number | null;
  isNaive: boolean;
}

/** The newest evaluation of each candidate and version, the smallest error first. */
export function standings(evaluations: Fields[]): Standing[] {
  const newest = new Map<string, Fields>();
  for (const row of evaluations) {
    const name = `${textOf(row, 'candidate')}/${textOf(row, 'version')}`;
    const known = newest.get(name);
    if (!known || timeOf(row) >= timeOf(known)) newest.set(name, row);
  }
  // A version that is no longer evaluated would be compared on other rows than the rest.
  const last = Math.max(...[...newest.values()].map(timeOf));
  const rows = [...newest.values()].filter((row) => timeOf(row) === last);
  const errorOf = (candidate: string) =>
    toNumber(rows.find((row) => textOf(row, 'candidate') === candidate)?.rmse);
  const [naive, strong] = [errorOf(NAIVE), errorOf(STRONG_NAIVE)];
  const made = rows.map((row) => {
    const rmse = toNumber(row.rmse);
    const candidate = textOf(row, 'candidate') ?? '';
    return {
      candidate,
      version: textOf(row, 'version'),
      row,
      rmse,
      gainOnNaive: gain(rmse, naive),
      gainOnStrongNaive: gain(rmse, strong),
      isNaive: candidate === NAIVE || candidate === STRONG_NAIVE,
    };
  });
  return made.sort((a, b) => (a.rmse ?? Infinity) - (b.rmse ?? Infinity));
}

function gain(error: number | null, other: number | null): number | null {
  return error === null || other === null || other === 0 ? null : 1 - error / other;
}

function timeOf(row: Fields): number {
  return toInstant(row.evaluated_at) ?? 0;
}
