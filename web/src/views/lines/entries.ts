// The entries of a column: tokens (or items), or whole words. An entry is a span of ids and is known by its first id.

import type { Context, MapAxis } from '../../context';
import type { Cells, Span } from '../../source/source';
import { spansOfWords } from '../read/top';
import type { Stretch } from './curves';

export class Entries {
  private readonly index: Int32Array; // of the entry of each id, from `range.begin` on

  constructor(
    readonly range: Span,
    readonly spans: readonly Span[],
  ) {
    this.index = new Int32Array(range.end - range.begin).fill(-1);
    spans.forEach(({ begin, end }, i) => this.index.fill(i, begin - range.begin, end - range.begin));
  }

  /** The entries of a stretch of the rows or keys: its ids one by one, or its words. A word that crosses its border is cut there. */
  static of(ctx: Context, side: MapAxis, range: Span, words: boolean): Entries {
    if (!words)
      return new Entries(
        range,
        Array.from({ length: range.end - range.begin }, (_, i) => ({ begin: range.begin + i, end: range.begin + i + 1 })),
      );
    const spans = spansOfWords(ctx, side).map(({ begin, end }) => ({ begin: Math.max(begin, range.begin), end: Math.min(end, range.end) }));
    return new Entries(
      range,
      spans.filter(({ begin, end }) => begin < end),
    );
  }

  /** The place of the entry that contains an id; −1 outside the range. */
  placeOf(id: number): number {
    return this.index[id - this.range.begin] ?? -1;
  }

  spanOf(id: number): Span {
    return this.spans[this.placeOf(id)] ?? { begin: id, end: id + 1 };
  }

  /** The first ids of the entries that spans touch. */
  touchedBy(spans: readonly Span[]): Set<number> {
    const touched = this.spans.filter((own) => spans.some((s) => s.begin < own.end && own.begin < s.end));
    return new Set(touched.map(({ begin }) => begin));
  }
}

/**
 * The weights between entries: the sum over the keys of an entry, and its mean over the rows of an entry. Each stands in the row and the
 * column of the entries' first ids; all others are hidden. −1: no pair of the entries was scored.
 */
export function mergedCells(parts: readonly Cells[], { queries, keys }: Stretch, rows: Entries, columns: Entries): Cells[] {
  if (parts.length === 0) return [];
  const width = keys.end - keys.begin;
  const values = new Float32Array((queries.end - queries.begin) * width).fill(NaN);
  for (const part of parts) {
    for (let r = Math.max(0, queries.begin - part.queryBegin); r < part.rows && part.queryBegin + r < queries.end; r++) {
      const row = rows.spans[rows.placeOf(part.queryBegin + r)];
      if (!row) continue;
      for (let c = Math.max(0, keys.begin - part.keyBegin); c < part.columns && part.keyBegin + c < keys.end; c++) {
        const value = part.values[r * part.columns + c];
        const column = columns.spans[columns.placeOf(part.keyBegin + c)];
        if (Number.isNaN(value) || !column) continue;
        const at = (row.begin - queries.begin) * width + column.begin - keys.begin;
        if (value >= 0) values[at] = Math.max(0, values[at] || 0) + value / (row.end - row.begin);
        else if (Number.isNaN(values[at])) values[at] = value; // never scored
      }
    }
  }
  const longest = columns.spans.reduce((most, { begin, end }) => Math.max(most, end - begin), 1);
  const error = longest * Math.max(...parts.map((part) => part.error));
  return [
    { ...parts[0], queryBegin: queries.begin, keyBegin: keys.begin, rows: queries.end - queries.begin, columns: width, values, error },
  ];
}
