// Frames of a sound or intervals of a series over time: their picture (a spectrogram, curves), the weights of the selection as bars below
// it, and a row for each query of the family, so that an alignment appears under the sound it belongs to.

import type { Context } from '../../context';
import { unavailableReason, rangeOf } from '../../context';
import { rowName, tokenOfRow } from '../../rows';
import { surface, type Surface } from '../../paint/canvas';
import { drawPicture } from '../../paint/pixels';
import { css, mix, shade } from '../../paint/ramp';
import { drawNames } from '../../paint/mapRenderer';
import { type Cells, type HeadId, type Items, isAbort } from '../../source/source';
import { h } from '../../ui/dom';
import { intensity } from '../../weights';
import { kTile } from '../map/store';
import type { Paint } from './painter';
import { isChosen, itemBox, listenToCanvas, type ItemPanelEvents } from './itemPanel';
import { PicturePanel } from './picturePanel';

const kPicture = 132; // CSS pixels: heights of the parts
const kBars = 52;
const kRow = 18;
const kAxis = 22;
const kGap = 6;
const kNames = 84; // width of the queries' names
const kMargin = 14;
const kMaxRows = 48; // most queries that get a row each
const kMaxTiles = 16;

export class FramePanel extends PicturePanel {
  readonly element: HTMLElement;
  private readonly canvas: Surface;
  private cells: Cells[] = [];
  private wanted = '';
  private loading = new AbortController();

  constructor(
    private readonly ctx: Context,
    items: Items,
    events: ItemPanelEvents,
  ) {
    super(items);
    const { t } = ctx;
    const n = items.end - items.begin;
    const element = h('canvas', {
      class: 'strip-side',
      role: 'img',
      'aria-label': t('strip.label', { n, items: t.kind(items.kind) }),
      'data-testid': 'strip',
    });
    element.style.height = `${this.top('axis') + kAxis}px`;
    this.canvas = surface(element, this.draw);
    listenToCanvas(element, this.withHover(events), (x, y) => this.idAt(x, y));
    const caption = this.queries.length > 0 ? 'strip.caption' : 'strip.caption.bars';
    this.element = h(
      'figure',
      { class: 'side-figure' },
      element,
      h('figcaption', { class: 'caption' }, t(caption, { n, items: t.kind(items.kind), from: items.names[0], to: items.names[n - 1] })),
    );
    ctx.life.signal.addEventListener('abort', () => this.loading.abort());
    this.load(ctx);
  }

  override paint(paint: Paint): void {
    this.loadQueries(this.ctx.focus.shown?.request.at ?? this.ctx.store.now.heads[0] ?? null);
    super.paint(paint);
  }

  /** The queries that get a row each: those of a family whose keys are these frames, if they are few and not frames themselves. */
  private get queries(): number[] {
    const { family } = this.ctx;
    const { begin, end } = rangeOf(family, 'query');
    const [first, last] = family.key_range;
    if (!(first < this.items.end && this.items.begin < last) || this.contains(begin) || end - begin > kMaxRows) return [];
    return unavailableReason(this.ctx, 'tile') ? [] : Array.from({ length: end - begin }, (_, i) => begin + i);
  }

  private top(part: 'bars' | 'rows' | 'axis'): number {
    const picture = this.items.picture ? kPicture + kGap : 0;
    if (part === 'bars') return picture;
    if (part === 'rows') return picture + kBars + kGap;
    return picture + kBars + kGap + kRow * this.queries.length;
  }

  private get left(): number {
    return this.queries.length > 0 ? kNames : kMargin;
  }

  /** Width of a frame in CSS pixels. */
  private get step(): number {
    return (this.canvas.width - this.left - kMargin) / (this.items.end - this.items.begin);
  }

  private idAt(x: number, y: number): number | null {
    const row = Math.floor((y - this.top('rows')) / kRow);
    if (row >= 0 && row < this.queries.length) return tokenOfRow(this.ctx, this.queries[row]);
    const frame = Math.floor((x - this.left) / this.step);
    return frame >= 0 && frame < this.items.end - this.items.begin && y < this.top('rows') ? this.items.begin + frame : null;
  }

  /** Loads the weights of all queries in the front head. */
  private loadQueries(at: HeadId | null): void {
    const { ctx } = this;
    const { weight, sink } = ctx.store.now;
    const { queries } = this;
    if (!at || queries.length === 0) return;
    const request = { family: ctx.family.id, at, weight, sink, step: ctx.source.step };
    const key = JSON.stringify(request);
    if (key === this.wanted) return;
    this.wanted = key;
    this.loading.abort();
    this.loading = new AbortController();
    const tiles: Promise<Cells>[] = [];
    for (let y = Math.floor(queries[0] / kTile); y * kTile <= queries[queries.length - 1]; y++)
      for (let x = Math.floor(this.items.begin / kTile); x * kTile < this.items.end && tiles.length < kMaxTiles; x++)
        tiles.push(ctx.source.cells(request, x, y, this.loading.signal));
    Promise.all(tiles).then(
      (cells) => {
        if (this.wanted !== key) return;
        this.cells = cells;
        this.draw();
      },
      (error: unknown) => {
        if (!isAbort(error) && this.wanted === key) this.cells = [];
      },
    );
  }

