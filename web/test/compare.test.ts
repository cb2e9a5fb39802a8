// Alignment of two texts and comparison of two maps. tests/viewer/compare_test.cc tests the same of the engine.

import { describe, expect, it } from 'vitest';
import { type TokenizedText, alignTexts, longestCommonSubsequence, mergedOrder } from '../src/source/alignment';
import { compareMaps, jensenShannon, meanDivergence } from '../src/source/compare';
import { exactMatrix } from '../src/source/matrix';
import type { MapComparison, Family, Info, Items, Alignment } from '../src/source/source';
import { formatState, kInitial, parseState } from '../src/state';
import { choiceOf, familiesFor, otherHead, formatNamedHead } from '../src/views/compare/choice';
import { changeAt, largestChanges, largestRows, pairOf } from '../src/views/compare/pairMap';

/** The tokens of a text, one after the other; special tokens are given in brackets. */
function textOf(text: string, tokens: string[]): TokenizedText {
  const [begin, end, flags]: [number[], number[], number[]] = [[], [], []];
  const special: Info['special'] = {};
  let at = 0;
  tokens.forEach((token, i) => {
    const named = token.startsWith('[');
    begin.push(at);
    at += named ? 0 : token.length;
    end.push(at);
    flags.push(named ? 1 : 0);
    if (named) special[String(i)] = token;
  });
  const data = {
    bytes: new TextEncoder().encode(text),
    byteBegin: 0,
    begin: Uint32Array.from(begin),
    end: Uint32Array.from(end),
    id: Int32Array.from(tokens.keys()),
    word: Int32Array.from(tokens.keys()),
    flags: Uint8Array.from(flags),
    items: [] as Items[],
  };
  return { data, special };
}

const pairs = ({ before, after }: Pick<Alignment, 'before' | 'after'>): [number, number][] =>
  Array.from(before, (b, i): [number, number] => [b, after[i]]).filter(([b, a]) => b >= 0 && a >= 0);

describe('two texts', () => {
  it('are the same if their tokens are the same', () => {
    const text = textOf('a b', ['a', ' b']);
    expect(alignTexts(text, text)).toMatchObject({ method: 'same', before: Int32Array.from([0, 1]), after: Int32Array.from([0, 1]) });
  });
  it('tokenized differently are aligned by characters only', () => {
    const one = textOf('the unhappy cats sat', ['the', ' unhappy', ' cats', ' sat']);
    const two = textOf('the unhappy cats sat', ['[CLS]', 'the', ' ', 'un', 'happy', ' ', 'cat', 's', ' ', 'sat', '[SEP]']);
    const found = alignTexts(one, two);
    expect(found.method).toBe('offsets');
    expect(pairs(found)).toEqual([
      [0, 1],
      [3, 9],
    ]);
  });
  it('share special tokens of the same name', () => {
    const [one, two] = [textOf('a b', ['[CLS]', 'a', ' b', '[SEP]']), textOf('a b', ['[CLS]', 'a ', 'b', '[END]'])];
    expect(pairs(alignTexts(one, two))).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
  });
  it('are aligned by a diff of their tokens, merged into one order', () => {
    const found = alignTexts(
      textOf('the cat sat', ['the', ' cat', ' sat']),
      textOf('then the dog sat', ['then', ' ', 'the', ' dog', ' sat']),
    );
    expect(found.method).toBe('texts');
    expect([...found.before]).toEqual([-1, -1, 0, 1, -1, 2]);
    expect([...found.after]).toEqual([0, 1, 2, -1, 3, 4]);
  });
  it('have a longest common subsequence', () => {
    let state = 12345;
    const next = (below: number): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % below;
    for (let trial = 0; trial < 200; trial++) {
      const [a, b] = [0, 1].map(() => Array.from({ length: next(25) }, () => 'vwxyz'[next(5)]));
      const table = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
      for (let i = a.length; i-- > 0; )
        for (let j = b.length; j-- > 0; )
          table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
      const found = longestCommonSubsequence(a, b) ?? [];
      expect(found.length, `${a.join('')} ${b.join('')}`).toBe(table[0][0]);
      found.forEach(([i, j], at) => {
        expect(a[i]).toBe(b[j]);
        if (at > 0) expect(i > found[at - 1][0] && j > found[at - 1][1]).toBe(true);
      });
    }
  });
  it('have no computed subsequence if they differ too much', () => {
    const far = Array.from({ length: 4200 }, (_, i) => `b${i}`);
    expect(
      longestCommonSubsequence(
        far,
        far.map((one) => `x${one}`),
      ),
    ).toBeNull();
  });
});

const family = (count: number): Family => ({ query_range: [0, count], key_range: [0, count] }) as unknown as Family;
const completeMap = (values: number[], count: number) => ({
  matrix: exactMatrix(Float32Array.from(values), count, count),
  family: family(count),
});

