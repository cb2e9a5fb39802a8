// The answer list: the heaviest keys with their context, each with its share, position and segment. A click scrolls there; the back button
// returns.

import { isMean, meanName, remainderOf } from '../../heads';
import type { Context } from '../../context';
import { selectedSpans, gradientOf, hasValueNorm, isGradient, memoryMark, printWeight, quoted } from '../../context';
import { head as headName, power, weight as formatNumber, whole } from '../../format';
import { swatch } from '../../paint/pixels';
import { areWritten, itemName, itemTokens } from '../../rows';
import { type Direction, SourceError, type Span, type TopItem } from '../../source/source';
import type { ShownLine } from '../../focus';
import { setSentence } from '../../ui/glossary';
import { h, icon, iconButton, replace } from '../../ui/dom';
import { partsTable } from './parts';
import { lineCaption, lineName, topOf, hasLongWords } from './top';

const kContextTokens = 8; // tokens of context on each side

export class Answers {
  readonly element: HTMLElement;
  private readonly title = h('h2', {});
  private readonly sum = h('p', { class: 'caption', 'data-testid': 'answer-caption' });
  private readonly parts = h('div', { class: 'parts-frame' });
  private readonly list = h('ol', { class: 'answers', 'data-testid': 'answers' });
  private readonly tableButton: HTMLButtonElement;
  private readonly backButton: HTMLButtonElement;
  private readonly trail: number[] = [];
  private table = false;
  private shown: ShownLine | null = null;

  constructor(private readonly ctx: Context) {
    this.tableButton = iconButton('table', ctx.t('table'), () => this.toggleTable());
    this.backButton = h(
      'button',
      { class: 'quiet', type: 'button', hidden: true, onclick: () => this.back() },
      icon('back'),
      ctx.t('answers.back'),
    );
    this.element = h(
      'section',
      { class: 'panel answers-panel', 'aria-label': ctx.t('answers.label') },
      h('header', { class: 'panel-head' }, this.title, h('span', { class: 'spring' }), this.backButton, this.tableButton),
      this.sum,
      this.parts,
      this.list,
    );
  }

  show(shown: ShownLine | null): void {
    this.shown = shown;
    const { ctx } = this;
    if (!shown) {
      const waiting = selectedSpans(ctx.store.now).length > 0;
      this.title.textContent = ctx.t(waiting ? 'loading' : 'answers.none');
      this.sum.textContent = waiting ? '' : ctx.t('answers.how');
      replace(this.list);
      replace(this.parts);
      return;
    }
    replace(this.title, h('span', { class: 'title-head' }, headName(shown.request.at)), ' ', lineCaption(ctx, shown, 'answers'));
    setSentence(this.sum, ctx.t, captionOf(ctx, shown));
    replace(this.parts, partsTable(ctx, shown, this.table));
    const top = topOf(ctx, shown, this.table ? 32 : 8);
    const { direction } = shown.request;
    replace(this.list, ...(this.table ? [this.tableOf(top, direction)] : top.map((item, i) => this.lineOf(item, shown, top[0].weight, i))));
  }

  fail(error: Error): void {
    this.title.textContent = this.ctx.t('answers.failed');
    const command = error instanceof SourceError ? error.command : null;
    this.sum.textContent = command ? `${error.message} ${this.ctx.t('command', { command })}` : error.message;
    replace(this.list);
    replace(this.parts);
  }

  /** Remembers the reader's position before a jump. */
  remember(token: number): void {
    this.trail.push(token);
    this.backButton.hidden = false;
  }

  back(): boolean {
    const token = this.trail.pop();
    if (token === undefined) return false;
    this.backButton.hidden = this.trail.length === 0;
    this.ctx.reveal(token, false);
    return true;
  }

  private toggleTable(): void {
    this.table = !this.table;
    this.tableButton.setAttribute('aria-pressed', String(this.table));
    this.show(this.shown);
  }

  private lineOf(item: TopItem, { request }: ShownLine, max: number, rank: number): HTMLElement {
    const { ctx } = this;
    const { text } = ctx;
    const tokens = itemTokens(ctx, request.direction, item);
    const place = tokens?.begin ?? item.begin;
    const sink = tokens !== null && ctx.family.sinks.some((s) => tokens.begin <= s && s < tokens.end);
    const { before, mark, after } = tokens
      ? contextOf(ctx, tokens)
      : { before: '', mark: itemName(ctx, request.direction, item), after: '' };
    const items = tokens && text.itemsOf(place);
    const segment = items || !tokens ? -1 : text.segmentOf(place);
    return h(
      'li',
      { class: 'answer', style: `--t: ${max > 0 ? (item.weight / max).toFixed(3) : 0}` },
      h(
        'button',
        { type: 'button', 'data-token': place, 'data-rank': rank, onclick: () => ctx.reveal(place, true) },
        h('span', { class: 'answer-weight' }, this.print(item.weight)),
        h(
          'span',
          { class: 'answer-text', dir: 'auto' },
          swatch(ctx, place),
          h('span', { class: 'before' }, h('bdi', {}, before.trimEnd())),
          before.endsWith(' ') ? h('span', {}, ' ') : null, // inside the part that is truncated at its start, it would move to the other end
          h('mark', {}, mark),
          h('span', { class: 'after' }, after),
        ),
        h(
          'span',
          { class: 'answer-where' },
          items || !tokens ? '' : `#${whole(place)}`,
          segment >= 0 ? ` · ${ctx.t.part(ctx.segments[segment].name)}` : '',
          sink ? ` · ${ctx.t('sink')}` : '',
          memoryMark(ctx, request, item.begin),
        ),
      ),
    );
  }

