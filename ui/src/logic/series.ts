// Rows of a panel as what charts draw: candles, bands, lines over a shared x, stacks.
import type { Row, Value } from '../api/client';
import type { Rows } from '../api/client';
import { position } from './cells';
import { toInstant, toNumber } from './format';

export interface Candle {
  /** Seconds since 1970. */
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number | null;
}

/** A prediction and its interval. */
export interface BandPoint {
  time: number;
  prediction: number;
  lower: number | null;
  upper: number | null;
}

/** The names of series in a result: the values of the column that tells them apart. */
export function seriesNames(rows: Rows, by: string | null): string[] {
  const at = by === null ? -1 : position(rows.columns, by);
  return at < 0 ? [] : [...new Set(rows.rows.map((row) => String(row[at])))].sort();
}

/** The candles of one series, oldest first, one for each time. */
export function candles(rows: Rows, by: string | null, name: string | null): Candle[] {
  const column = columnsOf(rows, ['window_start', 'open', 'high', 'low', 'close', 'volume']);
  const made = pick(rows, by, name).flatMap((row) => {
    const time = seconds(column(row, 'window_start'));
    const [open, high, low, close] = ['open', 'high', 'low', 'close'].map((key) =>
      toNumber(column(row, key)),
    );
    if (time === null || open == null || high == null || low == null || close == null) return [];
    return [{ time, open, high, low, close, volume: toNumber(column(row, 'volume')) }];
  });
  return inTime(made);
}

/** The predictions of one series, oldest first. */
export function band(rows: Rows, by: string | null, name: string | null): BandPoint[] {
  const column = columnsOf(rows, ['for_time', 'prediction', 'lower', 'upper']);
  const made = pick(rows, by, name).flatMap((row) => {
    const time = seconds(column(row, 'for_time'));
    const prediction = toNumber(column(row, 'prediction'));
    if (time === null || prediction === null) return [];
    const [lower, upper] = [toNumber(column(row, 'lower')), toNumber(column(row, 'upper'))];
    return [{ time, prediction, lower, upper }];
  });
  return inTime(made);
}

/** Lines or bars over a shared x. */
export interface Plot {
  /** Whether x is time, numbers, or names; names stand at 0, 1, 2 … */
  scale: 'time' | 'number' | 'name';
  x: number[];
  /** The names on the x axis, for `name`. */
  names: string[];
  series: { name: string; y: (number | null)[] }[];
}

/** The columns `x`, `y` and perhaps `color` as a plot. */
export function plot(rows: Rows): Plot {
  const column = columnsOf(rows, ['x', 'y', 'color']);
  const values = rows.rows.map((row) => column(row, 'x')).filter((x) => x != null);
  const scale: Plot['scale'] = values.every((x) => toInstant(x) !== null)
    ? 'time'
    : values.every((x) => toNumber(x) !== null)
      ? 'number'
      : 'name';
  const names = scale === 'name' ? [...new Set(values.map(String))].reverse() : [];
  const places = new Map(names.map((name, at) => [name, at]));
  const xOf = (value: Value): number | null => {
    if (value == null) return null;
    if (scale === 'time') return seconds(value);
    return scale === 'number' ? toNumber(value) : (places.get(String(value)) ?? null);
  };
  const lines = new Map<string, Map<number, number | null>>();
  const xs = new Set<number>();
  for (const row of rows.rows) {
    const x = xOf(column(row, 'x'));
    if (x === null) continue;
    const color = column(row, 'color');
    const name = color == null ? '' : String(color);
    const line = lines.get(name) ?? new Map<number, number | null>();
    lines.set(name, line.set(x, toNumber(column(row, 'y'))));
    xs.add(x);
  }
  const x = [...xs].sort((a, b) => a - b);
  const sorted = [...lines].sort(([a], [b]) => (a < b ? -1 : 1));
  const series = sorted.map(([name, line]) => ({ name, y: x.map((at) => line.get(at) ?? null) }));
  return { scale, x, names, series };
}

/** Tops of stacked bars, from the lowest series up; a missing value adds nothing. */
export function stack(series: Plot['series']): number[][] {
  const tops: number[][] = [];
  for (const { y } of series) {
    const below = tops.at(-1);
    tops.push(y.map((value, at) => (value ?? 0) + (below?.[at] ?? 0)));
  }
  return tops;
}

