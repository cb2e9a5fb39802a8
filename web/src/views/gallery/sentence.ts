// The sentence on which the gallery opens: lines from the chosen word to the words that one head attends to, and a button that replaces a
// word and states what changes. Both sentences are traces of the page; words correspond by their order.

import { change as printChange, head as headName, share, shortShare, messageOf } from '../../format';
import { familyOf, firstHead, firstSelection, openingOf } from '../../opening';
import { css, inkOn, shade } from '../../paint/ramp';
import type { Theme } from '../../paint/ramp';
import { type Family, type HeadId, type Source, type TraceChoice, isAbort } from '../../source/source';
import { placeOfRow, rowsOfTokens } from '../../rows';
import { type State, formatState, parseState, sameHead } from '../../state';
import type { Strings } from '../../strings';
import { TextModel } from '../../text/model';
import { h, replace, svgElement } from '../../ui/dom';
import { tourState } from '../../ui/tour';
import { sumSpans, wordSpans } from '../../weights';

const kHeads = 6; // buttons
const kHeadsRead = 48; // heads among which they are chosen
const kThinnest = 0.02; // weights below have no line

type Change = NonNullable<NonNullable<TraceChoice['card']>['change']>;

/** One of the two sentences. Words are ranges of tokens without special tokens. */
interface Version {
  source: Source;
  text: TextModel;
  family: Family;
  words: { begin: number; end: number }[];
}

/** The weights of one row, summed over the tokens of each word. */
interface Row {
  weights: Float64Array; // [word]
  largest: number; // the word with the largest weight
  strongest: number; // the same apart from the query itself; −1: none
}

/** The first trace of a gallery that also has a changed version. */
export const sentenceOf = (traces: readonly TraceChoice[]): TraceChoice | null => traces.find((one) => one.card?.change) ?? null;

export class OpeningSentence {
  readonly element: HTMLElement;
  private readonly line = h('div', { class: 'sentence', 'data-testid': 'sentence' });
  private readonly curves = svgElement('svg', { class: 'sentence-lines', 'aria-hidden': 'true' });
  private readonly caption = h('p', { class: 'sentence-caption', 'aria-live': 'polite', 'data-testid': 'sentence-caption' });
  private readonly answer = h('p', { class: 'sentence-answer' });
  private readonly heads = h('div', { class: 'sentence-heads', role: 'group' });
  private readonly turn: HTMLButtonElement;
  private readonly open: HTMLAnchorElement;
  private readonly tour: HTMLAnchorElement;
  private readonly change: Change;
  private versions: Version[] = [];
  private buttons: HTMLButtonElement[] = [];
  private chosen: HeadId[] = [];
  private word = -1;
  private at: HeadId = { layer: 0, head: 0 };
  private isChanged = false;
  private rows: (Row | null)[] = [null, null]; // of the two versions
  private requested = 0;

  constructor(
    private readonly one: TraceChoice,
    private readonly t: Strings,
    private readonly theme: () => Theme,
    private readonly load: ((state: State) => void) | null, // null: links work
  ) {
    const card = one.card;
    if (!card?.change) throw new Error('the trace has no changed version');
    this.change = card.change;
    this.turn = h('button', { type: 'button', class: 'sentence-turn', 'aria-pressed': 'false', onclick: () => this.toggle() });
    this.open = this.link(t('sentence.open'), () => this.state());
    this.tour = this.link(t('tour.start'), () => ({ ...this.state(), ...tourState(null, 1) }));
    this.tour.dataset['testid'] = 'tour-start';
    this.element = h(
      'section',
      { class: 'opening', 'aria-label': card.title[t.language] },
      h('h1', {}, card.title[t.language]),
      this.answer,
      h('div', { class: 'sentence-frame' }, this.curves, this.line),
      this.caption,
      h('div', { class: 'sentence-controls' }, this.turn, this.open, this.tour),
      h('p', { class: 'caption' }, t('sentence.how')),
      this.heads,
    );
    new ResizeObserver(() => this.draw()).observe(this.line);
  }

  /** Reads both versions. `source`: the source of the page, of which copies are used. */
  async show(source: Source): Promise<void> {
    const numbers = [this.one.number, this.change.number];
    this.versions = await Promise.all(numbers.map((number) => this.versionOf(source, number)));
    const [{ family, text, words }] = this.versions;
    const state = parseState(this.one.state);
    this.at = state.heads[0] ?? firstHead(family);
    const row = (state.q.length > 0 ? state.q : firstSelection(text, family, false))[0]?.begin ?? 0;
    const token = placeOfRow({ family, text }, row);
    this.word = Math.max(
      0,
      words.findIndex(({ begin, end }) => begin <= token && token < end),
    );
    this.build();
    await this.chooseHeads();
    await this.update();
  }

