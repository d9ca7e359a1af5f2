// Lines with a predicted band, and stacked bars, by uPlot. Loaded when a board needs it. Names stand
// at the ends of lines; there is no legend.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { coloursOf } from '../logic/colour';
import { part, short } from '../logic/format';
import { barStep, barTicks, spread, stack, type BandPoint, type Plot } from '../logic/series';
import { FONT, faded, readColours } from './theme';

export type Kind = 'line' | 'bars';

/** What is under the pointer. */
export interface Hover {
  x: number;
  values: { name: string; value: number | null }[];
}

export interface PlotChart {
  update(plot: Plot, band: BandPoint[]): void;
  recolour(): void;
  destroy(): void;
}

const LABEL_WIDTH_MAX = 150;
const LABEL_GAP = 14;
/** Room for a label under a bar. */
const TICK_WIDTH = 64;
/** Of the mono font at 11 px. */
const CHARACTER_WIDTH = 6.6;

/** Draws a plot into an element; `onhover` is told what is under the pointer. */
export function createPlot(
  element: HTMLElement,
  kind: Kind,
  predictedName: string | null,
  timezone: string,
  onhover: (hover: Hover | null) => void,
): PlotChart {
  let chart: uPlot | null = null;
  let shape = '';
  let plot: Plot = { scale: 'time', x: [], names: [], series: [] };
  let band: BandPoint[] = [];
  let data: uPlot.AlignedData = [[]];

  const observer = new ResizeObserver(() => chart?.setSize(size()));
  observer.observe(element);

  function size() {
    return { width: Math.max(80, element.clientWidth), height: Math.max(60, element.clientHeight) };
  }

  function update(newPlot: Plot, newBand: BandPoint[]) {
    plot = newPlot;
    const first = plot.x[0] ?? -Infinity;
    band = kind === 'line' ? newBand.filter((point) => point.time >= first) : [];
    data = aligned();
    const newShape = JSON.stringify([plot.scale, plot.series.map(({ name }) => name), band.length > 0]);
    if (!chart || newShape !== shape) build();
    else chart.setData(data);
    shape = newShape;
  }

  function aligned(): uPlot.AlignedData {
    if (kind === 'bars') return [plot.x, ...stack(plot.series).reverse()];
    const lines = [plot.x, ...plot.series.map(({ y }) => y)] as uPlot.AlignedData;
    if (band.length === 0) return lines;
    const predicted = [
      band.map(({ time }) => time),
      band.map(({ prediction }) => prediction),
      band.map(({ upper }) => upper),
      band.map(({ lower }) => lower),
    ] as uPlot.AlignedData;
    return uPlot.join([lines, predicted]);
  }

  function build() {
    chart?.destroy();
    const colours = readColours();
    const places = coloursOf(plot.series.map(({ name }) => name));
    const colourOf = (name: string) => colours.series[places.get(name) ?? 0] ?? colours.ink;
    const lines = plot.series.map(({ name }): uPlot.Series => {
      const stroke = colourOf(name);
      if (kind === 'line') {
        return { label: name, stroke, width: 1.25, spanGaps: true, points: { show: false } };
      }
      const paths = uPlot.paths.bars!({ size: [0.72, 48], align: 0 });
      // A hair of paper between the parts of a bar.
      return { label: name, stroke: colours.bg, fill: stroke, width: 1, paths, points: { show: false } };
    });
    if (kind === 'bars') lines.reverse();
    const hasBand = band.length > 0;
    const predicted: uPlot.Series[] = hasBand
      ? [
          { label: predictedName ?? 'prediction', stroke: colours.accent, dash: [4, 4], width: 1.25 },
          { label: 'upper', stroke: 'transparent', width: 0 },
          { label: 'lower', stroke: 'transparent', width: 0 },
        ].map((series) => ({ ...series, spanGaps: true, points: { show: false } }))
      : [];
    const axis: uPlot.Axis = {
      stroke: colours.muted,
      font: `11px ${FONT}`,
      ticks: { show: false },
      grid: { stroke: colours.grid, width: 1 },
    };
    const names = [...plot.series.map(({ name }) => name), hasBand ? (predictedName ?? '') : ''];
    const options: uPlot.Options = {
      ...size(),
      padding: [8, labelWidth(names), 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), timezone),
      scales: {
        x: { time: plot.scale === 'time', ...(kind === 'bars' ? { range: wide } : {}) },
        y: kind === 'bars' ? { range: (_, __, most) => [0, most > 0 ? most * 1.06 : 1] } : {},
      },
      legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false }, points: { show: kind === 'line' } },
      series: [{}, ...lines, ...predicted],
      bands: hasBand
        ? [{ series: [lines.length + 2, lines.length + 3], fill: faded(colours.accent, 0.16) }]
        : [],
      axes: [
        {
          ...axis,
          size: 24,
          gap: 4,
          grid: { show: false },
          ...(kind === 'bars' ? { splits: ticks } : {}),
          ...(plot.scale === 'time' ? { values: times } : {}),
          ...(plot.scale === 'name'
            ? { values: (_: uPlot, at: number[]) => at.map((i) => plot.names[i] ?? '') }
            : {}),
        },
        { ...axis, size: axisWidth, gap: 6, values: (_, values) => values.map((value) => short(value)) },
      ],
      hooks: {
        draw: [(drawn) => drawLabels(drawn, colourOf, colours.accent)],
        setCursor: [(drawn) => hover(drawn)],
      },
    };
    chart = new uPlot(options, data, element);
  }

  /** Ticks of time: the day where it changes, the time elsewhere. */
  function times(_: uPlot, splits: number[], __: number, ___: number, step: number): string[] {
    const hasSeconds = kind === 'bars' ? barStep(plot.x, 'time') < 60 : step < 60;
    return splits.map((split) => {
      const time = part(split * 1000, timezone, hasSeconds ? 'time' : 'minute');
      return /^00:00(:00)?$/.test(time) ? part(split * 1000, timezone, 'day').slice(5) : time;
    });
  }

  /** Bars are labelled where they stand. */
  function ticks(drawn: uPlot): number[] {
    return barTicks(plot.x, plot.scale, Math.max(1, Math.floor(drawn.width / TICK_WIDTH)));
  }

  /** The x range of bars: a little more than half a bar on both sides. */
  function wide(_: uPlot, least: number, most: number): [number, number] {
    const half = barStep(plot.x, plot.scale) * 0.6;
    // One bar alone stands for itself; uPlot would give it years.
    return [least - half, (plot.x.length === 1 ? least : most) + half];
  }

  function hover(drawn: uPlot) {
    const at = drawn.cursor.idx;
    const x = at == null ? undefined : drawn.data[0][at];
    if (x === undefined) return onhover(null);
    const index = plot.x.indexOf(x);
    const values = plot.series.map(({ name, y }) => ({ name, value: y[index] ?? null }));
    const predicted = band.find(({ time }) => time === x);
    if (predicted) values.push({ name: predictedName ?? 'prediction', value: predicted.prediction });
    onhover({ x, values });
  }

  function drawLabels(drawn: uPlot, colourOf: (name: string) => string, accent: string) {
    const labels = (kind === 'bars' ? barLabels() : lineLabels(colourOf, accent)).map((label) => ({
      ...label,
      colour: label.colour ?? colourOf(label.name),
    }));
    const ratio = devicePixelRatio;
    const { top, height, left, width } = drawn.bbox;
    const wanted = labels.map(({ value }) => (drawn.valToPos(value, 'y', true) - top) / ratio);
    const placed = spread(wanted, LABEL_GAP, height / ratio);
    const { ctx } = drawn;
    ctx.save();
    ctx.font = `${11 * ratio}px ${FONT}`;
    ctx.textAlign = 'left';
    ctx.textBaseline = 'middle';
    labels.forEach(({ name, colour }, at) => {
      ctx.fillStyle = colour;
      ctx.fillText(clip(ctx, name, LABEL_WIDTH_MAX * ratio), left + width + 6 * ratio, top + placed[at]! * ratio);
    });
    ctx.restore();
  }

  function lineLabels(colourOf: (name: string) => string, accent: string) {
    const ends = plot.series.flatMap(({ name, y }) => {
      const value = y.findLast((v) => v !== null);
      return name && value != null ? [{ name, value, colour: colourOf(name) as string | null }] : [];
    });
    const last = band.at(-1);
    if (last && predictedName) ends.push({ name: predictedName, value: last.prediction, colour: accent });
    return ends;
  }

  /** Each name beside the middle of its part of the last bar. */
  function barLabels() {
    const tops = stack(plot.series);
    return plot.series.flatMap(({ name }, at) => {
      const top = tops[at]?.at(-1) ?? 0;
      const bottom = tops[at - 1]?.at(-1) ?? 0;
      return name ? [{ name, value: (top + bottom) / 2, colour: null as string | null }] : [];
    });
  }

  return {
    update,
    recolour: () => {
      if (chart) build();
    },
    destroy: () => {
      observer.disconnect();
      chart?.destroy();
    },
  };
}

/** The width of the labels of an axis. */
function axisWidth(_: uPlot, values: string[] | null): number {
  return Math.max(0, ...(values ?? []).map((value) => value.length)) * CHARACTER_WIDTH + 10;
}

/** How much room names at the ends of lines take. */
function labelWidth(names: string[]): number {
  const longest = Math.max(0, ...names.map((name) => name.length));
  return longest === 0 ? 12 : Math.min(LABEL_WIDTH_MAX, longest * CHARACTER_WIDTH) + 12;
}

function clip(context: CanvasRenderingContext2D, text: string, width: number): string {
  if (context.measureText(text).width <= width) return text;
  let kept = text;
  while (kept.length > 1 && context.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return `${kept}…`;
}
