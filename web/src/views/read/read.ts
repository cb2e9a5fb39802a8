// The reading view: text, minimap and status line, painted from the focused lines; above the text, the panels of items that are not
// text (patches, frames).

import type { Context, View } from '../../context';
import { memoryMark, printWeight, rangeOf, selectSpans } from '../../context';
import { head as headName, shortShare, weight as printNumber } from '../../format';
import type { Exported } from '../../figure/figure';
import type { ShownLine } from '../../focus';
import { oncePerFrame } from '../../paint/canvas';
import { itemTokens, rowOfToken, rowsNamedBy, selectedTokens, tokensOfRows } from '../../rows';
import type { Line, Span } from '../../source/source';
import { isAbort } from '../../source/source';
import { sameHead, type State } from '../../state';
import type { Box } from '../../text/boxes';
import { h } from '../../ui/dom';
import { type Legend, legendSlot, showLegend } from '../../ui/legend';
import { isShare } from '../../context';
import { intensity, largest, wordAround } from '../../weights';
import { ItemLines } from './itemLines';
import { figureOfRead } from './figure';
import { Minimap } from './minimap';
import { type BoxStyle, type Paint, type StepStyle, stepStyles, styleOf } from './painter';
import { type LiveBlock, TextPane, describeToken, frameClass } from './pane';
import { itemBox, type ItemPanel, type ItemPanelEvents } from './itemPanel';
import { createItemPanels } from './itemPanels';
import { lineCaption, paintedWeights, topOf, sinksOnScale } from './top';

const kShort = 600; // UTF-16 units: a shorter text needs no minimap

export class ReadView implements View {
  readonly element: HTMLElement;
  readonly pane: TextPane;
  private readonly minimap: Minimap;
  private readonly panels: readonly ItemPanel[];
  private readonly itemLines: ItemLines;
  private readonly status: HTMLElement;
  private readonly legend = legendSlot();
  private readonly how: string; // the hint shown in the status line
  private readonly repaint: () => void;
  private values: Float32Array | null = null;
  private max = 0;
  private pinValues: { values: Float32Array; max: number }[] = [];
  private hits: readonly Span[] = [];
  private hit: Span | null = null;
  private steps: StepStyle[] = [];
  private receivedOf = '';
  private hovered: Box | null = null; // the box under the pointer
  private style: ((box: Box) => BoxStyle) | null = null; // as of the last paint

  constructor(private readonly ctx: Context) {
    this.repaint = oncePerFrame(() => this.paint());
    const events: ItemPanelEvents = { hover: (token) => this.hover(token), pick: (token, event) => this.pick(token, event) };
    this.panels = createItemPanels(ctx, events, () => this.steps);
    this.itemLines = new ItemLines(ctx, this.repaint);
    this.pane = new TextPane(ctx, {
      ...events,
      select: (span) => selectSpans(ctx, [span], 'push'),
      scroll: () => this.minimap.draw(),
      hydrated: (block) => this.paintNew(block),
    });
    this.minimap = new Minimap(
      ctx,
      () => this.pane.visibleRange(),
      (token) => this.pane.reveal(token),
    );
    const figures = this.panels.some((panel) => panel.element.matches('figure'));
    const isShort = ctx.text.text.length < kShort;
    this.how = ctx.t(ctx.text.tokens < ctx.text.count ? 'status.how.items' : 'status.how');
    this.status = h('p', { class: 'status', 'data-testid': 'status' }, this.how);
    this.element = h(
      'section',
      { class: 'panel text-panel', 'aria-label': ctx.t('text.label') },
      h('h2', { class: 'visually-hidden' }, ctx.t('text.label')),
      h(
        'div',
        { class: figures ? 'read-frame with-sides with-figures' : this.panels.length > 0 ? 'read-frame with-sides' : 'read-frame' },
        this.panels.length > 0
          ? h(
              'div',
              { class: 'sides', tabindex: 0, role: 'group', 'aria-label': ctx.t('items.label') },
              ...this.panels.map((panel) => panel.element),
            )
          : null,
        h(
          'div',
          { class: frameClass(ctx.text, this.panels.length), hidden: ctx.text.text === '' },
          this.pane.element,
          isShort ? null : this.minimap.element,
        ),
      ),
      this.legend,
      this.status,
    );
    ctx.focus.listen({ front: (shown) => this.setLine(shown), pins: (lines) => this.setPinLines(lines) });
    this.retheme();
    this.pane.open();
  }

  retheme(): void {
    this.steps = stepStyles(this.ctx.theme());
    for (const live of this.pane.live.values()) live.painted.length = 0;
    this.setLine(this.ctx.focus.shown);
    this.minimap.changed();
  }

  update(state: State, before: State): void {
    this.minimap.setMarks(selectedTokens(this.ctx, state));
    if (state.scale !== before.scale || state.words !== before.words) {
      this.setLine(this.ctx.focus.shown);
      this.setPinLines(this.ctx.focus.pinLines);
    }
    if (!sameHead(state.heads[0], before.heads[0]) || this.receivedOf === '') this.loadReceived(state);
    this.repaint();
  }

