// Candles with volume and a predicted band, by lightweight-charts. Loaded when a board needs it.
import {
  CandlestickSeries,
  HistogramSeries,
  LineSeries,
  LineStyle,
  TickMarkType,
  createChart,
  type IChartApi,
  type IPrimitivePaneView,
  type ISeriesApi,
  type ISeriesPrimitive,
  type SeriesAttachedParameter,
  type Time,
  type UTCTimestamp,
} from 'lightweight-charts';
import { fixed, moment, part, short } from '../logic/format';
import type { BandPoint, Candle } from '../logic/series';
import { FONT, faded, readColours } from './theme';

export interface CandlesChart {
  update(candles: Candle[], band: BandPoint[]): void;
  /** Reads the colours anew. */
  recolour(): void;
  destroy(): void;
}

/** Share of the height that volume takes at the bottom. */
const VOLUME_SHARE = 0.16;
const BARS_SHOWN = 120;

/** Draws candles into an element; `onhover` is told the candle under the pointer. */
export function createCandles(
  element: HTMLElement,
  timezone: string,
  onhover: (candle: Candle | null) => void,
): CandlesChart {
  const chart = createChart(element, {
    autoSize: true,
    rightPriceScale: { borderVisible: false, entireTextOnly: true, scaleMargins: { top: 0.08, bottom: 0.22 } },
    timeScale: {
      borderVisible: false,
      timeVisible: true,
      secondsVisible: true,
      rightOffset: 4,
      tickMarkFormatter: (time: Time, type: TickMarkType) => {
        const instant = Number(time) * 1000;
        if (type <= TickMarkType.DayOfMonth) return part(instant, timezone, 'day').slice(5);
        return part(instant, timezone, type === TickMarkType.Time ? 'minute' : 'time');
      },
    },
    localization: { timeFormatter: (time: Time) => moment(Number(time) * 1000, timezone) },
  });
  const volume = chart.addSeries(HistogramSeries, {
    priceScaleId: '',
    priceLineVisible: false,
    lastValueVisible: false,
    priceFormat: { type: 'custom', formatter: short },
  });
  volume.priceScale().applyOptions({ scaleMargins: { top: 1 - VOLUME_SHARE, bottom: 0 } });
  const prices = chart.addSeries(CandlestickSeries, { borderVisible: false });
  const predicted = chart.addSeries(LineSeries, {
    lineWidth: 1,
    lineStyle: LineStyle.Dashed,
    priceLineVisible: false,
    lastValueVisible: true,
    crosshairMarkerVisible: false,
  });
  const interval = new Interval();
  prices.attachPrimitive(interval);

  let shown: Candle[] = [];
  let places = -1;
  chart.subscribeCrosshairMove(({ time }) => {
    onhover(time === undefined ? null : (shown.find((candle) => candle.time === time) ?? null));
  });

  let colours = readColours();
  function recolour() {
    colours = readColours();
    chart.applyOptions({
      layout: {
        background: { color: colours.bg },
        textColor: colours.muted,
        fontFamily: FONT,
        fontSize: 11,
        attributionLogo: true,
      },
      grid: { vertLines: { visible: false }, horzLines: { color: colours.grid } },
      crosshair: {
        vertLine: { color: colours.muted, width: 1, labelBackgroundColor: colours.ink },
        horzLine: { color: colours.muted, width: 1, labelBackgroundColor: colours.ink },
      },
    });
    const { up, down } = colours;
    prices.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    predicted.applyOptions({ color: colours.accent });
    interval.colour = faded(colours.accent, 0.16);
    volume.setData(shown.flatMap(volumeBar));
  }

  function volumeBar({ time, open, close, volume: value }: Candle) {
    if (value === null) return [];
    const color = faded(close >= open ? colours.up : colours.down, 0.35);
    return [{ time: time as UTCTimestamp, value, color }];
  }

  function update(candles: Candle[], band: BandPoint[]) {
    const wanted = decimals(candles);
    if (wanted !== places) {
      places = wanted;
      const priceFormat = {
        type: 'custom',
        formatter: (price: number) => fixed(price, places),
        minMove: 10 ** -places,
      } as const;
      prices.applyOptions({ priceFormat });
      predicted.applyOptions({ priceFormat });
    }
    const kept = candles.findIndex((candle, at) => !isSame(candle, shown[at]));
    const isTail = shown.length > 0 && candles.length >= shown.length && kept >= shown.length - 1;
    const wasEmpty = shown.length === 0;
    shown = candles;
    if (isTail) {
      for (const candle of candles.slice(kept)) {
        prices.update({ ...candle, time: candle.time as UTCTimestamp });
        for (const bar of volumeBar(candle)) volume.update(bar);
      }
    } else if (kept >= 0 || candles.length === 0 || wasEmpty) {
      prices.setData(candles.map((candle) => ({ ...candle, time: candle.time as UTCTimestamp })));
      volume.setData(candles.flatMap(volumeBar));
    }
    // Predictions from before the first candle would only stretch the axis.
    const first = candles[0]?.time ?? -Infinity;
    const drawn = band.filter((point) => point.time >= first);
    predicted.setData(
      drawn.map(({ time, prediction }) => ({ time: time as UTCTimestamp, value: prediction })),
    );
    interval.set(drawn);
    if (wasEmpty && candles.length > 0) {
      const last = candles.length + drawn.filter((p) => p.time > candles.at(-1)!.time).length;
      chart.timeScale().setVisibleLogicalRange({ from: last - BARS_SHOWN, to: last + 4 });
    }
  }

  recolour();
  return { update, recolour, destroy: () => chart.remove() };
}

