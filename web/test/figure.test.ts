// Figures: the layout equals that of the engine (tests/viewer/figure_test.cc compares with the same files); text survives in each format.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Drawing, fitted, hasPictures, svg, textWidth, tikz } from '../src/figure/drawing';
import { type Figure, draw, kWidths } from '../src/figure/figure';

const kGoldens = new URL('../../tests/goldens/figures/', import.meta.url);
const noPictures = (): string => {
  throw new Error('this figure has no picture');
};

const about = { name: 'known answers L0.H1', command: "clearhead show known 'a < b & c' --head L0.H1" };

const figures: Record<string, Figure> = {
  matrix: {
    ...about,
    caption: 'Queries down, keys across; grey where nothing was scored. known answers · dec L0.H1 · raw weights, √ scale · exact',
    parts: [
      {
        kind: 'matrix',
        rows: { name: 'query', count: 3, labels: ['The', 'cat', 'sat <'], begin: 0, step: 1 },
        columns: { name: 'key', count: 4, labels: ['[CLS]', 'The', 'cat', 'sat <'], begin: 0, step: 1 },
        values: [0.5, NaN, NaN, NaN, 0.25, 0.5, NaN, -1, 0.1, 0.2, 0.3, 0.4],
        max: 0.5,
        scale: 'sqrt',
        texts: ['.500', '', '', '', '.250', '.500', '', '', '.100', '.200', '.300', '.400'],
        square: true,
        sinks: [0],
        chosenRows: [{ begin: 1, end: 2 }],
        chosenColumns: [{ begin: 2, end: 3 }],
        legend: { low: '0', middle: '12.50 %', high: '≥ 50.00 %', scale: 'square root scale' },
      },
      {
        kind: 'matrix',
        rows: { name: '', count: 6, labels: [], begin: 0, step: 64 },
        columns: { name: 'key − query', count: 14, labels: [], begin: -420, step: 32 },
        values: Array.from({ length: 84 }, (_, i) => ((i * 37) % 101) / 101),
        max: 1,
        scale: 'log',
        texts: [],
        square: false,
        sinks: [],
        chosenRows: [],
        chosenColumns: [],
        legend: { low: '≤ 0.01 %', middle: '1.00 %', high: '100.00 %', scale: 'log scale' },
      },
    ],
  },
  lines: {
    ...about,
    caption: 'Two heads.',
    parts: [
      {
        kind: 'lines',
        queryName: 'query',
        keyName: 'key',
        queries: ['das', 'Haus'],
        keys: ['the', 'house', '東京'],
        lines: [
          { query: 0, key: 1, strength: 0.1, head: 1, standsOut: false },
          { query: 1, key: 1, strength: 0.75, head: 0, standsOut: true },
          { query: 1, key: 2, strength: 1, head: 1, standsOut: true },
        ],
        chosen: [1],
        asksKeys: false,
        strengths: [0, 0.75, 0.3],
        shares: ['', '56 %', ''],
        heads: [
          { low: '0', middle: '37.50 %', high: '75.00 %', scale: 'linear scale', name: 'L0.H1' },
          { low: '≤ 0.00162 %', middle: '0.162 %', high: '≥ 16.20 %', scale: 'square root scale', name: 'L10.H10' },
        ],
      },
    ],
  },
  words: {
    ...about,
    caption: 'A row and its heaviest tokens, in a caption that is long enough to be broken over more than one line of a column of 84 mm.',
    parts: [
      {
        kind: 'words',
        title: 'A title',
        words: [
          { text: '[CLS]', gap: 'space', strength: 0.9, sink: true, special: true },
          { text: 'Light', gap: 'space', strength: 0.2, bars: [0.2, 0.9] },
          { text: 'house', gap: 'none', strength: 0.6, share: '12 %', bars: [0.6, 0] },
          { text: '.', gap: 'none', strength: 0 },
          { text: 'it', gap: 'line', strength: NaN, chosen: true },
          { text: 'שלום', gap: 'line', strength: 0.4 },
          { text: 'עולם', gap: 'space', strength: 0.1, hidden: true },
          ...Array.from({ length: 30 }, (_, i) => ({ text: `word${i}`, gap: 'space' as const, strength: i / 30 })),
        ],
        legend: { low: '0', middle: '5.00 %', high: '20.00 %', scale: 'square root scale' },
        bars: ['L0.H1: bars to 20.00 %', 'L1.H0: bars to 4.30 %'],
      },
      {
        kind: 'table',
        head: ['', 'token', 'context'],
        rows: [
          ['12 %', '#2 house', 'a light house by the sea, seen from very far away on clear nights'],
          ['9.0 %', '#0 [CLS]', ''],
        ],
      },
    ],
  },
};

