// What if: knock out heads; cut, keep or replace words; edit the text. Shows the answer before and after, the text and the map of the
// edited run, and the difference. The edits are in the address. One request (api/what-if) creates the edited run; everything else is
// requested from both runs as from any source.

import { legendSlot, showLegend } from '../../ui/legend';
import { scaleOfRows } from '../compare/texts';
import { type Context, type Numbers, type View, unavailableReason, pin, quoted } from '../../context';
import type { Exported } from '../../figure/figure';
import { change, head as headName, share, messageOf } from '../../format';
import { type RowText, rowsOfTokens, tokenBefore, tokensOfRows } from '../../rows';
import { type HeadId, type LineRequest, type Source, type Span, isAbort } from '../../source/source';
import { type State, sameHead } from '../../state';
import type { Box } from '../../text/boxes';
import type { TextModel } from '../../text/model';
import { h, replace, segmented, setChosen } from '../../ui/dom';
import { wordAround } from '../../weights';
import { matrixOfPair } from '../compare/figure';
import { type Change, type Pair, PairMap, type Show, pairOf, hiddenAsZero } from '../compare/pairMap';
import { changesPanel } from '../compare/panels';
import { type LiveBlock, TextPane, frameClass } from '../read/pane';
import { shadedWords } from '../why/figure';
import { type Shading, shaded } from '../why/shading';
import { answersPanel, headsPanel } from './panels';
import { captionOfRows, placeNames } from './rows';
import { type Run, answersOf, answersTable, numbersOfRun, queryRangeOf, originalRun, runEdited, effectSentence } from './run';
import { labelledSums, weightsOf } from './sums';
import { isHiddenBy } from './edits';
import { Toolbar } from './toolbar';

interface Rows {
  before: Float32Array | null; // [id after]: weight of the same token before
  after: Float32Array | null;
}

