// Compare: two heads, two traces, or before and after an edit. Shows the text (both texts, if they differ) shaded by how the selected row
// changed, the two maps or their difference, the divergence of every row, and the heads ranked by how much they differ. The address names
// what is compared.

import { type Context, type Numbers, type View, absent, badgeTitle, pin, quoted } from '../../context';
import type { Exported } from '../../figure/figure';
import { change, head as headName, share, whole } from '../../format';
import { type CompareRequest, type RankedHeads, type Source, type Span, isAbort } from '../../source/source';
import type { CompareShow, State } from '../../state';
import { badgeElement } from '../../ui/badge';
import { legendSlot, showLegend } from '../../ui/legend';
import { h, replace, segmented, setChosen } from '../../ui/dom';
import { type Choice, type NamedHead, choiceOf, othersOf, writtenHead } from './choice';
import { choiceControls } from './controls';
import { matrixOfPair, tableOfHeads } from './figure';
import { type Change, type Pair, PairMap, numbersOfPair, pairOf, zeroed } from './pair-map';
import { changesPanel, headsPanel, nats, rankedHeads, rowsPanel } from './panels';
import { type Rows, Texts } from './texts';
import { type There, frontOf, openThere } from './there';

const kFinest = 256; // places that a map can show one by one

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
  private shown: HTMLFieldSetElement | null = null;
  private built = false;
  private there: There | null = null;
  private pair: Pair | null = null;
  private shownHeads = '';
  private ranked: RankedHeads | null = null;
  private rows: Rows = { before: null, after: null };
  private allHeads = false;
  private asked: Record<'there' | 'maps' | 'heads' | 'row', string> = { there: '', maps: '', heads: '', row: '' };
  private aborts: Partial<Record<'there' | 'maps' | 'heads' | 'row', AbortController>> = {};

  constructor(private readonly ctx: Context) {
    const { t } = ctx;
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
    if (this.there) this.paint();
  }

  renew(): void {
    this.asked = { there: '', maps: '', heads: '', row: '' };
    this.update(this.ctx.store.now);
  }

  update(state: State): void {
    if (state.view !== 'compare') return;
    if (!this.built) this.build();
    if (absent(this.ctx, 'compare')) return;
    this.askThere(state);
    if (this.there) this.look();
  }

  private build(): void {
    const { ctx } = this;
    const { t } = ctx;
    this.built = true;
    const missing = absent(ctx, 'compare');
    const title = h('h2', {}, t('compare.label'));
    if (missing) return replace(this.element, h('header', { class: 'panel-head' }, title), h('p', { class: 'caption' }, missing));
    this.controls.setAttribute('aria-label', t('compare.with'));
    this.progress.setAttribute('aria-label', t('if.progress'));
    this.shown = segmented<CompareShow>(
      t('if.show'),
      (['difference', 'sides'] as const).map((value) => ({ value, label: t(`compare.${value}`), title: t(`compare.${value}.title`) })),
      ctx.store.now.show,
      (show) => ctx.store.set({ show }, 'push'),
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
      h('header', { class: 'panel-head' }, title, this.controls, h('span', { class: 'spring' }), this.shown),
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
  private begin(kind: keyof CompareView['asked'], key: string): AbortController | null {
    if (this.asked[kind] === key) return null;
    this.asked[kind] = key;
    this.aborts[kind]?.abort();
    return (this.aborts[kind] = new AbortController());
  }

  private fail(kind: keyof CompareView['asked'], key: string, place: HTMLElement): (error: unknown) => void {
    return (error) => {
      if (this.asked[kind] !== key || isAbort(error)) return;
      this.progress.hidden = true;
      place.textContent = error instanceof Error ? error.message : String(error);
    };
  }

  private askThere(state: State): void {
    const { ctx } = this;
    const others = othersOf(ctx);
    const choice = choiceOf(state, others);
    const key = JSON.stringify([choice, choice.kind === 'edit' ? state.edit : '', ctx.info.id]);
    const abort = this.begin('there', key);
    if (!abort) return;
    this.there = null;
    this.pair = null;
    this.ranked = null;
    this.note.textContent = ctx.t('loading');
    this.showControls(choice);
    const tell = (done: number, what: string): void => {
      this.progress.hidden = false;
      this.progress.value = done;
      this.note.textContent = ctx.t.progress(what);
    };
    openThere(ctx, choice, tell, abort.signal).then(
      (there) => {
        if (this.asked.there !== key) return;
        this.there = there;
        this.progress.hidden = true;
        const { by, whole: all } = there.places;
        this.note.textContent = [ctx.t(`compare.by.${by}`), all ? '' : ctx.t('compare.by.ends')].filter(Boolean).join(' ');
        this.texts.open(there);
        this.look();
      },
      this.fail('there', key, this.note),
    );
  }

  private showControls(choice: Choice): void {
    const focused = this.controls.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['testid'] : null;
    replace(this.controls, ...choiceControls(this.ctx, choice, this.there));
    if (focused) this.controls.querySelector<HTMLElement>(`[data-testid=${focused}]`)?.focus(); // restore the keyboard focus after rebuilding
  }

  private look(): void {
    const { there } = this;
    if (!there) return;
    this.showControls(there.choice);
    const request = there.request();
    this.askMaps({ ...request, ...there.part() });
    this.askHeads(there, request);
    this.askRow(there, request);
    this.paint();
  }

  private askMaps(request: CompareRequest, exact = false): void {
    const { ctx } = this;
    const key = JSON.stringify([request, exact, this.asked.there]);
    if (!exact && this.asked.maps === JSON.stringify([request, true, this.asked.there])) return;
    const abort = this.begin('maps', key);
    if (!abort) return;
    const heads = JSON.stringify([request.before, request.after]);
    if (this.shownHeads !== heads) this.pair = null; // do not show a map of other heads under these names
    this.shownHeads = heads;
    if (!this.pair) this.mapNote.textContent = ctx.t('loading');
    ctx.source
      .compare(
        { ...request, exact },
        (found) => {
          if (this.asked.maps !== key) return;
          this.pair = pairOf(found);
          this.paint();
          if (found.badge !== 'sampled') ctx.announce(this.mapNote.textContent ?? '');
        },
        abort.signal,
      )
      .catch(this.fail('maps', key, this.mapNote));
  }

  private askHeads(there: There, request: CompareRequest): void {
    const { ctx } = this;
    // Heads of another trace are compared with the head of the same number, so the selected head does not matter.
    const about = { ...request, before: there.isWithin ? request.before : request.before.family, after: request.after.family };
    const key = JSON.stringify([about, this.asked.there]);
    const abort = this.begin('heads', key);
    if (!abort) return;
    this.ranked = null;
    this.allHeads = false;
    const take = (found: RankedHeads): void => {
      if (this.asked.heads !== key) return;
      this.ranked = found;
      this.showHeads();
    };
    ctx.source.compareHeads(request, take, abort.signal).catch(this.fail('heads', key, this.heads));
  }

  /** Requests the selected row from both maps. */
  private askRow(there: There, request: CompareRequest): void {
    const { ctx } = this;
    const spans = there.selection();
    const key = JSON.stringify([request.before, request.after, spans, this.asked.there]);
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
      line(there.source, request.after, spans.after, 'compare-after'),
    ]).then(
      ([before, after]) => {
        if (this.asked.row !== key) return;
        this.rows = { before, after };
        this.paint();
      },
      this.fail('row', key, this.texts.status),
    );
  }

  private choosePlace(place: number): void {
    const { ctx, there } = this;
    if (!there) return;
    if (!there.isShared(place)) return ctx.notify(ctx.t('compare.only', { what: there.placeName(place) }));
    const id = there.places.before[place];
    ctx.store.set({ q: [{ begin: id, end: id + 1 }], direction: 'out' }, 'push');
    this.texts.reveal(id);
  }

  // ---- display

  figure(): Exported {
    const { ctx, there, pair, ranked } = this;
    if (!there || !pair) throw new Error(this.note.textContent || ctx.t('loading'));
    const chosen = there.chosenPlaces();
    const words = this.texts.words();
    const place = (at: number): string => there.placeName(at);
    const matrices =
      ctx.store.now.show === 'sides'
        ? (['before', 'after'] as const).map((show) => matrixOfPair(ctx, pair, show, { place, chosen, bars: show === 'after' }))
        : [matrixOfPair(ctx, pair, 'difference', { place, chosen, bars: true })];
    const [was, is] = there.namesOfMaps();
    const said =
      words.length > 0
        ? ctx.t('compare.caption', { whom: quoted(ctx, ctx.store.now.q[0]), was, is })
        : ctx.t('compare.map', { was, is }) + '.';
    const says = [said, there.isOneText ? '' : ctx.t('compare.grey'), this.mapNote.textContent].filter(Boolean).join(' ');
    return {
      parts: [...words, ...matrices, ...(ranked ? [tableOfHeads(ctx, ranked)] : [])],
      says,
      badge: pair.badge,
      rules: [was, is],
    };
  }

  numbers(): Numbers {
    const { ctx, there, pair, ranked } = this;
    if (!there || !pair) throw new Error(this.note.textContent || ctx.t('loading'));
    const { json, rows } = numbersOfPair(pair, (at) => there.placeName(at));
    const [was, is] = there.namesOfMaps();
    const heads = ranked && rankedHeads(ranked).map(({ at, value }) => ({ ...at, divergence: value }));
    return { json: { was, is, map: json, heads }, rows };
  }

  private paint(): void {
    const { ctx, there, pair } = this;
    if (!there) return;
    const { t } = ctx;
    const state = ctx.store.now;
    if (this.shown) setChosen(this.shown, state.show);
    this.texts.paint(this.rows);
    const [was, is] = there.namesOfMaps();
    const whom = there.selection().before.length > 0 ? quoted(ctx, state.q[0]) : '';
    const alone = !whom && state.q[0] && state.q[0].end <= ctx.text.count ? quoted(ctx, state.q[0]) : '';
    const said = whom ? t('compare.caption', { whom, was, is }) : alone ? t('compare.only', { what: alone }) : '';
    this.caption.textContent = [said, there.isOneText ? '' : t('compare.hatched')].filter(Boolean).join(' ');
    const sides = state.show === 'sides';
    this.mapTitle.textContent = sides ? t('compare.map.sides', { was, is }) : t('compare.map', { was, is });
    const look = {
      pair,
      scale: state.scale,
      theme: ctx.theme(),
      label: (place: number) => there.placeName(place),
      chosen: there.chosenPlaces(),
    };
    const colours = pair && { most: pair.most, scale: state.scale, isShare: true, signed: !sides };
    showLegend(ctx, this.legend, colours);
    this.one.set({ ...look, show: sides ? 'before' : 'difference', strip: sides ? 'room' : 'bars' });
    this.two.set({ ...look, show: 'after', strip: 'bars' });
    this.two.element.hidden = !sides;
    this.maps.classList.toggle('sides', sides);
    this.one.canvas.setAttribute('aria-label', t(sides ? 'compare.map.one' : 'compare.map.label', { was, is }));
    this.two.canvas.setAttribute('aria-label', t('compare.map.one', { was: is, is }));
    this.showPair(there, [was, is]);
    this.showHeads();
  }

  private showPair(there: There, names: [string, string]): void {
    const { ctx, pair } = this;
    const { t } = ctx;
    if (!pair) return replace(this.tables);
    replace(this.badge, badgeElement(ctx, pair.badge, badgeTitle(ctx, pair.badge, pair.error)));
    const approximate = pair.badge === 'sampled' ? '≈ ' : '';
    const said =
      pair.mean === null
        ? [t('compare.none')]
        : [t('compare.mean', { nats: approximate + nats(pair.mean), rows: whole(pair.lookedAt), of: whole(pair.of) })];
    const most = pair.changed.reduce((a, v) => (Math.abs(v) > a ? Math.abs(v) : a), 0);
    if (ctx.store.now.show === 'difference')
      said.push(most > 0 ? t('compare.most', { most: change(most).replace('+', '±') }) : t('compare.equal'));
    if (pair.cell > 1) said.push(t('compare.pooled', { cell: whole(pair.cell) }));
    said.push(t('compare.js.how'));
    this.mapNote.textContent = said.join(' ');
    this.showZoom(there, pair);
    const open = (name: string): boolean => this.tables.querySelector(`[data-testid=${name}]`)?.closest('details')?.open ?? false;
    const place = (at: number): string => there.placeName(at, true);
    replace(
      this.tables,
      rowsPanel(ctx, pair, { place, open: open('compare-rows'), choose: (at) => this.choosePlace(at) }),
      changesPanel(ctx, pair, { names, place, open: open('compare-changes'), testid: 'compare-changes' }),
    );
  }

  private showZoom(there: There, pair: Pair): void {
    const { ctx } = this;
    const { t, store } = ctx;
    const isPart = there.part().rows !== null;
    const button = (label: string, run: () => void): HTMLElement => h('button', { type: 'button', class: 'quiet', onclick: run }, label);
    const waits = pair.badge === 'sampled' && pair.lookedAt < pair.of;
    replace(
      this.zoom,
      pair.cell > 1 ? button(t('compare.zoom'), () => this.zoomTo(this.aim(there), 4)) : null,
      isPart ? button(t('compare.whole'), () => store.set({ rect: null }, 'push')) : null,
      waits
        ? button(t('compare.exact', { rows: whole(pair.of) }), () => {
            this.askMaps({ ...there.request(), ...there.part() }, true);
          })
        : null,
    );
  }

  /** The place to zoom into: the selected row, else the cell that was read last, else the middle. */
  private aim(there: There): { row: number; key: number } | null {
    const chosen = there.selection().before[0];
    const middle = this.one.middle;
    return chosen ? { row: there.placeOf.before[chosen.begin], key: there.placeOf.before[chosen.begin] } : middle;
  }

  private zoomTo(at: { row: number; key: number } | null, factor: number): void {
    const { ctx, pair } = this;
    if (!at || !pair || pair.cell === 1) return;
    const around = (place: number, { begin, end }: Span): [number, number] => {
      const size = Math.min(end - begin, Math.max(kFinest, Math.ceil((end - begin) / factor)));
      const from = Math.max(begin, Math.min(end - size, Math.round(place - size / 2)));
      return [from, from + size];
    };
    const [q0, q1] = around(at.row, pair.rows);
    const [k0, k1] = around(at.key, pair.columns);
    ctx.store.set({ rect: { q0, q1, k0, k1 } }, 'push');
  }

  private showHeads(): void {
    const { ctx, there } = this;
    if (!there) return;
    const within = there.isWithin;
    const focused = this.heads.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['head'] : undefined;
    const look = {
      within: within ? headName(frontOf(ctx)) : null,
      chosen: within ? there.head : frontOf(ctx),
      all: this.allHeads,
      more: () => {
        this.allHeads = true;
        this.showHeads();
      },
      choose: (at: { layer: number; head: number }) => {
        const family = there.head.family;
        if (within) ctx.store.set({ to: writtenHead({ ...at, family }, frontOf(ctx).family) }, 'push');
        else if (frontOf(ctx).layer !== at.layer || frontOf(ctx).head !== at.head) {
          ctx.store.set({ to: '' }, 'replace');
          pin(ctx, at);
        }
      },
    };
    replace(this.heads, ...headsPanel(ctx, this.ranked, look));
    if (focused) this.heads.querySelector<HTMLElement>(`[data-head="${focused}"]`)?.focus();
  }

  private readCell(found: Change | null): void {
    const { ctx, there, pair } = this;
    if (!found || !there || !pair) {
      this.cellNote.textContent = '';
      return;
    }
    const alone = [found.row, found.key].find((at) => pair.cell === 1 && (there.places.before[at] < 0 || there.places.after[at] < 0));
    const approximate = pair.badge !== 'exact';
    this.cellNote.textContent =
      alone !== undefined
        ? `${there.placeName(alone, true)}   ${ctx.t('compare.alone')}`
        : ctx.t('compare.cell', {
            row: there.placeName(found.row, true),
            key: there.placeName(found.key, true),
            before: share(found.before, approximate),
            after: share(found.after, approximate),
            change: change(zeroed(found.after) - zeroed(found.before)),
            nats: nats(found.divergence),
          });
    const focused = document.activeElement;
    if (focused === this.one.canvas || focused === this.two.canvas) ctx.announce(this.cellNote.textContent);
  }
}
