// A message as people read it.

/** JSON with its parts on lines of their own; what is no JSON as it is. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
