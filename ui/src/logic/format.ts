// Numbers, times and values as text. Digits group by commas so that columns line up everywhere.
import type { Value } from '../api/client';

const MINUS = '−';
export const NOTHING = '–';

const groups = new Map<string, Intl.NumberFormat>();

function grouped(value: number, least: number, most: number): string {
  const id = `${least}:${most}`;
  let format = groups.get(id);
  if (!format) {
    format = new Intl.NumberFormat('en-US', {
      minimumFractionDigits: least,
      maximumFractionDigits: most,
    });
    groups.set(id, format);
  }
  return format.format(value).replace('-', MINUS);
}

/** The number a JSON value stands for; none when it stands for none. */
export function toNumber(value: Value): number | null {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value.trim() === '') return null;
  const number = Number(value);
  return Number.isNaN(number) && value !== 'NaN' ? null : number;
}

/** The instant an RFC 3339 text stands for, ms since 1970. */
export function toInstant(value: Value): number | null {
  if (typeof value !== 'string' || !/^\d{4}-\d{2}-\d{2}/.test(value)) return null;
  const instant = Date.parse(value);
  return Number.isNaN(instant) ? null : instant;
}

/** A number with separators and as many places as its size needs. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return String(value).replace('-', MINUS);
  if (Number.isInteger(value)) return grouped(value, 0, 0);
  const size = Math.abs(value);
  if (size >= 1_000_000) return grouped(value, 0, 0);
  if (size >= 1) return grouped(value, 2, 2);
  if (size >= 0.01) return grouped(value, 4, 4);
  return size < 1e-6 ? value.toExponential(2).replaceAll('-', MINUS) : grouped(value, 2, 8);
}

/** How many places a number of a column with fractions is written with: small ones need more. */
function placesFor(value: number): number {
  const size = Math.abs(value);
  return Number.isInteger(value) || size >= 10 ? 2 : size >= 0.01 ? 4 : 6;
}

/** Beside numbers above 1, places beyond these say nothing. */
const PLACES_BESIDE_WHOLE = 4;

/** The most places a number of a column is written with; 0 when all are whole. */
export function placesOf(values: Iterable<Value>): number {
  let most = 0;
  let largest = 0;
  let isWhole = true;
  for (const value of values) {
    const numeric = toNumber(value);
    if (numeric === null || !Number.isFinite(numeric)) continue;
    if (!Number.isInteger(numeric)) isWhole = false;
    most = Math.max(most, placesFor(numeric));
    largest = Math.max(largest, Math.abs(numeric));
  }
  if (isWhole) return 0;
  return largest >= 1 ? Math.min(most, PLACES_BESIDE_WHOLE) : most;
}

/** A number of a column whose numbers have up to `most` places; spaces stand for those it lacks, so
    that points stand under each other. */
export function aligned(value: number, most: number): string {
  if (most === 0 || !Number.isFinite(value)) return fixed(value, 0);
  const places = Math.min(most, placesFor(value));
  return fixed(value, places) + '\u00a0'.repeat(most - places);
}

/** A number with exactly `places` places. */
export function fixed(value: number, places: number): string {
  if (!Number.isFinite(value)) return String(value).replace('-', MINUS);
  const text = grouped(value, places, places);
  return /[1-9]/.test(text) ? text : text.replace(MINUS, '');
}

/** A short number, for axes and counts: `1.2 M`; with `least` places at least where it is scaled. */
export function short(value: number, least = 0): string {
  const size = Math.abs(value);
  const units: [number, string][] = [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e4, 'k'],
  ];
  for (const [unit, name] of units) {
    if (size >= unit) {
      const scaled = unit === 1e4 ? value / 1e3 : value / unit;
      const most = Math.abs(scaled) >= 100 ? 0 : 1;
      return `${grouped(scaled, Math.min(least, most), most)} ${name}`;
    }
  }
  return size >= 100 || Number.isInteger(value) ? grouped(value, 0, 0) : grouped(value, 0, 2);
}