/** An hour, in seconds: how wide a bar of time is when nothing beside it tells. */
const STEP_ALONE_S = 3_600;

/** The distance of the bars of a plot on x. */
export function barStep(x: readonly number[], scale: Plot['scale']): number {
  let step = Infinity;
  for (let at = 1; at < x.length; at += 1) step = Math.min(step, x[at]! - x[at - 1]!);
  return Number.isFinite(step) ? step : scale === 'time' ? STEP_ALONE_S : 1;
}

/** Which bars have a label under them: at most `most`, evenly, at round times when there are such. */
export function barTicks(x: readonly number[], scale: Plot['scale'], most: number): number[] {
  if (x.length <= most) return [...x];
  const step = barStep(x, scale);
  for (const every of [2, 3, 4, 6, 12, 24, 48, 168]) {
    const round = x.filter((at) => scale !== 'time' || at % (every * step) === 0);
    const ticks = scale === 'time' ? round : x.filter((_, at) => at % every === 0);
    if (ticks.length > 0 && ticks.length <= most) return ticks;
  }
  const every = Math.ceil(x.length / most);
  return x.filter((_, at) => at % every === 0);
}

/** Moves labels apart that would overlap, as little as it takes, within a height. */
export function spread(wanted: number[], gap: number, height: number): number[] {
  const order = wanted.map((_, at) => at).sort((a, b) => wanted[a]! - wanted[b]!);
  const placed = [...wanted];
  let least = gap / 2;
  for (const at of order) {
    placed[at] = Math.max(wanted[at]!, least);
    least = placed[at]! + gap;
  }
  let most = height - gap / 2;
  for (const at of order.reverse()) {
    placed[at] = Math.min(placed[at]!, most);
    most = placed[at]! - gap;
  }
  return placed;
}

/** A pivot: a value for each pair of a row and a column. */
export interface Pivot {
  columns: string[];
  rows: { name: string; values: Value[] }[];
  /** The largest size of a number in it. */
  largest: number;
}

/** The columns `pivot_row`, `pivot_column`, `pivot_value` as a table, both ways in order. */
export function pivot(rows: Rows): Pivot {
  const column = columnsOf(rows, ['pivot_row', 'pivot_column', 'pivot_value']);
  const cells = new Map<string, Map<string, Value>>();
  const columns = new Map<string, Value>();
  let largest = 0;
  for (const row of rows.rows) {
    const name = String(column(row, 'pivot_row') ?? '–');
    const across = column(row, 'pivot_column');
    const value = column(row, 'pivot_value');
    columns.set(String(across ?? '–'), across);
    cells.set(name, (cells.get(name) ?? new Map()).set(String(across ?? '–'), value));
    largest = Math.max(largest, Math.abs(toNumber(value) ?? 0));
  }
  const across = [...columns].sort(([, a], [, b]) => compare(a, b)).map(([name]) => name);
  const down = [...cells].sort(([a], [b]) => compare(a, b));
  return {
    columns: across,
    rows: down.map(([name, line]) => ({ name, values: across.map((at) => line.get(at) ?? null) })),
    largest,
  };
}

function compare(a: Value, b: Value): number {
  const [x, y] = [toNumber(a), toNumber(b)];
  if (x !== null && y !== null) return x - y;
  return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
}

function columnsOf(rows: Rows, names: string[]): (row: Row, name: string) => Value {
  const places = new Map(names.map((name) => [name, position(rows.columns, name)]));
  return (row, name) => row[places.get(name) ?? -1] ?? null;
}

function pick(rows: Rows, by: string | null, name: string | null): Row[] {
  const at = by === null ? -1 : position(rows.columns, by);
  return at < 0 || name === null ? rows.rows : rows.rows.filter((row) => String(row[at]) === name);
}

function seconds(value: Value): number | null {
  const instant = toInstant(value);
  return instant === null ? null : instant / 1000;
}

function inTime<T extends { time: number }>(points: T[]): T[] {
  points.sort((a, b) => a.time - b.time);
  return points.filter((point, at) => point.time !== points[at + 1]?.time);
}
