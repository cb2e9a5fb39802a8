// The neuron view: how the scores of one row are made. For the keys with the largest weights it shows k and the products q·k of every channel as
// coloured cells, their sum, the score, and the weight.

import { isMean } from '../../heads';
import { type Context, type Numbers, type View, badgeTitle, quoted, rangeOf, unavailableReason } from '../../context';
import type { Exported } from '../../figure/figure';
import { head as headName, share, weight as printNumber, whole, messageOf } from '../../format';
import { firstSelection } from '../../opening';
import { css, diverge } from '../../paint/ramp';
import { placeOfRow, rowName, rowOfToken } from '../../rows';
import { type Neurons, isAbort } from '../../source/source';
import type { State } from '../../state';
import { badgeElement } from '../../ui/badge';
import { h, replace } from '../../ui/dom';
import { setSentence } from '../../ui/glossary';
import { legendOf, legendSlot, showLegend } from '../../ui/legend';
import { intensity } from '../../weights';

const kAround = 12; // tokens on each side of the query that can be chosen
const kStrongest = 3; // channels named beside each key

export const hasNeurons = (ctx: Context): boolean => !unavailableReason(ctx, 'neurons');

const number = (value: number): string => printNumber(Number(value.toPrecision(3))).replace('-', '−');
const signed = (value: number): string => (value < 0 ? '' : '+') + number(value);
/** The largest magnitude, in three digits so that a legend can print it. */
const largest = (values: Float32Array): number => Number(values.reduce((max, value) => Math.max(max, Math.abs(value)), 0).toPrecision(3));

