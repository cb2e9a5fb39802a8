// The model view: every head of a short text as lines between its tokens, layers down and heads across, with the words where there is room.
// The lines of the chosen rows or keys stand out. A click opens the head among the lines of its own view.

import type { Context, Numbers, View } from '../../context';
import type { Exported } from '../../figure/figure';
import { badgeTitle, quoted, rangeOf, selectedAxis, selectedSpans, unavailableReason } from '../../context';
import { head as headName, messageOf } from '../../format';
import { oncePerFrame, surface, type Surface } from '../../paint/canvas';
import { css, kPinColours } from '../../paint/ramp';
import { type Badge, type Cells, type HeadId, type Span, isAbort } from '../../source/source';
import { type State, sameHead } from '../../state';
import { conventionOf, rowName } from '../../rows';
import { badgeElement } from '../../ui/badge';
import { h, replace } from '../../ui/dom';
import { setSentence } from '../../ui/glossary';
import { axisName, fillHeadGrid } from '../../ui/headGrid';
import { type Curve, type Stretch, curvesOf, tilesOf } from '../lines/curves';
import { Entries, mergedCells } from '../lines/entries';

const kMost = 64; // tokens on each side
const kAtOnce = 8; // requests
const kWordRow = 11; // pixels that a word needs
const kWordColumn = 52;

interface Cell {
  at: HeadId;
  button: HTMLButtonElement;
  canvas: Surface;
  cells: Cells[];
  curves: Curve[];
}

const namesOf = ({ begin, end }: Span, name: (of: Span) => string): string[] =>
  Array.from({ length: end - begin }, (_, i) => name({ begin: begin + i, end: begin + i + 1 }));

/** True if the text is short enough for this view. */
export const fitsModelView = ({ family }: Pick<Context, 'family'>): boolean =>
  [family.query_range, family.key_range].every(([begin, end]) => end - begin <= kMost);

