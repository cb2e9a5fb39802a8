// Compare: two heads, two traces, or before and after an edit. Shows the text (both texts, if they differ) shaded by how the selected row
// changed, the two maps or their difference, the divergence of every row, and the heads ranked by how much they differ. The address names
// what is compared.

import { type Context, type Numbers, type View, unavailableReason, badgeTitle } from '../../context';
import type { Exported } from '../../figure/figure';
import { change, head as headName, share, whole, messageOf } from '../../format';
import { areWritten, placeOfRow, rowName } from '../../rows';
import {
  type CompareRequest,
  type HeadId,
  type HeadRanking,
  type MapComparison,
  type Source,
  type Span,
  isAbort,
} from '../../source/source';
import type { CompareLayout, State } from '../../state';
import { badgeElement } from '../../ui/badge';
import { legendSlot, showLegend } from '../../ui/legend';
import { h, replace, segmented, setChosen } from '../../ui/dom';
import { type Choice, type NamedHead, choiceOf, othersOf } from './choice';
import { choiceControls } from './controls';
import { matrixOfPair, tableOfHeads } from './figure';
import { LargestDifference, largestRow } from './largest';
import { type Change, type Pair, PairMap, numbersOfPair, pairOf, partAround, hiddenAsZero } from './pairMap';
import { changesPanel, headsPanel, nats, rankedHeads, rowsPanel } from './panels';
import { type Rows, Texts } from './texts';
import { type Comparison, chooseHead, frontOf, openComparison } from './comparison';