/** The interval of predictions, as an area behind the candles. */
class Interval implements ISeriesPrimitive<Time> {
  colour = '';
  private points: BandPoint[] = [];
  private chart: IChartApi | null = null;
  private series: ISeriesApi<'Candlestick'> | null = null;
  private requestUpdate = (): void => {};

  attached({ chart, series, requestUpdate }: SeriesAttachedParameter<Time>): void {
    this.chart = chart as IChartApi;
    this.series = series as ISeriesApi<'Candlestick'>;
    this.requestUpdate = requestUpdate;
  }

  set(points: BandPoint[]): void {
    this.points = points.filter((point) => point.lower !== null && point.upper !== null);
    this.requestUpdate();
  }

  paneViews(): IPrimitivePaneView[] {
    return [
      {
        zOrder: () => 'bottom',
        renderer: () => ({
          draw: (target) =>
            target.useMediaCoordinateSpace(({ context }) => this.draw(context)),
        }),
      },
    ];
  }

  private draw(context: CanvasRenderingContext2D): void {
    const { chart, series } = this;
    if (!chart || !series) return;
    const place = (point: BandPoint, price: number) => ({
      x: chart.timeScale().timeToCoordinate(point.time as UTCTimestamp),
      y: series.priceToCoordinate(price),
    });
    const outline = [
      ...this.points.map((point) => place(point, point.upper!)),
      ...this.points.toReversed().map((point) => place(point, point.lower!)),
    ];
    context.beginPath();
    for (const { x, y } of outline) if (x !== null && y !== null) context.lineTo(x, y);
    context.closePath();
    context.fillStyle = this.colour;
    context.fill();
  }
}

function isSame(a: Candle, b: Candle | undefined): boolean {
  return (
    b !== undefined &&
    a.time === b.time &&
    a.open === b.open &&
    a.high === b.high &&
    a.low === b.low &&
    a.close === b.close &&
    a.volume === b.volume
  );
}

/** How many places prices of this size need. */
function decimals(candles: Candle[]): number {
  const size = Math.abs(candles.at(-1)?.close ?? 1);
  return size >= 10 ? 2 : size >= 0.1 ? 4 : 6;
}
