// Pictures whose patches or frames are items, as canvases: requested once, and cut into swatches for items in lists.

import type { Context } from '../context';
import type { Items, Pixels } from '../source/source';
import { h } from '../ui/dom';
import { cividis, css, mix } from './ramp';

const kSwatch = 18; // CSS pixels
const kSmall = 48; // smaller pictures are shown pixel by pixel
const pictures = new WeakMap<Items, Promise<HTMLCanvasElement>>();

/** The picture of a range of items; null if they have none. */
export function loadPicture(ctx: Pick<Context, 'source' | 'text'>, items: Items): Promise<HTMLCanvasElement> | null {
  if (!items.picture) return null;
  let found = pictures.get(items);
  if (!found) pictures.set(items, (found = ctx.source.picture(ctx.text.data.items.indexOf(items)).then(canvasOf)));
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

/** Draws a picture into an area: small pictures pixel by pixel, others smoothly. */
export function drawPicture(c: CanvasRenderingContext2D, picture: HTMLCanvasElement, { left, top, width, height }: Area): void {
  c.imageSmoothingEnabled = picture.width >= kSmall || picture.height >= kSmall;
  c.imageSmoothingQuality = 'high';
  c.drawImage(picture, left, top, width, height);
}

/** The area of a patch inside the area that its picture fills. */
export function patchArea(items: Items, id: number, { left, top, width, height }: Area): Area {
  const columns = (items.end - items.begin) / items.rows;
  const at = id - items.begin;
  const [w, t] = [width / columns, height / items.rows];
  return { left: left + (at % columns) * w, top: top + Math.floor(at / columns) * t, width: w, height: t };
}

/** The bounding box of an item that has one. */
export function boxArea({ boxes, picture, begin }: Items, id: number, { left, top, width, height }: Area): Area {
  const [high, across] = picture ?? [1, 1];
  const [x, y, wide, tall] = (boxes ?? []).slice(4 * (id - begin), 4 * (id - begin) + 4);
  const [sx, sy] = [width / across, height / high];
  return { left: left + x * sx, top: top + y * sy, width: wide * sx, height: tall * sy };
}

/**
 * Overlays a picture with weights, or paints the weights if there is no picture. The picture is darkened and then lit by weight in the ramp
 * of dark pages, because a picture has no paper colour. `lightOf` returns 0…1, "hidden", or null for a patch without weight. Returns the
 * number of patches that have a weight.
 */
export function lightPatches(
  c: CanvasRenderingContext2D,
  items: Items,
  area: Area,
  hasPicture: boolean,
  lightOf: (id: number) => number | 'hidden' | null,
): number {
  let shown = 0;
  for (let id = items.begin; id < items.end; id++) {
    const light = lightOf(id);
    if (light === null) continue;
    const { left, top, width, height } = patchArea(items, id, area);
    const t = light === 'hidden' ? 0 : light;
    c.globalAlpha = hasPicture ? 0.58 + 0.2 * t : 1;
    c.fillStyle = light === 'hidden' ? css(mix([0, 0, 0], cividis(0), 0.5)) : css(cividis(0.06 + 0.94 * t));
    c.fillRect(left, top, width + 0.5, height + 0.5);
    shown++;
  }
  c.globalAlpha = 1;
  if (shown === 0) return 0;
  c.strokeStyle = 'rgb(255 255 255 / 0.14)';
  c.lineWidth = 1;
  for (let id = items.begin; id < items.end; id++) {
    const { left, top, width, height } = patchArea(items, id, area);
    c.strokeRect(left + 0.5, top + 0.5, width, height);
  }
  return shown;
}

/** The image of a patch, shown beside its name in a list; null for other items. */
export function swatch(ctx: Context, id: number): HTMLElement | null {
  const items = ctx.text.itemsOf(id);
  const picture = items && items.rows > 0 ? loadPicture(ctx, items) : null;
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
