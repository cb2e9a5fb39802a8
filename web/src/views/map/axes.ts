// The axes of a map: queries down and keys across, or key − query across, where column 0 is −back. The latter is for attention near the
// diagonal: a window of 256 over 100,000 tokens is a readable band there, and a diagonal one pixel wide on the other axes.

import { bandOf } from '../../heads';
import { type Context, type MapAxis, quoted, unavailableReason } from '../../context';
import type { Family, Band, Picture } from '../../source/source';
import type { Rect, State } from '../../state';
import { middleOf, wordAt } from './words';
import { type CellShape, type MapScene, type Size, marginsAt } from '../../paint/mapRenderer';
import { rowName, rowOfToken, rowsOfSegments, tokenOfRow } from '../../rows';

const kDefaultReach = 256; // width of the band to each side, in tokens, if the layer has none of its own
const kLong = 4; // a text is long if it exceeds this many widths of the band
const kBands = 4; // the map by keys opens on this many widths of the band, if it is longer
const kMaxCell = 64; // CSS pixels of the largest cell
const kPad = 12;

const isShort = (band: Band, family: Family): boolean => kLong * (band.back + band.ahead + 1) < family.queries;

/**
 * The band of offsets that the map of a layer can show; null if queries and keys are not the same tokens. A source without tiles shows only
 * bands that are short compared with the text.
 */
export function availableBand(ctx: Context, layer: number): Band | null {
  const { family } = ctx;
  const same = family.query_range[0] === family.key_range[0] && family.query_range[1] === family.key_range[1];
  if (!same || family.query_range[0] !== 0) return null;
  const own = bandOf(family, layer);
  const band = own ? { back: own[0], ahead: own[1] } : { back: kDefaultReach, ahead: family.causal ? 0 : kDefaultReach };
  return unavailableReason(ctx, 'tile') && !(own && family.all_rows && isShort(band, family)) ? null : band;
}

/** The range of offsets that the map shows; null if its columns are keys. */
export function shownBand(ctx: Context, state: State): Band | null {
  const layer = state.heads[0]?.layer ?? 0;
  const band = availableBand(ctx, layer);
  if (!band || state.axes === 'key') return null;
  if (state.axes === 'offset') return band;
  return bandOf(ctx.family, layer) && isShort(band, ctx.family) ? band : null;
}

export const wholeOf = (band: Band, queries: number): Rect => ({ k0: 0, k1: band.back + band.ahead + 1, q0: 0, q1: queries });

const plotSize = (size: Size): { across: number; down: number } => {
  const { left, top } = marginsAt(0);
  return { across: size.width - left - kPad, down: size.height - top - kPad };
};

/** The cell shape with which a rectangle fills its frame both ways. */
export function cellOf(rect: Rect, size: Size): CellShape {
  const { across, down } = plotSize(size);
  return { wide: across / (rect.k1 - rect.k0) / (down / (rect.q1 - rect.q0)), tall: 1 };
}

/** Zooms about a place: first the rows, which are many; then also the columns, once cells are square. Null: the whole map. */
export function zoomed(rect: Rect, whole: Rect, size: Size, factor: number, centre: { query: number; column: number }): Rect | null {
  const { across, down } = plotSize(size);
  const fit = { across: across / (whole.k1 - whole.k0), down: down / (whole.q1 - whole.q0) };
  const next = Math.min(kMaxCell, (down / (rect.q1 - rect.q0)) * factor);
  if (next <= fit.down) return null;
  const interval = (begin: number, end: number, at: number, count: number, least: number, max: number): [number, number] => {
    const from = Math.max(least, Math.min(at - ((at - begin) / (end - begin)) * count, max - count));
    return [from, Math.min(max, from + count)];
  };
  const [q0, q1] = interval(rect.q0, rect.q1, centre.query, down / next, whole.q0, whole.q1);
  const columns = Math.min(whole.k1, across / Math.max(fit.across, next));
  const [k0, k1] = interval(rect.k0, rect.k1, centre.column, columns, whole.k0, whole.k1);
  return { q0, q1, k0, k1 };
}

/**
 * The part on which a map by keys opens if its queries see a band of keys: over a long text the band is a line too thin to read. Null: the
 * whole map.
 */
export function openingRect(ctx: Context, whole: Rect): Rect | null {
  const { family, store } = ctx;
  const { heads, q, k } = store.now;
  const band = bandOf(family, heads[0]?.layer ?? 0);
  const chosen = q[0] ?? k[0];
  if (!band || !chosen) return null;
  const [back, ahead] = band;
  const side = Math.max(64, kBands * (back + ahead + 1));
  const { q0, k0, q1, k1 } = whole;
  if (side >= Math.max(q1 - q0, k1 - k0)) return null;
  const begin = (middle: number, least: number, max: number): number =>
    Math.max(least, Math.min(Math.round(middle - side / 2), max - side));
  const rect = { q0: begin(chosen.begin, q0, q1), k0: begin(chosen.begin + (ahead - back) / 2, k0, k1) };
  return { ...rect, q1: rect.q0 + side, k1: rect.k0 + side };
}

/** The tile levels of rows and columns at which a cell is about one screen pixel; null if that is no finer than the overview. */
export function finerLevels(overview: Picture, down: number, across: number, ratio: number): [number, number] | null {
  const level = (pixels: number): number => Math.max(0, Math.round(Math.log2(1 / (pixels * ratio))));
  const z = level(down);
  if (overview.columnZ === undefined) return z < overview.z ? [z, z] : null;
  const columnZ = Math.min(overview.columnZ, level(across));
  return z < overview.z || columnZ < overview.columnZ ? [Math.min(z, overview.z), columnZ] : null;
}

/** The word of a token, in its middle; empty at its other tokens. */
function nameOfWord(ctx: Context, axis: MapAxis, id: number): string {
  const word = wordAt(ctx, axis, id);
  if (id !== middleOf(word)) return '';
  return axis === 'key' ? quoted(ctx, word) : rowName(ctx, word);
}

/** The names and ticks of both axes, and the segments of the rows. */
export const namesOfAxes = (
  ctx: Context,
  isByWords: boolean,
): Pick<MapScene, 'label' | 'tick' | 'rowLabel' | 'rowOfTick' | 'rowToken' | 'querySegments'> => ({
  label: (key) => (isByWords ? nameOfWord(ctx, 'key', key) : quoted(ctx, { begin: key, end: key + 1 })),
  tick: (token) => (ctx.text.itemsOf(token) ? ctx.text.label(token) : String(token)),
  rowLabel: (row) => (isByWords ? nameOfWord(ctx, 'query', row) : rowName(ctx, { begin: row, end: row + 1 })),
  rowOfTick: (token) => rowOfToken(ctx, token),
  rowToken: (row) => tokenOfRow(ctx, row),
  querySegments: rowsOfSegments(ctx, ctx.segments),
});
