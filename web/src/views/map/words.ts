// The map of short texts between words: the weight of a pair of words is summed over the keys of one, and averaged over the rows of the
// other. Every pair of their tokens is painted with it, so that positions stay those of tokens.

import { type Context, unavailableReason } from '../../context';
import { exactMatrix, poolMatrix } from '../../source/matrix';
import type { Badge, Cells, MapRequest, Source, Span } from '../../source/source';
import type { State } from '../../state';
import { Entries } from '../lines/entries';
import { kTile } from './store';

/** What a map reads from a source. */
type MapSource = Pick<Source, 'overview' | 'tile' | 'cells'>;

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

const entriesOf = (ctx: Context): { rows: Entries; columns: Entries } => {
  const of = (side: 'query' | 'key', [begin, end]: [number, number]): Entries => Entries.of(ctx, side, { begin, end }, true);
  return { rows: of('query', ctx.family.query_range), columns: of('key', ctx.family.key_range) };
};

/** True if the map is by words: the page is, the source has the weights, the map is short enough to be read at once, and a word has
 * several tokens. */
export function isByWords(ctx: Context, state: State, isByOffset: boolean): boolean {
  const { query_range: q, key_range: k } = ctx.family;
  if (!state.words || isByOffset || Math.max(q[1], k[1]) > kTile || unavailableReason(ctx, 'tile')) return false;
  const { rows, columns } = entriesOf(ctx);
  return [...rows.spans, ...columns.spans].some(({ begin, end }) => end > begin + 1);
}

export async function wordCellsOf(ctx: Context, request: MapRequest, signal: AbortSignal): Promise<WordCells> {
  const part = await ctx.source.cells(request, 0, 0, signal);
  const { rows, columns } = entriesOf(ctx);
  const values = new Float32Array(rows.spans.length * columns.spans.length).fill(NaN);
  rows.spans.forEach((row, r) =>
    columns.spans.forEach((column, c) => {
      let [sum, seen] = [0, NaN];
      for (let q = row.begin; q < row.end; q++) {
        for (let k = column.begin; k < column.end; k++) {
          const value = part.values[(q - part.queryBegin) * part.columns + k - part.keyBegin];
          if (value >= 0) sum += value;
          if (!Number.isNaN(value) && !(seen >= value)) seen = value;
        }
      }
      values[r * columns.spans.length + c] = seen >= 0 ? sum / (row.end - row.begin) : seen;
    }),
  );
  const longest = columns.spans.reduce((most, { begin, end }) => Math.max(most, end - begin), 1);
  return { rows, columns, values, badge: part.badge, error: longest * part.error };
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
