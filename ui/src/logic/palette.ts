// The command palette: what it offers, and which of it a few letters mean.

export interface Command {
  /** What it says: `Board · Market`. */
  label: string;
  /** Its address. */
  href: string;
}

/** Commands whose label holds the letters in their order, the tightest match first. */
export function search(commands: Command[], letters: string): Command[] {
  const wanted = letters.toLowerCase().replaceAll(' ', '');
  const scored = commands.flatMap((command, at) => {
    const score = tightness(command.label.toLowerCase(), wanted);
    return score === null ? [] : [{ command, score, at }];
  });
  scored.sort((a, b) => a.score - b.score || a.at - b.at);
  return scored.map(({ command }) => command);
}

/** How many letters stand between those wanted, and before them; none when they are not there. */
function tightness(text: string, wanted: string): number | null {
  const whole = text.indexOf(wanted);
  if (whole >= 0) return whole;
  let from = 0;
  let skipped = 100;
  for (const letter of wanted) {
    const at = text.indexOf(letter, from);
    if (at < 0) return null;
    skipped += at - from;
    from = at + 1;
  }
  return skipped;
}
