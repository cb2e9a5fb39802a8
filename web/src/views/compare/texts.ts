// The text of a comparison, or both texts if they differ: shaded by how the selected row changed, hatched where a token exists in one text
// only. A click selects a row.

import { legendSlot, roundUp, showLegend } from '../../ui/legend';
import { type Context, quoted } from '../../context';
import type { Words } from '../../figure/figure';
import { change, share, shortShare, whole } from '../../format';
import { placeOfRow, rowsOfTokens, tokenBefore, tokensOfRows } from '../../rows';
import type { Span } from '../../source/source';
import type { Box } from '../../text/boxes';
import type { TextModel } from '../../text/model';
import { h, replace } from '../../ui/dom';
import { wordAround } from '../../weights';
import { type LiveBlock, TextPane } from '../read/pane';
import { shadedWords } from '../why/figure';
import { type Shading, largestOf, shaded } from '../why/shading';
import { hiddenAsZero } from './pairMap';
import type { Comparison } from './comparison';

/** The selected row in both maps, indexed by the ids of each text. */
export interface Rows {
  before: Float32Array | null;
  after: Float32Array | null;
}

interface TextPanel {
  pane: TextPane;
  text: TextModel;
  isAfter: boolean;
  style: ((box: Box) => { className: string; css: string; share: string }) | null;
}

/** One scale for the row before, the row after, and their difference. */
export const scaleOfRows = ({ before, after }: Rows): number =>
  roundUp([before, after].reduce((a, row) => (row ? row.reduce((b, v) => (v > b ? v : b), a) : a), 0));

export class Texts {
  readonly element = h('div', { class: 'compare-texts' });
  readonly legend = legendSlot('compare-text-legend');
  readonly status = h('p', { class: 'status', 'data-testid': 'compare-status' });
  private panels: TextPanel[] = [];
  private hovered: { createPanel: TextPanel; token: number } | null = null;
  private comparison: Comparison | null = null;
  private rows: Rows = { before: null, after: null };

  constructor(private readonly ctx: Context) {
    this.status.textContent = ctx.t('compare.how');
  }

  open(comparison: Comparison): void {
    const { ctx } = this;
    this.comparison = comparison;
    this.hovered = null;
    this.rows = { before: null, after: null };
    this.panels = comparison.isOneText
      ? [this.createPanel(ctx.text, false)]
      : [this.createPanel(ctx.text, false), this.createPanel(comparison.text, true)];
    const names = comparison.names();
    replace(
      this.element,
      ...this.panels.map(({ pane, isAfter }) => {
        const name = names[isAfter ? 1 : 0];
        if (!comparison.isOneText) pane.element.setAttribute('aria-label', name);
        return h('div', { class: 'text-frame' }, comparison.isOneText ? null : h('h3', { class: 'compare-name' }, name), pane.element);
      }),
    );
    for (const { pane } of this.panels) pane.open();
    const first = ctx.store.now.q[0];
    if (first) requestAnimationFrame(() => this.reveal(placeOfRow(ctx, first.begin)));
  }

  reveal(id: number): void {
    this.panels[0]?.pane.reveal(id);
  }

  paint(rows: Rows): void {
    this.rows = rows;
    this.updateStatus();
    const { scale } = this.ctx.store.now;
    const legend = rows.before && rows.after ? { max: scaleOfRows(rows), scale, isShare: true, signed: true } : null;
    showLegend(this.ctx, this.legend, legend);
    for (const panel of this.panels) {
      const shading = this.shading(panel);
      panel.style = (box) => shaded(box, shading);
      panel.pane.paint(panel.style);
      panel.pane.spreadShares();
    }
  }

  /** The visible part of the texts as words of a figure; empty if no row is selected. */
  words(): Words[] {
    const { comparison, panels: halves } = this;
    if (!comparison || !this.rows.before) return [];
    const names = comparison.names();
    return halves.map((panel) =>
      shadedWords(
        this.ctx,
        panel.text,
        panel.pane.visibleRange(),
        this.shading(panel),
        comparison.isOneText ? '' : names[panel.isAfter ? 1 : 0],
      ),
    );
  }

  private createPanel(text: TextModel, isAfter: boolean): TextPanel {
    const pane: TextPane = new TextPane(
      { ...this.ctx, text },
      {
        hover: (token) => {
          this.hovered = token === null ? null : { createPanel: made, token };
          this.updateStatus();
        },
        pick: (token, event) => this.pick(made, token, event.shiftKey),
        select: (span) => this.choose(made, span),
        scroll: () => undefined,
        hydrated: (block: LiveBlock) => {
          if (made.style) pane.paintBlock(block, made.style);
        },
      },
    );
    const made: TextPanel = { pane, text, isAfter, style: null };
    pane.element.addEventListener('keydown', (event) => this.onKey(made, event));
    return made;
  }

  private wordOf({ pane, text }: TextPanel, token: number): Span {
    const box = pane.boxOf(token)?.box ?? { begin: token, end: token + 1 };
    const word = token < text.tokens ? wordAround(text.data.word, token) : box;
    return { begin: Math.min(box.begin, word.begin), end: Math.max(box.end, word.end) };
  }