export class ModelView implements View {
  readonly element: HTMLElement;
  private readonly badge = h('span', { class: 'badge-slot' });
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'model-caption' });
  private readonly cells: Cell[] = [];
  private readonly draw: () => void;
  private wanted = '';
  private loading = new AbortController();
  private loaded: Promise<unknown> = Promise.resolve();

  constructor(private readonly ctx: Context) {
    const { t, family } = ctx;
    this.draw = oncePerFrame(() => this.paint());
    const grid = h('div', { class: 'model-grid', style: `--heads: ${family.heads}`, role: 'group', 'aria-label': t('view.model') });
    if (fitsModelView(ctx)) fillHeadGrid(grid, family, (at) => this.cellOf(at).button, axisName);
    this.element = h(
      'section',
      { class: 'panel explain-panel model-panel', 'aria-label': t('view.model') },
      h('header', { class: 'panel-head' }, h('h2', {}, t('view.model')), this.badge),
      h('div', { class: 'model-frame', tabindex: 0, role: 'group', 'aria-label': t('model.frame') }, grid),
      this.caption,
    );
    ctx.life.signal.addEventListener('abort', () => this.loading.abort());
  }

  retheme(): void {
    this.show();
  }

  refetch(): void {
    this.load(this.ctx.store.now);
  }

  update(state: State): void {
    if (state.view !== 'model') return;
    for (const { at, button } of this.cells) button.setAttribute('aria-pressed', String(sameHead(at, state.heads[0])));
    this.load(state);
    this.show();
  }

  private get stretch(): Stretch {
    return { queries: rangeOf(this.ctx.family, 'query'), keys: rangeOf(this.ctx.family, 'key') };
  }

  /** The tokens of both sides, or their words. */
  private get entries(): { query: Entries; key: Entries } {
    const { queries, keys } = this.stretch;
    const { words } = this.ctx.store.now;
    return { query: Entries.of(this.ctx, 'query', queries, words), key: Entries.of(this.ctx, 'key', keys, words) };
  }

  private readonly rowName = (rows: Span): string => rowName(this.ctx, rows);
  private readonly keyName = (keys: Span): string => quoted(this.ctx, keys, this.ctx.keyText);

  private cellOf(at: HeadId): Cell {
    const canvas = h('canvas', { 'aria-hidden': 'true' });
    const open = (): void => this.ctx.store.set({ view: 'lines', heads: [at] }, 'push');
    const button = h(
      'button',
      { type: 'button', class: 'model-head', 'data-head': `${at.layer}.${at.head}`, 'aria-label': headName(at), onclick: open },
      canvas,
    );
    const cell: Cell = { at, button, canvas: surface(canvas, this.draw), cells: [], curves: [] };
    this.cells.push(cell);
    return cell;
  }

  private load(state: State): void {
    const { ctx } = this;
    const missing = unavailableReason(ctx, 'tile') ?? (fitsModelView(ctx) ? null : ctx.t('model.long', { n: kMost }));
    if (missing) return void (this.caption.textContent = missing);
    const key = JSON.stringify([state.weight, state.sink, ctx.source.step]);
    if (key === this.wanted) return;
    this.wanted = key;
    this.loading.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const tiles = tilesOf(this.stretch, ctx.family.causal);
    const waiting = [...this.cells];
    const work = async (): Promise<void> => {
      for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
        const request = { family: ctx.family.id, at: cell.at, weight: state.weight, sink: state.sink, step: ctx.source.step };
        cell.cells = await Promise.all(tiles.map(({ x, y }) => ctx.source.cells(request, x, y, signal)));
        this.show();
      }
    };
    this.loaded = Promise.all(Array.from({ length: kAtOnce }, work));
    this.loaded.catch((error: unknown) => {
      if (!isAbort(error) && this.wanted === key) this.caption.textContent = messageOf(error);
    });
  }

  /** Recomputes the curves of all heads that have arrived, each relative to its own largest weight. */
  private readonly show = oncePerFrame(() => {
    const { ctx } = this;
    const read = this.cells.filter((cell) => cell.cells.length > 0);
    if (read.length === 0) return;
    const { entries } = this;
    for (const cell of read) cell.curves = this.curvesOf(cell, entries);
    const { badge, error } = this.badgeOf();
    replace(this.badge, badgeElement(ctx, badge, badgeTitle(ctx, badge, error), read.length < this.cells.length));
    setSentence(this.caption, ctx.t, `${this.description()} ${ctx.t('model.how')}`);
    this.element.dataset['heads'] = String(read.length);
    this.draw();
  });

  private description(): string {
    const { ctx } = this;
    return ctx.t('model.caption', { scale: ctx.t(`legend.${ctx.store.now.scale}`) }) + conventionOf(ctx);
  }

  private curvesOf({ cells }: Cell, { query, key }: { query: Entries; key: Entries }): Curve[] {
    const { words, scale } = this.ctx.store.now;
    const shown = words ? mergedCells(cells, this.stretch, query, key) : cells;
    return curvesOf([shown], this.stretch, this.ctx.family.sinks, scale).curves;
  }

  private badgeOf(): { badge: Badge; error: number } {
    const parts = this.cells.flatMap((cell) => cell.cells);
    const error = Math.max(0, ...parts.map((part) => part.error));
    return { badge: parts.find((part) => part.badge !== 'exact')?.badge ?? 'exact', error };
  }

  /** True if a line begins or ends at the selection. */
  private get standsOut(): (curve: Curve) => boolean {
    const state = this.ctx.store.now;
    const axis = selectedAxis(state);
    const chosen = this.entries[axis].touchedBy(selectedSpans(state));
    return (curve) => chosen.has(curve[axis]);
  }

  async figure(): Promise<Exported> {
    await this.loaded;
    const { ctx, entries, standsOut } = this;
    const { query, key } = entries;
    const cells = this.cells.map((cell) => ({
      chosen: sameHead(cell.at, ctx.store.now.heads[0]),
      lines: this.curvesOf(cell, entries).map((curve) => ({
        query: query.placeOf(curve.query),
        key: key.placeOf(curve.key),
        strength: curve.strength,
        standsOut: standsOut(curve),
      })),
    }));
    const { layers, heads } = ctx.family;
    const names = { queries: query.spans.map(this.rowName), keys: key.spans.map(this.keyName) };
    const part = { kind: 'headLines', layers, heads, ...names, cells } as const;
    return { parts: [part], description: this.description(), badge: this.badgeOf().badge };
  }

  /** The weights of all heads, [layer, head, query, key]; NaN: not visible. */
  async numbers(): Promise<Numbers> {
    await this.loaded;
    const { ctx } = this;
    const { queries, keys } = this.stretch;
    const columns = keys.end - keys.begin;
    const rows = this.cells.flatMap(({ cells }) =>
      Array.from({ length: queries.end - queries.begin }, (_, i) => {
        const row = new Float32Array(columns).fill(NaN);
        for (const part of cells) {
          const at = queries.begin + i - part.queryBegin;
          if (at < 0 || at >= part.rows) continue;
          for (let c = Math.max(0, keys.begin - part.keyBegin); c < part.columns && part.keyBegin + c < keys.end; c++) {
            const value = part.values[at * part.columns + c];
            if (value >= 0) row[part.keyBegin + c - keys.begin] = value;
          }
        }
        return row;
      }),
    );
    const each = rows.length / Math.max(1, this.cells.length);
    const heads = this.cells.map(({ at }, i) => ({
      ...at,
      weights: rows.slice(i * each, (i + 1) * each).map((row) => Array.from(row, (value) => (Number.isNaN(value) ? null : value))),
    }));
    return {
      json: { view: 'model', queries: namesOf(queries, this.rowName), keys: namesOf(keys, this.keyName), heads },
      rows,
      shape: [ctx.family.layers, ctx.family.heads, queries.end - queries.begin, columns],
    };
  }

  private paint(): void {
    const { ctx } = this;
    const theme = ctx.theme();
    const { query, key } = this.entries;
    const rows = Math.max(query.spans.length, key.spans.length);
    const stands = this.standsOut;
    const colour = (theme.dark ? kPinColours.dark : kPinColours.light)[0];
    for (const { canvas, curves } of this.cells) {
      const { context: c, width, height } = canvas;
      const step = height / rows;
      const isNamed = step >= kWordRow && width >= 3 * kWordColumn;
      const margin = isNamed ? kWordColumn : 2;
      const y = (place: number): number => (place + 0.5) * step;
      c.clearRect(0, 0, width, height);
      c.strokeStyle = colour;
      for (const curve of curves) {
        const [from, to] = [y(query.placeOf(curve.query)), y(key.placeOf(curve.key))];
        c.globalAlpha = stands(curve) ? 0.3 + 0.7 * curve.strength : 0.06 + 0.5 * curve.strength;
        c.lineWidth = (stands(curve) ? 1 : 0.4) + 1.6 * curve.strength;
        c.beginPath();
        c.moveTo(margin, from);
        c.bezierCurveTo(width * 0.45, from, width * 0.55, to, width - margin, to);
        c.stroke();
      }
      c.globalAlpha = 1;
      if (!isNamed) continue;
      c.fillStyle = css(theme.ink);
      c.font = `${Math.min(13, step - 1)}px serif`;
      c.textBaseline = 'middle';
      const write = ({ spans }: Entries, name: (of: Span) => string, x: number, align: CanvasTextAlign): void => {
        c.textAlign = align;
        spans.forEach((span, place) => c.fillText(name(span), x, y(place), margin - 4));
      };
      write(query, this.rowName, margin - 4, 'right');
      write(key, this.keyName, width - margin + 4, 'left');
    }
  }
}
