// A series has the same colour on every page and after every restart: its name decides. Within one
// chart two names that fall on one colour are moved apart, the first name keeping its own.

/** How many colours of series the tokens define: `--series-0` and so on. */
export const SERIES_COLOURS = 8;

/** The colour a name has by itself (FNV-1a). */
export function colourOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  }
  // The low bits of FNV alone are weak.
  return ((hash ^ (hash >>> 15)) >>> 0) % SERIES_COLOURS;
}

/** Colours of the names of one chart: different ones, as long as there are enough. */
export function coloursOf(names: Iterable<string>): Map<string, number> {
  const colours = new Map<string, number>();
  const taken = new Set<number>();
  for (const name of [...new Set(names)].sort()) {
    let colour = colourOf(name);
    if (taken.size < SERIES_COLOURS) {
      while (taken.has(colour)) colour = (colour + 1) % SERIES_COLOURS;
    }
    taken.add(colour);
    colours.set(name, colour);
  }
  return colours;
}