  protected drawAll(): void {
    const { context: c, width, height, element } = this.canvas;
    c.clearRect(0, 0, width, height);
    if (this.step <= 0) return;
    const wide = width - this.left - kMargin;
    if (this.picture) drawPicture(c, this.picture, { left: this.left, top: 0, width: wide, height: kPicture });
    if (this.painted) this.drawBars(c, this.painted);
    this.drawRows(c);
    this.drawAxis(c);
    if (this.painted) this.drawMarks(c, this.painted);
    element.dataset['place'] = [this.left, this.step, this.top('rows'), kRow].join(',');
  }

  private drawBars(c: CanvasRenderingContext2D, paint: Paint): void {
    const theme = this.ctx.theme();
    const [top, bottom] = [this.top('bars'), this.top('bars') + kBars];
    let drawn = 0;
    for (let id = this.items.begin; id < this.items.end; id++) {
      const box = itemBox(id);
      const t = paint.intensity(box);
      if (!(t > 0) || paint.visibility(box) !== 'visible' || !paint.canHaveWeight(box)) continue;
      drawn++;
      c.fillStyle = css(mix(shade(t, theme), theme.ink, 0.12));
      const tall = Math.max(1, (kBars - 14) * t);
      c.fillRect(this.x(id), bottom - tall, Math.max(1, this.step - (this.step > 5 ? 1 : 0)), tall);
    }
    this.canvas.element.dataset['bars'] = String(drawn);
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.25));
    c.fillRect(this.left, bottom, this.step * (this.items.end - this.items.begin), 1);
    c.font = '600 11px system-ui, sans-serif';
    c.textAlign = 'center';
    c.textBaseline = 'bottom';
    c.fillStyle = css(theme.ink);
    const labelled: number[] = [];
    for (const item of paint.top) {
      const at = this.x(item.begin) + this.step / 2;
      if (!this.contains(item.begin) || labelled.some((other) => Math.abs(other - at) < 42)) continue;
      labelled.push(at);
      const tall = (kBars - 14) * paint.intensity(itemBox(item.begin));
      c.fillText(item.label, Math.max(this.left + 14, at), Math.max(top + 12, bottom - tall - 1));
    }
  }

  private drawRows(c: CanvasRenderingContext2D): void {
    const { queries, ctx } = this;
    if (queries.length === 0) return;
    const theme = ctx.theme();
    let max = 0;
    const weightOf = (query: number, id: number): number => {
      const of = this.cells.find(
        (p) => p.queryBegin <= query && query < p.queryBegin + p.rows && p.keyBegin <= id && id < p.keyBegin + p.columns,
      );
      return of ? of.values[(query - of.queryBegin) * of.columns + id - of.keyBegin] : NaN;
    };
    for (const query of queries) for (let id = this.items.begin; id < this.items.end; id++) max = Math.max(max, weightOf(query, id) || 0);
    c.font = '13px system-ui, sans-serif';
    c.textAlign = 'right';
    c.textBaseline = 'middle';
    queries.forEach((query, i) => {
      const top = this.top('rows') + i * kRow;
      for (let id = this.items.begin; id < this.items.end; id++) {
        const t = intensity(weightOf(query, id), max, ctx.store.now.scale);
        c.fillStyle = css(shade(t, theme));
        c.fillRect(this.x(id), top + 1, this.step + 0.5, kRow - 2);
      }
      c.fillStyle = css(theme.ink);
      c.fillText(rowName(ctx, { begin: query, end: query + 1 }), kNames - 10, top + kRow / 2, kNames - 14);
    });
  }

  private drawAxis(c: CanvasRenderingContext2D): void {
    const theme = this.ctx.theme();
    const top = this.top('axis');
    c.font = '11px system-ui, sans-serif';
    c.textBaseline = 'top';
    c.textAlign = 'left';
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    for (const at of drawNames(c, this.items.names, this.left, top + 5, this.step)) c.fillRect(Math.round(at), top, 1, 4);
  }

  private drawMarks(c: CanvasRenderingContext2D, paint: Paint): void {
    const { ctx } = this;
    const accent = ctx.theme().dark ? '#ff9db0' : '#b4123c';
    const bottom = this.top('rows');
    const band = (id: number, colour: string, wide: number): void => {
      c.strokeStyle = colour;
      c.lineWidth = wide;
      c.strokeRect(this.x(id), 0.5, Math.max(2, this.step), bottom - kGap);
    };
    for (let id = this.items.begin; id < this.items.end; id++) if (isChosen(paint.anchors, id)) band(id, accent, 2);
    if (this.hovered !== null && this.contains(this.hovered)) band(this.hovered, css(mix(ctx.theme().paper, ctx.theme().ink, 0.6)), 1);
    this.queries.forEach((query, i) => {
      const token = tokenOfRow(ctx, query);
      if (token === null || !isChosen(paint.anchors, token)) return;
      c.strokeStyle = accent;
      c.lineWidth = 2;
      c.strokeRect(this.left, bottom + i * kRow + 1, this.step * (this.items.end - this.items.begin), kRow - 2);
    });
  }

  private x(id: number): number {
    return this.left + (id - this.items.begin) * this.step;
  }
}
