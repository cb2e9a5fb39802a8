import { describe, expect, it } from 'vitest';
import type { Cells } from '../src/source/source';
import { curvesOf, kMaxCurves, kMaxTokens, stretchesOf } from '../src/views/lines/curves';
import { Entries, mergedCells } from '../src/views/lines/entries';

const cells = (values: number[], columns: number, queryBegin = 0, keyBegin = 0): Cells => ({
  badge: 'exact',
  error: 0,
  queryBegin,
  keyBegin,
  rows: values.length / columns,
  columns,
  values: Float32Array.from(values),
});

describe('stretches', () => {
  it('are a single one if the text fits', () => {
    expect(stretchesOf({ begin: 0, end: 300 }, { begin: 0, end: 12 }, 256)).toEqual([
      { queries: { begin: 0, end: 300 }, keys: { begin: 0, end: 12 } },
    ]);
  });
  it('cover two texts if rows and columns belong to different texts', () => {
    const two = { queries: { begin: 400, end: 420 }, keys: { begin: 0, end: 400 } };
    expect(stretchesOf(two.queries, { begin: 380, end: 400 }, 256)).toEqual([{ queries: two.queries, keys: { begin: 380, end: 400 } }]);
    expect(stretchesOf(two.queries, two.keys, 256)).toEqual([
      { queries: two.queries, keys: { begin: 0, end: 256 } },
      { queries: two.queries, keys: { begin: 256, end: 400 } },
    ]);
  });
  it('cover both columns, tile by tile, and never exceed the limit', () => {
    for (const [queries, keys] of [
      [301, 301],
      [1000, 1000],
      [40, 700],
      [900, 300],
    ]) {
      const found = stretchesOf({ begin: 0, end: queries }, { begin: 0, end: keys }, 256);
      for (const side of ['queries', 'keys'] as const) {
        const seen = new Set<number>();
        for (const s of found) {
          expect(s[side].end - s[side].begin).toBeLessThanOrEqual(kMaxTokens);
          expect(s[side].begin % 256).toBe(0);
          for (let i = s[side].begin; i < s[side].end; i++) seen.add(i);
        }
        expect(seen.size).toBe(side === 'queries' ? queries : keys);
      }
    }
  });
});

describe('curves', () => {
  const whole = stretchesOf({ begin: 0, end: 300 }, { begin: 0, end: 300 }, 256)[0];
  it('exclude hidden, unscored and faint weights, and are painted strongest last', () => {
    const { curves: found } = curvesOf([[cells([NaN, -1, 0, 0.5, 0.001, 0.4], 3)]], whole, [], 'linear');
    expect(found.map(({ query, key, head }) => [query, key, head])).toEqual([
      [1, 2, 0],
      [1, 0, 0],
    ]);
    expect(found.map((c) => c.strength)).toEqual([expect.closeTo(0.8, 5), 1]);
  });
  it('are scaled without the sinks, which are still drawn', () => {
    const { curves: found } = curvesOf([[cells([0.9, 0.05, 0.05], 3)]], whole, [0], 'linear');
    expect(found.map((c) => c.strength)).toEqual([1, 1, 1]);
    expect(found[2].key).toBe(0);
  });
  it('are collected from several tiles, within the stretch, with positions in the whole map', () => {
    const at = { queries: { begin: 256, end: 258 }, keys: { begin: 0, end: 2 } };
    const { curves: found } = curvesOf([[cells([0.1, 0.2, 0.3, 0.4], 2, 256, 0), cells([1, 1], 1, 256, 256)]], at, [], 'linear');
    expect(found.map((c) => [c.query, c.key])).toEqual([
      [256, 0],
      [256, 1],
      [257, 0],
      [257, 1],
    ]);
  });
  it('are limited to the heaviest', () => {
    const values = Array.from({ length: 60 * 60 }, (_, i) => 0.5 + (i % 997) / 2000);
    const { curves: found } = curvesOf([[cells(values, 60)]], whole, [], 'linear');
    expect(found).toHaveLength(kMaxCurves);
    const least = found.reduce((m, c) => Math.min(m, c.weight), 1);
    expect(values.filter((v) => Math.fround(v) > least).length).toBeLessThanOrEqual(kMaxCurves);
  });
  it('of each head are scaled separately, and the scales are returned', () => {
    const { curves, scales } = curvesOf([[cells([0.5, 0.75], 2)], [cells([0.25, 0.125], 2)]], whole, [1], 'linear');
    expect(curves.map((c) => [c.head, c.strength])).toContainEqual([1, 1]);
    expect(scales).toEqual([
      { max: 0.5, largest: 0.75 },
      { max: 0.25, largest: 0.25 },
    ]);
  });
});

describe('lines between words', () => {
  const entries = (...spans: [number, number][]): Entries => {
    const list = spans.map(([begin, end]) => ({ begin, end }));
    return new Entries({ begin: list[0].begin, end: list[list.length - 1].end }, list);
  };
  // Rows 4 and 5 are one word; keys 0 and 1 are one word, key 2 another.
  const [rows, columns] = [entries([4, 6], [6, 7]), entries([0, 2], [2, 3])];
  const stretch = { queries: { begin: 4, end: 7 }, keys: { begin: 0, end: 3 } };
  const cells = (keyBegin: number, columns: number, values: number[]): Cells =>
    ({ badge: 'exact', error: 0.001, queryBegin: 4, keyBegin, rows: 3, columns, values: Float32Array.from(values) }) as Cells;

  it('sum over the keys of a word, and are the mean over its rows', () => {
    const [merged] = mergedCells([cells(0, 2, [0.25, 0.25, 0.5, 0.25, 0, NaN]), cells(2, 1, [0.5, 0.25, 1])], stretch, rows, columns);
    const { curves } = curvesOf([[merged]], stretch, [], 'linear');
    const found = new Map(curves.map(({ query, key, weight }) => [`${query} → ${key}`, weight]));
    expect(found.get('4 → 0')).toBeCloseTo((0.5 + 0.75) / 2, 6);
    expect(found.get('4 → 2')).toBeCloseTo((0.5 + 0.25) / 2, 6);
    expect(found.get('6 → 2')).toBeCloseTo(1, 6);
    expect(found.size).toBe(3);
    expect(merged.error).toBeCloseTo(0.002, 6);
  });
  it('stand at the places of their words', () => {
    expect([4, 5, 6].map((id) => rows.placeOf(id))).toEqual([0, 0, 1]);
    expect([rows.placeOf(3), rows.placeOf(7)]).toEqual([-1, -1]);
    expect([...rows.touchedBy([{ begin: 5, end: 6 }])]).toEqual([4]);
    expect(rows.spanOf(5)).toEqual({ begin: 4, end: 6 });
  });
});