export class NeuronView implements View {
  readonly element: HTMLElement;
  private readonly title = h('h2', {});
  private readonly badge = h('span', { class: 'badge-slot' });
  private readonly words = h('div', { class: 'neuron-words', role: 'group' });
  private readonly frame = h('div', { class: 'neuron-frame', tabindex: 0, role: 'group' });
  private readonly legends = [legendSlot('neuron-vectors'), legendSlot('neuron-products')] as const;
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'neuron-caption' });
  private readonly status = h('p', { class: 'status', 'data-testid': 'neuron-status' });
  private wanted = '';
  private found: Neurons | null = null;
  private loading = new AbortController();
  private loaded: Promise<unknown> = Promise.resolve();

  constructor(private readonly ctx: Context) {
    const { t } = ctx;
    this.words.setAttribute('aria-label', t('neuron.words'));
    this.frame.setAttribute('aria-label', t('view.neuron'));
    this.element = h(
      'section',
      { class: 'panel explain-panel neuron-panel', 'aria-label': t('view.neuron') },
      h('header', { class: 'panel-head' }, this.title, this.badge),
      this.words,
      this.frame,
      h('div', { class: 'neuron-legends' }, ...this.legends),
      this.caption,
      this.status,
    );
    this.frame.addEventListener('pointermove', (event) => this.point(event));
    this.frame.addEventListener('pointerleave', () => (this.status.textContent = t('neuron.how')));
    ctx.life.signal.addEventListener('abort', () => this.loading.abort());
  }

  retheme(): void {
    this.show();
  }

  refetch(): void {
    this.wanted = '';
    this.update(this.ctx.store.now);
  }

  update(state: State): void {
    if (state.view !== 'neuron') return;
    const { ctx } = this;
    const [chosen = rangeOf(ctx.family, 'query')] = state.q.length > 0 ? state.q : firstSelection(ctx.text, ctx.family, false);
    const query = chosen.begin;
    const at = state.heads[0];
    const key = JSON.stringify([query, at, ctx.source.step]);
    if (key === this.wanted || !at) return this.show();
    this.wanted = key;
    this.loading.abort();
    if (isMean(at)) return this.say(ctx.t('one-head'));
    this.loading = new AbortController();
    this.loaded = ctx.source.neurons(ctx.family.id, at, query, this.loading.signal).then(
      (found) => {
        if (this.wanted !== key) return;
        this.found = found;
        this.show();
      },
      (error: unknown) => {
        if (isAbort(error) || this.wanted !== key) return;
        this.say(messageOf(error));
      },
    );
  }

  /** Shows a sentence instead of the vectors. */
  private say(sentence: string): void {
    this.found = null;
    for (const part of [this.badge, this.words, this.frame, ...this.legends]) replace(part);
    this.title.textContent = this.ctx.t('view.neuron');
    this.status.textContent = '';
    this.caption.textContent = sentence;
  }

  private get rowName(): string {
    const query = this.found?.query ?? 0;
    return rowName(this.ctx, { begin: query, end: query + 1 });
  }

  private keyName(key: number): string {
    return quoted(this.ctx, { begin: key, end: key + 1 }, this.ctx.keyText);
  }

  private show(): void {
    const { ctx, found } = this;
    if (!found) return;
    const { t } = ctx;
    this.title.textContent = t('neuron.title', { head: headName(found.at), row: this.rowName });
    replace(this.badge, badgeElement(ctx, found.badge, badgeTitle(ctx, found.badge, 0)));
    this.showWords(found.query);
    const vectors = Math.max(largest(found.q), largest(found.k));
    const products = largest(found.products);
    const d = found.q.length;
    const row = (name: string, cells: (Node | string)[]): HTMLElement =>
      h('tr', {}, h('th', { scope: 'row' }, name), ...cells.map((cell) => h('td', {}, cell)));
    const strip = (values: Float32Array, max: number, place: string): HTMLCanvasElement => this.strip(values, max, place);
    const rows = Array.from(found.keys, (key, i) =>
      row(this.keyName(key), [
        strip(found.k.subarray(i * d, (i + 1) * d), vectors, `k ${i}`),
        strip(found.products.subarray(i * d, (i + 1) * d), products, `p ${i}`),
        this.strongest(found, i),
        number(found.scores[i]),
        share(found.weights[i]),
      ]),
    );
    const heading = (key: string): HTMLElement => h('th', { scope: 'col' }, t(key));
    replace(
      this.frame,
      h(
        'table',
        { class: 'neuron-table' },
        h('thead', {}, h('tr', {}, ...['key', 'k', 'products', 'strongest', 'sum', 'weight'].map((name) => heading(`neuron.${name}`)))),
        h('tbody', {}, row(t('neuron.q', { row: this.rowName }), [strip(found.q, vectors, 'q 0'), '', '', '', '']), ...rows),
      ),
    );
    const legend = { scale: ctx.store.now.scale, isShare: false, signed: true } as const;
    showLegend(ctx, this.legends[0], { ...legend, max: vectors });
    showLegend(ctx, this.legends[1], { ...legend, max: products });
    setSentence(this.caption, t, this.description());
    this.status.textContent = t('neuron.how');
    this.element.dataset['query'] = `${headName(found.at)} ${found.query}`;
  }

  private description(): string {
    const { found, ctx } = this;
    const terms = found?.hasTerms ? ctx.t('neuron.terms') : '';
    return ctx.t('neuron.caption', { n: found?.keys.length ?? 0, row: this.rowName, scale: found?.scale.toPrecision(4) ?? '' }) + terms;
  }

  /** The tokens around the query, as buttons that choose it. */
  private showWords(query: number): void {
    const { ctx } = this;
    const { begin, end } = rangeOf(ctx.family, 'query');
    const place = placeOfRow(ctx, query);
    const tokens = Array.from({ length: 2 * kAround + 1 }, (_, i) => place - kAround + i).filter(
      (id) => id >= begin && id < Math.min(end, ctx.text.count) && (id === place || id !== ctx.family.writes_from), // which names no row
    );
    const button = (token: number): HTMLElement =>
      h(
        'button',
        {
          type: 'button',
          class: 'quiet',
          'aria-pressed': String(token === place),
          'data-token': token,
          onclick: () => {
            const row = rowOfToken(ctx, token);
            ctx.store.set({ q: [{ begin: row, end: row + 1 }], direction: 'out' }, 'push');
          },
        },
        quoted(ctx, { begin: token, end: token + 1 }),
      );
    const hadFocus = this.words.contains(document.activeElement);
    replace(this.words, ...tokens.map(button));
    if (hadFocus) this.words.querySelector<HTMLElement>('[aria-pressed=true]')?.focus();
  }

  private strip(values: Float32Array, max: number, place: string): HTMLCanvasElement {
    const canvas = h('canvas', { class: 'neuron-strip', width: values.length, height: 1, 'aria-hidden': 'true', 'data-place': place });
    const c = canvas.getContext('2d');
    const theme = this.ctx.theme();
    values.forEach((value, channel) => {
      if (!c) return;
      c.fillStyle = css(diverge(Math.sign(value) * intensity(Math.abs(value), max, this.ctx.store.now.scale), theme));
      c.fillRect(channel, 0, 1, 1);
    });
    return canvas;
  }

  private strongest({ products, q }: Neurons, row: number): string {
    const of = products.subarray(row * q.length, (row + 1) * q.length);
    const order = Array.from(of.keys()).sort((a, b) => Math.abs(of[b]) - Math.abs(of[a]) || a - b);
    return order
      .slice(0, kStrongest)
      .map((channel) => `${channel}: ${signed(of[channel])}`)
      .join(', ');
  }

  /** Says q, k and their product for the channel under the pointer. */
  private point({ target, clientX }: PointerEvent): void {
    const { found, ctx } = this;
    const place = target instanceof HTMLCanvasElement ? target.dataset['place'] : undefined;
    if (!found || !place || !(target instanceof HTMLCanvasElement)) return;
    const [kind, row] = place.split(' ');
    const rect = target.getBoundingClientRect();
    const d = found.q.length;
    const channel = Math.max(0, Math.min(d - 1, Math.floor(((clientX - rect.left) / rect.width) * d)));
    const at = Number(row) * d + channel;
    const q = number(found.q[channel]);
    this.status.textContent =
      kind === 'q'
        ? ctx.t('neuron.status.q', { channel: whole(channel), q })
        : ctx.t('neuron.status', {
            channel: whole(channel),
            q,
            key: this.keyName(found.keys[Number(row)]),
            k: number(found.k[at]),
            product: signed(found.products[at]),
          });
  }

  async figure(): Promise<Exported> {
    await this.loaded;
    const { found, ctx } = this;
    if (!found) throw new Error(ctx.t('export.none'));
    const max = largest(found.products);
    const { scale } = ctx.store.now;
    const names = Array.from(found.keys, (key) => this.keyName(key));
    return {
      parts: [
        {
          kind: 'matrix',
          rows: { name: ctx.t('neuron.key'), count: names.length, labels: names, begin: 0, step: 1 },
          columns: { name: ctx.t('neuron.channel'), count: found.q.length, labels: [], begin: 0, step: 1 },
          values: found.products,
          max,
          scale,
          texts: [],
          square: false,
          sinks: [],
          chosenRows: [],
          chosenColumns: [],
          legend: legendOf(ctx, { max, scale, isShare: false, signed: true }),
          signed: true,
          bars: { name: ctx.t('neuron.weight'), values: found.weights, max: found.weights[0] ?? 1 },
        },
      ],
      description: this.description(),
      badge: found.badge,
    };
  }

  /** The products, [key, channel]. */
  async numbers(): Promise<Numbers> {
    await this.loaded;
    const { found } = this;
    if (!found) throw new Error(this.ctx.t('export.none'));
    const d = found.q.length;
    const part = (values: Float32Array, i: number): Float32Array => values.subarray(i * d, (i + 1) * d);
    const keys = Array.from(found.keys, (key, i) => ({
      key,
      name: this.keyName(key),
      k: [...part(found.k, i)],
      products: [...part(found.products, i)],
      score: found.scores[i],
      weight: found.weights[i],
    }));
    const { at, query, scale, q } = found;
    return {
      json: { view: 'neuron', ...at, query, name: this.rowName, scale, q: [...q], keys },
      rows: keys.map((_, i) => part(found.products, i)),
    };
  }
}