  private async versionOf(page: Source, number: number): Promise<Version> {
    const source = page.compareSource({ step: number, edited: null });
    const info = await source.switchTo(number);
    const [data, segments] = await Promise.all([source.text(0), source.segments(0)]);
    const text = new TextModel(data, segments, info.special);
    const family = familyOf(info, parseState(this.one.state).family);
    return { source, text, family, words: wordSpans(data.word.subarray(0, text.tokens)).filter(({ begin }) => !text.isSpecial(begin)) };
  }

  private get version(): Version {
    return this.versions[this.isChanged ? 1 : 0];
  }

  private labelOf(word: number): string {
    return this.version.text.labelOf(this.version.words[word]).trim();
  }

  private build(): void {
    const { words } = this.version;
    this.buttons = words.map((_, word) => {
      const button = h('button', { type: 'button', class: 'sentence-word', onclick: () => this.choose({ word }) }, this.labelOf(word));
      button.addEventListener('keydown', (event) => this.onKey(event, word));
      return button;
    });
    replace(this.line, ...this.buttons);
    this.describe();
  }

  /** The texts that depend on the version. */
  private describe(): void {
    const { from, to, answer } = this.change;
    this.turn.textContent = this.isChanged ? `${to} → ${from}` : `${from} → ${to}`;
    this.turn.setAttribute('aria-pressed', String(this.isChanged));
    const told = this.isChanged ? answer : this.one.card?.answer;
    this.answer.textContent = told ? this.t('sentence.answer', { answer: told }) : '';
    this.buttons.forEach((button, word) => (button.textContent = this.labelOf(word)));
  }

