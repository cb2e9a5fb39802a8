// Small pictures on the axes of a map, in place of the names of patches and boxes: the whole picture, with the item marked.

import type { Context } from '../../context';
import type { DrawThumbnail } from '../../paint/mapRenderer';
import { type Area, boxArea, drawPicture, loadPicture, patchArea } from '../../paint/pixels';
import type { Items } from '../../source/source';

const kLeastMark = 3; // CSS pixels

export function thumbnails(ctx: Context, redraw: () => void): DrawThumbnail {
  const loaded = new Map<Items, HTMLCanvasElement>();
  for (const items of ctx.text.data.items) {
    if (items.rows > 0 || items.boxes)
      loadPicture(ctx, items)?.then(
        (picture) => {
          loaded.set(items, picture);
          redraw();
        },
        () => undefined, // the names stay
      );
  }
  return (c, id, x, y, side) => {
    const items = ctx.text.itemsOf(id);
    const picture = items && loaded.get(items);
    if (!picture) return false;
    if (side === 0) return true;
    const scale = side / Math.max(picture.width, picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    const area: Area = { left: x - width / 2, top: y - height / 2, width, height };
    drawPicture(c, picture, area);
    const mark = items.boxes ? boxArea(items, id, area) : patchArea(items, id, area);
    const [wide, tall] = [Math.max(kLeastMark, mark.width), Math.max(kLeastMark, mark.height)];
    c.save();
    c.lineWidth = 1.5;
    c.strokeStyle = '#d9164a';
    c.strokeRect(mark.left + (mark.width - wide) / 2, mark.top + (mark.height - tall) / 2, wide, tall);
    c.restore();
    return true;
  };
}
