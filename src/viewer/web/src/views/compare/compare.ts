// Compare: two heads, two traces, or before and after an edit. The text (both, where they differ) shaded by how the row that is looked at changed, the two maps or their
// difference, how far every row moved, and the heads by how far they differ. What is compared stands in the address.

import { type Context, type View, absent, badgeTitle, pin, quoted } from '../../context';
import { change, head as headName, share, shortShare, whole } from '../../format';
import {
  type CompareRequest,
  type Info,
  type Places,
  type RankedHeads,
  type Source,
  type Span,
  type Versus,
  isAbort,
} from '../../source/source';
import type { CompareShow, State } from '../../state';
import type { Box } from '../../text/boxes';
import { TextModel } from '../../text/model';
import type { Exported } from '../../figure/figure';
import { badgeElement } from '../../ui/badge';
import { h, replace, segmented, setChosen } from '../../ui/dom';
import { wordAround } from '../../weights';
import { type LiveBlock, TextPane } from '../read/pane';
import { parseEdits, requestOf } from '../what-if/edits';
import { shadedWords } from '../why/figure';
import { type Shading, largestOf, shaded } from '../why/shading';
import { type Choice, type NamedHead, choiceOf, familiesFor, noEdit, otherHead, othersOf, writtenChoice, writtenHead } from './choice';
import { matrixOfPair, tableOfHeads } from './figure';
import { type Change, type Pair, PairMap, pairOf, zeroed } from './pair-map';
import { changesPanel, headsPanel, nats, rowsPanel } from './panels';

const kFinest = 256; // places that a map has room for one by one

/** What the trace in front is compared with. */
interface There {
  choice: Choice;
  versus: Versus;
  source: Source;
  info: Info;
  text: TextModel;
  places: Places;
  placeOf: { before: Int32Array; after: Int32Array }; // [id] its place
}

interface Half {
  pane: TextPane;
  text: TextModel;
  isAfter: boolean;
  style: ((box: Box) => { className: string; css: string; share: string }) | null;
}

