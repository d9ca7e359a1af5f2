// What a panel shows, as a PNG: canvases, text, rules, backgrounds and small lines are drawn again
// from where they stand on the page. Nothing else is on a panel.

const MARGIN = 16;

/** Draws an element as it is seen now, twice as fine as the screen's points. */
export function picture(element: HTMLElement, title: string): Promise<Blob> {
  const box = element.getBoundingClientRect();
  const scale = Math.max(2, devicePixelRatio);
  const canvas = document.createElement('canvas');
  const head = title ? 28 : 0;
  canvas.width = Math.ceil((box.width + 2 * MARGIN) * scale);
  canvas.height = Math.ceil((box.height + head + 2 * MARGIN) * scale);
  const context = canvas.getContext('2d')!;
  const page = getComputedStyle(document.body);
  context.scale(scale, scale);
  context.fillStyle = page.backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (title) {
    context.fillStyle = page.color;
    context.font = `600 15px ${page.fontFamily}`;
    context.textBaseline = 'middle';
    context.fillText(title, MARGIN, MARGIN + 8);
  }
  context.translate(MARGIN - box.left, MARGIN + head - box.top);
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  draw(context, element);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the picture is empty')))),
  );
}

function draw(context: CanvasRenderingContext2D, element: Element): void {
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  // What only readers of the screen hear is no more than a point.
  if (style.visibility === 'hidden' || style.display === 'none' || box.width <= 1) return;
  context.save();
  context.globalAlpha *= Number(style.opacity);
  context.fillStyle = style.backgroundColor;
  context.fillRect(box.left, box.top, box.width, box.height);
  const rule = parseFloat(style.borderBottomWidth);
  if (rule > 0) {
    context.fillStyle = style.borderBottomColor;
    context.fillRect(box.left, box.bottom - rule, box.width, rule);
  }
  if (element instanceof HTMLCanvasElement) {
    context.drawImage(element, box.left, box.top, box.width, box.height);
  } else if (element instanceof SVGPolylineElement) {
    drawLine(context, element, style);
  } else if (element instanceof HTMLSelectElement) {
    drawText(context, element.value, box, style);
  } else {
    for (const child of element.childNodes) {
      if (child instanceof Element) draw(context, child);
      else if (child instanceof Text) drawWords(context, child, style);
    }
  }
  context.restore();
}

/** Each line of a text where the page broke it. */
function drawWords(context: CanvasRenderingContext2D, node: Text, style: CSSStyleDeclaration): void {
  const range = document.createRange();
  const text = node.data;
  let from = 0;
  let top: number | null = null;
  const end = (to: number) => {
    const line = text.slice(from, to);
    const words = line.trim();
    if (words) {
      const start = from + line.indexOf(words);
      range.setStart(node, start);
      range.setEnd(node, start + words.length);
      drawText(context, words, range.getBoundingClientRect(), style);
    }
    from = to;
  };
  for (let at = 0; at < text.length; at += 1) {
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    const box = range.getClientRects()[0];
    if (!box || box.width === 0) continue;
    if (top !== null && box.top > top + 2) end(at);
    top = box.top;
  }
  end(text.length);
}

function drawText(
  context: CanvasRenderingContext2D,
  text: string,
  box: DOMRect,
  style: CSSStyleDeclaration,
): void {
  context.fillStyle = style.color;
  context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.letterSpacing = style.letterSpacing === 'normal' ? '0px' : style.letterSpacing;
  context.textBaseline = 'middle';
  const shown = style.textTransform === 'uppercase' ? text.toUpperCase() : text;
  context.fillText(shown, box.left, box.top + box.height / 2, box.width + 1);
}

function drawLine(
  context: CanvasRenderingContext2D,
  line: SVGPolylineElement,
  style: CSSStyleDeclaration,
): void {
  const place = line.getScreenCTM();
  if (!place) return;
  context.beginPath();
  for (const point of line.points) {
    const { x, y } = new DOMPoint(point.x, point.y).matrixTransform(place);
    context.lineTo(x, y);
  }
  context.strokeStyle = style.stroke;
  context.lineWidth = parseFloat(style.strokeWidth) || 1;
  context.globalAlpha *= Number(style.strokeOpacity);
  context.stroke();
}
