// Arithmetic on lines of weights for word mode, the sink rules and the answer list. Sums over f32 weights are computed in double.

import type { Scale, SinkRule, Span, TopItem } from './source/source';

/** The `count` heaviest items, heaviest first; ties go to the earlier item. Indices in `skip` (ascending) are left out. */
export function topK(values: ArrayLike<number>, count: number, skip: readonly number[] = []): TopItem[] {
  const kept: { at: number; weight: number }[] = [];
  let nextSkip = 0;
  for (let i = 0; i < values.length; i++) {
    if (nextSkip < skip.length && skip[nextSkip] === i) {
      nextSkip++;
      continue;
    }
    const weight = values[i];
    if (!(weight > 0) || (kept.length === count && weight <= kept[count - 1].weight)) continue;
    let at = kept.length;
    while (at > 0 && kept[at - 1].weight < weight) at--;
    kept.splice(at, 0, { at: i, weight });
    if (kept.length > count) kept.pop();
  }
  return kept.map(({ at, weight }) => ({ begin: at, end: at + 1, weight }));
}

/** The token range of each word, and of each token outside words, in order. `word[i]` is −1 for specials. */
export function wordSpans(word: ArrayLike<number>): Span[] {
  const spans: Span[] = [];
  for (let i = 0; i < word.length; i++) {
    const last = spans[spans.length - 1];
    if (last && word[i] >= 0 && word[i] === word[i - 1]) last.end = i + 1;
    else spans.push({ begin: i, end: i + 1 });
  }
  return spans;
}

/** The word a token belongs to, as a token range. */
export function wordAround(word: ArrayLike<number>, token: number): Span {
  let begin = token;
  let end = token + 1;
  if (word[token] < 0) return { begin, end };
  while (begin > 0 && word[begin - 1] === word[token]) begin--;
  while (end < word.length && word[end] === word[token]) end++;
  return { begin, end };
}

/** The sum of the weights over each span. */
export function sumSpans(values: ArrayLike<number>, spans: readonly Span[]): Float64Array {
  const sums = new Float64Array(spans.length);
  for (let s = 0; s < spans.length; s++) for (let i = spans[s].begin; i < spans[s].end; i++) sums[s] += values[i];
  return sums;
}

/** The heaviest words. A word that contains an index in `skip` (a sink) is left out. */
export function topWords(values: ArrayLike<number>, words: readonly Span[], count: number, skip: readonly number[] = []): TopItem[] {
  const skipped = new Set(skip);
  const sums = sumSpans(values, words);
  words.forEach((w, i) => {
    for (let t = w.begin; t < w.end; t++) if (skipped.has(t)) sums[i] = 0;
  });
  return topK(sums, count).map((item) => ({ ...words[item.begin], weight: item.weight }));
}

/** The largest weight outside the sinks. It sets the colour scale, so that a sink never flattens the rest. */
export function largest(values: ArrayLike<number>, sinks: readonly number[]): number {
  let max = 0;
  let next = 0;
  for (let i = 0; i < values.length; i++) {
    if (next < sinks.length && sinks[next] === i) next++;
    else if (values[i] > max) max = values[i];
  }
  return max;
}

/** Intensity 0…1 on the selected scale; log spans four decades. */
export function intensity(value: number, max: number, scale: Scale): number {
  if (!(value > 0) || !(max > 0)) return 0;
  const t = Math.min(1, value / max);
  if (scale === 'linear') return t;
  if (scale === 'sqrt') return Math.sqrt(t);
  return Math.max(0, 1 + Math.log10(t) / 4);
}

const kSmallestRest = 1e-12;

/** The weight left in a row without its sinks: the sum of the rest if rows sum to one, else one minus the sinks' weight. */
export function weightWithoutSinks(row: ArrayLike<number>, sinks: readonly number[], sumsToOne: boolean): number {
  let [mass, rest] = [0, 0];
  const skip = new Set(sinks);
  for (let k = 0; k < row.length; k++) {
    if (!(row[k] > 0)) continue;
    if (skip.has(k)) mass += row[k];
    else rest += row[k];
  }
  return Math.max(kSmallestRest, sumsToOne ? rest : 1 - mass);
}

/** Applies the sink rule to a raw row, as the engine does (viewer/questions/lines.cc), for sources without a server. */
export function applySinkRule(
  values: Float32Array,
  sinks: readonly number[],
  rule: SinkRule,
  sumsToOne = true,
): { values: Float32Array; sinkMass: number } {
  let sinkMass = 0;
  for (const s of sinks) sinkMass += values[s] ?? 0;
  if (rule === 'mark' || sinks.length === 0) return { values, sinkMass };
  const left = rule === 'renorm' && sinkMass > 0 ? weightWithoutSinks(values, sinks, sumsToOne) : 1;
  const out = values.map((v) => v / left);
  for (const s of sinks) if (s < out.length) out[s] = 0;
  return { values: out, sinkMass };
}