  private tableOf(top: TopItem[], direction: Direction): HTMLElement {
    const { ctx } = this;
    const row = (item: TopItem): HTMLElement => {
      const name = itemName(ctx, direction, item);
      const at = itemTokens(ctx, direction, item)?.begin;
      const isItem = at !== undefined && ctx.text.itemsOf(at) !== null;
      return h(
        'tr',
        {},
        h('th', { scope: 'row' }, at === undefined ? '' : isItem ? ctx.text.label(at) : `#${at}`),
        h('td', { dir: 'auto' }, isItem ? ctx.text.excerpt(at) : name),
        h('td', { class: 'number' }, this.print(item.weight)),
      );
    };
    return h(
      'li',
      { class: 'plain' },
      h(
        'table',
        {},
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('th', { scope: 'col' }, ctx.t('position')),
            h('th', { scope: 'col' }, ctx.t('token')),
            h('th', { scope: 'col', class: 'number' }, ctx.t('weight')),
          ),
        ),
        h('tbody', {}, ...top.map(row)),
      ),
    );
  }

  private print(weight: number): string {
    const line = this.shown?.line;
    return printWeight(this.ctx, weight, line?.badge ?? 'exact', line?.error ?? 0);
  }
}

/** The caption, one sentence under the title: what the numbers sum to, and how they were processed. */
export function captionOf(ctx: Context, shown: ShownLine): string {
  const { t } = ctx;
  const { direction, weight, sink } = shown.request;
  const print = (v: number): string => printWeight(ctx, v, shown.line.badge, shown.line.error);
  const parts: string[] = [];
  const total = Number.isFinite(shown.line.total) ? print(shown.line.total) : null;
  if (direction === 'in') parts.push(t('caption.in', { total: formatNumber(shown.line.total, shown.line.error > 0) }));
  else if (weight !== 'raw') {
    parts.push(t(`caption.${gradientOf(weight) ?? weight}`, { answer: ctx.info.gradients_of ?? '' }));
    if (isGradient(weight) && hasValueNorm(weight)) parts.push(t('caption.lengths'));
  } else if (total) {
    const count = spanLength(shown.request.spans);
    parts.push(count > 1 ? t('caption.mean', { n: whole(count), total }) : t('caption.row', { total }));
  }
  const { at } = shown.request;
  if (isMean(at)) parts.push(t('caption.heads', { what: meanName(ctx, at) }));
  const remainder = remainderOf(ctx.family, at);
  if (direction === 'out' && ctx.family.sinks.length)
    parts.push(t(`caption.sink-${sink}${remainder && sink !== 'hide' ? '.alone' : ''}`, { share: print(shown.line.sinkMass) }));
  const isComplete = remainder === 'sink-logit' && shown.line.total > 0.99995; // the sink got nothing that is worth a sentence
  if (direction === 'out' && weight === 'raw' && total && remainder && !isComplete) parts.push(t(`caption.rest.${remainder}`));
  if (ctx.store.now.words && hasLongWords(ctx)) parts.push(t('caption.words'));
  const several = shown.line.badge === 'top-k' && spanLength(shown.request.spans) > 1 ? '.several' : '';
  if (shown.line.badge !== 'exact') parts.push(t(`caption.${shown.line.badge}${several}`, { error: power(shown.line.error, 2) }));
  const sentence = parts.join(t('caption.join'));
  return sentence ? sentence.charAt(0).toUpperCase() + sentence.slice(1) + t('caption.end') : '';
}

const spanLength = (spans: readonly Span[]): number => spans.reduce((n, s) => n + s.end - s.begin, 0);

/** The text around an item, with the spaces between: pieces of one word touch. */
function contextOf(ctx: Context, item: Span): { before: string; mark: string; after: string } {
  const { text } = ctx;
  if (text.itemsOf(item.begin)) return { before: '', mark: quoted(ctx, item), after: ` ${text.excerpt(item.begin)}` };
  const slice = (from: number, to: number): string => text.text.slice(from, to).replace(/\s+/g, ' ');
  const [from, to] = [text.begin[item.begin], Math.max(text.begin[item.begin], text.end[item.end - 1])];
  const own = slice(from, to);
  const start = text.begin[Math.max(0, item.begin - kContextTokens)];
  const stop = text.end[Math.min(text.tokens, item.end + kContextTokens) - 1];
  const alone = own.trim() === '' || text.isSpecial(item.begin);
  const gap = (space: RegExp): string => (alone ? ' ' : (space.exec(own)?.[0] ?? ''));
  return {
    before: (slice(start, from) + gap(/^ /)).trimStart().slice(-160),
    mark: quoted(ctx, item),
    after: (gap(/ $/) + slice(to, stop)).slice(0, 160),
  };
}

/** The sentence for screen readers (aria-live): L5.H3: it → animal 41 %, street 12 %. */
export function announcement(ctx: Context, shown: ShownLine): string {
  const { at, direction, spans } = shown.request;
  const weight = (item: TopItem): string => printWeight(ctx, item.weight, shown.line.badge, shown.line.error);
  const top = topOf(ctx, shown, 5).map((item) => `${itemName(ctx, direction, item)} ${weight(item)}`);
  const isWritten = direction === 'out' && areWritten(ctx, spans);
  const name = lineName(ctx, shown);
  const whom = isWritten ? ctx.t('row.writing', name) : name.whom + name.more;
  return `${headName(at)}: ${whom} ${direction === 'out' ? '→' : '←'} ${top.join(', ')}`;
}
