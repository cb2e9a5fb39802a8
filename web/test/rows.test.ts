// Names of rows: a row that writes is named by the token that it writes.

import { describe, expect, it } from 'vitest';
import {
  movedToTokens,
  rowLabel,
  rowName,
  rowOfToken,
  rowsNamedBy,
  rowsOfTokens,
  selectedTokens,
  tokenBefore,
  tokenOfRow,
  tokensOfRows,
} from '../src/rows';
import type { Family, TextData } from '../src/source/source';
import { kInitial } from '../src/state';
import { strings } from '../src/strings';
import { TextModel } from '../src/text/model';

const t = strings('en');

/** A text of these tokens; “<…>” is special. */
function textOf(tokens: readonly string[]): TextModel {
  const bytes = new TextEncoder().encode(tokens.map((token) => (token.startsWith('<') ? '' : token)).join(''));
  const begin: number[] = [];
  let at = 0;
  for (const token of tokens) {
    begin.push(at);
    if (!token.startsWith('<')) at += token.length;
  }
  const data: TextData = {
    bytes,
    byteBegin: 0,
    begin: Uint32Array.from(begin),
    end: Uint32Array.from([...begin.slice(1), at]),
    id: Int32Array.from(tokens.keys()),
    word: Int32Array.from(tokens.keys()),
    flags: Uint8Array.from(tokens, (token) => (token.startsWith('<') ? 1 : 0)),
    items: [],
  };
  return new TextModel(data, [], Object.fromEntries(tokens.map((token, id) => [String(id), token])));
}

const familyOf = (query_range: [number, number], writes_from: number | null): Family =>
  ({ query_range, key_range: [0, 3], writes_from }) as unknown as Family;

const words = ['red', ' car', '</s>', '<s>', 'voiture', ' rouge', '</s>'];
const translator = { text: textOf(words), family: familyOf([3, 7], 3), t };
const generator = { text: textOf(['It', ' is', ' a', ' day']), family: familyOf([0, 4], 1), t };
const reader = { text: textOf(['It', ' is', ' a', ' day']), family: familyOf([0, 4], null), t };

const span = (begin: number, end = begin + 1): { begin: number; end: number } => ({ begin, end });

describe('rows of a translator', () => {
  it('are named by the word being written', () => {
    expect([3, 4, 5, 6].map((row) => rowName(translator, span(row)))).toEqual(['voiture', 'rouge', '</s>', '(after the end)']);
    expect(rowLabel(translator, 3)).toBe('#4 voiture');
    expect(rowName({ ...translator, t: strings('zh') }, span(6))).toBe('（结束之后）');
  });
  it('are selected by the word that they wrote, and by the start token, which nothing wrote', () => {
    expect([3, 4, 5, 6].map((token) => rowOfToken(translator, token))).toEqual([3, 3, 4, 5]);
    expect(rowsOfTokens(translator, span(4, 6))).toEqual(span(3, 5));
  });
  it('do not change the tokens of the source', () => {
    expect(rowsOfTokens(translator, span(0, 2))).toEqual(span(0, 2));
  });
  it('are painted on the words that they wrote', () => {
    const state = { ...kInitial, q: [span(3), span(6)] };
    expect(selectedTokens(translator, state)).toEqual([span(4)]); // the row after the end has no token
    const column = Float32Array.from([0, 0, 0, 0.1, 0.2, 0.3, 0.4]);
    expect([...movedToTokens(translator, column)].map((v) => Math.round(v * 10))).toEqual([0, 0, 0, 0, 1, 2, 3]);
  });
});

describe('rows of a continued text', () => {
  it('read the prompt and write the rest', () => {
    expect([0, 1, 2, 3].map((row) => rowName(generator, span(row)))).toEqual(['It', 'a', 'day', '(next)']);
    expect([0, 1, 2, 3].map((token) => rowOfToken(generator, token))).toEqual([0, 1, 1, 2]);
  });
  it('are walked through without a stop at the token that names none', () => {
    expect(tokenBefore(generator, 3)).toBe(2);
    expect(tokenBefore(generator, 2)).toBe(0);
    expect(rowsNamedBy(generator, span(1))).toEqual(span(1, 1));
  });
  it('have the names of all tokens when a span reaches from the prompt into the rest', () => {
    expect(tokensOfRows(generator, [span(0, 3)])).toEqual([span(0, 4)]);
    expect(rowsOfTokens(generator, span(0, 4))).toEqual(span(0, 3));
  });
});

describe('rows of a text that is read', () => {
  it('are named by their own tokens', () => {
    expect([0, 1, 2, 3].map((row) => tokenOfRow(reader, row))).toEqual([0, 1, 2, 3]);
    expect(rowsOfTokens(reader, span(1, 3))).toEqual(span(1, 3));
    expect(tokenBefore(reader, 2)).toBe(1);
  });
});