export class CompareView implements View {
  readonly element: HTMLElement;
  private readonly note = h('p', { class: 'caption', role: 'status', 'data-testid': 'compare-note' });
  private readonly progress = h('progress', { max: 1, value: 0, hidden: true });
  private readonly texts = h('div', { class: 'compare-texts' });
  private readonly status = h('p', { class: 'status', 'data-testid': 'compare-status' });
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'compare-caption' });
  private readonly controls = h('div', { class: 'explain-controls', role: 'group' });
  private readonly mapTitle = h('h3', {});
  private readonly badge = h('span', { class: 'badge-place', 'data-testid': 'compare-badge' });
  private readonly mapNote = h('p', { class: 'caption', 'data-testid': 'compare-map-note' });
  private readonly maps = h('div', { class: 'compare-maps' });
  private readonly zoom = h('div', { class: 'explain-controls' });
  private readonly cellNote = h('p', { class: 'caption', role: 'status', 'data-testid': 'compare-cell' });
  private readonly tables = h('div', { class: 'explain-side-part' });
  private readonly heads = h('section', { 'data-testid': 'compare-heads-panel' });
  private readonly one: PairMap;
  private readonly two: PairMap;
  private shown: HTMLFieldSetElement | null = null;
  private built = false;
  private there: There | null = null;
  private halves: Half[] = [];
  private pair: Pair | null = null;
  private ranked: RankedHeads | null = null;
  private rows: { before: Float32Array | null; after: Float32Array | null } = { before: null, after: null };
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
    if (this.there) this.look(state);
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
        h('div', { class: 'explain-main' }, this.texts, this.status),
        h(
          'div',
          { class: 'explain-scroll', tabindex: 0, role: 'group', 'aria-label': t('compare.maps') },
          h('div', { class: 'explain-side' }, map, this.heads, this.tables),
        ),
      ),
      this.caption,
    );
    this.status.textContent = t('compare.how');
  }

  // ---- what is compared

  private get front(): NamedHead {
    const at = this.ctx.store.now.heads[0] ?? { layer: 0, head: 0 };
    return { ...at, family: this.ctx.family.id };
  }

  private families(there: There): Info['families'] {
    return familiesFor(this.ctx.family, there.info, there.choice.kind === 'head');
  }

  private otherHead(there: There): NamedHead {
    return otherHead(this.ctx.store.now, this.front, this.families(there), there.choice.kind === 'head');
  }

  /** Starts a question of a kind, in place of the last one. */
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
    const open = async (): Promise<There> => {
      const versus: Versus = { step: choice.kind === 'trace' ? choice.step : null, edited: null };
      if (choice.kind === 'edit') {
        this.progress.hidden = false;
        const tell = (done: number, what: string): void => {
          this.progress.value = done;
          this.note.textContent = ctx.t.progress(what);
        };
        versus.edited = (await ctx.source.whatIf(requestOf(parseEdits(state.edit)), tell, abort.signal)).id;
      }
      const source = choice.kind === 'head' ? ctx.source : ctx.source.beside(versus);
      const info = choice.kind === 'head' ? ctx.info : await source.info();
      const gone = info.missing.find((one) => one.feature === 'compare');
      if (gone) throw new Error([ctx.t.missing(gone.code), gone.detail].filter(Boolean).join(' '));
      const places = await ctx.source.places(versus);
      const text =
        places.by === 'same' ? ctx.text : new TextModel(...(await Promise.all([source.text(0), source.segments(0)])), info.special);
      return { choice, versus, source, info, text, places, placeOf: placeOfIds(places, ctx.text.count, text.count) };
    };
    open().then(
      (there) => {
        if (this.asked.there !== key) return;
        this.there = there;
        this.progress.hidden = true;
        const { by, whole: all } = there.places;
        this.note.textContent = [ctx.t(`compare.by.${by}`), all ? '' : ctx.t('compare.by.ends')].filter(Boolean).join(' ');
        this.openTexts(there);
        this.look(ctx.store.now);
      },
      this.fail('there', key, this.note),
    );
  }

  private showControls(choice: Choice): void {
    const { ctx, there } = this;
    const { t, store } = ctx;
    const others = othersOf(ctx);
    const edit = noEdit(ctx);
    const option = (value: string, label: string, reason: string | null = null): HTMLElement =>
      h('option', { value, selected: value === writtenChoice(choice), disabled: reason !== null, title: reason ?? '' }, label);
    const what = h(
      'select',
      {
        'aria-label': t('compare.with'),
        'data-testid': 'compare-with',
        onchange: () => store.set({ versus: what.value, to: '', rect: null }, 'push'),
      },
      option('head', t('compare.with.head')),
      ...others.map((one) => option(`t${one.step}`, shortened(one.name))),
      option('edit', t('compare.with.edit'), edit),
    );
    const parts: (HTMLElement | null)[] = [
      h('span', { class: 'explain-field' }, headName(this.front)),
      h('label', { class: 'explain-field' }, h('span', {}, t('compare.and')), what),
    ];
    if (there) {
      const at = this.otherHead(there);
      const families = this.families(there);
      const heads = families.flatMap((family) =>
        Array.from({ length: family.layers * family.heads }, (_, i) => {
          const one = { family: family.id, layer: Math.floor(i / family.heads), head: i % family.heads };
          const name = `${families.length > 1 ? `${family.id} ` : ''}${headName(one)}`;
          const isChosen = one.family === at.family && one.layer === at.layer && one.head === at.head;
          return h('option', { value: writtenHead(one, this.front.family), selected: isChosen }, name);
        }),
      );
      const to = h(
        'select',
        { 'aria-label': t('compare.to'), 'data-testid': 'compare-to', onchange: () => store.set({ to: to.value }, 'push') },
        ...heads,
      );
      parts.push(h('label', { class: 'explain-field' }, h('span', {}, t('compare.to')), to));
    }
    const focused = this.controls.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['testid'] : null;
    replace(this.controls, ...parts);
    if (focused) this.controls.querySelector<HTMLElement>(`[data-testid=${focused}]`)?.focus();
  }

  private request(there: There): CompareRequest {
    return { versus: there.versus, before: this.front, after: this.otherHead(there), rows: null, columns: null, exact: false };
  }

  private look(state: State): void {
    const { there } = this;
    if (!there) return;
    this.showControls(there.choice);
    const request = this.request(there);
    this.askMaps({ ...request, ...this.part(state, there) });
    this.askHeads(there, request);
    this.askRow(there, request);
    this.paint();
  }

  /** The rectangle in the address, in places. */
  private part(state: State, there: There): { rows: Span | null; columns: Span | null } {
    const { rect } = state;
    const count = there.places.before.length;
    const clip = (from: number, to: number): Span => ({
      begin: Math.min(count - 1, Math.floor(from)),
      end: Math.max(1, Math.min(count, Math.ceil(to))),
    });
    const spans = rect ? { rows: clip(rect.q0, rect.q1), columns: clip(rect.k0, rect.k1) } : null;
    return spans && spans.rows.begin < spans.rows.end && spans.columns.begin < spans.columns.end ? spans : { rows: null, columns: null };
  }

  private askMaps(request: CompareRequest, exact = false): void {
    const { ctx } = this;
    const key = JSON.stringify([request, exact, this.asked.there]);
    if (!exact && this.asked.maps === JSON.stringify([request, true, this.asked.there])) return;
    const abort = this.begin('maps', key);
    if (!abort) return;
    this.mapNote.textContent = this.pair ? '' : ctx.t('loading');
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
    // In another trace every head is held against its like: which of them is looked at changes nothing.
    const about = there.choice.kind === 'head' ? request : { ...request, before: request.before.family, after: request.after.family };
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

  /** The row that is looked at, in both maps. */
  private askRow(there: There, request: CompareRequest): void {
    const { ctx } = this;
    const spans = this.selection(there);
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
      this.fail('row', key, this.status),
    );
  }

  /** The chosen ids that both texts have, one by one, in either. */
  private selection({ places, placeOf }: There): { before: Span[]; after: Span[] } {
    const { ctx } = this;
    const out: { before: Span[]; after: Span[] } = { before: [], after: [] };
    const [q0, q1] = ctx.family.query_range;
    for (const span of ctx.store.now.q) {
      for (let id = Math.max(span.begin, q0); id < Math.min(span.end, q1); id++) {
        const other = places.after[placeOf.before[id]];
        if (other === undefined || other < 0) continue;
        out.before.push({ begin: id, end: id + 1 });
        out.after.push({ begin: other, end: other + 1 });
      }
    }
    return out;
  }

  // ---- the texts

  private openTexts(there: There): void {
    const { ctx } = this;
    const half = (text: TextModel, isAfter: boolean): Half => {
      const pane: TextPane = new TextPane(
        { ...ctx, text },
        {
          hover: (token) => this.say(made, token),
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
    };
    const isOne = there.text === ctx.text;
    this.halves = isOne ? [half(ctx.text, false)] : [half(ctx.text, false), half(there.text, true)];
    replace(
      this.texts,
      ...this.halves.map(({ pane, isAfter }) => {
        const name = isAfter ? this.names()[1] : this.names()[0];
        if (!isOne) pane.element.setAttribute('aria-label', name);
        return h('div', { class: 'text-frame' }, isOne ? null : h('h3', { class: 'compare-name' }, name), pane.element);
      }),
    );
    for (const { pane } of this.halves) pane.open();
    const first = ctx.store.now.q[0];
    if (first) requestAnimationFrame(() => this.halves[0]?.pane.reveal(first.begin));
  }

  /** What the two are called: heads, or traces. */
  private names(): [string, string] {
    const { ctx, there } = this;
    const { t } = ctx;
    if (!there || there.choice.kind === 'head') return [headName(this.front), there ? headName(this.otherHead(there)) : '–'];
    if (there.choice.kind === 'edit') return [t('if.before'), t('if.after')];
    const { step } = there.choice;
    const other = othersOf(ctx).find((one) => one.step === step);
    const own = ctx.info.checkpoints.length > 0 ? t('compare.step', { step: ctx.info.step ?? 0 }) : ctx.info.name;
    const name = ctx.info.checkpoints.length > 0 ? (other?.name ?? '') : there.info.name;
    return name === own ? [t('compare.first'), t('compare.second')] : [own, name];
  }

  private wordOf({ pane, text }: Half, token: number): Span {
    const box = pane.boxOf(token)?.box ?? { begin: token, end: token + 1 };
    const word = token < text.tokens ? wordAround(text.data.word, token) : box;
    return { begin: Math.min(box.begin, word.begin), end: Math.max(box.end, word.end) };
  }

  private pick(half: Half, token: number, grows: boolean): void {
    const word = this.wordOf(half, token);
    const last = this.ctx.store.now.q[0];
    this.choose(
      half,
      grows && last && !half.isAfter ? { begin: Math.min(last.begin, word.begin), end: Math.max(last.end, word.end) } : word,
    );
  }

  /** Chooses a row by ids of either text; the address has those of the first. */
  private choose(half: Half, span: Span): void {
    const { ctx, there } = this;
    if (!there) return;
    if (!half.isAfter) return ctx.store.set({ q: [span], direction: 'out' }, 'push');
    const ids = [];
    for (let id = span.begin; id < span.end; id++) ids.push(there.places.before[there.placeOf.after[id]]);
    const found = ids.filter((id) => id >= 0);
    if (found.length === 0) return ctx.notify(ctx.t('compare.only', { what: quoted({ text: half.text }, span, half.text) }));
    ctx.store.set({ q: [{ begin: found[0], end: found[found.length - 1] + 1 }], direction: 'out' }, 'push');
  }

  private choosePlace(place: number): void {
    const { ctx, there } = this;
    const id = there?.places.before[place] ?? -1;
    if (id < 0 || (there?.places.after[place] ?? -1) < 0) return ctx.notify(ctx.t('compare.only', { what: this.placeName(place) }));
    ctx.store.set({ q: [{ begin: id, end: id + 1 }], direction: 'out' }, 'push');
    this.halves[0]?.pane.reveal(id);
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

  // ---- what is seen

  /** The change of the row that is looked at, by ids of a half; NaN where there is none, null where a text has the id alone. */
  private changes(half: Half): { value(id: number): number | null; most: number; largest: Set<number> } {
    const { there, rows } = this;
    const values = new Float32Array(half.text.count).fill(NaN);
    if (there && rows.before && rows.after) {
      const placeOf = half.isAfter ? there.placeOf.after : there.placeOf.before;
      for (let id = 0; id < values.length; id++) {
        const [b, a] = [there.places.before[placeOf[id]], there.places.after[placeOf[id]]];
        if (b >= 0 && a >= 0) values[id] = zeroed(rows.after[a] ?? NaN) - zeroed(rows.before[b] ?? NaN);
      }
    }
    const isAlone = (id: number): boolean => {
      if (!there || there.text === this.ctx.text) return false;
      return half.isAfter ? there.places.before[there.placeOf.after[id]] < 0 : there.places.after[there.placeOf.before[id]] < 0;
    };
    return {
      value: (id) => (isAlone(id) ? null : values[id]),
      most: values.reduce((a, v) => Math.max(a, Number.isFinite(v) ? Math.abs(v) : 0), 0),
      largest: new Set(largestOf(values, 5)),
    };
  }

  private paintText(half: Half): void {
    const shading = this.shading(half);
    half.style = (box) => shaded(box, shading);
    half.pane.paint(half.style);
    half.pane.spreadShares();
  }

  figure(): Exported {
    const { ctx, there, pair, ranked } = this;
    if (!there || !pair) throw new Error(this.note.textContent || ctx.t('loading'));
    const chosen = this.chosenPlaces(there);
    const names = this.names();
    const row = this.rows.before ? this.halves : [];
    const words = row.map((half) =>
      shadedWords(half.text, half.pane.visibleRange(), this.shading(half), there.text === ctx.text ? '' : names[half.isAfter ? 1 : 0]),
    );
    const place = (at: number): string => this.placeName(at);
    const matrices =
      ctx.store.now.show === 'sides'
        ? (['before', 'after'] as const).map((show) => matrixOfPair(ctx, pair, show, { place, chosen, bars: show === 'after' }))
        : [matrixOfPair(ctx, pair, 'difference', { place, chosen, bars: true })];
    const says = [this.caption.textContent, this.mapNote.textContent].filter(Boolean).join(' ');
    return {
      parts: [...words, ...matrices, ...(ranked ? [tableOfHeads(ctx, ranked)] : [])],
      says,
      badge: pair.badge,
      rules: this.namesOfMaps(),
    };
  }

  private chosenPlaces(there: There): number[] {
    return this.selection(there).before.map(({ begin }) => there.placeOf.before[begin]);
  }

  private shading(half: Half): Shading {
    const { ctx, there } = this;
    const state = ctx.store.now;
    const { value, most, largest } = this.changes(half);
    const ids = (box: Box): number[] => Array.from({ length: box.end - box.begin }, (_, i) => box.begin + i);
    const sum = (box: Box): number | null => {
      const values = ids(box).map(value);
      return values.every((v) => v === null) ? null : values.reduce<number>((a, v) => a + (v ?? 0), 0);
    };
    const marks = half.isAfter && there ? this.selection(there).after : state.q;
    return {
      value: sum,
      label: (box) => {
        const found = ids(box).some((id) => largest.has(id)) ? sum(box) : null;
        return found ? `${found < 0 ? '−' : '+'}${shortShare(Math.abs(found))}` : '';
      },
      most,
      signed: true,
      scale: state.scale,
      special: (id) => half.text.isSpecial(id),
      marks,
      cursor: null,
      theme: ctx.theme(),
    };
  }

  private paint(): void {
    const { ctx, there, pair } = this;
    if (!there) return;
    const { t } = ctx;
    const state = ctx.store.now;
    if (this.shown) setChosen(this.shown, state.show);
    for (const half of this.halves) this.paintText(half);
    const [was, is] = this.namesOfMaps();
    const whom = this.selection(there).before.length > 0 ? quoted(ctx, state.q[0]) : '';
    const alone = !whom && state.q[0] && state.q[0].end <= ctx.text.count ? quoted(ctx, state.q[0]) : '';
    this.caption.textContent = whom ? t('compare.caption', { whom, was, is }) : alone ? t('compare.only', { what: alone }) : '';
    const sides = state.show === 'sides';
    this.mapTitle.textContent = sides ? t('compare.map.sides', { was, is }) : t('compare.map', { was, is });
    const look = {
      pair,
      scale: state.scale,
      theme: ctx.theme(),
      label: (place: number) => this.placeName(place),
      chosen: this.chosenPlaces(there),
    };
    this.one.set({ ...look, show: sides ? 'before' : 'difference', strip: sides ? 'room' : 'bars' });
    this.two.set({ ...look, show: 'after', strip: 'bars' });
    this.two.element.hidden = !sides;
    this.maps.classList.toggle('sides', sides);
    this.one.canvas.setAttribute('aria-label', t(sides ? 'compare.map.one' : 'compare.map.label', { was, is }));
    this.two.canvas.setAttribute('aria-label', t('compare.map.one', { was: is, is }));
    this.showPair(there, [was, is]);
    this.showHeads();
  }

  /** The maps with their heads, where they are those of two traces. */
  private namesOfMaps(): [string, string] {
    const { there } = this;
    const [was, is] = this.names();
    if (!there || there.choice.kind === 'head') return [was, is];
    return [`${was} ${headName(this.front)}`, `${is} ${headName(this.otherHead(there))}`];
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
    const place = (at: number): string => this.placeName(at, true);
    replace(
      this.tables,
      rowsPanel(ctx, pair, { place, open: open('compare-rows'), choose: (at) => this.choosePlace(at) }),
      changesPanel(ctx, pair, { names, place, open: open('compare-changes'), testid: 'compare-changes' }),
    );
  }

  private showZoom(there: There, pair: Pair): void {
    const { ctx } = this;
    const { t, store } = ctx;
    const isPart = this.part(store.now, there).rows !== null;
    const button = (label: string, run: () => void): HTMLElement => h('button', { type: 'button', class: 'quiet', onclick: run }, label);
    const waits = pair.badge === 'sampled' && pair.lookedAt < pair.of;
    replace(
      this.zoom,
      pair.cell > 1 ? button(t('compare.zoom'), () => this.zoomTo(this.aim(there), 4)) : null,
      isPart ? button(t('compare.whole'), () => store.set({ rect: null }, 'push')) : null,
      waits
        ? button(t('compare.exact', { rows: whole(pair.of) }), () => {
            this.askMaps({ ...this.request(there), ...this.part(store.now, there) }, true);
          })
        : null,
    );
  }

  /** The row that is looked at, and the key its map was read at. */
  private aim(there: There): { row: number; key: number } | null {
    const chosen = this.selection(there).before[0];
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
    const within = there.choice.kind === 'head';
    const focused = this.heads.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['head'] : undefined;
    const look = {
      within: within ? headName(this.front) : null,
      chosen: within ? this.otherHead(there) : this.front,
      all: this.allHeads,
      more: () => {
        this.allHeads = true;
        this.showHeads();
      },
      choose: (at: { layer: number; head: number }) => {
        const family = this.otherHead(there).family;
        if (within) ctx.store.set({ to: writtenHead({ ...at, family }, this.front.family) }, 'push');
        else if (this.front.layer !== at.layer || this.front.head !== at.head) {
          ctx.store.set({ to: '' }, 'replace');
          pin(ctx, at);
        }
      },
    };
    replace(this.heads, ...headsPanel(ctx, this.ranked, look));
    if (focused) this.heads.querySelector<HTMLElement>(`[data-head="${focused}"]`)?.focus();
  }

  private placeName(place: number, numbered = false): string {
    const { ctx, there } = this;
    if (!there) return '';
    const [b, a] = [there.places.before[place] ?? -1, there.places.after[place] ?? -1];
    const [id, text] = b >= 0 ? [b, ctx.text] : [a, there.text];
    if (id < 0) return '';
    const name = quoted({ text }, { begin: id, end: id + 1 }, text);
    return numbered ? `#${whole(id)} ${name}` : name;
  }

  private say(half: Half, token: number | null): void {
    const { ctx, there, rows } = this;
    if (token === null || !there) {
      this.status.textContent = ctx.t('compare.how');
      return;
    }
    const place = (half.isAfter ? there.placeOf.after : there.placeOf.before)[token];
    const [b, a] = [there.places.before[place], there.places.after[place]];
    const name = `#${whole(token)} ${quoted({ text: half.text }, { begin: token, end: token + 1 }, half.text)}`;
    if (b < 0 || a < 0) this.status.textContent = `${name}   ${ctx.t('compare.alone')}`;
    else if (!rows.before || !rows.after) this.status.textContent = name;
    else {
      const [was, is] = [rows.before[b] ?? NaN, rows.after[a] ?? NaN];
      this.status.textContent = `${name}   ${share(was)} → ${share(is)}   ${change(zeroed(is) - zeroed(was))}`;
    }
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
        ? `${this.placeName(alone, true)}   ${ctx.t('compare.alone')}`
        : ctx.t('compare.cell', {
            row: this.placeName(found.row, true),
            key: this.placeName(found.key, true),
            before: share(found.before, approximate),
            after: share(found.after, approximate),
            change: change(zeroed(found.after) - zeroed(found.before)),
            nats: nats(found.divergence),
          });
    const focused = document.activeElement;
    if (focused === this.one.canvas || focused === this.two.canvas) ctx.announce(this.cellNote.textContent);
  }
}

const shortened = (name: string): string => (name.length > 48 ? `${name.slice(0, 47)}…` : name);

function placeOfIds(places: Places, before: number, after: number): There['placeOf'] {
  const out = { before: new Int32Array(before).fill(-1), after: new Int32Array(after).fill(-1) };
  for (const side of ['before', 'after'] as const)
    places[side].forEach((id, place) => {
      if (id >= 0) out[side][id] = place;
    });
  return out;
}
