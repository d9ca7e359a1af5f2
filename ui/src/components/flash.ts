// A Svelte action: the background of a cell fades for 600 ms when its value changes.

const still = globalThis.matchMedia?.('(prefers-reduced-motion: reduce)');

export function flash(node: HTMLElement, value: unknown) {
  let shown = JSON.stringify(value);
  return {
    update(next: unknown) {
      const text = JSON.stringify(next);
      if (text === shown) return;
      shown = text;
      if (next === undefined || still?.matches) return;
      const from = getComputedStyle(node).getPropertyValue('--flash');
      node.animate([{ backgroundColor: from }, { backgroundColor: 'transparent' }], {
        duration: 600,
        easing: 'ease-out',
      });
    },
  };
}