  private pick(panel: TextPanel, token: number, grows: boolean): void {
    const word = this.wordOf(panel, token);
    const [last] = tokensOfRows(this.ctx, this.ctx.store.now.q);
    const grown = grows && last && !panel.isAfter;
    this.choose(panel, grown ? { begin: Math.min(last.begin, word.begin), end: Math.max(last.end, word.end) } : word);
  }

  /** Selects the rows that are named by tokens of either text; the address stores the ids of the first. */
  private choose(panel: TextPanel, span: Span): void {
    const { ctx, comparison } = this;
    if (!comparison) return;
    if (!panel.isAfter) return ctx.store.set({ q: [rowsOfTokens(ctx, span)], direction: 'out' }, 'push');
    const rows = rowsOfTokens(comparison.otherRows, span);
    const all = Array.from(
      { length: rows.end - rows.begin },
      (_, i) => comparison.alignment.before[comparison.placeOf.after[rows.begin + i]],
    );
    const ids = all.filter((id) => id >= 0);
    if (ids.length === 0) return ctx.notify(ctx.t('compare.only', { what: quoted({ text: panel.text }, span, panel.text) }));
    ctx.store.set({ q: [{ begin: ids[0], end: ids[ids.length - 1] + 1 }], direction: 'out' }, 'push');
  }

  private onKey(panel: TextPanel, event: KeyboardEvent): void {
    const across = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    const down = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (panel.isAfter || event.altKey || event.ctrlKey || event.metaKey || (across === 0 && down === 0)) return;
    event.preventDefault();
    event.stopPropagation();
    const span = tokensOfRows(this.ctx, this.ctx.store.now.q)[0] ?? { begin: 0, end: 1 };
    const beside = across > 0 ? span.end : tokenBefore(this.ctx, span.begin);
    const next = down !== 0 ? panel.pane.verticalNeighbour(span.begin, down > 0) : beside;
    if (next === null || next < 0 || next >= panel.text.tokens) return;
    this.choose(panel, this.wordOf(panel, next));
    panel.pane.reveal(next);
  }

  /** The change of the row, by ids of one text: NaN where there is no value, null for ids that exist in this text only. */
  private changes(panel: TextPanel): { value(id: number): number | null; max: number; largest: Set<number> } {
    const { comparison, rows } = this;
    const values = new Float32Array(panel.text.count).fill(NaN);
    const placeOf = comparison ? comparison.placeOf[panel.isAfter ? 'after' : 'before'] : values;
    if (comparison && rows.before && rows.after) {
      for (let id = 0; id < values.length; id++) {
        const place = placeOf[id];
        if (!comparison.isShared(place)) continue;
        values[id] =
          hiddenAsZero(rows.after[comparison.alignment.after[place]] ?? NaN) -
          hiddenAsZero(rows.before[comparison.alignment.before[place]] ?? NaN);
      }
    }
    return {
      value: (id) => (comparison && !comparison.isOneText && !comparison.isShared(placeOf[id]) ? null : values[id]),
      max: scaleOfRows(rows),
      largest: new Set(largestOf(values, 5)),
    };
  }

  private shading(panel: TextPanel): Shading {
    const { ctx, comparison } = this;
    const { value, max, largest } = this.changes(panel);
    const ids = (box: Box): number[] => Array.from({ length: box.end - box.begin }, (_, i) => box.begin + i);
    const sum = (box: Box): number | null => {
      const values = ids(box).map(value);
      return values.every((v) => v === null) ? null : values.reduce<number>((a, v) => a + (v ?? 0), 0);
    };
    return {
      value: sum,
      label: (box) => {
        const found = ids(box).some((id) => largest.has(id)) ? sum(box) : null;
        return found ? `${found < 0 ? '−' : '+'}${shortShare(Math.abs(found))}` : '';
      },
      max,
      signed: true,
      scale: ctx.store.now.scale,
      special: (id) => panel.text.isSpecial(id),
      marks:
        panel.isAfter && comparison ? tokensOfRows(comparison.otherRows, comparison.selection().after) : tokensOfRows(ctx, ctx.store.now.q),
      cursor: null,
      theme: ctx.theme(),
    };
  }

  private updateStatus(): void {
    const { ctx, comparison, rows } = this;
    const { createPanel: panel, token } = this.hovered ?? { createPanel: null, token: null };
    if (panel === null || !comparison) {
      this.status.textContent = ctx.t('compare.how');
      return;
    }
    const place = comparison.placeOf[panel.isAfter ? 'after' : 'before'][token];
    const name = `#${whole(token)} ${quoted({ text: panel.text }, { begin: token, end: token + 1 }, panel.text)}`;
    if (!comparison.isShared(place)) this.status.textContent = `${name}   ${ctx.t('compare.alone')}`;
    else if (!rows.before || !rows.after) this.status.textContent = name;
    else {
      const [before, after] = [
        rows.before[comparison.alignment.before[place]] ?? NaN,
        rows.after[comparison.alignment.after[place]] ?? NaN,
      ];
      this.status.textContent = `${name}   ${share(before)} → ${share(after)}   ${change(hiddenAsZero(after) - hiddenAsZero(before))}`;
    }
  }
}
