// Explains an answer: the text shaded by one method, several methods side by side, their agreement, the faithfulness of each, and the
// removal with the largest effect. All of it comes from one request (api/why); which method shades the text is decided by the page alone.

import { type Context, type Numbers, type View, unavailableReason, quoted } from '../../context';
import { share, shortShare, whole, messageOf } from '../../format';
import type { WhyCost, WhyRequest, WhyResult } from '../../source/explain';
import { isAbort, isOnPicture } from '../../source/source';
import type { State } from '../../state';
import type { Box } from '../../text/boxes';
import { legendSlot, showLegend } from '../../ui/legend';
import { h, replace, setChosen } from '../../ui/dom';
import type { BoxStyle } from '../read/painter';
import { type LiveBlock, TextPane, frameClass } from '../read/pane';
import type { Exported } from '../../figure/figure';
import { figureOfWhy, shadedWords } from './figure';
import { ShareOverlay } from './shareOverlay';
import { type Shading, answerMarks, largestOf, shaded } from './shading';
import { chosenMethods, computedMethods } from './methods';
import { cutCard } from './cut';
import { targetAsked, targetOf, tokenAsked } from './asked';
import { isByParts, partNumbers, unitsControl } from './parts';
import { type SupportedMethod, agreementTable, answerOf, mapsHint, printAnswer, supportedMethods, sharesTable, trustTable } from './tables';

const kAutoRunSeconds = 20; // seconds that are spent without asking the user
const kMaxListedLabels = 60; // most classes shown as a list