  refetch(): void {
    this.loadReceived(this.ctx.store.now);
  }

  /** Scrolls an id into view, in the text or in the panel that contains it. */
  reveal(id: number): void {
    const panel = this.panels.find((one) => one.contains(id));
    if (panel) panel.element.scrollIntoView({ block: 'nearest' });
    else this.pane.reveal(id);
  }

  setHits(hits: readonly Span[], hit: Span | null): void {
    this.hits = hits;
    this.hit = hit;
    this.minimap.setHits(hits);
    this.repaint();
  }

  private setLine(shown: ShownLine | null): void {
    const state = this.ctx.store.now;
    this.values = shown ? paintedWeights(this.ctx, shown) : null;
    this.max = this.values ? largest(this.values, state.direction === 'out' ? sinksOnScale(this.ctx, state.words) : []) : 0;
    this.itemLines.follow(shown);
    this.minimap.setProfile(this.values, this.max);
    this.updateLegend(shown);
    this.updateStatus();
    this.repaint();
  }

  /** The colour scale of the front head. */
  private scaleOf(shown: ShownLine | null): Legend {
    const approximate = shown !== null && (shown.line.error > 0 || shown.line.badge === 'quantised');
    const isHidden = this.ctx.store.now.sink !== 'mark';
    const largestOfAll = this.values && !isHidden ? largest(this.values, []) : 0;
    return { max: this.max, scale: this.ctx.store.now.scale, isShare: isShare(this.ctx), approximate, largest: largestOfAll };
  }

  private updateLegend(shown: ShownLine | null): void {
    const { ctx } = this;
    const others = this.pinValues.map(({ max }, i) => ({ name: headName(ctx.store.now.heads[i] ?? { layer: 0, head: 0 }), max }));
    showLegend(ctx, this.legend, { ...this.scaleOf(shown), others: others.slice(1).filter(({ max }) => max > 0) });
  }

  private setPinLines(lines: readonly (Line | null)[]): void {
    const { ctx } = this;
    const sinks = ctx.store.now.direction === 'out' ? ctx.family.sinks : [];
    this.pinValues = lines.flatMap((line, i) => {
      const request = line ? ctx.focus.requestFor(ctx.store.now, ctx.store.now.heads[i] ?? { layer: 0, head: 0 }, null) : null;
      const values = line && request ? paintedWeights(ctx, { request, line, preview: false }) : null;
      const none = { values: new Float32Array(0), max: 0 };
      return values ? [{ values, max: largest(values, sinks) }] : [none];
    });
    this.updateLegend(ctx.focus.shown);
    this.repaint();
  }

  private paint(): void {
    const paint = this.paintOf(this.ctx.focus.shown);
    this.style = (box) => styleOf(box, paint, this.steps);
    this.pane.paint(this.style);
    for (const panel of this.panels) panel.paint(paint);
    this.pane.margin.paint(paint, this.itemLines.columns, !this.itemLines.words);
    this.pane.spreadShares();
  }

  /** Paints one block that scrolled near the view, in the style of the last paint. */
  private paintNew(block: LiveBlock): void {
    if (!this.style) return this.repaint();
    this.pane.paintBlock(block, this.style);
    if (block.elements.some((e) => e.dataset['share'])) this.pane.spreadShares();
  }

  private paintOf(shown: ShownLine | null): Paint {
    const { ctx } = this;
    const state = ctx.store.now;
    const share = isShare(ctx);
    const approximate = shown ? shown.line.badge === 'quantised' : false;
    const { words } = this.itemLines;
    const isWord = (box: Box): boolean => words !== null && box.begin < ctx.text.tokens;
    const weightOf = (values: Float32Array, box: Box): number => {
      if (state.words) return values[box.begin] ?? 0;
      let sum = 0;
      for (let t = box.begin; t < box.end; t++) sum += values[t] ?? 0;
      return sum;
    };
    const top = (shown ? topOf(ctx, shown, 5) : []).flatMap((item) => {
      const tokens = itemTokens(ctx, shown?.request.direction ?? 'out', item);
      return tokens ? [{ ...tokens, weight: item.weight }] : [];
    });
    const preview = ctx.focus.previewed.span;
    const shownTokens = (line: ShownLine): readonly Span[] =>
      line.request.direction === 'out' ? tokensOfRows(ctx, line.request.spans) : line.request.spans;
    const anchors = preview === null || !shown ? selectedTokens(ctx, state) : shownTokens(shown);
    return {
      intensity: (box) =>
        words && isWord(box)
          ? intensity(weightOf(words.values, box), words.max, state.scale)
          : this.values
            ? intensity(weightOf(this.values, box), this.max, state.scale)
            : NaN,
      weight: (box) => (this.values ? weightOf(this.values, box) : NaN),
      scale: this.scaleOf(shown),
      barScales: this.pinValues.map(({ max }) => ({ ...this.scaleOf(shown), max, largest: 0 })),
      bars: (box) => this.pinValues.map((p) => (p.values.length ? intensity(weightOf(p.values, box), p.max, state.scale) : 0)),
      top: top.map((i) => ({ ...i, label: share ? shortShare(i.weight, approximate) : printNumber(i.weight) })),
      anchors,
      others: state.view === 'read' ? [] : state.direction === 'out' ? state.k : tokensOfRows(ctx, state.q),
      sinks: new Set(state.direction === 'out' ? ctx.family.sinks : []),
      hideSinks: state.sink !== 'mark',
      special: (token) => ctx.text.isSpecial(token),
      visibility: (box) => (isWord(box) || !this.canHaveWeight(box) ? 'visible' : visibility(ctx, shown, box)),
      canHaveWeight: (box) => this.canHaveWeight(box),
      hits: this.hits,
      hit: this.hit,
      theme: ctx.theme(),
    };
  }