describe('two maps', () => {
  const before = completeMap([1, NaN, 0.25, 0.75], 2);
  const after = completeMap([1, NaN, NaN, 0.5, 0.5, NaN, NaN, 0.4, 0.6], 3);
  const alignment: Alignment = {
    method: 'texts',
    whole: true,
    ...mergedOrder(
      [
        [0, 0],
        [1, 2],
      ],
      2,
      3,
    ),
  };
  const pair = pairOf(compareMaps(before, after, alignment, { rows: null, columns: null }));

  it('are compared at shared pairs; pairs that exist in one map only are hatched', () => {
    expect([...pair.before]).toEqual([1, -1, NaN, -1, -1, -1, 0.25, -1, 0.75]);
    expect(pair.changed[0]).toBe(0);
    expect(pair.changed[1]).toBeNaN(); // key 1 exists in the second text only
    expect(pair.changed[3]).toBeNaN(); // so does row 1
    expect(pair.changed[6]).toBeCloseTo(-0.25, 6); // hidden now
    expect(pair.changed[8]).toBeCloseTo(-0.15, 6);
    expect(largestChanges(pair, 1)[0]).toMatchObject({ row: 2, key: 0 });
    expect(changeAt(pair, 1).before).toBeNaN();
  });
  it('have a divergence per row, over the shared keys and all other keys as one', () => {
    expect(pair.divergence[0]).toBe(0);
    expect(pair.divergence[1]).toBeNaN();
    expect(pair.divergence[2]).toBeCloseTo(jensenShannon([0.25, 0.75, 0], [0, 0.6, 0.4]), 6);
    expect(largestRows(pair, 5)).toEqual([{ row: 2, divergence: pair.divergence[2] }]);
    const { mean, rows } = meanDivergence(before, after, alignment);
    expect([mean, rows]).toEqual([jensenShannon([0.25, 0.75, 0], [0, 0.6, 0.4].map(Math.fround)) / 2, 2]);
  });
  it('that are equal have no difference', () => {
    const own: Alignment = {
      ...alignment,
      ...mergedOrder(
        [0, 1, 2].map((i): [number, number] => [i, i]),
        3,
        3,
      ),
    };
    const same = pairOf(compareMaps(after, after, own, { rows: null, columns: null }));
    expect([...same.divergence]).toEqual([0, 0, 0]);
    expect([...same.changed].filter((v) => v !== 0 && !Number.isNaN(v))).toEqual([]);
  });
  it('of long texts are pooled: a cell is the mean of its pairs, a divergence the mean of its rows', () => {
    const n = 300;
    const values = (shift: number): number[] => Array.from({ length: n * n }, (_, i) => (1 + ((i * 7 + shift) % 13)) / (7 * n));
    const own: Alignment = {
      ...alignment,
      ...mergedOrder(
        Array.from({ length: n }, (_, i): [number, number] => [i, i]),
        n,
        n,
      ),
    };
    const [a, b] = [completeMap(values(0), n), completeMap(values(5), n)];
    const all: MapComparison = compareMaps(a, b, own, { rows: null, columns: null });
    const part = compareMaps(a, b, own, { rows: { begin: 2, end: 4 }, columns: { begin: 4, end: 6 } });
    expect([all.z, part.z]).toEqual([1, 0]);
    expect(all.after[1 * 150 + 2]).toBeCloseTo((part.after[0] + part.after[1] + part.after[2] + part.after[3]) / 4, 8);
    expect(all.divergence[1]).toBeCloseTo((part.divergence[0] + part.divergence[1]) / 2, 7);
  });
});

describe('the other side of a comparison', () => {
  const dec = { id: 'dec', kind: 'decoder', layers: 2, heads: 4, query_range: [0, 9], key_range: [0, 9] } as unknown as Family;
  const cross = { ...dec, id: 'cross', kind: 'cross', key_range: [9, 12] } as unknown as Family;
  const front = { family: 'dec', layer: 1, head: 3 };
  const others = [{ step: 3, name: 'three' }];
  it('is stored in the address', () => {
    const text = formatState({ ...kInitial, view: 'compare', compareWith: 't3', compareHead: 'cross.1.2', compareShow: 'sides' });
    expect(parseState(text)).toMatchObject({ view: 'compare', compareWith: 't3', compareHead: 'cross.1.2', compareShow: 'sides' });
    expect(formatState({ ...kInitial, view: 'compare' })).toBe('v=compare');
  });
  it('is by default another trace if there is one, else another head; unknown traces are ignored', () => {
    const choice = (versus: string, edit = '', list = others) => choiceOf({ compareWith: versus, edit }, list);
    expect(choice('')).toEqual({ kind: 'trace', step: 3 });
    expect(choice('', '', [])).toEqual({ kind: 'head' });
    expect(choice('t4')).toEqual({ kind: 'head' });
    expect(choice('edit')).toEqual({ kind: 'head' });
    expect(choice('edit', 'c~1-2')).toEqual({ kind: 'edit' });
  });
  it('has a head: that of the address, else the second pinned one, else the next; in another trace that of the same number', () => {
    const at = (to: string, heads: { layer: number; head: number }[] = [], same = true) =>
      otherHead({ compareHead: to, heads }, front, [dec], same);
    expect(at('0.2')).toEqual({ family: 'dec', layer: 0, head: 2 });
    expect(at('7.2')).toEqual({ family: 'dec', layer: 1, head: 0 });
    expect(at('', [front, { layer: 0, head: 1 }])).toEqual({ family: 'dec', layer: 0, head: 1 });
    expect(at('', [], false)).toEqual(front);
    expect(formatNamedHead({ ...front, family: 'cross' }, 'dec')).toBe('cross.1.3');
  });
  it('has the same rows and columns within a trace', () => {
    const info = { families: [dec, cross] } as unknown as Info;
    expect(familiesFor(dec, info, true)).toEqual([dec]);
    expect(familiesFor(cross, info, false)).toEqual([cross]);
  });
});
