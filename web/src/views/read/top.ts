// The heaviest items of the current line, by token or by word, under the sink rule.

import { type Context, type MapAxis, quoted } from '../../context';
import type { ShownLine } from '../../focus';
import { areWritten, movedToTokens, rowName, rowsNamedBy, tokenOfRow } from '../../rows';
import type { Span, TopItem } from '../../source/source';
import { topK, topWords, wordAround, wordSpans } from '../../weights';

const wordsOf = new WeakMap<object, Span[]>();

function words(ctx: Context): Span[] {
  let spans = wordsOf.get(ctx.text);
  if (!spans) wordsOf.set(ctx.text, (spans = wordSpans(ctx.text.data.word)));
  return spans;
}

/** The rows of each word. A row whose token is not in the text is a word by itself. */
function rowsOfWords(ctx: Context): Span[] {
  const rows = words(ctx)
    .map((word) => rowsNamedBy(ctx, word))
    .filter(({ begin, end }) => begin < end);
  const last = ctx.family.query_range[1] - 1;
  return tokenOfRow(ctx, last) === null ? [...rows, { begin: last, end: last + 1 }] : rows;
}

/** The words of an axis: of the keys, or of the rows that write or read them. */
export const spansOfWords = (ctx: Context, axis: MapAxis): readonly Span[] => (axis === 'query' ? rowsOfWords(ctx) : words(ctx));

/** True if some word has several tokens. */
export const hasLongWords = (ctx: Context): boolean => words(ctx).length < ctx.text.count;

/** The sinks, by words with the other tokens of their words: they do not set the colour scale. */
export const sinksOnScale = (ctx: Context, byWords: boolean): readonly number[] =>
  byWords
    ? ctx.family.sinks.flatMap((sink) => {
        const { begin, end } = wordAround(ctx.text.data.word, sink);
        return Array.from({ length: end - begin }, (_, i) => begin + i);
      })
    : ctx.family.sinks;

/** The name of the line's first row or key, and the words for the number of others: “word” and 2 more. */
export function lineName(ctx: Context, shown: ShownLine): { whom: string; more: string } {
  const { spans, direction } = shown.request;
  const span = spans.length === 1 ? spans[0] : { begin: spans[0].begin, end: spans[0].begin + 1 };
  const whom = direction === 'out' ? rowName(ctx, span) : quoted(ctx, span);
  return { whom, more: spans.length > 1 ? ctx.t('answers.more', { n: spans.length - 1 }) : '' };
}

/** A caption of the line; it says if the rows write what they are named by. */
export function lineCaption(ctx: Context, shown: ShownLine, key: string, values: Record<string, string> = {}): string {
  const { spans, direction } = shown.request;
  const isWritten = direction === 'out' && areWritten(ctx, spans);
  return ctx.t(`${key}.${direction}${isWritten ? '.written' : ''}`, { ...values, ...lineName(ctx, shown) });
}

/** The heaviest keys of a row, or rows of a column. */
export function topOf(ctx: Context, shown: ShownLine, count: number): TopItem[] {
  const state = ctx.store.now;
  const { direction, sink } = shown.request;
  const skip = sink === 'mark' || direction === 'in' ? [] : ctx.family.sinks;
  const { values, top } = shown.line;
  if (!values) return top.filter((i) => !skip.includes(i.begin)).slice(0, count);
  if (!state.words) return topK(values, count, skip);
  if (direction === 'out') return topWords(values, words(ctx), count, skip);
  const spans = rowsOfWords(ctx); // in direction in, a word's weight is the mean over its query rows
  const means = new Float32Array(values.length);
  for (const w of spans) {
    let sum = 0;
    for (let t = w.begin; t < w.end; t++) sum += values[t];
    means[w.begin] = sum / (w.end - w.begin);
  }
  return topK(means, count, skip).map((i) => {
    const span = spans.find((w) => w.begin === i.begin) ?? i;
    return { ...span, weight: i.weight };
  });
}

/** Weight per token as painted, on keys or on the tokens that rows are named by. In word mode, every piece has the weight of its word. */
export function paintedWeights(ctx: Context, shown: ShownLine): Float32Array | null {
  const weights = weightsOfLine(ctx, shown);
  return shown.request.direction === 'in' ? movedToTokens(ctx, weights) : weights;
}

/** The same by keys or rows. */
function weightsOfLine(ctx: Context, shown: ShownLine): Float32Array {
  const { values, top } = shown.line;
  const state = ctx.store.now;
  const { direction } = shown.request;
  const length = direction === 'out' ? ctx.family.keys : ctx.family.queries;
  if (!values) {
    const sparse = new Float32Array(length);
    for (const item of top) for (let t = item.begin; t < item.end; t++) sparse[t] = item.weight;
    return sparse;
  }
  if (!state.words) return values;
  const out = new Float32Array(length);
  for (const w of direction === 'out' ? words(ctx) : rowsOfWords(ctx)) {
    let sum = 0;
    for (let t = w.begin; t < w.end; t++) sum += values[t];
    out.fill(direction === 'out' ? sum : sum / (w.end - w.begin), w.begin, w.end);
  }
  return out;
}