export class WhyView implements View {
  readonly element: HTMLElement;
  private readonly answer = h('p', { class: 'explain-answer', 'data-testid': 'why-answer' });
  private readonly tables = h('div', { class: 'explain-side' });
  private readonly note = h('p', { class: 'caption', role: 'status', 'data-testid': 'why-note' });
  private readonly progress = h('progress', { max: 1, value: 0, hidden: true });
  private readonly startButton = h('button', { type: 'button', class: 'quiet', hidden: true });
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'why-caption' });
  private readonly legend = legendSlot('why-legend');
  private statusToken: number | null = null; // the token that the status line describes
  private readonly status = h('p', { class: 'status', 'data-testid': 'why-status' });
  private readonly boxes = new Map<string, HTMLInputElement>();
  private targetInput: HTMLInputElement | HTMLSelectElement | null = null;
  private contrastInput: HTMLInputElement | null = null;
  private units: HTMLFieldSetElement | null = null; // words or parts; null: the text has no parts
  private pane: TextPane | null = null; // built when the view is first shown
  private overlays: ShareOverlay[] = [];
  private style: ((box: Box) => { className: string; css: string; share: string }) | null = null;
  private requested = '';
  private abort = new AbortController();
  private result: WhyResult | null = null;
  private explained: number | null = null; // the token that the result explains, if it is one
  private itemOf = new Int32Array(0); // [id] → item; −1: none
  private cursor: number | null = null; // id under the keyboard cursor
  private allRows = false;

  constructor(private readonly ctx: Context) {
    this.element = h('section', { class: 'panel explain-panel why-panel', 'aria-label': ctx.t('why.label') });
    ctx.life.signal.addEventListener('abort', () => this.abort.abort());
  }

  retheme(): void {
    if (this.result) this.show();
  }

  refetch(): void {
    this.requested = '';
    this.update(this.ctx.store.now);
  }

  update(state: State): void {
    if (state.view !== 'why') return;
    if (!this.pane) this.build();
    if (!this.pane) return;
    const byParts = isByParts(this.ctx, state);
    if (this.units) setChosen(this.units, byParts ? 'segment' : 'word');
    for (const [name, box] of this.boxes) {
      box.checked = computedMethods(this.ctx, state).includes(name);
      box.disabled = byParts && name === 'occlusion'; // it is the effect of removal
    }
    if (this.targetInput && document.activeElement !== this.targetInput) this.targetInput.value = targetAsked(this.ctx, state);
    if (this.contrastInput && document.activeElement !== this.contrastInput) this.contrastInput.value = state.contrast;
    this.load(state, kAutoRunSeconds);
    this.show();
  }

  private build(): void {
    const { ctx } = this;
    const { t } = ctx;
    const missing = unavailableReason(ctx, 'why') ?? (ctx.info.answers ? null : t('why.none'));
    if (missing) {
      replace(this.element, h('header', { class: 'panel-head' }, h('h2', {}, t('why.label'))), h('p', { class: 'caption' }, missing));
      return;
    }
    this.pane = new TextPane(ctx, {
      hover: (token) => this.updateStatus(token),
      pick: (token) => this.pick(token),
      select: () => undefined,
      scroll: () => undefined,
      hydrated: (block) => this.paintNew(block),
    });
    this.pane.element.addEventListener('keydown', (event) => this.onKey(event));
    const drawn = ctx.text.data.items.filter(isOnPicture);
    this.overlays = drawn.map((items) => new ShareOverlay(ctx, items, (id) => this.updateStatus(id)));
    replace(
      this.element,
      h('header', { class: 'panel-head' }, h('h2', {}, t('why.label')), this.controls()),
      h(
        'div',
        { class: 'explain-frame' },
        h(
          'div',
          { class: 'explain-main' },
          this.answer,
          h('div', { class: 'explain-progress' }, this.progress, this.note, this.startButton),
          ...this.overlays.map((over) => over.element),
          h('div', { class: frameClass(ctx.text, drawn.length), hidden: ctx.text.text === '' }, this.pane.element),
          this.legend,
          this.status,
        ),
        h('div', { class: 'explain-scroll', tabindex: 0, role: 'group', 'aria-label': t('why.table') }, this.tables),
      ),
      this.caption,
    );
    this.progress.setAttribute('aria-label', t('why.label'));
    this.updateStatus(null);
    this.style = this.plain;
    this.pane.open();
  }

  private controls(): HTMLElement {
    const { ctx } = this;
    const { t, store } = ctx;
    const { kind, labels } = ctx.info.answers ?? { kind: 'next', labels: [] };
    const set = (): void => {
      const target = targetOf(ctx, store.now, this.targetInput?.value.trim() ?? '');
      store.set({ target, contrast: this.contrastInput?.value.trim() ?? '' }, 'push');
    };
    const isLabel = kind === 'class' || kind === 'number';
    const targetName = kind === 'number' ? 'why.output' : isLabel || kind === 'tag' ? 'why.class' : 'why.word';
    if (isLabel && labels.length <= kMaxListedLabels) {
      this.targetInput = h(
        'select',
        { 'aria-label': t(targetName), 'data-testid': 'why-of', onchange: set },
        h('option', { value: '' }, t('why.model')),
        ...labels.map((label) => h('option', { value: label }, label)),
      );
    } else if (kind !== 'written') {
      this.targetInput = h('input', {
        type: 'text',
        'aria-label': t(targetName),
        'data-testid': 'why-of',
        placeholder: t('why.model'),
      });
    }
    if (kind !== 'number') this.contrastInput = h('input', { type: 'text', 'aria-label': t('why.against'), 'data-testid': 'why-against' });
    const methods = ctx.info.methods.map((method) => {
      const { name } = method;
      const box = h('input', {
        type: 'checkbox',
        'data-method': name,
        onchange: () => {
          const chosen = chosenMethods(ctx, store.now);
          const by = box.checked ? [...chosen, name] : chosen.filter((m) => m !== name);
          if (by.length) store.set({ methods: by }, 'push');
          else box.checked = true; // at least one method stays selected
        },
      });
      this.boxes.set(name, box);
      return h('label', { class: 'check', title: t.description(method) }, box, h('span', {}, t.method(name)));
    });
    const label = (text: string, input: HTMLElement | null): HTMLElement | null =>
      input ? h('label', { class: 'explain-field' }, h('span', {}, text), input) : null;
    this.units = unitsControl(ctx);
    const form = h(
      'form',
      { class: 'explain-controls' },
      label(t(targetName), this.targetInput),
      label(t('why.against'), this.contrastInput),
      h('button', { type: 'submit', class: 'quiet' }, t('why.go')),
      kind === 'next'
        ? h('button', { type: 'button', class: 'quiet', onclick: () => store.set({ target: '', contrast: '' }, 'push') }, t('why.whole'))
        : null,
      this.units,
      h('fieldset', { class: 'explain-methods' }, h('legend', {}, t('why.methods')), ...methods),
    );
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      set();
    });
    return form;
  }

  private load(state: State, atMost: number): void {
    const { ctx } = this;
    const { t } = ctx;
    const request: WhyRequest = {
      target: targetAsked(ctx, state),
      contrast: state.contrast,
      token: tokenAsked(ctx, state),
      methods: ctx.info.methods.map((m) => m.name).filter((name) => computedMethods(ctx, state).includes(name)), // in a fixed order
      units: isByParts(ctx, state) ? 'segment' : 'auto',
      at_most: atMost,
    };
    const key = JSON.stringify({ ...request, at_most: 0, id: ctx.info.id });
    if (key === this.requested && atMost > 0) return;
    this.requested = key;
    this.abort.abort();
    const abort = (this.abort = new AbortController());
    let cost: WhyCost | null = null;
    const saidCost = (which: string): string =>
      cost
        ? t(which, {
            runs: whole(cost.runs),
            tokens: whole(cost.tokens),
            seconds: cost.seconds < 9.5 ? cost.seconds.toFixed(1) : whole(Math.round(cost.seconds)),
          })
        : '';
    this.busy(t('loading'), () => abort.abort());
    ctx.source
      .why(
        request,
        (found) => {
          cost = found;
          this.note.textContent = saidCost('why.cost');
        },
        (done, what) => {
          this.progress.value = done;
          this.note.textContent = `${saidCost('why.cost')} ${t.method(t.progress(what))}`;
        },
        abort.signal,
      )
      .then(
        (result) => {
          if (this.requested !== key) return;
          if (result.methods !== null) return this.setResult(result, request.token);
          this.clear();
          this.offerStart(saidCost('why.cost.ask'), () => this.load(ctx.store.now, 0));
        },
        (error: unknown) => {
          if (this.requested !== key || ctx.life.signal.aborted) return;
          this.clear(); // the last result explains another answer
          this.offerStart(isAbort(error) ? t('why.stopped') : messageOf(error), () => this.load(ctx.store.now, 0));
        },
      );
  }

  private busy(text: string, stop: () => void): void {
    this.progress.hidden = false;
    this.progress.value = 0;
    this.note.textContent = text;
    this.startButton.hidden = false;
    this.startButton.textContent = this.ctx.t('why.stop');
    this.startButton.onclick = stop;
  }

  /** Shows a text and a button that starts the explanation; nothing is running. */
  private offerStart(text: string, begin: () => void): void {
    this.progress.hidden = true;
    this.note.textContent = text;
    this.startButton.hidden = false;
    this.startButton.textContent = this.ctx.t('why.anyway');
    this.startButton.onclick = begin;
  }

  /** The style of a text without shares. */
  private readonly plain = (box: Box): BoxStyle => ({
    className: this.ctx.text.isSpecial(box.begin) ? 'box chip' : 'box',
    css: '',
    share: '',
  });

  private clear(): void {
    this.result = null;
    this.answer.textContent = this.caption.textContent = '';
    replace(this.tables);
    replace(this.legend);
    for (const over of this.overlays) over.show(null);
    this.itemOf.fill(-1);
    this.style = this.plain;
    this.pane?.paint(this.plain);
  }

  private setResult(result: WhyResult, token: number | null): void {
    const { ctx } = this;
    const { t } = ctx;
    this.progress.hidden = true;
    this.startButton.hidden = true;
    this.result = result;
    this.explained = token;
    this.allRows = false;
    this.itemOf = new Int32Array(ctx.text.count).fill(-1);
    result.items.forEach(([begin, end], item) => this.itemOf.fill(item, begin, end));
    const refused = (result.methods ?? []).flatMap((m) =>
      m.refused ? [t('why.refused', { method: t.method(m.name), why: m.refused })] : [],
    );
    this.note.textContent = refused.join(' ');
    this.show();
    const front = this.front();
    if (!front) return;
    const top = largestOf(front.shares, 3).map((item) => `${this.label(item)} ${shortShare(front.shares[item])}`);
    ctx.announce(t('why.said', { answer: this.answer.textContent ?? '', method: t.method(front.name), top: top.join(t('list.comma')) }));
  }

  /** The method that shades the text: the first selected one that this model supports. */
  private front(): SupportedMethod | null {
    if (!this.result) return null;
    const methods = supportedMethods(this.result);
    return computedMethods(this.ctx, this.ctx.store.now).flatMap((name) => methods.filter((m) => m.name === name))[0] ?? methods[0] ?? null;
  }

  private label(item: number): string {
    const [begin, end] = this.result?.items[item] ?? [0, 1];
    const { text } = this.ctx;
    const part = this.result?.segments?.[item];
    if (part) return part.name;
    return text.itemsOf(begin) && text.excerpt(begin) ? text.excerpt(begin) : quoted(this.ctx, { begin, end });
  }

  private show(): void {
    const { ctx, result } = this;
    const { t, store } = ctx;
    const front = this.front();
    if (!result || !front) return;
    const token = this.explained;
    const probability = printAnswer(result, result.probability);
    this.answer.textContent =
      token !== null && token < ctx.text.count
        ? t(ctx.info.answers?.kind === 'tag' ? 'why.answer.tagged' : 'why.answer.token', {
            token,
            word: quoted(ctx, { begin: token, end: token + 1 }),
            answer: answerOf(ctx, result.answer),
            probability,
          })
        : t('why.answer', { answer: answerOf(ctx, result.answer), probability });
    this.caption.textContent = t('why.caption', { method: t.method(front.name), kind: t.kind(result.item_kind) });
    const choose = (method: SupportedMethod): void =>
      store.set({ methods: [method.name, ...chosenMethods(ctx, store.now).filter((m) => m !== method.name)] }, 'push');
    replace(
      this.tables,
      cutCard(ctx, result, (item) => this.label(item)),
      sharesTable(ctx, result, front, this.allRows, {
        label: (item) => this.label(item),
        choose,
        go: (item) => this.moveTo(result.items[item][0]),
        more: () => {
          this.allRows = true;
          this.show();
        },
      }),
      trustTable(ctx, result),
      agreementTable(ctx, result),
      mapsHint(ctx),
    );
    this.paint();
  }

  private paint(): void {
    const shading = this.shading();
    if (!shading || !this.pane) return;
    this.updateStatus(this.statusToken);
    showLegend(this.ctx, this.legend, { ...shading, isShare: true });
    this.style = (box) => shaded(box, shading);
    this.pane.paint(this.style);
    this.pane.spreadShares();
    for (const over of this.overlays) over.show(shading);
  }

  figure(): Exported {
    const { ctx, result, pane } = this;
    const [front, shading] = [this.front(), this.shading()];
    if (!result || !front || !pane || !shading) throw new Error(this.note.textContent || ctx.t('loading'));
    const words = shadedWords(ctx, ctx.text, pane.visibleRange(), shading, this.answer.textContent ?? '');
    return figureOfWhy(ctx, result, front, { words, description: this.caption.textContent ?? '', label: (item) => this.label(item) });
  }

  numbers(): Numbers {
    const { ctx, result } = this;
    if (!result?.methods) throw new Error(this.note.textContent || ctx.t('loading'));
    const front = this.front();
    const parts = front ? partNumbers(result, front) : [];
    const items = result.items.map(([begin, end], item) => ({ begin, end, text: this.label(item), ...parts[item] }));
    const { answer, probability, item_kind, methods, share, removed, random, agreement, cut } = result;
    const json = { answer, probability, item_kind, items, methods, share, removed, random, agreement, cut };
    return { json, rows: methods.flatMap(({ shares }) => (shares ? [Float32Array.from(shares)] : [])) };
  }

  private shading(): Shading | null {
    const { ctx, result } = this;
    const front = this.front();
    if (!result || !front) return null;
    const top = new Set(largestOf(front.shares, 5));
    const token = this.explained;
    const marks = token !== null ? [{ begin: token, end: token + 1 }] : answerMarks(ctx, result);
    const itemOf = (box: Box): number => {
      for (let id = box.begin; id < box.end; id++) if (this.itemOf[id] >= 0) return this.itemOf[id];
      return -1;
    };
    return {
      value: (box) => (itemOf(box) < 0 ? NaN : front.shares[itemOf(box)]),
      label: (box) => {
        const item = itemOf(box);
        const begins = item >= 0 && box.begin <= result.items[item][0] && result.items[item][0] < box.end;
        return begins && top.has(item) ? shortShare(Math.abs(front.shares[item])).replace(/^/, front.shares[item] < 0 ? '−' : '') : '';
      },
      max: front.shares.reduce((a, s) => Math.max(a, Math.abs(s)), 0),
      signed: true,
      scale: ctx.store.now.scale,
      special: (id) => ctx.text.isSpecial(id),
      marks,
      cursor: this.cursor === null ? null : { begin: this.cursor, end: this.cursor + 1 },
      theme: ctx.theme(),
    };
  }

  private paintNew(block: LiveBlock): void {
    if (this.style) this.pane?.paintBlock(block, this.style);
  }

  /** Shows the shares of the item that contains a token under every method in the status line; without a token, a hint. */
  private updateStatus(token: number | null): string {
    const { ctx, result } = this;
    this.statusToken = token;
    const { t } = ctx;
    const kind = ctx.info.answers?.kind ?? 'next';
    const item = token === null ? -1 : (this.itemOf[token] ?? -1);
    const how = kind === 'written' ? 'why.how.written' : kind === 'next' || kind === 'tag' ? 'why.how.token' : 'why.how.class';
    const shares = result && item >= 0 ? supportedMethods(result).map((m) => `${t.method(m.name)} ${share(m.shares[item])}`) : [];
    this.status.textContent =
      token === null ? t(how) : `#${token} ${quoted(ctx, { begin: token, end: token + 1 })}   ${shares.join(' · ')}`;
    return this.status.textContent;
  }

  /** Moves the cursor to a token, and explains the token if the model's answers are tokens. */
  private pick(token: number): void {
    const { ctx } = this;
    const kind = ctx.info.answers?.kind;
    const target = kind === 'written' ? ctx.segments.find((s) => s.name === 'target') : null;
    const may = kind === 'tag' || (kind === 'next' && token > 0) || (target !== null && target !== undefined && token > target.begin);
    this.cursor = token;
    if (may) ctx.store.set({ target: `#${token}`, contrast: kind === 'next' ? this.ctx.store.now.contrast : '' }, 'push');
    else this.paint();
  }

  private moveTo(token: number): void {
    this.cursor = token;
    this.pane?.reveal(token);
    this.ctx.announce(this.updateStatus(token));
    this.paint();
  }

  private onKey(event: KeyboardEvent): void {
    const { pane, ctx } = this;
    if (!pane || event.altKey || event.ctrlKey || event.metaKey) return;
    const across = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    const down = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (event.key === 'Enter' && this.cursor !== null) this.pick(this.cursor);
    else if (across !== 0 || down !== 0) {
      const here = this.cursor ?? (across + down > 0 ? -1 : ctx.text.tokens);
      const box = pane.boxOf(here)?.box;
      const next =
        down !== 0 && box ? pane.verticalNeighbour(here, down > 0) : across + down > 0 ? (box?.end ?? here + 1) : (box?.begin ?? here) - 1;
      if (next !== null && next >= 0 && next < ctx.text.tokens) {
        this.moveTo(next);
      }
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