export class CompareView implements View {
  readonly element: HTMLElement;
  private readonly note = h('p', { class: 'caption', role: 'status', 'data-testid': 'compare-note' });
  private readonly progress = h('progress', { max: 1, value: 0, hidden: true });
  private readonly texts: Texts;
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'compare-caption' });
  private readonly controls = h('div', { class: 'explain-controls', role: 'group' });
  private readonly mapTitle = h('h3', {});
  private readonly badge = h('span', { class: 'badge-place', 'data-testid': 'compare-badge' });
  private readonly mapNote = h('p', { class: 'caption', 'data-testid': 'compare-map-note' });
  private readonly maps = h('div', { class: 'compare-maps' });
  private readonly legend = legendSlot('compare-legend');
  private readonly zoom = h('div', { class: 'explain-controls' });
  private readonly cellNote = h('p', { class: 'caption cell-note', role: 'status', 'data-testid': 'compare-cell' });
  private readonly tables = h('div', { class: 'explain-side-part' });
  private readonly heads = h('section', { 'data-testid': 'compare-heads-panel' });
  private readonly one: PairMap;
  private readonly two: PairMap;
  private layoutSwitch: HTMLFieldSetElement | null = null;
  private built = false;
  private comparison: Comparison | null = null;
  private pair: Pair | null = null;
  private mapHeads = '';
  private ranked: HeadRanking | null = null;
  private rows: Rows = { before: null, after: null };
  private allHeads = false;
  private readonly largest: LargestDifference;
  private requested: Record<'comparison' | 'maps' | 'heads' | 'row', string> = { comparison: '', maps: '', heads: '', row: '' };
  private aborts: Partial<Record<'comparison' | 'maps' | 'heads' | 'row', AbortController>> = {};

  constructor(private readonly ctx: Context) {
    const { t } = ctx;
    this.largest = new LargestDifference(ctx);
    this.element = h('section', { class: 'panel explain-panel compare-panel', 'aria-label': t('compare.label') });
    const events = (other: () => PairMap): ConstructorParameters<typeof PairMap>[0] => ({
      read: (found) => this.readCell(found),
      choose: (place) => this.choosePlace(place),
      point: (cell) => other().mark(cell),
      zoom: (at) => this.zoomTo(at, 4),
    });
    this.one = new PairMap(
      events(() => this.two),
      'compare-map',
    );
    this.two = new PairMap(
      events(() => this.one),
      'compare-map-after',
    );
    this.texts = new Texts(ctx);
    ctx.life.signal.addEventListener('abort', () => Object.values(this.aborts).forEach((abort) => abort.abort()));
  }

  retheme(): void {
    if (this.comparison) this.paint();
  }

  refetch(): void {
    this.requested = { comparison: '', maps: '', heads: '', row: '' };
    this.update(this.ctx.store.now, this.ctx.store.now);
  }

  update(state: State, before: State): void {
    if (state.view !== 'compare') return;
    if (!this.built) {
      this.build();
      if (before.view !== 'compare' && !state.compareHead) this.largest.begin();
    }
    if (unavailableReason(this.ctx, 'compare')) return;
    this.openOther(state);
    if (this.comparison) this.load();
  }

  private build(): void {
    const { ctx } = this;
    const { t } = ctx;
    this.built = true;
    const missing = unavailableReason(ctx, 'compare');
    const title = h('h2', {}, t('compare.label'));
    if (missing) return replace(this.element, h('header', { class: 'panel-head' }, title), h('p', { class: 'caption' }, missing));
    this.controls.setAttribute('aria-label', t('compare.with'));
    this.progress.setAttribute('aria-label', t('if.progress'));
    this.layoutSwitch = segmented<CompareLayout>(
      t('if.show'),
      (['difference', 'sides'] as const).map((value) => ({ value, label: t(`compare.${value}`), title: t(`compare.${value}.title`) })),
      ctx.store.now.compareShow,
      (show) => ctx.store.set({ compareShow: show }, 'push'),
    );
    replace(this.maps, this.one.element, this.two.element);
    const map = h(
      'section',
      {},
      h('div', { class: 'compare-title' }, this.mapTitle, this.badge),
      this.mapNote,
      this.maps,
      this.legend,
      this.zoom,
      this.cellNote,
    );
    replace(
      this.element,
      h('header', { class: 'panel-head' }, title, this.controls, h('span', { class: 'spring' }), this.layoutSwitch),
      h('div', { class: 'explain-progress' }, this.progress, this.note),
      h(
        'div',
        { class: 'explain-frame' },
        h('div', { class: 'explain-main' }, this.texts.element, this.texts.legend, this.texts.status),
        h(
          'div',
          { class: 'explain-scroll', tabindex: 0, role: 'group', 'aria-label': t('compare.maps') },
          h('div', { class: 'explain-side' }, map, this.heads, this.tables),
        ),
      ),
      this.caption,
    );
  }

  // ---- requests

  /** Starts a request of a kind, replacing the previous one; null if the same request was made last. */
  private begin(kind: keyof CompareView['requested'], key: string): AbortController | null {
    if (this.requested[kind] === key) return null;
    this.requested[kind] = key;
    this.aborts[kind]?.abort();
    return (this.aborts[kind] = new AbortController());
  }

  private fail(kind: keyof CompareView['requested'], key: string, place: HTMLElement): (error: unknown) => void {
    return (error) => {
      if (this.requested[kind] !== key || isAbort(error)) return;
      this.progress.hidden = true;
      place.textContent = messageOf(error);
    };
  }

  private openOther(state: State): void {
    const { ctx } = this;
    const others = othersOf(ctx);
    const choice = choiceOf(state, others);
    const key = JSON.stringify([choice, choice.kind === 'edit' ? state.edit : '', ctx.info.id]);
    const abort = this.begin('comparison', key);
    if (!abort) return;
    this.comparison = null;
    this.pair = null;
    this.ranked = null;
    this.note.textContent = ctx.t('loading');
    this.showControls(choice);
    const onProgress = (done: number, what: string): void => {
      this.progress.hidden = false;
      this.progress.value = done;
      this.note.textContent = ctx.t.progress(what);
    };
    openComparison(ctx, choice, onProgress, abort.signal).then(
      (comparison) => {
        if (this.requested.comparison !== key) return;
        this.comparison = comparison;
        this.progress.hidden = true;
        const { method, whole: isWhole } = comparison.alignment;
        this.note.textContent = [ctx.t(`compare.by.${method}`), isWhole ? '' : ctx.t('compare.by.ends')].filter(Boolean).join(' ');
        this.texts.open(comparison);
        this.load();
      },
      this.fail('comparison', key, this.note),
    );
  }

  private showControls(choice: Choice): void {
    const focused = this.controls.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['testid'] : null;
    replace(this.controls, ...choiceControls(this.ctx, choice, this.comparison));
    if (focused) this.controls.querySelector<HTMLElement>(`[data-testid=${focused}]`)?.focus(); // restore the keyboard focus after rebuilding
  }

  private load(): void {
    const { comparison } = this;
    if (!comparison) return;
    this.showControls(comparison.choice);
    const request = comparison.request();
    this.loadMaps({ ...request, ...comparison.visibleSpans() });
    this.loadHeads(comparison, request);
    this.loadRow(comparison, request);
    this.paint();
  }

  private loadMaps(request: CompareRequest, exact = false): void {
    const { ctx } = this;
    const key = JSON.stringify([request, exact, this.requested.comparison]);
    if (!exact && this.requested.maps === JSON.stringify([request, true, this.requested.comparison])) return;
    const abort = this.begin('maps', key);
    if (!abort) return;
    const heads = JSON.stringify([request.before, request.after]);
    if (this.mapHeads !== heads) this.pair = null; // do not show a map of other heads under these names
    this.mapHeads = heads;
    if (!this.pair) this.mapNote.textContent = ctx.t('loading');
    ctx.source
      .compare(
        { ...request, exact },
        (found) => {
          if (this.requested.maps !== key) return;
          this.pair = pairOf(found);
          this.chooseLargestRow(found);
          this.paint();
          if (found.badge !== 'sampled') ctx.announce(this.mapNote.textContent ?? '');
        },
        abort.signal,
      )
      .catch(this.fail('maps', key, this.mapNote));
  }

  private loadHeads(comparison: Comparison, request: CompareRequest): void {
    const { ctx } = this;
    // Heads of another trace are compared with the head of the same number, so the selected head does not matter.
    const compared = { ...request, before: comparison.isWithin ? request.before : request.before.family, after: request.after.family };
    const key = JSON.stringify([compared, this.requested.comparison]);
    const abort = this.begin('heads', key);
    if (!abort) return;
    this.ranked = null;
    this.allHeads = false;
    const onRanking = (found: HeadRanking): void => {
      if (this.requested.heads !== key) return;
      this.ranked = found;
      this.showHeads();
      const [{ at, value }] = rankedHeads(found);
      if (value > 0) this.largest.take('head', () => chooseHead(ctx, comparison, at, 'replace'));
      this.chooseLargestRow(this.pair); // if it was this head's already
    };
    ctx.source.compareHeads(request, onRanking, abort.signal).catch(this.fail('heads', key, this.heads));
  }

  /** Requests the selected row from both maps. */
  private loadRow(comparison: Comparison, request: CompareRequest): void {
    const { ctx } = this;
    const spans = comparison.selection();
    const key = JSON.stringify([request.before, request.after, spans, this.requested.comparison]);
    const abort = this.begin('row', key);
    if (!abort) return;
    this.rows = { before: null, after: null };
    if (spans.before.length === 0 || spans.after.length === 0) return;
    const line = async (source: Source, at: NamedHead, of: Span[], slot: string): Promise<Float32Array | null> =>
      (
        await source.line(
          { family: at.family, at, spans: of, direction: 'out', reduce: 'mean', weight: 'raw', sink: 'mark', step: source.step },
          slot,
        )
      ).values;
    Promise.all([
      line(ctx.source, request.before, spans.before, 'compare-before'),
      line(comparison.source, request.after, spans.after, 'compare-after'),
    ]).then(
      ([before, after]) => {
        if (this.requested.row !== key) return;
        this.rows = { before, after };
        this.paint();
      },
      this.fail('row', key, this.texts.status),
    );
  }

  private chooseLargestRow(found: MapComparison | null): void {
    const place = found && largestRow(found);
    if (place !== null && this.comparison?.isShared(place)) this.largest.take('row', () => this.choosePlace(place, 'replace'));
  }

  private choosePlace(place: number, how: 'push' | 'replace' = 'push'): void {
    const { ctx, comparison } = this;
    if (!comparison) return;
    if (!comparison.isShared(place)) return ctx.notify(ctx.t('compare.only', { what: comparison.rowName(place) }));
    const id = comparison.alignment.before[place];
    ctx.store.set({ q: [{ begin: id, end: id + 1 }], direction: 'out' }, how);
    this.texts.reveal(placeOfRow(ctx, id));
  }

  // ---- display

  figure(): Exported {
    const { ctx, comparison, pair, ranked } = this;
    if (!comparison || !pair) throw new Error(this.note.textContent || ctx.t('loading'));
    const chosen = comparison.chosenPlaces();
    const words = this.texts.words();
    const places = comparison.placeNames();
    const matrices =
      ctx.store.now.compareShow === 'sides'
        ? (['before', 'after'] as const).map((show) => matrixOfPair(ctx, pair, show, { places, chosen, bars: show === 'after' }))
        : [matrixOfPair(ctx, pair, 'difference', { places, chosen, bars: true })];
    const [before, after] = comparison.namesOfMaps();
    const sentence = words.length > 0 ? this.captionOf(ctx.store.now.q, before, after) : ctx.t('compare.map', { before, after }) + '.';
    const description = [sentence, comparison.isOneText ? '' : ctx.t('compare.grey'), this.mapNote.textContent].filter(Boolean).join(' ');
    return {
      parts: [...words, ...matrices, ...(ranked ? [tableOfHeads(ctx, ranked)] : [])],
      description,
      badge: pair.badge,
      rules: [before, after],
    };
  }

  numbers(): Numbers {
    const { ctx, comparison, pair, ranked } = this;
    if (!comparison || !pair) throw new Error(this.note.textContent || ctx.t('loading'));
    const { json, rows } = numbersOfPair(pair, comparison.placeNames());
    const [before, after] = comparison.namesOfMaps();
    const heads = ranked && rankedHeads(ranked).map(({ at, value }) => ({ ...at, divergence: value }));
    return { json: { before, after, map: json, heads }, rows };
  }

  private captionOf(rows: readonly Span[], before: string, after: string): string {
    const { ctx } = this;
    const key = areWritten(ctx, rows) ? 'compare.caption.written' : 'compare.caption';
    return ctx.t(key, { whom: rowName(ctx, rows[0]), before, after });
  }

  private paint(): void {
    const { ctx, comparison, pair } = this;
    if (!comparison) return;
    const { t } = ctx;
    const state = ctx.store.now;
    if (this.layoutSwitch) setChosen(this.layoutSwitch, state.compareShow);
    this.texts.paint(this.rows);
    const [before, after] = comparison.namesOfMaps();
    const isShared = comparison.selection().before.length > 0;
    const alone = !isShared && state.q[0] && state.q[0].end <= ctx.text.count ? rowName(ctx, state.q[0]) : '';
    const sentence = isShared ? this.captionOf(state.q, before, after) : alone ? t('compare.only', { what: alone }) : '';
    this.caption.textContent = [sentence, comparison.isOneText ? '' : t('compare.hatched')].filter(Boolean).join(' ');
    const sides = state.compareShow === 'sides';
    this.mapTitle.textContent = sides ? t('compare.map.sides', { before, after }) : t('compare.map', { before, after });
    const options = {
      pair,
      scale: state.scale,
      theme: ctx.theme(),
      names: comparison.placeNames(),
      chosen: comparison.chosenPlaces(),
    };
    const colours = pair && { max: pair.max, scale: state.scale, isShare: true, signed: !sides };
    showLegend(ctx, this.legend, colours);
    this.one.set({ ...options, show: sides ? 'before' : 'difference', strip: sides ? 'room' : 'bars' });
    this.two.set({ ...options, show: 'after', strip: 'bars' });
    this.two.element.hidden = !sides;
    this.maps.classList.toggle('sides', sides);
    this.one.canvas.setAttribute('aria-label', t(sides ? 'compare.map.one' : 'compare.map.label', { before, after }));
    this.two.canvas.setAttribute('aria-label', t('compare.map.one', { before: after, after }));
    this.showPair(comparison, [before, after]);
    this.showHeads();
  }

  private showPair(comparison: Comparison, names: [string, string]): void {
    const { ctx, pair } = this;
    const { t } = ctx;
    if (!pair) return replace(this.tables);
    replace(this.badge, badgeElement(ctx, pair.badge, badgeTitle(ctx, pair.badge, pair.error)));
    const approximate = pair.badge === 'sampled' ? '≈ ' : '';
    const sentences =
      pair.mean === null
        ? [t('compare.none')]
        : [t('compare.mean', { nats: approximate + nats(pair.mean), rows: whole(pair.rowsCompared), of: whole(pair.of) })];
    const max = pair.changed.reduce((a, v) => (Math.abs(v) > a ? Math.abs(v) : a), 0);
    if (ctx.store.now.compareShow === 'difference')
      sentences.push(max > 0 ? t('compare.most', { most: change(max).replace('+', '±') }) : t('compare.equal'));
    if (pair.cell > 1) sentences.push(t('compare.pooled', { cell: whole(pair.cell) }));
    sentences.push(t('compare.js.how'));
    this.mapNote.textContent = sentences.join(' ');
    this.showZoom(comparison, pair);
    const open = (name: string): boolean => this.tables.querySelector(`[data-testid=${name}]`)?.closest('details')?.open ?? false;
    const places = comparison.placeNames(true);
    replace(
      this.tables,
      rowsPanel(ctx, pair, { places, open: open('compare-rows'), choose: (at) => this.choosePlace(at) }),
      changesPanel(ctx, pair, { names, places, open: open('compare-changes'), testid: 'compare-changes' }),
    );
  }

  private showZoom(comparison: Comparison, pair: Pair): void {
    const { ctx } = this;
    const { t, store } = ctx;
    const isPart = comparison.visibleSpans().rows !== null;
    const button = (label: string, run: () => void): HTMLElement => h('button', { type: 'button', class: 'quiet', onclick: run }, label);
    const waits = pair.badge === 'sampled' && pair.rowsCompared < pair.of;
    replace(
      this.zoom,
      pair.cell > 1 ? button(t('compare.zoom'), () => this.zoomTo(this.zoomTarget(comparison), 4)) : null,
      isPart ? button(t('compare.whole'), () => store.set({ rect: null }, 'push')) : null,
      waits
        ? button(t('compare.exact', { rows: whole(pair.of) }), () =>
            this.loadMaps({ ...comparison.request(), ...comparison.visibleSpans() }, true),
          )
        : null,
    );
  }

  /** The place to zoom into: the selected row, else the cell that was read last, else the middle. */
  private zoomTarget(comparison: Comparison): { row: number; key: number } | null {
    const chosen = comparison.selection().before[0];
    const middle = this.one.middle;
    return chosen ? { row: comparison.placeOf.before[chosen.begin], key: comparison.placeOf.before[chosen.begin] } : middle;
  }

  private zoomTo(at: { row: number; key: number } | null, factor: number): void {
    const { ctx, pair } = this;
    if (!at || !pair || pair.cell === 1) return;
    ctx.store.set({ rect: partAround(pair, at, factor) }, 'push');
  }

  private showHeads(): void {
    const { ctx, comparison } = this;
    if (!comparison) return;
    const within = comparison.isWithin;
    const focused = this.heads.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['head'] : undefined;
    const options = {
      within: within ? headName(frontOf(ctx)) : null,
      chosen: within ? comparison.head : frontOf(ctx),
      all: this.allHeads,
      more: () => {
        this.allHeads = true;
        this.showHeads();
      },
      choose: (at: HeadId) => chooseHead(ctx, comparison, at, 'push'),
    };
    replace(this.heads, ...headsPanel(ctx, this.ranked, options));
    if (focused) this.heads.querySelector<HTMLElement>(`[data-head="${focused}"]`)?.focus();
  }

  private readCell(found: Change | null): void {
    const { ctx, comparison, pair } = this;
    if (!found || !comparison || !pair) return void (this.cellNote.textContent = '');
    const alone = [found.row, found.key].find(
      (at) => pair.cell === 1 && (comparison.alignment.before[at] < 0 || comparison.alignment.after[at] < 0),
    );
    const approximate = pair.badge !== 'exact';
    this.cellNote.textContent =
      alone !== undefined
        ? `${comparison.placeName(alone, true)}   ${ctx.t('compare.alone')}`
        : ctx.t('compare.cell', {
            row: comparison.rowName(found.row, true),
            key: comparison.placeName(found.key, true),
            before: share(found.before, approximate),
            after: share(found.after, approximate),
            change: change(hiddenAsZero(found.after) - hiddenAsZero(found.before)),
            nats: nats(found.divergence),
          });
    const focused = document.activeElement;
    if (focused === this.one.canvas || focused === this.two.canvas) ctx.announce(this.cellNote.textContent);
  }
}
