// Shares of items other than text, over their picture: patches are tinted, frames and intervals are bars under it. Orange
// supports the answer, blue opposes it. The status line shows the share under the pointer; the table beside has the same numbers.

import type { Context } from '../../context';
import { type Surface, oncePerFrame, surface } from '../../paint/canvas';
import { drawPicture, patchArea, loadPicture } from '../../paint/pixels';
import { css, diverge, mix } from '../../paint/ramp';
import { drawNames } from '../../paint/mapRenderer';
import type { Items } from '../../source/source';
import { h } from '../../ui/dom';
import { itemBox, listenToCanvas } from '../read/itemPanel';
import type { Shading } from './shading';

const kSpectrogram = 120; // CSS pixels: heights of the parts
const kBars = 72;
const kAxis = 20;
const kGap = 6;

export class ShareOverlay {
  readonly element: HTMLElement;
  private readonly canvas: Surface;
  private readonly draw: () => void;
  private picture: HTMLCanvasElement | null = null;
  private shading: Shading | null = null;

  constructor(
    private readonly ctx: Context,
    private readonly items: Items,
    hover: (id: number | null) => void,
  ) {
    const isPatch = items.rows > 0;
    const [tall, wide] = items.picture ?? [1, 1];
    const label = ctx.t(isPatch ? 'why.over.patches' : 'why.over.frames', { items: ctx.t.kind(items.kind) });
    const element = h('canvas', {
      class: isPatch ? 'why-picture' : 'strip-side',
      role: 'img',
      'aria-label': label,
      'data-testid': 'why-over',
      style: isPatch ? `aspect-ratio: ${wide} / ${tall}` : `height: ${kSpectrogram + kGap + kBars + kAxis}px`,
    });
    this.draw = oncePerFrame(() => this.drawAll());
    this.canvas = surface(element, this.draw);
    listenToCanvas(element, { hover, pick: hover }, (x, y) => this.idAt(x, y));
    this.element = h('figure', { class: 'side-figure why-over' }, element, h('figcaption', { class: 'caption' }, label));
    loadPicture(ctx, items)?.then(
      (picture) => {
        this.picture = picture;
        this.draw();
      },
      () => undefined,
    );
  }

  show(shading: Shading | null): void {
    this.shading = shading;
    this.draw();
  }

  private get step(): number {
    return this.canvas.width / (this.items.end - this.items.begin);
  }

  private idAt(x: number, y: number): number | null {
    const { begin, end, rows } = this.items;
    const { width, height } = this.canvas;
    const columns = rows > 0 ? (end - begin) / rows : end - begin;
    const row = rows > 0 ? Math.floor((y / height) * rows) : 0;
    const id = begin + row * columns + Math.floor((x / width) * columns);
    return id >= begin && id < end ? id : null;
  }

  /** The share of an item relative to the largest, −1…1; 0 if it has none. */
  private shareOf(id: number): number {
    const value = this.shading?.value(itemBox(id)) ?? 0;
    return Number.isFinite(value) && this.shading && this.shading.max > 0 ? value / this.shading.max : 0;
  }

  private drawAll(): void {
    const { context: c, width, height, element } = this.canvas;
    c.clearRect(0, 0, width, height);
    let shown = 0;
    for (let id = this.items.begin; id < this.items.end; id++) if (this.shareOf(id) !== 0) shown++;
    element.dataset['shares'] = String(shown);
    if (this.items.rows > 0) this.drawPatches(c, width, height);
    else this.drawFrames(c, width);
  }

  private drawPatches(c: CanvasRenderingContext2D, width: number, height: number): void {
    const theme = this.ctx.theme();
    const area = { left: 0, top: 0, width, height };
    if (this.picture) drawPicture(c, this.picture, area);
    c.fillStyle = css(theme.paper);
    c.globalAlpha = 0.55; // fade the picture behind the shares
    c.fillRect(0, 0, width, height);
    for (let id = this.items.begin; id < this.items.end; id++) {
      const share = this.shareOf(id);
      const { left, top, width: w, height: t } = patchArea(this.items, id, area);
      c.globalAlpha = 0.8 * Math.abs(share);
      c.fillStyle = css(diverge(share < 0 ? -1 : 1, theme));
      c.fillRect(left, top, w + 0.5, t + 0.5);
      this.drawLabel(c, id, left + w / 2, top + t / 2, w);
    }
    c.globalAlpha = 1;
  }

  private drawFrames(c: CanvasRenderingContext2D, width: number): void {
    const theme = this.ctx.theme();
    const { begin, end, names } = this.items;
    if (this.picture) drawPicture(c, this.picture, { left: 0, top: 0, width, height: kSpectrogram });
    const middle = kSpectrogram + kGap + kBars / 2;
    for (let id = begin; id < end; id++) {
      const share = this.shareOf(id);
      const tall = (Math.abs(share) * (kBars - 24)) / 2;
      c.fillStyle = css(diverge(share < 0 ? -1 : 1, theme));
      c.fillRect((id - begin) * this.step, share < 0 ? middle : middle - tall, Math.max(1, this.step - (this.step > 5 ? 1 : 0)), tall);
      this.drawLabel(c, id, (id - begin + 0.5) * this.step, share < 0 ? middle + tall + 7 : middle - tall - 7, this.step);
    }
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.4));
    c.fillRect(0, middle, width, 1);
    c.font = '11px system-ui, sans-serif';
    c.textBaseline = 'top';
    c.textAlign = 'left';
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    const top = kSpectrogram + kGap + kBars;
    drawNames(c, names, 0, top + 4, this.step);
  }

  /** Draws the label of an item that has one, if there is room. */
  private drawLabel(c: CanvasRenderingContext2D, id: number, x: number, y: number, room: number): void {
    const label = this.shading?.label(itemBox(id)) ?? '';
    if (!label || room < 26) return;
    c.globalAlpha = 1;
    c.font = '600 11px system-ui, sans-serif';
    c.textAlign = 'center';
    c.textBaseline = 'middle';
    c.fillStyle = css(this.ctx.theme().ink);
    c.fillText(label, x, y);
  }
}
