// Items with bounding boxes in a picture, such as people on a plane or objects in a photograph: the picture, with each box filled with the
// colour of its item's weight. Small boxes are drawn as discs.

import type { Context } from '../../context';
import { surface, type Surface } from '../../paint/canvas';
import { type Area, drawPicture, boxArea } from '../../paint/pixels';
import { css, shade } from '../../paint/ramp';
import type { Items } from '../../source/source';
import { h } from '../../ui/dom';
import type { Paint } from './painter';
import { isChosen, itemBox, listenToCanvas, type ItemPanelEvents } from './itemPanel';
import { PicturePanel } from './picturePanel';

const kDisc = 28; // CSS pixels: smaller boxes are drawn as discs
const kLeast = 14; // smallest diameter of a disc in CSS pixels

export class BoxPanel extends PicturePanel {
  readonly element: HTMLElement;
  private readonly canvas: Surface;

  constructor(
    private readonly ctx: Context,
    items: Items,
    events: ItemPanelEvents,
  ) {
    super(items);
    const { t } = ctx;
    const n = items.end - items.begin;
    const [tall, wide] = items.picture ?? [1, 1];
    const element = h('canvas', {
      class: 'picture boxes',
      role: 'img',
      'aria-label': t('boxes.label', { n, items: t.kind(items.kind) }),
      style: `aspect-ratio: ${wide} / ${tall}`,
      'data-testid': 'boxes',
    });
    this.canvas = surface(element, this.draw);
    listenToCanvas(element, this.withHover(events), (x, y) => this.itemAt(x, y));
    this.element = h(
      'figure',
      { class: 'side-figure' },
      h('div', { class: 'pictures' }, element),
      h('figcaption', { class: 'caption' }, t('boxes.caption', { n, items: t.kind(items.kind) })),
    );
    this.load(ctx);
  }

  /** The bounding box of an item in CSS pixels. */
  private areaOf(id: number): Area {
    return boxArea(this.items, id, { left: 0, top: 0, width: this.canvas.width, height: this.canvas.height });
  }

  /** The smallest box that contains a point. */
  private itemAt(x: number, y: number): number | null {
    let found: { id: number; size: number } | null = null;
    for (let id = this.items.begin; id < this.items.end; id++) {
      const { left, top, width, height } = this.areaOf(id);
      const [dx, dy] = [Math.max(width, kLeast) / 2, Math.max(height, kLeast) / 2];
      const size = dx * dy;
      if (Math.abs(x - left - width / 2) > dx || Math.abs(y - top - height / 2) > dy) continue;
      if (!found || size < found.size) found = { id, size };
    }
    return found?.id ?? null;
  }

  protected drawAll(): void {
    const { context: c, width, height, element } = this.canvas;
    c.clearRect(0, 0, width, height);
    if (this.picture) drawPicture(c, this.picture, { left: 0, top: 0, width, height });
    if (!this.painted) return;
    const { painted: paint } = this;
    const theme = this.ctx.theme();
    let shown = 0;
    for (let id = this.items.begin; id < this.items.end; id++) {
      const box = itemBox(id);
      const t = paint.intensity(box);
      const has = t > 0 && paint.visibility(box) === 'visible' && paint.canHaveWeight(box);
      if (has) shown++;
      this.outline(c, id, () => {
        c.globalAlpha = has ? (this.isDisc(id) ? 1 : 0.12 + 0.38 * t) : 0; // what a box contains stays visible
        c.fillStyle = css(shade(has ? t : 0, theme));
        c.fill();
        c.globalAlpha = 1;
        const chosen = isChosen(paint.anchors, id);
        const wide = chosen ? 3 : this.hovered === id ? 2.5 : 1.25;
        c.strokeStyle = 'rgb(0 0 0 / 0.6)'; // a dark and a light line can be seen on any picture
        c.lineWidth = wide + 1.75;
        c.stroke();
        c.strokeStyle = chosen ? '#d9164a' : '#fff';
        c.lineWidth = wide;
        c.stroke();
      });
    }
    element.dataset['boxes'] = String(shown);
    this.drawShares(c, paint);
  }

  private isDisc(id: number): boolean {
    const { width, height } = this.areaOf(id);
    return width < kDisc && height < kDisc;
  }

  private outline(c: CanvasRenderingContext2D, id: number, paint: () => void): void {
    const { left, top, width, height } = this.areaOf(id);
    c.beginPath();
    if (this.isDisc(id)) c.arc(left + width / 2, top + height / 2, Math.max(width, height, kLeast) / 2, 0, 2 * Math.PI);
    else c.rect(left, top, width, height);
    paint();
  }

  private drawShares(c: CanvasRenderingContext2D, paint: Paint): void {
    c.font = '600 12px system-ui, sans-serif';
    c.textAlign = 'center';
    c.textBaseline = 'bottom';
    c.lineWidth = 3;
    c.lineJoin = 'round';
    for (const item of paint.top) {
      if (!this.contains(item.begin)) continue;
      const { left, top, width } = this.areaOf(item.begin);
      c.strokeStyle = '#fff';
      c.fillStyle = '#111';
      const at = Math.min(this.canvas.width - 20, Math.max(20, left + width / 2));
      c.strokeText(item.label, at, Math.max(14, top - 3));
      c.fillText(item.label, at, Math.max(14, top - 3));
    }
  }
}
