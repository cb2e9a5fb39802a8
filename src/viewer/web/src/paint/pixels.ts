// Pictures that items are cut from, as canvases: asked for once, and cut into swatches where an item stands in a list.

import type { Context } from '../context';
import type { Items, Pixels } from '../source/source';
import { h } from '../ui/dom';

const kSwatch = 18; // CSS pixels
const kSmall = 48; // a picture of so few pixels is shown pixel by pixel
const kept = new WeakMap<Items, Promise<HTMLCanvasElement>>();

/** The picture of a range of items; null where they have none. */
export function pictureOf(ctx: Context, items: Items): Promise<HTMLCanvasElement> | null {
  if (!items.picture) return null;
  let found = kept.get(items);
  if (!found) kept.set(items, (found = ctx.source.picture(ctx.text.data.items.indexOf(items)).then(canvasOf)));
  return found;
}

function canvasOf({ width, height, rgb }: Pixels): HTMLCanvasElement {
  const canvas = h('canvas', { width, height });
  const context = canvas.getContext('2d');
  if (!context) return canvas;
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = rgb[3 * i + c];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

export interface Area {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Draws a picture into an area: small ones pixel by pixel, others smoothly. */
export function drawPicture(c: CanvasRenderingContext2D, picture: HTMLCanvasElement, { left, top, width, height }: Area): void {
  c.imageSmoothingEnabled = picture.width >= kSmall || picture.height >= kSmall;
  c.imageSmoothingQuality = 'high';
  c.drawImage(picture, left, top, width, height);
}

/** Where a patch lies in an area that its picture fills. */
export function patchArea(items: Items, id: number, { left, top, width, height }: Area): Area {
  const columns = (items.end - items.begin) / items.rows;
  const at = id - items.begin;
  const [w, t] = [width / columns, height / items.rows];
  return { left: left + (at % columns) * w, top: top + Math.floor(at / columns) * t, width: w, height: t };
}

/** What a patch shows, beside its name in a list; null for other items. */
export function swatch(ctx: Context, id: number): HTMLElement | null {
  const items = ctx.text.itemsOf(id);
  const picture = items && items.rows > 0 ? pictureOf(ctx, items) : null;
  if (!items || !picture) return null;
  const canvas = h('canvas', { class: 'swatch', width: 2 * kSwatch, height: 2 * kSwatch, 'aria-hidden': 'true' });
  void picture.then((whole) => {
    const part = patchArea(items, id, { left: 0, top: 0, width: whole.width, height: whole.height });
    const context = canvas.getContext('2d');
    if (context) context.imageSmoothingEnabled = part.width > 12;
    context?.drawImage(whole, part.left, part.top, part.width, part.height, 0, 0, 2 * kSwatch, 2 * kSwatch);
  });
  return canvas;
}