/** A change with its sign. */
export function signed(value: number, places = 2): string {
  const text = fixed(value, places);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** Bytes in steps of 1024. */
export function bytes(value: number): string {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let scaled = value;
  let at = 0;
  while (Math.abs(scaled) >= 1024 && at < names.length - 1) {
    scaled /= 1024;
    at += 1;
  }
  return `${grouped(scaled, 0, at === 0 || scaled >= 100 ? 0 : 1)} ${names[at]}`;
}

/** A length of time in its two largest units at most. */
export function duration(ms: number): string {
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 10_000) return `${fixed(ms / 1000, 1)} s`;
  if (size < 60_000) return `${Math.floor(ms / 1000)} s`;
  const steps: [number, string, number, string][] = [
    [86_400_000, 'd', 3_600_000, 'h'],
    [3_600_000, 'h', 60_000, 'min'],
    [60_000, 'min', 1000, 's'],
  ];
  for (const [unit, name, next, nextName] of steps) {
    if (size < unit) continue;
    const rest = Math.floor((size % unit) / next);
    return `${Math.floor(size / unit)} ${name}${rest ? ` ${rest} ${nextName}` : ''}`;
  }
  return '';
}

/** How long ago an instant was; one up to a second ahead, by clocks that differ, is now. */
export function age(instant: number, now: number): string {
  const ms = now - instant;
  if (ms < -1000) return `in ${duration(-ms)}`;
  return ms < 100 ? 'now' : duration(ms);
}

/** An instant as clock time in a zone, with its day when that is not today's. */
export function clock(instant: number, timezone: string, now: number): string {
  const day = part(instant, timezone, 'day');
  const time = part(instant, timezone, 'time');
  return day === part(now, timezone, 'day') ? time : `${day} ${time}`;
}

/** Day and time of an instant in a zone: `2026-01-05 14:30:00`. */
export function moment(instant: number, timezone: string): string {
  return `${part(instant, timezone, 'day')} ${part(instant, timezone, 'time')}`;
}

const parts = new Map<string, Intl.DateTimeFormat>();

/** The day or the time of an instant in a zone. */
export function part(instant: number, timezone: string, which: 'day' | 'time' | 'minute'): string {
  const id = `${timezone}:${which}`;
  let format = parts.get(id);
  if (!format) {
    const minute = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
    const fields: Intl.DateTimeFormatOptions =
      which === 'day'
        ? { year: 'numeric', month: '2-digit', day: '2-digit' }
        : which === 'minute'
          ? minute
          : { ...minute, second: '2-digit' };
    format = new Intl.DateTimeFormat('sv-SE', { timeZone: timezone, ...fields });
    parts.set(id, format);
  }
  return format.format(instant);
}

const NUMBERS = /^(int|bigint|real|double|decimal)/;

/** Whether values of a column's type are numbers. */
export function isNumeric(type: string): boolean {
  return NUMBERS.test(type);
}

/** Whether values of a column's type are instants. */
export function isInstant(type: string): boolean {
  return type.startsWith('timestamp');
}

/** A value of a column's type as the text of a table's cell. */
export function cell(value: Value, type: string, timezone: string, places?: number): string {
  if (value === null || value === undefined) return NOTHING;
  if (isNumeric(type)) {
    const numeric = toNumber(value);
    if (numeric === null) return String(value);
    const isWhole = type === 'int' || type === 'bigint';
    return isWhole ? grouped(numeric, 0, 0) : aligned(numeric, places ?? placesFor(numeric));
  }
  if (isInstant(type)) {
    const instant = toInstant(value);
    return instant === null ? String(value) : moment(instant, timezone);
  }
  if (typeof value === 'object') return JSON.stringify(value);
  return String(value);
}

/** A name as a sentence begins it: `no_champion` → `no champion`. */
export function words(name: string): string {
  return name.replaceAll('_', ' ');
}

/** Whether a column tells a change: it is written with its sign, and coloured by it. */
export function isChange(column: string): boolean {
  return /(^|_)(change|gain|difference)(_|$)/.test(column);
}
