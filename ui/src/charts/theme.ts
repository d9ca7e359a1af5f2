// Colours of the tokens for canvases, which cannot read custom properties by themselves.
import { SERIES_COLOURS } from '../logic/colour';

export interface Colours {
  bg: string;
  ink: string;
  muted: string;
  rule: string;
  grid: string;
  up: string;
  down: string;
  accent: string;
  series: string[];
}

export const FONT = "'Plex Mono', ui-monospace, monospace";

export function readColours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    bg: token('bg'),
    ink: token('ink'),
    muted: token('muted'),
    rule: token('rule'),
    grid: token('grid'),
    up: token('up'),
    down: token('down'),
    accent: token('accent'),
    series: Array.from({ length: SERIES_COLOURS }, (_, at) => token(`series-${at}`)),
  };
}

/** A hex colour with an opacity. */
export function faded(hex: string, opacity: number): string {
  const alpha = Math.round(opacity * 255);
  return hex + alpha.toString(16).padStart(2, '0');
}
