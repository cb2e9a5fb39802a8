// A PNG of exactly what is shown: walks the visible panel, paints backgrounds, canvases and text onto one canvas with a caption, and writes
// the command that reproduces it into the file (a tEXt chunk).

import { type Context, commandOf, weightName } from '../context';
import { head as headName } from '../format';
import { pngOf } from '../png';
import type { ViewName } from '../state';

const kCaption = 40;
const kFrames: Partial<Record<ViewName, string>> = {
  read: '.with-sides, .prose',
  lines: '.lines-frame',
  map: '.street-frame',
  atlas: '.heads-frame',
};

export async function picturePng(ctx: Context, root: HTMLElement): Promise<{ blob: Blob; name: string }> {
  const state = ctx.store.now;
  const panel = root.querySelector<HTMLElement>(kFrames[state.view] ?? `.${state.view}-panel`) ?? root;
  const bounds = panel.getBoundingClientRect();
  const ratio = Math.max(2, window.devicePixelRatio || 1);
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(bounds.width * ratio);
  canvas.height = Math.round((bounds.height + kCaption) * ratio);
  const c = canvas.getContext('2d');
  if (!c) throw new Error('canvas 2d is not available');
  c.scale(ratio, ratio);
  c.fillStyle = getComputedStyle(root).getPropertyValue('--paper') || '#fff';
  c.fillRect(0, 0, bounds.width, bounds.height + kCaption);
  c.save();
  c.beginPath();
  c.rect(0, 0, bounds.width, bounds.height);
  c.clip();
  c.translate(-bounds.left, -bounds.top);
  paintTree(c, panel, bounds);
  c.restore();
  c.fillStyle = getComputedStyle(root).color;
  c.font = '12px system-ui, sans-serif';
  const { t } = ctx;
  const words = [
    ctx.info.name,
    state.heads.map(headName).join(' '),
    t(`direction.${state.direction}`),
    weightName(ctx),
    `${t('scale')} ${t(`scale.${state.scale}`)}`,
    `${t('sink')} ${t(`sink.${state.sink}`)}`,
  ];
  c.fillText(words.join(' · '), 12, bounds.height + 24, bounds.width - 24);
  return { blob: await pngOf(canvas, commandOf(ctx)), name: `clearhead-${state.view}.png` };
}

function paintTree(c: CanvasRenderingContext2D, element: Element, bounds: DOMRect): void {
  const rect = element.getBoundingClientRect();
  if (rect.bottom < bounds.top || rect.top > bounds.bottom) return;
  const style = getComputedStyle(element);
  if (style.display === 'none' || style.visibility === 'hidden') return;
  for (const part of element.getClientRects()) paintBox(c, part, style);
  if (element instanceof HTMLCanvasElement) {
    c.imageSmoothingEnabled = false;
    c.drawImage(element, rect.left, rect.top, rect.width, rect.height);
    return;
  }
  for (const child of element.childNodes) {
    if (child instanceof Element) paintTree(c, child, bounds);
    else if (child instanceof Text) paintText(c, child, style, bounds);
  }
}

function paintBox(c: CanvasRenderingContext2D, part: DOMRect, style: CSSStyleDeclaration): void {
  if (style.backgroundColor !== 'rgba(0, 0, 0, 0)') {
    c.fillStyle = style.backgroundColor;
    c.fillRect(part.left, part.top, part.width, part.height);
  }
  if (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) {
    c.strokeStyle = style.outlineColor;
    c.lineWidth = parseFloat(style.outlineWidth);
    c.strokeRect(part.left - 1, part.top - 1, part.width + 2, part.height + 2);
  }
  if (style.textDecorationLine.includes('underline')) {
    c.fillStyle = style.textDecorationColor;
    c.fillRect(part.left, part.bottom - 1, part.width, 2);
  }
}

/** Paints text run by run: one fillText per visual line. */
function paintText(c: CanvasRenderingContext2D, node: Text, style: CSSStyleDeclaration, bounds: DOMRect): void {
  c.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  c.fillStyle = style.color;
  c.textBaseline = 'alphabetic';
  const range = document.createRange();
  let start = 0;
  let top = NaN;
  let place: DOMRect | null = null;
  const flush = (end: number): void => {
    const metrics = c.measureText('x');
    if (place && place.bottom > bounds.top && place.top < bounds.bottom) {
      const middle = place.top + place.height / 2 + (metrics.fontBoundingBoxAscent - metrics.fontBoundingBoxDescent) / 2;
      c.fillText(node.data.slice(start, end).replace(/\n/g, ''), place.left, middle);
    }
  };
  for (let i = 0; i < node.data.length; i++) {
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    const rect = range.getBoundingClientRect();
    if (rect.width === 0 || rect.top === top) continue;
    flush(i);
    start = i;
    top = rect.top;
    place = rect;
  }
  flush(node.data.length);
}
