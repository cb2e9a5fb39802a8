// Patches: the original picture, and beside it the same picture lit by weight, dark without weight. Both can be hovered and clicked.

import type { Context } from '../../context';
import { surface, type Surface } from '../../paint/canvas';
import { type Area, drawPicture, lightPatches, patchArea } from '../../paint/pixels';
import type { Items } from '../../source/source';
import { h } from '../../ui/dom';
import type { Paint } from './painter';
import { isChosen, itemBox, listenToCanvas, type ItemPanelEvents } from './itemPanel';
import { PicturePanel } from './picturePanel';

const kLabelled = 26; // CSS pixels that a patch needs to show its share

export class PatchPanel extends PicturePanel {
  readonly element: HTMLElement;
  private readonly plain: Surface | null = null;
  private readonly lit: Surface;

  constructor(ctx: Context, items: Items, events: ItemPanelEvents) {
    super(items);
    const { rows } = items;
    const columns = (items.end - items.begin) / rows;
    const [tall, wide] = items.picture ?? [rows, columns];
    const shape = `aspect-ratio: ${wide} / ${tall}`;
    const heard = this.withHover(events);
    const canvas = (name: string, label: string): HTMLCanvasElement => {
      const element = h('canvas', {
        class: `picture ${name}`,
        role: 'img',
        'aria-label': label,
        style: shape,
        'data-testid': `picture-${name}`,
      });
      listenToCanvas(element, heard, (x, y) => this.patchAt(element, x, y));
      return element;
    };
    const lit = canvas('lit', ctx.t('picture.label', { rows, columns }));
    const plain = items.picture ? canvas('as-is', ctx.t('picture.plain')) : null;
    this.lit = surface(lit, this.draw);
    if (plain) this.plain = surface(plain, this.draw);
    this.element = h(
      'figure',
      { class: 'side-figure' },
      h('div', { class: 'pictures' }, plain, lit),
      h('figcaption', { class: 'caption' }, ctx.t('picture.weights', { rows, columns })),
    );
    this.load(ctx);
  }

  private patchAt(element: HTMLCanvasElement, x: number, y: number): number | null {
    const { clientWidth, clientHeight } = element;
    const { begin, end, rows } = this.items;
    const columns = (end - begin) / rows;
    const [column, row] = [Math.floor((x / clientWidth) * columns), Math.floor((y / clientHeight) * rows)];
    return column >= 0 && column < columns && row >= 0 && row < rows ? begin + row * columns + column : null;
  }

  protected drawAll(): void {
    if (this.plain) this.drawOn(this.plain, false);
    this.drawOn(this.lit, true);
  }

  private drawOn({ context: c, width, height, element }: Surface, lit: boolean): void {
    const area = { left: 0, top: 0, width, height };
    c.clearRect(0, 0, width, height);
    if (this.picture) drawPicture(c, this.picture, area);
    if (!this.painted) return;
    if (lit) this.drawWeights(c, area, this.painted);
    this.drawMarks(c, area, this.painted);
    const { begin, end, rows } = this.items;
    element.dataset['place'] = [width / ((end - begin) / rows), height / rows].join(',');
  }

  private drawWeights(c: CanvasRenderingContext2D, area: Area, paint: Paint): void {
    const shown = lightPatches(c, this.items, area, this.picture !== null, (id) => {
      const box = itemBox(id);
      const t = paint.intensity(box);
      const seen = paint.visibility(box);
      if (!Number.isFinite(t) || seen === 'unscored' || !paint.canHaveWeight(box)) return null;
      return seen === 'hidden' ? seen : t;
    });
    this.lit.element.dataset['patches'] = String(shown);
    if (shown > 0) this.drawShares(c, area, paint);
  }

  private drawShares(c: CanvasRenderingContext2D, area: Area, paint: Paint): void {
    c.font = '600 11px system-ui, sans-serif';
    c.textAlign = 'center';
    c.textBaseline = 'middle';
    c.lineWidth = 3;
    c.lineJoin = 'round';
    for (const item of paint.top) {
      if (!this.contains(item.begin)) continue;
      const { left, top, width, height } = patchArea(this.items, item.begin, area);
      if (width < kLabelled) continue;
      c.strokeStyle = 'rgb(0 0 0 / 0.75)';
      c.fillStyle = '#fff';
      c.strokeText(item.label, left + width / 2, top + height / 2);
      c.fillText(item.label, left + width / 2, top + height / 2);
    }
  }

  private drawMarks(c: CanvasRenderingContext2D, area: Area, paint: Paint): void {
    const outline = (id: number, colour: string, wide: number, dash: number[] = []): void => {
      const { left, top, width, height } = patchArea(this.items, id, area);
      c.setLineDash(dash);
      c.strokeStyle = colour;
      c.lineWidth = wide;
      c.strokeRect(left + wide / 2, top + wide / 2, width - wide, height - wide);
      c.setLineDash([]);
    };
    for (let id = this.items.begin; id < this.items.end; id++) {
      const chosen = isChosen(paint.anchors, id);
      if (chosen) outline(id, '#fff', 4);
      if (chosen) outline(id, '#d9164a', 2.5);
      else if (isChosen(paint.others, id)) outline(id, '#fff', 2, [4, 3]);
    }
    if (this.hovered !== null) outline(this.hovered, '#fff', 1.5);
  }
}
