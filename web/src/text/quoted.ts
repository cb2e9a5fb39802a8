// Tokens as they are quoted in sentences and labels.

import type { Span } from '../source/source';
import type { TextModel } from './model';

/** A token as it is quoted in a sentence: whitespace at the ends is removed, or made visible if there is nothing else. */
export function quoted(ctx: { text: TextModel }, span: Span, text: TextModel = ctx.text): string {
  const label = text.labelOf(span);
  return label.trim() || visibleSpace(label) || '∅';
}

export function visibleSpace(text: string): string {
  return text
    .replace(/ /g, '␣')
    .replace(/\n/g, '⏎')
    .replace(/\t/g, '⇥')
    .replace(/\r/g, '␍')
    .replace(/\u00a0/g, '⍽');
}