export class WhatIfView implements View {
  readonly element: HTMLElement;
  private readonly tools: Toolbar;
  private readonly note = h('p', { class: 'caption', role: 'status', 'data-testid': 'if-note' });
  private readonly progress = h('progress', { max: 1, value: 0, hidden: true });
  private readonly textFrame = h('div', { class: 'text-frame' });
  private readonly status = h('p', { class: 'status', 'data-testid': 'if-status' });
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'if-caption' });
  private readonly answers = h('section', { 'data-testid': 'if-answers' });
  private readonly mapTitle = h('h3', {});
  private readonly mapNote = h('p', { class: 'caption' });
  private readonly cellNote = h('p', { class: 'caption cell-note', 'data-testid': 'if-cell' });
  private readonly changes = h('div', {});
  private readonly heads = h('section', { 'data-testid': 'if-heads' });
  private readonly map: PairMap;
  private shown: HTMLFieldSetElement | null = null;
  private show: Show = 'difference';
  private built = false;
  private pane: TextPane | null = null;
  private readonly legend = legendSlot('if-text-legend');
  private readonly mapLegend = legendSlot('if-legend');
  private hovered: number | null = null; // token under the pointer
  private style: ((box: Box) => { className: string; css: string; share: string }) | null = null;
  private run: Run | null = null;
  private rows: Rows = { before: null, after: null };
  private pair: Pair | null = null;
  private requestedEdit: string | null = null;
  private rowKey = ''; // key of the last requested row and map
  private mapKey = '';
  private abort = new AbortController();
  private rowAbort = new AbortController();

  constructor(private readonly ctx: Context) {
    this.element = h('section', { class: 'panel explain-panel what-if-panel', 'aria-label': ctx.t('if.label') });
    this.tools = new Toolbar(ctx);
    this.map = new PairMap(
      {
        read: (found) => this.readCell(found),
        choose: (place) => {
          const id = this.run?.alignment.after[place] ?? -1;
          if (id >= 0) ctx.store.set({ q: [{ begin: id, end: id + 1 }], direction: 'out' }, 'push');
        },
      },
      'if-map',
    );
    ctx.life.signal.addEventListener('abort', () => {
      this.abort.abort();
      this.rowAbort.abort();
    });
  }

  retheme(): void {
    if (this.run) this.paint();
  }

  refetch(): void {
    this.requestedEdit = null;
    this.update(this.ctx.store.now);
  }

  update(state: State): void {
    if (state.view !== 'what-if') return;
    if (!this.built) this.build();
    if (unavailableReason(this.ctx, 'what-if')) return;
    this.startRun(state);
    this.showTools();
    this.loadRowAndMap(state);
  }

  private build(): void {
    const { ctx } = this;
    const { t } = ctx;
    this.built = true;
    const missing = unavailableReason(ctx, 'what-if');
    if (missing) {
      replace(this.element, h('header', { class: 'panel-head' }, h('h2', {}, t('if.label'))), h('p', { class: 'caption' }, missing));
      return;
    }
    this.shown = segmented<Show>(
      t('if.show'),
      (['before', 'after', 'difference'] as const).map((value) => ({ value, label: t(`if.${value}`), title: t(`if.${value}.title`) })),
      this.show,
      (show) => {
        this.show = show;
        this.paint();
      },
    );
    this.progress.setAttribute('aria-label', t('if.progress'));
    replace(
      this.element,
      h('header', { class: 'panel-head' }, h('h2', {}, t('if.label')), this.tools.element, h('span', { class: 'spring' }), this.shown),
      this.tools.list,
      h('div', { class: 'explain-progress' }, this.progress, this.note),
      h(
        'div',
        { class: 'explain-frame' },
        h('div', { class: 'explain-main' }, this.textFrame, this.legend, this.status),
        h(
          'div',
          { class: 'explain-scroll', tabindex: 0, role: 'group', 'aria-label': t('if.answers') },
          h(
            'div',
            { class: 'explain-side' },
            this.answers,
            this.heads,
            h('section', {}, this.mapTitle, this.mapNote, this.map.element, this.mapLegend, this.cellNote, this.changes),
          ),
        ),
      ),
      this.caption,
    );
    this.status.textContent = t('if.how');
  }

  /** The selected tokens, in the shown text: those that the selected rows are named by. */
  private selection(): Span | null {
    const rows = this.selectedRows();
    return rows ? (tokensOfRows(this.rowText, [rows])[0] ?? null) : null;
  }

  private selectedRows(): Span | null {
    const span = this.ctx.store.now.q[0];
    const count = this.run?.text.tokens ?? 0;
    return span && span.end <= count ? span : null;
  }

  private get rowText(): RowText {
    const { ctx, run } = this;
    return run ?? ctx;
  }

  private words(span: Span, text = this.run?.text ?? this.ctx.text): string {
    return span.end <= text.count ? quoted({ text }, span, text) : `#${span.begin}`;
  }

  private showTools(): void {
    const front = this.ctx.store.now.heads[0] ?? { layer: 0, head: 0 };
    this.tools.update({ text: this.rowText.text, selection: this.selection(), front, words: (span) => this.words(span) });
  }

  // ---- the runs

  private startRun(state: State): void {
    const { ctx } = this;
    if (state.edit === this.requestedEdit) return;
    this.requestedEdit = state.edit;
    this.abort.abort();
    const abort = (this.abort = new AbortController());
    const { edits } = this.tools;
    this.note.textContent = '';
    if (edits.length === 0) {
      this.progress.hidden = true;
      this.setRun(originalRun(ctx));
      return;
    }
    this.progress.hidden = false;
    this.progress.value = 0;
    const onProgress = (done: number, what: string): void => {
      this.progress.value = done;
      this.note.textContent = ctx.t.progress(what);
    };
    runEdited(ctx, edits, onProgress, abort.signal).then(
      (run) => {
        if (abort.signal.aborted) return;
        this.progress.hidden = true;
        this.note.textContent = '';
        this.setRun(run);
        if (run.result) ctx.announce(effectSentence(ctx, run, run.result));
      },
      (error: unknown) => {
        if (abort.signal.aborted || isAbort(error)) return;
        this.progress.hidden = true;
        this.setRun(originalRun(ctx));
        this.note.textContent = messageOf(error);
      },
    );
  }

  private setRun(run: Run): void {
    if (!this.run || this.run.text !== run.text) this.openText(run.text);
    this.run = run;
    this.rowKey = '';
    this.pair = null;
    this.rows = { before: null, after: null };
    this.showTools();
    this.showHeads();
    this.loadRowAndMap(this.ctx.store.now);
  }

  private openText(text: TextModel): void {
    const { ctx } = this;
    this.style = null;
    this.hovered = null;
    const pane = new TextPane(
      { ...ctx, text },
      {
        hover: (token) => {
          this.hovered = token;
          this.updateStatus();
        },
        pick: (token, event) => {
          const word = this.wordAt(token);
          const last = this.selection();
          const grows = event.shiftKey && last;
          this.choose(grows ? { begin: Math.min(last.begin, word.begin), end: Math.max(last.end, word.end) } : word);
        },
        select: (span) => this.choose(span),
        scroll: () => undefined,
        hydrated: (block) => this.paintNew(block),
      },
    );
    this.pane = pane;
    pane.element.addEventListener('keydown', (event) => this.onKey(event));
    this.textFrame.className = frameClass(text, 0);
    replace(this.textFrame, pane.element);
    pane.open();
  }

  /** The span selected with a token: its word, and all of a box that it shares with other tokens. */
  private wordAt(token: number): Span {
    const box = this.pane?.boxOf(token)?.box ?? { begin: token, end: token + 1 };
    const word = this.run && token < this.run.text.tokens ? wordAround(this.run.text.data.word, token) : box;
    return { begin: Math.min(box.begin, word.begin), end: Math.max(box.end, word.end) };
  }

  private choose(span: Span): void {
    this.ctx.store.set({ q: [rowsOfTokens(this.rowText, span)], direction: 'out' }, 'push');
  }

  private onKey(event: KeyboardEvent): void {
    const { pane, run } = this;
    const across = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    const down = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (!pane || !run || event.altKey || event.ctrlKey || event.metaKey || (across === 0 && down === 0)) return;
    event.preventDefault();
    event.stopPropagation();
    const span = this.selection() ?? { begin: 0, end: 1 };
    const beside = across > 0 ? span.end : tokenBefore(this.rowText, span.begin);
    const next = down !== 0 ? pane.verticalNeighbour(span.begin, down > 0) : beside;
    if (next === null || next < 0 || next >= run.text.tokens) return;
    const word = this.wordAt(next);
    this.choose(event.shiftKey && across > 0 ? { begin: span.begin, end: word.end } : word);
    pane.reveal(next);
  }

  /** Requests the row and the map of the front head from both runs. */
  private loadRowAndMap(state: State): void {
    const { ctx, run } = this;
    const at = state.heads[0];
    if (!run || !at) return;
    const span = this.selectedRows();
    const map = JSON.stringify([at, ctx.family.id, run.result?.id ?? '', state.edit]);
    const key = JSON.stringify([map, span]);
    if (key === this.rowKey) {
      this.paint();
      return;
    }
    this.rowKey = key;
    replace(this.answers, ...answersPanel(ctx, run.result, answersOf(run, this.selection())));
    this.rows = { before: null, after: null }; // do not show a row under another one's name
    if (this.mapKey !== map) this.pair = null;
    this.mapKey = map;
    this.rowAbort.abort();
    const abort = (this.rowAbort = new AbortController());
    const request = { family: ctx.family.id, at, weight: 'raw', sink: 'mark', step: ctx.source.step } satisfies Partial<LineRequest>;
    const line = async (source: Source, spans: Span[], slot: string): Promise<Float32Array | null> =>
      spans.length ? (await source.line({ ...request, direction: 'out', spans, reduce: 'mean' }, slot)).values : null;
    const [q0, q1] = queryRangeOf(ctx, run);
    const after = span && span.begin < q1 && span.end > q0 ? [{ begin: Math.max(span.begin, q0), end: Math.min(span.end, q1) }] : [];
    const before = after.flatMap((s) => {
      const ids = Array.from({ length: s.end - s.begin }, (_, i) => run.toBefore[s.begin + i]).filter((id) => id >= 0);
      return ids.map((id) => ({ begin: id, end: id + 1 }));
    });
    const fail = (error: unknown): void => {
      if (this.rowKey === key && !isAbort(error)) this.mapNote.textContent = messageOf(error);
    };
    Promise.all([line(ctx.source, before, 'if-before'), line(run.source, after, 'if-after')]).then(([valuesBefore, valuesAfter]) => {
      if (this.rowKey !== key) return;
      const moved = valuesBefore && Float32Array.from(run.toBefore, (b) => (b >= 0 ? valuesBefore[b] : NaN));
      this.rows = { before: moved, after: valuesAfter };
      this.paint();
    }, fail);
    const head = { ...at, family: ctx.family.id };
    const whole = { target: run.target, before: head, after: head, rows: null, columns: null, exact: false };
    const showPair = (pair: Pair): void => {
      if (this.rowKey !== key) return;
      this.pair = pair;
      this.mapNote.textContent = pair.cell > 1 ? ctx.t('if.map.pooled', { cell: pair.cell }) : '';
      this.paint();
    };
    ctx.source.compare(whole, (found) => showPair(pairOf(found)), abort.signal).catch(fail);
  }

  // ---- display

  figure(): Exported {
    const { ctx, run, pane, pair } = this;
    if (!run || !pane || !pair) throw new Error(this.note.textContent || ctx.t('loading'));
    const rows = this.selectedRows();
    const words = shadedWords(ctx, run.text, pane.visibleRange(), this.shading(run));
    const options = { places: placeNames(ctx, this.run), chosen: this.chosenPlaces(run), bars: this.show === 'difference' };
    const whom = rows ? captionOfRows(ctx, this.rowText, rows, this.show) : '';
    const description = [this.tools.description, whom, run.text === ctx.text ? '' : ctx.t('compare.grey')].filter(Boolean).join(' ');
    return {
      parts: [words, matrixOfPair(ctx, pair, this.show, options), ...answersTable(ctx, answersOf(run, this.selection()))],
      description,
      badge: pair.badge,
      rules: [this.mapTitle.textContent ?? ''],
    };
  }

  numbers(): Numbers {
    if (!this.run || !this.pair) throw new Error(this.note.textContent || this.ctx.t('loading'));
    return numbersOfRun(this.run, this.pair, this.ctx.store.now.edit, placeNames(this.ctx, this.run));
  }

  private chosenPlaces(run: Run): number[] {
    const rows = this.selectedRows();
    return rows ? [run.alignment.after.indexOf(rows.begin)] : [];
  }

  private shading(run: Run): Shading {
    const span = this.selection();
    const values = this.rowValues();
    return {
      ...labelledSums(values, this.show === 'difference', (id) => this.isNew(id)),
      max: scaleOfRows(this.rows),
      signed: this.show === 'difference',
      scale: this.ctx.store.now.scale,
      special: (id) => run.text.isSpecial(id),
      hidden: ({ begin, end }) => isHiddenBy(run.edits, run.families, begin) || isHiddenBy(run.edits, run.families, end - 1),
      marks: span ? [span] : [],
      cursor: null,
      theme: this.ctx.theme(),
    };
  }

  private paint(): void {
    const { ctx, run, pane } = this;
    if (!run || !pane) return;
    const { t } = ctx;
    const state = ctx.store.now;
    if (this.shown) setChosen(this.shown, this.show);
    const at = state.heads[0] ?? { layer: 0, head: 0 };
    const rows = this.selectedRows();
    const difference = this.show === 'difference';
    const shading = this.shading(run);
    this.style = (box) => shaded(box, shading);
    showLegend(ctx, this.legend, this.rowValues() ? { ...shading, isShare: true } : null);
    const { scale } = state;
    showLegend(ctx, this.mapLegend, this.pair && { max: this.pair.max, scale, isShare: true, signed: difference });
    pane.paint(this.style);
    pane.spreadShares();
    this.updateStatus();
    const hatched = run.text === ctx.text ? '' : t('compare.hatched');
    this.caption.textContent = rows ? [captionOfRows(ctx, this.rowText, rows, this.show), hatched].filter(Boolean).join(' ') : t('if.how');
    this.mapTitle.textContent = t(difference ? 'if.map' : `if.map.${this.show}`, { head: headName(at) });
    this.map.canvas.setAttribute('aria-label', t('if.map.label', { head: headName(at) }));
    this.map.element.hidden = !this.pair;
    const chosen = this.chosenPlaces(run);
    this.map.set({
      pair: this.pair,
      show: this.show,
      scale: state.scale,
      theme: ctx.theme(),
      names: placeNames(ctx, this.run),
      strip: this.show === 'difference' ? 'bars' : 'room',
      chosen,
    });
    const open = this.changes.querySelector('details')?.open ?? false;
    const names = [t('if.before'), t('if.after')] as const;
    const places = placeNames(ctx, this.run, true);
    replace(this.changes, this.pair && run.result ? changesPanel(ctx, this.pair, { names, places, open, testid: 'if-changes' }) : null);
    this.markHeads();
  }

  private rowValues(): Float32Array | null {
    const { before, after } = this.rows;
    if (this.show === 'before') return before;
    if (this.show === 'after') return after;
    return before && after && before.length === after.length ? after.map((v, i) => v - before[i]) : null;
  }

  /** True if a token exists only in the edited text: it has no weight before the edit and is hatched. */
  private isNew(id: number): boolean {
    return (this.run?.toBefore[id] ?? -1) < 0;
  }

  private paintNew(block: LiveBlock): void {
    if (this.style) this.pane?.paintBlock(block, this.style);
  }

  private updateStatus(): void {
    const { t } = this.ctx;
    const token = this.hovered;
    const { before, after } = this.rows;
    if (token === null) this.status.textContent = t('if.how');
    else {
      const numbers = before && after ? weightsOf(before[token], after[token]) : '';
      this.status.textContent = `#${token} ${this.words({ begin: token, end: token + 1 })}   ${numbers}`;
    }
  }

  private readCell(found: Change | null): void {
    const { ctx } = this;
    if (!found) {
      this.cellNote.textContent = '';
      return;
    }
    const places = placeNames(ctx, this.run, true);
    this.cellNote.textContent = ctx.t('if.cell', {
      row: places.row(found.row),
      key: places.key(found.key),
      before: share(found.before),
      after: share(found.after),
      change: change(hiddenAsZero(found.after) - hiddenAsZero(found.before)),
    });
    if (document.activeElement === this.map.canvas) ctx.announce(this.cellNote.textContent);
  }

  private showHeads(): void {
    const { ctx, run } = this;
    const out = this.tools.edits.flatMap((e) => (e.kind === 'knock-out' && e.family === ctx.family.id ? [headName(e)] : []));
    const choose = (at: HeadId): void => {
      if (!sameHead(ctx.store.now.heads[0], at)) pin(ctx, at);
    };
    replace(this.heads, ...headsPanel(ctx, run?.result ?? null, new Set(out), choose));
    this.markHeads();
  }

  private markHeads(): void {
    const [front] = this.ctx.store.now.heads;
    for (const cell of this.heads.querySelectorAll<HTMLElement>('[data-head]'))
      cell.setAttribute('aria-pressed', String(front !== undefined && cell.dataset['head'] === `${front.layer}.${front.head}`));
  }
}
