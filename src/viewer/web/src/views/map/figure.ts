// The map as a figure: the rectangle that is seen, at the finest level that has at most 512 cells a side, exact where the source has its tiles.

import { type Context, absent, isShare, quoted } from '../../context';
import type { Axis, Exported, Matrix, Span } from '../../figure/figure';
import { cell as printCell, share, weight as printNumber } from '../../format';
import { type Pool, codesOf } from '../../paint/picture';
import { codeTable, kUnscored } from '../../source/frame';
import type { Badge, MapRequest, Picture } from '../../source/source';
import type { Rect } from '../../state';
import { kTile } from './store';

const kMostCells = 512; // on a side
const kMostLabels = 64;
const kMostNumbers = 24;

/** A rectangle's cells. */
interface Found {
  begin: { query: number; key: number };
  step: number;
  across: number; // weights a column; as many as a row, but about the diagonal
  rows: number;
  columns: number;
  values: Float32Array; // NaN hidden, −1 never scored
  error: number;
  badge: Badge;
}

export async function figureOfMap(
  ctx: Context,
  request: MapRequest,
  rect: Rect,
  pool: Pool,
  overview: Picture | null,
  says: string,
): Promise<Exported> {
  const found = absent(ctx, 'tile') ? fromOverview(overview, rect, pool) : await fromTiles(ctx, request, rect, pool);
  return { parts: [matrixOf(ctx, found, request.near?.back ?? null)], says, badge: found.badge };
}

function blank(rect: Rect, step: number, across: number): Found {
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

async function fromTiles(ctx: Context, request: MapRequest, rect: Rect, pool: Pool): Promise<Found> {
  const level = (count: number): number => Math.max(0, Math.ceil(Math.log2(count / kMostCells)));
  const [down, over] = [level(rect.q1 - rect.q0), level(rect.k1 - rect.k0)];
  const [z, columnZ] = request.near ? [down, over] : [Math.max(down, over), Math.max(down, over)];
  const found = blank(rect, 2 ** z, 2 ** columnZ);
  const [side, wide] = [kTile * found.step, kTile * found.across];
  const signal = ctx.life.signal;
  for (let y = Math.floor(found.begin.query / side); y * side < rect.q1; y++) {
    for (let x = Math.floor(found.begin.key / wide); x * wide < rect.k1; x++) {
      if (!request.near && ctx.family.causal && x > y) continue;
      if (z === 0 && columnZ === 0) {
        const cells = await ctx.source.cells(request, x, y, signal);
        found.error = Math.max(found.error, cells.error);
        if (cells.badge !== 'exact') found.badge = cells.badge;
        put(found, cells.queryBegin, cells.keyBegin, cells.rows, cells.columns, (i) => cells.values[i]);
      } else putPicture(found, await ctx.source.tile(request, z, x, y, signal, columnZ), pool);
    }
  }
  return found;
}

function fromOverview(overview: Picture | null, rect: Rect, pool: Pool): Found {
  if (!overview) throw new Error('the map is not there yet');
  const found = blank(rect, 2 ** overview.z, 2 ** (overview.columnZ ?? overview.z));
  putPicture(found, overview, pool);
  return found;
}

function putPicture(found: Found, picture: Picture, pool: Pool): void {
  const codes = pool === 'max' ? picture.maxCodes : picture.meanCodes;
  const table = codeTable(codes);
  table[kUnscored] = -1;
  const values = codesOf(picture, pool);
  found.error = Math.max(found.error, codes.error);
  if (picture.badge !== 'exact') found.badge = picture.badge;
  put(found, picture.queryBegin, picture.keyBegin, picture.rows, picture.columns, (i) => table[values[i]]);
}

function put(found: Found, query: number, key: number, rows: number, columns: number, at: (i: number) => number): void {
  const [top, left] = [Math.round((query - found.begin.query) / found.step), Math.round((key - found.begin.key) / found.across)];
  for (let r = Math.max(0, -top); r < rows && top + r < found.rows; r++)
    for (let c = Math.max(0, -left); c < columns && left + c < found.columns; c++)
      found.values[(top + r) * found.columns + left + c] = at(r * columns + c);
}

/** `back`: columns are key − query from −back on; null: keys. */
function matrixOf(ctx: Context, found: Found, back: number | null): Matrix {
  const state = ctx.store.now;
  const axis = (name: string, begin: number, count: number): Axis => ({
    name,
    count,
    labels:
      found.step === 1 && count <= kMostLabels
        ? Array.from({ length: count }, (_, i) => quoted(ctx, { begin: begin + i, end: begin + i + 1 }))
        : [],
    begin: Math.round(begin),
    step: found.step,
  });
  const cellsOf = (spans: readonly Span[], begin: number, count: number): Span[] =>
    spans
      .map((s) => ({
        begin: Math.max(0, Math.floor((s.begin - begin) / found.step)),
        end: Math.min(count, Math.ceil((s.end - begin) / found.step)),
      }))
      .filter((s) => s.begin < s.end);
  const offsets: Axis = {
    name: ctx.t('map.axes.offset'),
    count: found.columns,
    labels: [],
    begin: found.begin.key - (back ?? 0),
    step: found.across,
  };
  const sinks =
    back !== null
      ? []
      : [...new Set(ctx.family.sinks.map((s) => Math.floor((s - found.begin.key) / found.step)))].filter(
          (c) => c >= 0 && c < found.columns,
        );
  const skip = new Set(sinks);
  let most = 0;
  let all = 0;
  found.values.forEach((v, i) => {
    if (v > all) all = v;
    if (v > most && !skip.has(i % found.columns)) most = v;
  });
  const numbers = found.step === 1 && Math.max(found.rows, found.columns) <= kMostNumbers;
  const high = most || all;
  return {
    kind: 'matrix',
    rows: axis(ctx.t('lines.query'), found.begin.query, found.rows),
    columns: back === null ? axis(ctx.t('lines.key'), found.begin.key, found.columns) : offsets,
    values: found.values,
    most: high,
    scale: state.scale,
    texts: numbers ? Array.from(found.values, (v) => (v >= 0 ? printCell(v) : '')) : [],
    square: back === null && Math.max(ctx.family.query_range[1], ctx.family.key_range[1]) <= ctx.text.tokens,
    sinks,
    chosenRows: cellsOf(state.q, found.begin.query, found.rows),
    chosenColumns: back !== null ? [] : cellsOf(state.k, found.begin.key, found.columns),
    legend: {
      high: isShare(ctx) ? share(high, found.error > 0) : printNumber(high, found.error > 0),
      scale: ctx.t(`scale.${state.scale}`),
    },
  };
}
