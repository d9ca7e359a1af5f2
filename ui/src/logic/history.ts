// Recent values of numbers that are shown as a small line: kept while the tab lives, so that a line
// is still there when the reader comes back to a page.

const POINTS_MAX = 60;
const LINES_MAX = 2_000;
/** Changes closer together are one point. */
const STEP_MS = 1_000;

interface Line {
  values: number[];
  at: number;
}

export class History {
  private readonly lines = new Map<string, Line>();

  /** Notes a value, and returns the newest values, oldest first. */
  note(name: string, value: number | null, now: number): number[] {
    const line = this.lines.get(name) ?? { values: [], at: -Infinity };
    if (value !== null && Number.isFinite(value)) {
      if (now - line.at < STEP_MS) line.values[line.values.length - 1] = value;
      else {
        line.values.push(value);
        line.at = now;
        if (line.values.length > POINTS_MAX) line.values.shift();
      }
      this.lines.delete(name);
      this.lines.set(name, line);
      const oldest = this.lines.keys().next().value;
      if (this.lines.size > LINES_MAX && oldest !== undefined) this.lines.delete(oldest);
    }
    return [...line.values];
  }
}

/** The points of a small line in a box, as an SVG `points` attribute; empty below two values. */
export function sparkPoints(values: number[], width: number, height: number): string {
  if (values.length < 2) return '';
  const least = Math.min(...values);
  const span = Math.max(...values) - least || 1;
  const step = width / (POINTS_MAX - 1);
  const first = width - step * (values.length - 1);
  const points = values.map((value, at) => {
    const y = 1 + (height - 2) * (1 - (value - least) / span);
    return `${(first + at * step).toFixed(1)},${y.toFixed(1)}`;
  });
  return points.join(' ');
}
