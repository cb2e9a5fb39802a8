// A box is what a reader sees as one unit: the tokens that share graphemes. GPT-2 splits 東 into two tokens and an emoji with joiners into
// ten; each becomes one box. Intl.Segmenter finds the graphemes: a boundary between two tokens separates boxes only if a grapheme ends
// there too.

import type { Span } from '../source/source';
import { type TextModel, truncateAtCharacter } from './model';

export interface Box extends Span {
  from: number; // UTF-16 offsets; from === to for a token without text
  to: number;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** The boxes of a range of tokens, in text order. At both ends of the range, no tokens may overlap. */
export function boxesOf(model: TextModel, tokens: Span): Box[] {
  const boxes: Box[] = [];
  if (tokens.end <= tokens.begin) return boxes;
  const start = model.begin[tokens.begin];
  let stop = start;
  for (let t = tokens.begin; t < tokens.end; t++) stop = Math.max(stop, model.end[t]);
  const breaks = graphemeBreaks(model.text.slice(start, stop));
  for (let t = tokens.begin; t < tokens.end; t++) {
    const last = boxes[boxes.length - 1];
    const [from, to] = [model.begin[t], model.end[t]];
    const empty = from === to;
    const joins = last && !empty && last.to > last.from && (from < last.to || !breaks[from - start]);
    if (joins) {
      last.end = t + 1;
      last.to = Math.max(last.to, to);
    } else {
      boxes.push({ begin: t, end: t + 1, from, to });
    }
  }
  return boxes;
}

/** breaks[i] = 1 if a grapheme begins at i (or the text ends). Printable ASCII needs no segmenter. */
function graphemeBreaks(text: string): Uint8Array {
  const breaks = new Uint8Array(text.length + 1);
  breaks[text.length] = 1;
  if (/^[\x20-\x7e\n]*$/.test(text)) return breaks.fill(1);
  for (const piece of segmenter.segment(text)) breaks[piece.index] = 1;
  return breaks;
}

/** The text, truncated to `length` UTF-16 units, for boxes of very long tokens. */
export function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${truncateAtCharacter(text, length)}…`;
}