  figure(): Promise<Exported> {
    return figureOfRead(this.ctx, this.pane.visibleRange(), this.paintOf(this.ctx.focus.shown), this.itemLines.columns);
  }

  private canHaveWeight(box: Box): boolean {
    const { ctx } = this;
    if (ctx.text.tokens === ctx.text.count) return true;
    const { begin, end } = rangeOf(ctx.family, ctx.store.now.direction === 'out' ? 'key' : 'query');
    const at = ctx.store.now.direction === 'out' ? box.begin : rowOfToken(ctx, box.begin);
    return begin <= at && at < end;
  }

  private hover(token: number | null): void {
    this.hovered = token === null ? null : (this.pane.boxOf(token)?.box ?? itemBox(token));
    this.ctx.focus.previewTokens(this.hovered && { begin: this.hovered.begin, end: this.hovered.end });
    this.updateStatus();
  }

  /** The status line: the box under the pointer and its weight in the pinned line. */
  private updateStatus(): void {
    const { ctx, hovered } = this;
    this.status.textContent = hovered ? describeToken(ctx, hovered) + this.weightOfPinned(hovered) : this.how;
  }

  /** The weight of a box in the pinned line. Names the query, because the painted line may be a preview. */
  private weightOfPinned(box: Box): string {
    const { ctx } = this;
    const { pinned } = ctx.focus;
    if (!pinned?.line.values || !this.canHaveWeight(box)) return '';
    const seen = visibility(ctx, pinned, box);
    if (seen !== 'visible') return seen === 'hidden' ? `   ${ctx.t('map.hidden')}` : '';
    const values = paintedWeights(ctx, pinned) ?? pinned.line.values;
    let sum = 0;
    for (let t = box.begin; t < (ctx.store.now.words ? box.begin + 1 : box.end); t++) sum += values[t] ?? 0;
    const weight = printWeight(ctx, sum, pinned.line.badge, pinned.line.error);
    const at = pinned.request.direction === 'out' ? box.begin : rowOfToken(ctx, box.begin);
    return `   ${lineCaption(ctx, pinned, 'status', { weight })}${memoryMark(ctx, pinned.request, at)}`;
  }

  private pick(token: number, event: MouseEvent): void {
    const { ctx } = this;
    const state = ctx.store.now;
    const box = this.pane.boxOf(token)?.box ?? { begin: token, end: token + 1 };
    const span = state.words ? wordAround(ctx.text.data.word, token) : { begin: box.begin, end: box.end };
    const current = ctx.picking === 'k' ? state.k : ctx.picking === 'q' ? tokensOfRows(ctx, state.q) : selectedTokens(ctx, state);
    const last = current[current.length - 1];
    if (event.shiftKey && last) {
      selectSpans(ctx, [...current.slice(0, -1), { begin: Math.min(last.begin, span.begin), end: Math.max(last.end, span.end) }], 'push');
    } else if ((event.ctrlKey || event.metaKey) && last) {
      selectSpans(ctx, [...current, span], 'push');
    } else {
      selectSpans(ctx, [span], 'push');
    }
  }

  private loadReceived(state: State): void {
    const at = state.heads[0];
    if (!at) return;
    const key = `${at.layer}.${at.head}`;
    this.receivedOf = key;
    this.ctx.source.received(this.ctx.family.id, at).then(
      (bins) => {
        if (this.receivedOf === key) this.minimap.setReceived(bins);
      },
      (error: unknown) => {
        if (!isAbort(error) && this.receivedOf === key) this.minimap.setReceived(null);
      },
    );
  }
}

function visibility(ctx: Context, shown: ShownLine | null, box: Box): 'visible' | 'hidden' | 'unscored' {
  if (!shown) return 'visible';
  const at = shown.request.direction === 'out' ? box : rowsNamedBy(ctx, box);
  if (at.begin >= at.end) return 'visible'; // no row is named by this token
  const inside = (ranges: readonly [number, number][]): boolean => ranges.some(([begin, end]) => begin < at.end && at.begin < end);
  if (inside(shown.line.visible)) return 'visible';
  return inside(shown.line.unscored) ? 'unscored' : 'hidden';
}
