// A box is what a reader sees as one piece: the tokens that share graphemes. GPT-2 splits 東 in two tokens, an emoji with joiners in ten:
// each is one box. Found by Intl.Segmenter: a boundary between two tokens stands only where a grapheme ends too.

import type { Span } from '../source/source';
import { type TextModel, cutAtCharacter } from './model';

export interface Box extends Span {
  from: number; // UTF-16; from === to for a token without text
  to: number;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** The boxes of a range of tokens, in order of text. The range must begin and end where no token overlaps. */
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

/** breaks[i] = 1 where a grapheme begins (or the text ends). Runs of printable ASCII need no segmenter. */
export function graphemeBreaks(text: string): Uint8Array {
  const breaks = new Uint8Array(text.length + 1);
  breaks[text.length] = 1;
  if (/^[\x20-\x7e\n]*$/.test(text)) return breaks.fill(1);
  for (const piece of segmenter.segment(text)) breaks[piece.index] = 1;
  return breaks;
}

/** At most `length` UTF-16 units, for boxes of monstrous tokens. */
export function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${cutAtCharacter(text, length)}…`;
}
