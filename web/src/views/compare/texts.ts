// The text of a comparison, or both texts if they differ: shaded by how the selected row changed, hatched where a token exists in one text
// only. A click selects a row.

import { legendSlot, roundUp, showLegend } from '../../ui/legend';
import { type Context, quoted } from '../../context';
import type { Words } from '../../figure/figure';
import { change, share, shortShare, whole } from '../../format';
import type { Span } from '../../source/source';
import type { Box } from '../../text/boxes';
import type { TextModel } from '../../text/model';
import { h, replace } from '../../ui/dom';
import { wordAround } from '../../weights';
import { type LiveBlock, TextPane } from '../read/pane';
import { shadedWords } from '../why/figure';
import { type Shading, largestOf, shaded } from '../why/shading';
import { zeroed } from './pair-map';
import type { There } from './there';

/** The selected row in both maps, indexed by the ids of each text. */
export interface Rows {
  before: Float32Array | null;
  after: Float32Array | null;
}

interface Half {
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
  private halves: Half[] = [];
  private hovered: { half: Half; token: number } | null = null;
  private there: There | null = null;
  private rows: Rows = { before: null, after: null };

  constructor(private readonly ctx: Context) {
    this.status.textContent = ctx.t('compare.how');
  }

  open(there: There): void {
    const { ctx } = this;
    this.there = there;
    this.hovered = null;
    this.rows = { before: null, after: null };
    this.halves = there.isOneText ? [this.half(ctx.text, false)] : [this.half(ctx.text, false), this.half(there.text, true)];
    const names = there.names();
    replace(
      this.element,
      ...this.halves.map(({ pane, isAfter }) => {
        const name = names[isAfter ? 1 : 0];
        if (!there.isOneText) pane.element.setAttribute('aria-label', name);
        return h('div', { class: 'text-frame' }, there.isOneText ? null : h('h3', { class: 'compare-name' }, name), pane.element);
      }),
    );
    for (const { pane } of this.halves) pane.open();
    const first = ctx.store.now.q[0];
    if (first) requestAnimationFrame(() => this.reveal(first.begin));
  }

  reveal(id: number): void {
    this.halves[0]?.pane.reveal(id);
  }

  paint(rows: Rows): void {
    this.rows = rows;
    this.say();
    const { scale } = this.ctx.store.now;
    const legend = rows.before && rows.after ? { most: scaleOfRows(rows), scale, isShare: true, signed: true } : null;
    showLegend(this.ctx, this.legend, legend);
    for (const half of this.halves) {
      const shading = this.shading(half);
      half.style = (box) => shaded(box, shading);
      half.pane.paint(half.style);
      half.pane.spreadShares();
    }
  }

  /** The visible part of the texts as words of a figure; empty if no row is selected. */
  words(): Words[] {
    const { there, halves } = this;
    if (!there || !this.rows.before) return [];
    const names = there.names();
    return halves.map((half) =>
      shadedWords(this.ctx, half.text, half.pane.visibleRange(), this.shading(half), there.isOneText ? '' : names[half.isAfter ? 1 : 0]),
    );
  }

  private half(text: TextModel, isAfter: boolean): Half {
    const pane: TextPane = new TextPane(
      { ...this.ctx, text },
      {
        hover: (token) => {
          this.hovered = token === null ? null : { half: made, token };
          this.say();
        },
        pick: (token, event) => this.pick(made, token, event.shiftKey),
        select: (span) => this.choose(made, span),
        scroll: () => undefined,
        hydrated: (block: LiveBlock) => {
          if (made.style) pane.paintBlock(block, made.style);
        },
      },
    );
    const made: Half = { pane, text, isAfter, style: null };
    pane.element.addEventListener('keydown', (event) => this.onKey(made, event));
    return made;
  }

  private wordOf({ pane, text }: Half, token: number): Span {
    const box = pane.boxOf(token)?.box ?? { begin: token, end: token + 1 };
    const word = token < text.tokens ? wordAround(text.data.word, token) : box;
    return { begin: Math.min(box.begin, word.begin), end: Math.max(box.end, word.end) };
  }

