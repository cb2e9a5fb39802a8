// Lines: queries in a column on the left, keys on the right, and a curve for each weight. A token that is hovered or selected shows only
// its own curves.

import { hasHead, remainderOf } from '../../heads';
import type { Context, MapAxis, View } from '../../context';
import {
  unavailableReason,
  selectedAxis,
  badgeTitle,
  isShare,
  positionLabel,
  printWeight,
  quoted,
  rangeOf,
  setDirection,
} from '../../context';
import { cell as printCell, head as headName, share, shortShare, weight as printNumber, whole, messageOf } from '../../format';
import { oncePerFrame, surface, type Surface } from '../../paint/canvas';
import { swatch } from '../../paint/pixels';
import { conventionOf, placeOfRow, rowLabel, rowName, tokenOfRow } from '../../rows';
import { css, inkOn, kPinColours, shade } from '../../paint/ramp';
import type { Exported, Part } from '../../figure/figure';
import { type Badge, type Cells, type Span, isAbort } from '../../source/source';
import type { TextModel } from '../../text/model';
import type { State } from '../../state';
import { setSentence } from '../../ui/glossary';
import { badgeElement } from '../../ui/badge';
import { h, iconButton, replace } from '../../ui/dom';
import { type Legend, legendOf, legendSlot, showLegend } from '../../ui/legend';
import { kTile } from '../map/store';
import { type Curve, type Stretch, type Scaled, curvesOf, stretchesOf, tilesOf } from './curves';
import { Entries, mergedCells } from './entries';

const kRow = 22; // height of a token in pixels
const kTableRows = 40;

