// Two maps of the same places as matrices of a figure: one matrix of their difference, or both maps, with the divergence of every row
// beside it.

import type { Context } from '../../context';
import type { Axis, Matrix, Table } from '../../figure/figure';
import { head as headName } from '../../format';
import type { HeadRanking } from '../../source/source';
import { legendOf } from '../../ui/legend';
import { type Pair, type PlaceNames, type Show, cellText, isInOneOnly } from './pairMap';
import { nats, rankedHeads } from './panels';

const kMaxLabels = 64;
const kMaxNumbers = 16;
const kHeads = 12;

export function matrixOfPair(
  ctx: Context,
  pair: Pair,
  show: Show,
  options: { places: PlaceNames; chosen: readonly number[]; bars: boolean },
): Matrix {
  const { t, store } = ctx;
  const signed = show === 'difference';
  const values = signed ? pair.changed.map((v, i) => (isInOneOnly(pair.before[i]) ? Infinity : v)) : pair[show];
  const { max } = pair;
  const { places } = options;
  const axis = (of: 'row' | 'key', begin: number, count: number): Axis => ({
    name: t(of === 'row' ? 'lines.query' : 'lines.key'),
    count,
    labels: pair.cell === 1 && count <= kMaxLabels ? Array.from({ length: count }, (_, i) => places[of](begin + i)) : [],
    begin,
    step: pair.cell,
  });
  const numbers = pair.cell === 1 && Math.max(pair.height, pair.width) <= kMaxNumbers;
  return {
    kind: 'matrix',
    rows: axis('row', pair.rows.begin, pair.height),
    columns: axis('key', pair.columns.begin, pair.width),
    values,
    max,
    scale: store.now.scale,
    texts: numbers ? Array.from(values, (v) => (Number.isFinite(v) && (signed || v >= 0) ? cellText(v, signed) : '')) : [],
    square: true,
    sinks: [],
    chosenRows: options.chosen
      .map((place) => Math.floor((place - pair.rows.begin) / pair.cell))
      .flatMap((r) => (r >= 0 && r < pair.height ? [{ begin: r, end: r + 1 }] : [])),
    chosenColumns: [],
    legend: legendOf(ctx, { max, scale: store.now.scale, isShare: true, approximate: pair.badge !== 'exact', signed }),
    signed,
    ...(options.bars ? { bars: { name: t('compare.bars'), values: pair.divergence, max: Math.LN2 } } : {}),
  };
}

/** A table of the heads that differ most. */
export const tableOfHeads = (ctx: Context, found: HeadRanking): Table => ({
  kind: 'table',
  head: ['', ctx.t('compare.head'), ctx.t('compare.bars')],
  rows: rankedHeads(found)
    .slice(0, kHeads)
    .map(({ at, value }, i) => [String(i + 1), headName(at), nats(value)]),
});
