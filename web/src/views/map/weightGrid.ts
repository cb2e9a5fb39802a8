// The weights of a rectangle of a map, at the finest level with at most 512 cells per side: single f32 weights if the source has tiles and
// the rectangle is small enough, else cells of its pictures.

import { type Context, type Numbers, unavailableReason } from '../../context';
import { type Pool, codesOf } from '../../paint/picture';
import { codeTable, kUnscored } from '../../source/frame';
import type { Badge, MapRequest, Picture, Span } from '../../source/source';
import type { Rect } from '../../state';
import { kTile } from './store';
import { type WordCells, isByWords, wordCellsOf } from './words';

const kMaxCells = 512; // cells per side

/** The cells of a rectangle, row-major. */
export interface WeightGrid {
  begin: { query: number; key: number };
  step: number;
  across: number; // weights per column; equal to `step`, except if columns are offsets
  rows: number;
  columns: number;
  values: Float32Array; // NaN: hidden, −1: never scored
  error: number; // largest absolute difference from f32
  badge: Badge;
  words?: { rows: readonly Span[]; columns: readonly Span[] }; // if a cell is the weight between two words
}

/** `overview`: the picture that the map shows already; used if the source has no tiles. */
export async function loadWeightGrid(
  ctx: Context,
  request: MapRequest,
  rect: Rect,
  pool: Pool,
  overview: Picture | null,
  words = true, // false: by token, whatever the page shows
): Promise<WeightGrid> {
  if (words && isByWords(ctx, ctx.store.now, Boolean(request.band)))
    return gridOfWords(await wordCellsOf(ctx, request, ctx.life.signal), rect);
  return unavailableReason(ctx, 'tile') ? gridOfPicture(overview, rect, pool) : fromTiles(ctx, request, rect, pool);
}

/** The words that a rectangle touches. */
function gridOfWords({ rows, columns, values, badge, error }: WordCells, rect: Rect): WeightGrid {
  const inside = (spans: readonly Span[], begin: number, end: number): number[] =>
    spans.flatMap((span, i) => (span.begin < end && begin < span.end ? [i] : []));
  const [down, across] = [inside(rows.spans, rect.q0, rect.q1), inside(columns.spans, rect.k0, rect.k1)];
  return {
    begin: { query: rows.spans[down[0]].begin, key: columns.spans[across[0]].begin },
    step: 1,
    across: 1,
    rows: down.length,
    columns: across.length,
    values: Float32Array.from(down.flatMap((r) => across.map((c) => values[r * columns.spans.length + c]))),
    error,
    badge,
    words: { rows: down.map((r) => rows.spans[r]), columns: across.map((c) => columns.spans[c]) },
  };
}

export const isOneByOne = (rect: Rect): boolean => Math.max(rect.q1 - rect.q0, rect.k1 - rect.k0) <= kMaxCells;

function emptyGrid(rect: Rect, step: number, across: number): WeightGrid {
  const [query, key] = [Math.floor(rect.q0 / step) * step, Math.floor(rect.k0 / across) * across];
  const [rows, columns] = [Math.ceil((rect.q1 - query) / step), Math.ceil((rect.k1 - key) / across)];
  return {
    begin: { query, key },
    step,
    across,
    rows,
    columns,
    values: new Float32Array(rows * columns).fill(NaN),
    error: 0,
    badge: 'exact',
  };
}

async function fromTiles(ctx: Context, request: MapRequest, rect: Rect, pool: Pool): Promise<WeightGrid> {
  const level = (count: number): number => Math.max(0, Math.ceil(Math.log2(count / kMaxCells)));
  const [down, over] = [level(rect.q1 - rect.q0), level(rect.k1 - rect.k0)];
  const [z, columnZ] = request.band ? [down, over] : [Math.max(down, over), Math.max(down, over)];
  const grid = emptyGrid(rect, 2 ** z, 2 ** columnZ);
  const [side, wide] = [kTile * grid.step, kTile * grid.across];
  const signal = ctx.life.signal;
  for (let y = Math.floor(grid.begin.query / side); y * side < rect.q1; y++) {
    for (let x = Math.floor(grid.begin.key / wide); x * wide < rect.k1; x++) {
      if (!request.band && ctx.family.causal && x > y) continue;
      if (z === 0 && columnZ === 0) {
        const cells = await ctx.source.cells(request, x, y, signal);
        grid.error = Math.max(grid.error, cells.error);
        if (cells.badge !== 'exact') grid.badge = cells.badge;
        put(grid, cells.queryBegin, cells.keyBegin, cells.rows, cells.columns, (i) => cells.values[i]);
      } else putPicture(grid, await ctx.source.tile(request, z, x, y, signal, columnZ), pool);
    }
  }
  return grid;
}

/** A rectangle of a picture, at the picture's cell size. */
export function gridOfPicture(picture: Picture | null, rect: Rect, pool: Pool): WeightGrid {
  if (!picture) throw new Error('the map is not there yet');
  const grid = emptyGrid(rect, 2 ** picture.z, 2 ** (picture.columnZ ?? picture.z));
  putPicture(grid, picture, pool);
  return grid;
}

function putPicture(grid: WeightGrid, picture: Picture, pool: Pool): void {
  const codes = pool === 'max' ? picture.maxCodes : picture.meanCodes;
  const table = codeTable(codes);
  table[kUnscored] = -1;
  const values = codesOf(picture, pool);
  grid.error = Math.max(grid.error, codes.error);
  if (picture.badge !== 'exact') grid.badge = picture.badge;
  put(grid, picture.queryBegin, picture.keyBegin, picture.rows, picture.columns, (i) => table[values[i]]);
}

function put(grid: WeightGrid, query: number, key: number, rows: number, columns: number, at: (i: number) => number): void {
  const [top, left] = [Math.round((query - grid.begin.query) / grid.step), Math.round((key - grid.begin.key) / grid.across)];
  for (let r = Math.max(0, -top); r < rows && top + r < grid.rows; r++)
    for (let c = Math.max(0, -left); c < columns && left + c < grid.columns; c++)
      grid.values[(top + r) * grid.columns + left + c] = at(r * columns + c);
}

/** The numbers of the visible part, by token as a server exports them: the largest weight and the mean of each cell. */
export async function numbersOf(ctx: Context, request: MapRequest, seen: Rect, overview: Picture | null): Promise<Numbers> {
  const [max, mean] = await Promise.all(
    (['max', 'mean'] as const).map((pool) => loadWeightGrid(ctx, request, seen, pool, overview, false)),
  );
  const { rows, columns, badge, error, step } = max;
  const plain = ({ values }: WeightGrid): (number | null)[] => Array.from(values, (v) => (Number.isNaN(v) ? null : v));
  const cells = { rows, columns, cell: step, max: plain(max), mean: plain(mean) };
  const rectangle = [seen.q0, seen.q1, seen.k0, seen.k1];
  return {
    json: { heads: [{ ...request.at, badge, error: Math.max(error, mean.error), rectangle, cells }] },
    rows: [max.values, mean.values],
    shape: [2, rows, columns],
  };
}