export class LinesView implements View {
  readonly element: HTMLElement;
  private readonly frame: HTMLElement;
  private readonly columns: Record<MapAxis, HTMLElement>;
  private readonly tokens: Record<MapAxis, HTMLButtonElement[]> = { query: [], key: [] };
  private readonly canvas: Surface;
  private readonly badge = h('span', { class: 'badge-slot', 'data-testid': 'lines-badge' });
  private readonly legend = legendSlot('lines-legend');
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'lines-caption' });
  private readonly where = h('span', { class: 'lines-where number' });
  private readonly table = h('div', { class: 'table-slot', hidden: true });
  private readonly tableButton: HTMLButtonElement;
  private readonly stretches: Stretch[];
  private readonly draw: () => void;
  private at = 0; // current stretch
  private built = ''; // stretch whose tokens or words are in the columns
  private entries: Record<MapAxis, Entries>;
  private wanted = '';
  private loading = new AbortController();
  private cells: Cells[][] = []; // per pinned head
  private curves: Curve[] = [];
  private scales: Scaled[] = [];
  private hover: { side: MapAxis; token: number } | null = null;
  private rest = { x: Infinity, y: 0 }; // where the pointer selected a token: tokens that scroll under a resting pointer are not hovered

  constructor(private readonly ctx: Context) {
    const { t, family } = ctx;
    this.stretches = stretchesOf(rangeOf(family, 'query'), rangeOf(family, 'key'), kTile);
    this.entries = this.entriesOf(false);
    this.draw = oncePerFrame(() => this.paint());
    const canvas = h('canvas', { class: 'curves', role: 'img', 'aria-label': t('lines.label'), 'data-testid': 'lines' });
    this.columns = { query: this.column('query'), key: this.column('key') };
    this.tableButton = iconButton('table', t('table'), () => this.toggleTable());
    this.frame = h(
      'div',
      { class: 'lines-frame', tabindex: 0, role: 'group', 'aria-label': t('lines.frame') },
      h('div', { class: 'lines' }, this.columns.query, canvas, this.columns.key),
    );
    const many = this.stretches.length > 1;
    this.element = h(
      'section',
      { class: 'panel lines-panel', 'aria-label': t('lines.label') },
      h(
        'header',
        { class: 'panel-head' },
        h('h2', {}, t('view.lines')),
        this.badge,
        h('span', { class: 'spring' }),
        many ? this.where : null,
        many ? iconButton('up', t('lines.earlier'), () => this.go(this.at - 1)) : null,
        many ? iconButton('down', t('lines.later'), () => this.go(this.at + 1)) : null,
        this.tableButton,
      ),
      this.frame,
      this.table,
      this.legend,
      this.caption,
    );
    this.canvas = surface(canvas, this.draw);
    ctx.life.signal.addEventListener('abort', () => this.loading.abort());
  }

  retheme(): void {
    this.updateCaption();
    this.draw();
  }

  refetch(): void {
    this.load(this.ctx.store.now);
  }

  update(state: State, before: State): void {
    if (state.view !== 'lines') return;
    const chosen = state.direction === 'out' ? state.q : state.k;
    const changed = state.view !== before.view || state.q !== before.q || state.k !== before.k || this.built === '';
    if (changed && chosen[0]) this.at = this.stretchOf(selectedAxis(state), chosen[0].begin);
    this.build();
    this.load(state);
    if (state.scale !== before.scale || state.words !== before.words) this.find();
    if (changed && chosen[0]) this.reveal(selectedAxis(state), chosen[0].begin);
    this.draw();
  }

  private column(side: MapAxis): HTMLElement {
    const list = h('div', { class: `lines-column of-${side}`, role: 'group', 'aria-label': this.ctx.t(`lines.${side}`) });
    const tokenOf = (event: Event): number | null => {
      const found = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-token]') : null;
      return found ? Number(found.dataset['token']) : null;
    };
    list.addEventListener('pointermove', (event) => {
      const { x, y } = this.rest;
      if (Math.hypot(event.screenX - x, event.screenY - y) >= 2) this.setHover(side, tokenOf(event));
    });
    list.addEventListener('pointerleave', () => this.setHover(side, null));
    list.addEventListener('click', (event) => {
      const token = tokenOf(event);
      this.rest = { x: event.screenX, y: event.screenY };
      this.setHover(side, null);
      if (token !== null) this.choose(side, token);
    });
    return list;
  }

  private stretchOf(side: MapAxis, token: number): number {
    const spans = this.stretches.map((s) => (side === 'query' ? s.queries : s.keys));
    const own = spans[this.at];
    if (own.begin <= token && token < own.end) return this.at;
    return Math.max(
      0,
      spans.findIndex((s) => s.begin <= token && token < s.end),
    );
  }

  /** Scrolls the columns so that a token is well inside the view. */
  private reveal(side: MapAxis, token: number): void {
    const top = kRow * Math.max(0, this.entries[side].placeOf(token));
    const { scrollTop, clientHeight } = this.frame;
    if (top < scrollTop + kRow || top > scrollTop + clientHeight - 3 * kRow) this.frame.scrollTop = top - clientHeight * 0.4;
  }

  private go(at: number): void {
    const next = Math.max(0, Math.min(this.stretches.length - 1, at));
    if (next === this.at) return;
    this.at = next;
    this.build();
    this.load(this.ctx.store.now);
    this.frame.scrollTop = 0;
  }

  private choose(side: MapAxis, token: number): void {
    const { ctx } = this;
    const span = [this.entries[side].spanOf(token)];
    const direction = side === 'query' ? 'out' : 'in';
    if (direction === 'in' && unavailableReason(ctx, 'column')) return ctx.notify(unavailableReason(ctx, 'column') ?? '');
    if (ctx.store.now.direction !== direction) setDirection(ctx, direction);
    ctx.store.set(side === 'query' ? { q: span } : { k: span }, 'push');
    ctx.reveal(side === 'query' ? placeOfRow(ctx, token) : token, false);
  }

  private setHover(side: MapAxis, token: number | null): void {
    if (token === null ? this.hover === null : this.hover?.side === side && this.hover.token === token) return;
    this.hover = token === null ? null : { side, token };
    this.draw();
  }

  private entriesOf(words: boolean): Record<MapAxis, Entries> {
    const { queries, keys } = this.stretches[this.at];
    return { query: Entries.of(this.ctx, 'query', queries, words), key: Entries.of(this.ctx, 'key', keys, words) };
  }

  /** Fills the columns with the tokens or words of the stretch. */
  private build(): void {
    const { ctx } = this;
    const { words } = ctx.store.now;
    const built = `${this.at} ${words}`;
    if (this.built === built) return;
    this.built = built;
    const { queries } = this.stretches[this.at];
    this.where.textContent = `#${whole(queries.begin)}–${whole(queries.end - 1)}`;
    this.entries = this.entriesOf(words);
    for (const side of ['query', 'key'] as const) {
      const text = side === 'query' ? ctx.text : ctx.keyText;
      this.tokens[side] = this.entries[side].spans.map((span) => {
        const id = side === 'query' ? tokenOfRow(ctx, span.begin) : span.begin;
        return h(
          'button',
          {
            type: 'button',
            class: id === null || text.isSpecial(id) ? 'line-token special' : 'line-token',
            'data-token': span.begin, // the first id of the row or key
            tabindex: -1,
            dir: 'auto',
          },
          id === null ? null : swatch(ctx, id),
          this.nameOf(side, span),
          id !== null && text.inMargin.includes(id) ? h('span', { class: 'line-excerpt' }, ` ${text.excerpt(id)}`) : null,
        );
      });
      this.columns[side].replaceChildren(...this.tokens[side]);
    }
    this.canvas.element.style.height = `${kRow * Math.max(this.tokens.query.length, this.tokens.key.length)}px`;
  }

  /** The name of rows or keys. */
  private nameOf(side: MapAxis, span: Span): string {
    return side === 'query' ? rowName(this.ctx, span) : quoted(this.ctx, span, this.ctx.keyText);
  }

  private load(state: State): void {
    const { ctx } = this;
    const missing = unavailableReason(ctx, 'tile');
    if (missing) {
      this.caption.textContent = missing;
      return;
    }
    if (state.view !== 'lines') return;
    const heads = state.heads.filter((at) => hasHead(ctx.family, at));
    const key = JSON.stringify([heads, state.weight, state.sink, ctx.source.step, this.at]);
    if (key === this.wanted) return;
    this.wanted = key;
    this.loading.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const tiles = tilesOf(this.stretches[this.at], ctx.family.causal);
    const cellsOf = (at: (typeof heads)[number]): Promise<Cells[]> => {
      const request = { family: ctx.family.id, at, weight: state.weight, sink: state.sink, step: ctx.source.step };
      return Promise.all(tiles.map(({ x, y }) => ctx.source.cells(request, x, y, signal)));
    };
    Promise.all(heads.map(cellsOf)).then(
      (cells) => {
        if (this.wanted !== key) return;
        this.cells = cells;
        this.find();
      },
      (error: unknown) => {
        if (isAbort(error) || this.wanted !== key) return;
        this.cells = [];
        this.find();
        this.caption.textContent = messageOf(error);
      },
    );
  }

  /** Recomputes the curves from the loaded cells. */
  private find(): void {
    const state = this.ctx.store.now;
    const stretch = this.stretches[this.at];
    const { query, key } = this.entries;
    const cells = state.words ? this.cells.map((parts) => mergedCells(parts, stretch, query, key)) : this.cells;
    const found = curvesOf(cells, stretch, this.ctx.family.sinks, state.scale);
    this.curves = found.curves;
    this.scales = found.scales;
    this.canvas.element.dataset['curves'] = String(this.curves.length);
    this.updateCaption();
    if (!this.table.hidden) this.fillTable();
    this.draw();
  }

  private get badgeNow(): { badge: Badge; error: number } {
    const all = this.cells.flat();
    const worst = all.find((c) => c.badge !== 'exact');
    return { badge: worst?.badge ?? 'exact', error: Math.max(0, ...all.map((c) => c.error)) };
  }

  private updateCaption(): void {
    const { ctx } = this;
    const { badge, error } = this.badgeNow;
    replace(this.badge, this.cells.length ? badgeElement(ctx, badge, badgeTitle(ctx, badge, error)) : null);
    const front = ctx.store.now.heads[0];
    const rows = this.entries.query.spans.length;
    const sum = this.curves.reduce((total, c) => total + (c.head === 0 ? c.weight : 0), 0);
    const values = {
      n: whole(this.curves.length),
      head: front ? headName(front) : '',
      rows: whole(rows),
      share: share(sum / rows, error > 0),
    };
    const [own, ...others] = this.legends();
    const named = others.map(({ max }, i) => ({ name: headName(ctx.store.now.heads[i + 1]), max }));
    showLegend(ctx, this.legend, own ? { ...own, others: named } : null);
    const isWhole = isShare(ctx) && front && !remainderOf(ctx.family, front);
    setSentence(this.caption, ctx.t, ctx.t(isWhole ? 'lines.caption' : 'lines.caption.plain', values) + conventionOf(ctx));
  }

  /** The colour scales of the pinned heads. */
  private legends(): Legend[] {
    const { scale } = this.ctx.store.now;
    const approximate = this.badgeNow.error > 0;
    return this.scales.map((own) => ({ ...own, scale, isShare: isShare(this.ctx), approximate }));
  }

  /** The tokens whose curves are emphasised: the hovered token, else the selected ones; null: all curves are equal. */
  private get focused(): { side: MapAxis; tokens: Set<number> } | null {
    if (this.hover) return { side: this.hover.side, tokens: new Set([this.hover.token]) };
    const state = this.ctx.store.now;
    const spans = state.direction === 'out' ? state.q : state.k;
    if (spans.length === 0) return null;
    const side = selectedAxis(state);
    return { side, tokens: this.entries[side].touchedBy(spans) };
  }

  private paint(): void {
    const { context, width, height } = this.canvas;
    const theme = this.ctx.theme();
    const colours = theme.dark ? kPinColours.dark : kPinColours.light;
    const { query, key } = this.entries;
    const focused = this.focused;
    const stands = (c: Curve): boolean => !focused || focused.tokens.has(c[focused.side]);
    context.clearRect(0, 0, width, height);
    context.lineCap = 'round';
    const stroke = (c: Curve, alpha: number): void => {
      const [from, to] = [(query.placeOf(c.query) + 0.5) * kRow, (key.placeOf(c.key) + 0.5) * kRow];
      context.globalAlpha = alpha;
      context.strokeStyle = colours[c.head];
      context.lineWidth = 0.6 + 3 * c.strength;
      context.beginPath();
      context.moveTo(0, from);
      context.bezierCurveTo(width * 0.45, from, width * 0.55, to, width, to);
      context.stroke();
    };
    for (const c of this.curves) if (!stands(c)) stroke(c, 0.05 + 0.08 * c.strength);
    for (const c of this.curves) if (stands(c)) stroke(c, focused ? 0.25 + 0.75 * c.strength : 0.08 + 0.82 * c.strength);
    context.globalAlpha = 1;
    this.paintTokens(focused);
  }

  /** Outlines the selected tokens and shades those in the other column by their weight in the front head. */
  private paintTokens(focused: { side: MapAxis; tokens: Set<number> } | null): void {
    const { ctx } = this;
    const theme = ctx.theme();
    const found = new Map<number, Curve>();
    const other: MapAxis = focused?.side === 'key' ? 'query' : 'key';
    for (const c of this.curves)
      if (focused && c.head === 0 && focused.tokens.has(c[focused.side]) && (found.get(c[other])?.weight ?? -1) < c.weight)
        found.set(c[other], c);
    const labels = isShare(ctx) ? shortShare : printCell;
    for (const side of ['query', 'key'] as const) {
      for (const element of this.tokens[side]) {
        const token = Number(element.dataset['token']);
        const curve = side === other ? found.get(token) : undefined;
        const colour = curve ? shade(curve.strength, theme) : null;
        element.style.background = colour ? css(colour) : '';
        element.style.color = colour ? inkOn(colour) : '';
        element.classList.toggle('chosen', focused?.side === side && focused.tokens.has(token));
        if (curve && focused?.tokens.size === 1 && curve.strength > 0.2)
          element.dataset['part'] = labels(curve.weight, this.badgeNow.error > 0);
        else delete element.dataset['part'];
      }
    }
  }

  figure(): Exported {
    const { ctx, curves, focused, entries } = this;
    const { heads } = ctx.store.now;
    const asksKeys = focused?.side === 'key';
    const [own, other] = asksKeys ? [entries.key, entries.query] : [entries.query, entries.key];
    const beside: MapAxis = asksKeys ? 'query' : 'key';
    const stands = (c: Curve): boolean => !focused || focused.tokens.has(c[focused.side]);
    const strengths: number[] = focused ? new Array<number>(other.spans.length).fill(0) : [];
    const shares: string[] = focused ? new Array<string>(other.spans.length).fill('') : [];
    const print = isShare(ctx) ? shortShare : printNumber;
    for (const c of curves) {
      if (!focused || c.head !== 0 || !stands(c)) continue;
      const place = other.placeOf(c[beside]);
      strengths[place] = Math.max(strengths[place], c.strength);
      if (focused.tokens.size === 1 && c.strength > 0.2) shares[place] = print(c.weight, this.badgeNow.error > 0);
    }
    const names = (side: MapAxis, text: TextModel): string[] =>
      entries[side].spans.map((span) => {
        const id = side === 'query' ? tokenOfRow(ctx, span.begin) : span.begin;
        return `${this.nameOf(side, span)}${id !== null && text.inMargin.includes(id) ? ` ${text.excerpt(id)}` : ''}`;
      });
    const part: Part = {
      kind: 'lines',
      queryName: ctx.t('lines.query'),
      keyName: ctx.t('lines.key'),
      queries: names('query', ctx.text),
      keys: names('key', ctx.keyText),
      lines: curves.map((c) => ({
        query: entries.query.placeOf(c.query),
        key: entries.key.placeOf(c.key),
        strength: c.strength,
        head: c.head,
        standsOut: stands(c),
      })),
      chosen: focused ? [...focused.tokens].map((id) => own.placeOf(id)) : [],
      asksKeys,
      strengths,
      shares,
      heads: this.legends().flatMap((own, i) => legendOf(ctx, own, heads.length > 1 ? headName(heads[i]) : '') ?? []),
    };
    return { parts: [part], description: this.caption.textContent ?? '', badge: this.badgeNow.badge };
  }

  private toggleTable(): void {
    this.table.hidden = !this.table.hidden;
    this.frame.hidden = !this.table.hidden;
    this.tableButton.setAttribute('aria-pressed', String(!this.table.hidden));
    if (!this.table.hidden) this.fillTable();
  }

  private fillTable(): void {
    const { ctx } = this;
    const { badge, error } = this.badgeNow;
    const name = (side: MapAxis, id: number): string => {
      const span = this.entries[side].spanOf(id);
      if (span.end > span.begin + 1) return this.nameOf(side, span);
      return side === 'query' ? rowLabel(ctx, id) : positionLabel(ctx, id, ctx.keyText);
    };
    const heaviest = [...this.curves].sort((a, b) => b.weight - a.weight).slice(0, kTableRows);
    replace(
      this.table,
      h(
        'table',
        {},
        h('caption', {}, ctx.t('lines.table')),
        h('thead', {}, h('tr', {}, ...['head', 'lines.query', 'lines.key', 'weight'].map((key) => h('th', { scope: 'col' }, ctx.t(key))))),
        h(
          'tbody',
          {},
          ...heaviest.map((c) =>
            h(
              'tr',
              {},
              h('th', { scope: 'row' }, headName(ctx.store.now.heads[c.head] ?? { layer: 0, head: 0 })),
              h('td', { dir: 'auto' }, name('query', c.query)),
              h('td', { dir: 'auto' }, name('key', c.key)),
              h('td', { class: 'number' }, printWeight(ctx, c.weight, badge, error)),
            ),
          ),
        ),
      ),
    );
  }
}