describe('figures', () => {
  for (const [name, figure] of Object.entries(figures)) {
    it(`of ${name} are drawn as the engine draws them`, () => {
      const drawing = draw(figure, kWidths.column);
      for (const [file, text] of [
        [`${name}.svg`, svg(drawing, noPictures)],
        [`${name}.tex`, tikz(drawing)],
      ]) {
        const golden = new URL(file, kGoldens);
        if (process.env['CLEARHEAD_WRITE_GOLDENS'] === '1') writeFileSync(golden, text);
        expect(existsSync(golden), file).toBe(true);
        expect(text).toBe(readFileSync(golden, 'utf8'));
      }
    });
    it(`of ${name} have no text smaller than 8 points, and none outside the page`, () => {
      for (const width of [kWidths.column, kWidths.page]) {
        const drawing = draw(figure, width);
        for (const mark of drawing.marks) {
          if (mark.kind !== 'text') continue;
          const size = mark.size ?? 8;
          expect(size).toBeGreaterThanOrEqual(8);
          if (mark.turn) continue;
          const wide = textWidth(mark.text, size);
          const left = mark.x - (mark.anchor === 'middle' ? wide / 2 : mark.anchor === 'end' ? wide : 0);
          expect(left, mark.text).toBeGreaterThanOrEqual(-0.01);
          expect(left + wide, mark.text).toBeLessThanOrEqual(drawing.width + 0.01);
          expect(mark.y).toBeLessThanOrEqual(drawing.height);
        }
      }
    });
  }

  it('keep text as text, whatever characters it contains', () => {
    const text = 'a <b> & "c" \u0000\ud800 100 % {x}_y^z\\ 東京';
    const d: Drawing = { width: 100, height: 20, title: text, description: text, marks: [{ kind: 'text', x: 0, y: 10, text }] };
    const made = svg(d, noPictures);
    expect(made).toContain('>a &lt;b&gt; &amp; "c" \ufffd\ufffd 100 % {x}_y^z\\ 東京</text>');
    expect(tikz(d)).toContain('{a \\textless{}b\\textgreater{} \\& \\textquotedbl{}c\\textquotedbl{}');
    expect(tikz(d)).toContain('100 \\% \\{x\\}\\_y\\textasciicircum{}z\\textbackslash{} 東京');
  });

  it('truncate a label between characters and mark the truncation', () => {
    expect(fitted('short', 100, 8)).toBe('short');
    const cut = fitted('東京'.repeat(20), 60, 8);
    expect(cut.endsWith('…')).toBe(true);
    expect(textWidth(cut, 8)).toBeLessThanOrEqual(60);
  });

  it('with more than 64 × 64 cells draw them as one picture; labels remain text', () => {
    const count = 100;
    const axis = { name: 'key', count, labels: [], begin: 0, step: 1 };
    const drawing = draw(
      {
        ...about,
        caption: '',
        parts: [
          {
            kind: 'matrix',
            rows: { ...axis, name: 'query' },
            columns: axis,
            values: new Float32Array(count * count).fill(0.5),
            max: 1,
            scale: 'linear',
            texts: [],
            square: true,
            sinks: [],
            chosenRows: [],
            chosenColumns: [],
            legend: null,
          },
        ],
      },
      kWidths.page,
    );
    expect(hasPictures(drawing)).toBe(true);
    expect(drawing.marks.filter((m) => m.kind === 'pixels').length).toBe(1);
    expect(drawing.marks.some((m) => m.kind === 'text' && m.text === '50')).toBe(true);
  });
});
