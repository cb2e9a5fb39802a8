// The map as a figure: the visible rectangle, at the finest level with at most 512 cells per side, exact if the source has tiles.

import { type Context, isShare, quoted } from '../../context';
import type { Axis, Exported, Matrix, Span } from '../../figure/figure';
import { cell as printCell } from '../../format';
import type { Pool } from '../../paint/picture';
import type { MapRequest, Picture } from '../../source/source';
import type { Rect } from '../../state';
import { placeOfRow, rowName } from '../../rows';
import { legendOf } from '../../ui/legend';
import { type WeightGrid, loadWeightGrid } from './weightGrid';

const kMaxLabels = 64;
const kMaxNumbers = 24;

export async function figureOfMap(
  ctx: Context,
  request: MapRequest,
  rect: Rect,
  pool: Pool,
  overview: Picture | null,
  says: string,
): Promise<Exported> {
  const grid = await loadWeightGrid(ctx, request, rect, pool, overview);
  return { parts: [matrixOf(ctx, grid, request.band?.back ?? null)], description: says, badge: grid.badge };
}

/** `back`: columns are key − query, from −back on; null: columns are keys. */
function matrixOf(ctx: Context, grid: WeightGrid, back: number | null): Matrix {
  const state = ctx.store.now;
  const axis = (name: string, begin: number, count: number, isRows: boolean, words: readonly Span[] | undefined): Axis => ({
    name,
    count,
    labels:
      grid.step === 1 && count <= kMaxLabels
        ? Array.from({ length: count }, (_, i) => {
            const span = words?.[i] ?? { begin: begin + i, end: begin + i + 1 };
            return isRows ? rowName(ctx, span) : quoted(ctx, span);
          })
        : [],
    begin: isRows ? placeOfRow(ctx, Math.round(begin)) : Math.round(begin),
    step: grid.step,
  });
  const cellsOf = (spans: readonly Span[], begin: number, count: number, words: readonly Span[] | undefined): Span[] =>
    spans
      .map((s) =>
        words
          ? { begin: words.filter((w) => w.end <= s.begin).length, end: words.filter((w) => w.begin < s.end).length }
          : {
              begin: Math.max(0, Math.floor((s.begin - begin) / grid.step)),
              end: Math.min(count, Math.ceil((s.end - begin) / grid.step)),
            },
      )
      .filter((s) => s.begin < s.end);
  const offsets: Axis = {
    name: ctx.t('map.axes.offset'),
    count: grid.columns,
    labels: [],
    begin: grid.begin.key - (back ?? 0),
    step: grid.across,
  };
  const sinks =
    back !== null
      ? []
      : [
          ...new Set(
            cellsOf(
              ctx.family.sinks.map((s) => ({ begin: s, end: s + 1 })),
              grid.begin.key,
              grid.columns,
              grid.words?.columns,
            ).map(({ begin }) => begin),
          ),
        ];
  const skip = new Set(sinks);
  let max = 0;
  let all = 0;
  grid.values.forEach((v, i) => {
    if (v > all) all = v;
    if (v > max && !skip.has(i % grid.columns)) max = v;
  });
  const numbers = grid.step === 1 && Math.max(grid.rows, grid.columns) <= kMaxNumbers;
  const high = max || all;
  return {
    kind: 'matrix',
    rows: axis(ctx.t('lines.query'), grid.begin.query, grid.rows, true, grid.words?.rows),
    columns: back === null ? axis(ctx.t('lines.key'), grid.begin.key, grid.columns, false, grid.words?.columns) : offsets,
    values: grid.values,
    max: high,
    scale: state.scale,
    texts: numbers ? Array.from(grid.values, (v) => (v >= 0 ? printCell(v) : '')) : [],
    square: back === null && Math.max(ctx.family.query_range[1], ctx.family.key_range[1]) <= ctx.text.tokens,
    sinks,
    chosenRows: cellsOf(state.q, grid.begin.query, grid.rows, grid.words?.rows),
    chosenColumns: back !== null ? [] : cellsOf(state.k, grid.begin.key, grid.columns, grid.words?.columns),
    legend: legendOf(ctx, { max: high, scale: state.scale, isShare: isShare(ctx), approximate: grid.error > 0, largest: all }),
  };
}
