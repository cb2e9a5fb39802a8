// The map of short texts between words: the weight of a pair of words is summed over the keys of one, and averaged over the rows of the
// other. Every pair of their tokens is painted with it, so that positions stay those of tokens.

import { type Context, type MapAxis, rangeOf, unavailableReason } from '../../context';
import { exactMatrix, poolMatrix } from '../../source/matrix';
import type { Badge, Cells, MapRequest, Span } from '../../source/source';
import type { State } from '../../state';
import { Entries, mergedCells } from '../lines/entries';
import { type MapSource, kTile } from './store';

/** The weights between words, row-major; NaN: hidden, −1: never scored. */
export interface WordCells {
  rows: Entries;
  columns: Entries;
  values: Float32Array;
  badge: Badge;
  error: number;
}

/** The token of a word that has its name and its number. */
export const middleOf = ({ begin, end }: Span): number => Math.floor((begin + end - 1) / 2);

type WordEntries = Record<MapAxis, Entries>;
const known = new WeakMap<Context, WordEntries>();

/** The words of both axes. */
function entriesOf(ctx: Context): WordEntries {
  let found = known.get(ctx);
  if (!found) {
    const of = (axis: MapAxis): Entries => Entries.of(ctx, axis, rangeOf(ctx.family, axis), true);
    known.set(ctx, (found = { query: of('query'), key: of('key') }));
  }
  return found;
}

/** The word of a row or key. */
export const wordAt = (ctx: Context, axis: MapAxis, id: number): Span => entriesOf(ctx)[axis].spanOf(id);

/** True if the map is by words: the page is, the source has the weights, the map is short enough to be read at once, and a word has
 * several tokens. */
export function isByWords(ctx: Context, state: State, isByOffset: boolean): boolean {
  const { query_range: q, key_range: k } = ctx.family;
  if (!state.words || isByOffset || Math.max(q[1], k[1]) > kTile || unavailableReason(ctx, 'tile')) return false;
  const { query, key } = entriesOf(ctx);
  return [...query.spans, ...key.spans].some(({ begin, end }) => end > begin + 1);
}

export async function wordCellsOf(ctx: Context, request: MapRequest, signal: AbortSignal): Promise<WordCells> {
  const part = await ctx.source.cells(request, 0, 0, signal);
  const { query: rows, key: columns } = entriesOf(ctx);
  const [merged] = mergedCells([part], { queries: rows.range, keys: columns.range }, rows, columns);
  const at = (row: Span, column: Span): number =>
    merged.values[(row.begin - merged.queryBegin) * merged.columns + column.begin - merged.keyBegin];
  const values = Float32Array.from(rows.spans.flatMap((row) => columns.spans.map((column) => at(row, column))));
  return { rows, columns, values, badge: merged.badge, error: merged.error };
}

/** The pictures of a map by words, and its numbers, each in the middle of its pair of words. */
export function wordSource(ctx: Context): MapSource {
  const painted = async (request: MapRequest, signal: AbortSignal, inMiddle: boolean): Promise<Cells> => {
    const { rows, columns, values, badge, error } = await wordCellsOf(ctx, request, signal);
    const [high, wide] = [rows.range.end, columns.range.end];
    const out = new Float32Array(high * wide).fill(NaN);
    const middle = (word: Span, id: number): boolean => !inMiddle || id === middleOf(word);
    rows.spans.forEach((row, r) =>
      columns.spans.forEach((column, c) => {
        for (let q = row.begin; q < row.end; q++)
          for (let k = column.begin; k < column.end; k++)
            if (middle(row, q) && middle(column, k)) out[q * wide + k] = values[r * columns.spans.length + c];
      }),
    );
    return { badge, error, queryBegin: 0, keyBegin: 0, rows: high, columns: wide, values: out };
  };
  return {
    cells: (request, _x, _y, signal) => painted(request, signal, true),
    tile: (request, z, x, y, signal) => ctx.source.tile(request, z, x, y, signal), // not asked for: one picture holds the whole map
    overview: async (request, onPicture, signal) => {
      const { rows, columns, values, error } = await painted(request, signal, false);
      onPicture(poolMatrix({ ...exactMatrix(values, rows, columns), error }, 0, { q0: 0, k0: 0 }, kTile));
    },
  };
}