  private onKey(event: KeyboardEvent, word: number): void {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = step === undefined ? undefined : this.buttons[word + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
    this.choose({ word: word + (step ?? 0) });
  }

  private choose(what: { word?: number; at?: HeadId }): void {
    this.word = what.word ?? this.word;
    this.at = what.at ?? this.at;
    void this.update();
  }

  private toggle(): void {
    this.isChanged = !this.isChanged;
    this.describe();
    void this.update();
  }

  /** Reads the row of the chosen word in both versions, and draws it. */
  private async update(): Promise<void> {
    const request = ++this.requested;
    try {
      const rows = await Promise.all(this.versions.map((version) => this.rowOf(version, this.at)));
      if (request !== this.requested) return;
      this.rows = rows;
    } catch (error) {
      if (!isAbort(error)) this.caption.textContent = messageOf(error);
      return;
    }
    this.caption.textContent = this.sentence();
    this.open.href = `#${formatState(this.state())}`;
    this.tour.href = `#${formatState({ ...this.state(), ...tourState(null, 1) })}`;
    this.draw();
    await this.nameHeads();
  }

  private async rowOf({ source, family, text, words }: Version, at: HeadId): Promise<Row> {
    const spans = [rowsOfTokens({ family, text }, words[this.word])];
    const row = { family: family.id, at, direction: 'out' as const, spans, reduce: 'mean' as const };
    const { values } = await source.line({ ...row, weight: 'raw', sink: 'mark', step: source.step }, `sentence-${headName(at)}`);
    if (!values) throw new Error(this.t('answers.failed'));
    const weights = sumSpans(values, words);
    const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a]);
    return { weights, largest: order[0], strongest: order.find((word) => word !== this.word && weights[word] > 0) ?? -1 };
  }

  private sentence(): string {
    const [before, after] = this.rows;
    const row = this.isChanged ? after : before;
    if (!before || !row || row.strongest < 0) return '';
    const query = this.labelOf(this.word);
    const strongest = { key: this.labelOf(row.strongest), share: share(row.weights[row.strongest]) };
    const says = this.t('sentence.says', { head: headName(this.at), query, ...strongest });
    if (!this.isChanged) return says;
    const { from, to } = this.change;
    const was = before.strongest;
    if (was < 0) return `${this.t('sentence.with', { from, to })}${says}`;
    const [old, now] = [before.weights[was], row.weights[was]];
    const points = printChange(now - old).replace(/\s*%$/, '');
    const moves = this.t('sentence.points', { key: this.labelOf(was), before: share(old), after: share(now), points });
    return `${this.t('sentence.with', { from, to })}${says} ${moves}`;
  }

  /** The state in which the trace opens, with the chosen word and head. */
  private state(): State {
    const number = this.isChanged ? this.change.number : this.one.number;
    const opened = openingOf({ ...this.one, number }, null);
    return { ...opened, heads: [this.at], q: [rowsOfTokens(this.version, this.version.words[this.word])], k: [] };
  }

  /** A link to a state; its address is set whenever the selection changes. */
  private link(text: string, state: () => State): HTMLAnchorElement {
    const onclick = (event: MouseEvent): void => {
      if (!this.load) return;
      event.preventDefault();
      this.load(state());
    };
    return h('a', { class: 'sentence-open', 'data-trace': this.one.number, onclick }, text);
  }

  /** Chooses up to six heads: the one that the sentence opens with, then heads that attend to different words. */
  private async chooseHeads(): Promise<void> {
    const { family } = this.version;
    const all = Array.from({ length: family.layers * family.heads }, (_, i) => ({
      layer: Math.floor(i / family.heads),
      head: i % family.heads,
    }));
    const others = all.filter((at) => !sameHead(at, this.at)).slice(0, kHeadsRead);
    const read = await Promise.all(others.map(async (at) => ({ at, ...(await this.rowOf(this.version, at)) })));
    read.sort((a, b) => b.weights[b.largest] - a.weights[a.largest]);
    const isNew = read.filter(({ largest }, i) => read.findIndex((other) => other.largest === largest) === i);
    const ordered = [...isNew, ...read.filter((one) => !isNew.includes(one))];
    this.chosen = [this.at, ...ordered.map(({ at }) => at)].slice(0, kHeads);
  }

  /** Names each of these heads by the word that gets its largest weight. */
  private async nameHeads(): Promise<void> {
    const request = this.requested;
    const own = this.rows[this.isChanged ? 1 : 0];
    const rows = await Promise.all(this.chosen.map((at) => (own && sameHead(at, this.at) ? own : this.rowOf(this.version, at))));
    if (request !== this.requested) return;
    const buttons = this.chosen.map((at, i) => {
      const { largest, weights } = rows[i];
      const name = largest === this.word ? this.t('sentence.itself') : `“${this.labelOf(largest)}”`;
      const pressed = String(sameHead(at, this.at));
      return h(
        'button',
        { type: 'button', 'data-head': headName(at), 'aria-pressed': pressed, onclick: () => this.choose({ at }) },
        `${name} ${shortShare(weights[largest])}`,
        h('small', {}, headName(at)),
      );
    });
    const label = this.t('sentence.heads', { query: this.labelOf(this.word) });
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset['head'] : undefined;
    this.heads.setAttribute('aria-label', label);
    replace(this.heads, h('span', {}, label), ...buttons);
    buttons.find((button) => focused !== undefined && button.dataset['head'] === focused)?.focus();
  }

  /** Shades the words and draws the lines above them. */
  draw(): void {
    const row = this.rows[this.isChanged ? 1 : 0];
    if (!row) return;
    const theme = this.theme();
    this.buttons.forEach((button, word) => {
      const colour = shade(row.weights[word] ?? 0, theme);
      button.style.background = css(colour);
      button.style.color = inkOn(colour);
      button.setAttribute('aria-pressed', String(word === this.word));
      button.title = share(row.weights[word] ?? 0);
    });
    const frame = this.curves.getBoundingClientRect();
    const topOf = (word: number): { x: number; y: number } => {
      const box = this.buttons[word].getBoundingClientRect();
      return { x: box.left + box.width / 2 - frame.left, y: box.top - frame.top };
    };
    const from = topOf(this.word);
    const lines = [...row.weights].flatMap((weight, word) => {
      if (word === this.word || weight < kThinnest) return [];
      const to = topOf(word);
      const high = Math.min(from.y, to.y) - Math.min(64, 18 + Math.abs(to.x - from.x) / 6);
      const path = `M${from.x} ${from.y} C${from.x} ${high} ${to.x} ${high} ${to.x} ${to.y}`;
      return [svgElement('path', { d: path, 'stroke-width': 1 + 7 * weight, opacity: 0.25 + 0.75 * weight })];
    });
    this.curves.replaceChildren(...lines);
  }
}
