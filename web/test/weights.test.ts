import { describe, expect, it } from 'vitest';
import { applySinkRule, intensity, largest, sumSpans, topK, topWords, wordAround, wordSpans } from '../src/weights';

describe('top-k', () => {
  it('orders by weight, ties to the earlier item, and agrees with a sort', () => {
    const values = Float32Array.from({ length: 500 }, (_, i) => ((i * 7919) % 97) / 97);
    const sorted = [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, 20);
    expect(topK(values, 20).map((t) => t.begin)).toEqual(sorted);
  });
  it('leaves out sinks and zeros', () => {
    expect(topK([0.5, 0, 0.3, 0.2], 4, [0])).toEqual([
      { begin: 2, end: 3, weight: 0.3 },
      { begin: 3, end: 4, weight: 0.2 },
    ]);
  });
});

describe('words', () => {
  const word = Int32Array.from([-1, 0, 0, 1, 2, 2, 2, -1]);
  it('are runs of one index; special tokens are separate', () => {
    expect(wordSpans(word)).toEqual([
      { begin: 0, end: 1 },
      { begin: 1, end: 3 },
      { begin: 3, end: 4 },
      { begin: 4, end: 7 },
      { begin: 7, end: 8 },
    ]);
    expect(wordSpans(Int32Array.from([-1, -1]))).toHaveLength(2);
    expect(wordAround(word, 5)).toEqual({ begin: 4, end: 7 });
    expect(wordAround(word, 0)).toEqual({ begin: 0, end: 1 });
  });
  it('sum the weights of their pieces, which keeps the sum of the row', () => {
    const values = Float32Array.from([0.1, 0.2, 0.2, 0.05, 0.1, 0.1, 0.15, 0.1]);
    const sums = sumSpans(values, wordSpans(word));
    expect(sums[1]).toBeCloseTo(0.4, 6);
    expect(sums.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    expect(topWords(values, wordSpans(word), 2).map(({ begin, end }) => [begin, end])).toEqual([
      [1, 3],
      [4, 7],
    ]);
  });
});

describe('sinks and scales', () => {
  it('renormalises to one without the sinks', () => {
    const { values, sinkMass } = applySinkRule(Float32Array.from([0.6, 0.3, 0.1]), [0], 'renorm');
    expect(sinkMass).toBeCloseTo(0.6, 6);
    expect([...values]).toEqual([0, expect.closeTo(0.75, 5), expect.closeTo(0.25, 5)]);
  });
  it('scales to the largest weight outside the sinks', () => {
    expect(largest([0.9, 0.04, 0.06], [0])).toBeCloseTo(0.06);
    expect(intensity(0.9, 0.06, 'linear')).toBe(1);
    expect(intensity(0.25, 1, 'sqrt')).toBe(0.5);
    expect(intensity(0.01, 1, 'log')).toBeCloseTo(0.5);
    expect(intensity(1e-9, 1, 'log')).toBe(0);
  });
});