  private pick(half: Half, token: number, grows: boolean): void {
    const word = this.wordOf(half, token);
    const last = this.ctx.store.now.q[0];
    const grown = grows && last && !half.isAfter;
    this.choose(half, grown ? { begin: Math.min(last.begin, word.begin), end: Math.max(last.end, word.end) } : word);
  }

  /** Selects a row by ids of either text; the address stores the ids of the first. */
  private choose(half: Half, span: Span): void {
    const { ctx, there } = this;
    if (!there) return;
    if (!half.isAfter) return ctx.store.set({ q: [span], direction: 'out' }, 'push');
    const all = Array.from({ length: span.end - span.begin }, (_, i) => there.places.before[there.placeOf.after[span.begin + i]]);
    const ids = all.filter((id) => id >= 0);
    if (ids.length === 0) return ctx.notify(ctx.t('compare.only', { what: quoted({ text: half.text }, span, half.text) }));
    ctx.store.set({ q: [{ begin: ids[0], end: ids[ids.length - 1] + 1 }], direction: 'out' }, 'push');
  }

  private onKey(half: Half, event: KeyboardEvent): void {
    const across = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    const down = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (half.isAfter || event.altKey || event.ctrlKey || event.metaKey || (across === 0 && down === 0)) return;
    event.preventDefault();
    event.stopPropagation();
    const span = this.ctx.store.now.q[0] ?? { begin: 0, end: 1 };
    const next = down !== 0 ? half.pane.verticalNeighbour(span.begin, down > 0) : across > 0 ? span.end : span.begin - 1;
    if (next === null || next < 0 || next >= half.text.tokens) return;
    this.choose(half, this.wordOf(half, next));
    half.pane.reveal(next);
  }

  /** The change of the row, by ids of one text: NaN where there is no value, null for ids that exist in this text only. */
  private changes(half: Half): { value(id: number): number | null; most: number; largest: Set<number> } {
    const { there, rows } = this;
    const values = new Float32Array(half.text.count).fill(NaN);
    const placeOf = there ? there.placeOf[half.isAfter ? 'after' : 'before'] : values;
    if (there && rows.before && rows.after) {
      for (let id = 0; id < values.length; id++) {
        const place = placeOf[id];
        if (!there.isShared(place)) continue;
        values[id] = zeroed(rows.after[there.places.after[place]] ?? NaN) - zeroed(rows.before[there.places.before[place]] ?? NaN);
      }
    }
    return {
      value: (id) => (there && !there.isOneText && !there.isShared(placeOf[id]) ? null : values[id]),
      most: scaleOfRows(rows),
      largest: new Set(largestOf(values, 5)),
    };
  }

  private shading(half: Half): Shading {
    const { ctx, there } = this;
    const { value, most, largest } = this.changes(half);
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
      most,
      signed: true,
      scale: ctx.store.now.scale,
      special: (id) => half.text.isSpecial(id),
      marks: half.isAfter && there ? there.selection().after : ctx.store.now.q,
      cursor: null,
      theme: ctx.theme(),
    };
  }

  private say(): void {
    const { ctx, there, rows } = this;
    const { half, token } = this.hovered ?? { half: null, token: null };
    if (half === null || !there) {
      this.status.textContent = ctx.t('compare.how');
      return;
    }
    const place = there.placeOf[half.isAfter ? 'after' : 'before'][token];
    const name = `#${whole(token)} ${quoted({ text: half.text }, { begin: token, end: token + 1 }, half.text)}`;
    if (!there.isShared(place)) this.status.textContent = `${name}   ${ctx.t('compare.alone')}`;
    else if (!rows.before || !rows.after) this.status.textContent = name;
    else {
      const [was, is] = [rows.before[there.places.before[place]] ?? NaN, rows.after[there.places.after[place]] ?? NaN];
      this.status.textContent = `${name}   ${share(was)} → ${share(is)}   ${change(zeroed(is) - zeroed(was))}`;
    }
  }
}
