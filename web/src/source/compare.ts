// Compares two complete maps of an offline page, as src/viewer/questions/compare.cc does on a server.
//
//   JS(p, q) = ½ Σ p ln(2p/(p + q)) + ½ Σ q ln(2q/(p + q))    over the shared keys and all other keys as one more, in nats

import { type Matrix, badgeOf } from './matrix';
import type { Badge, MapComparison, Family, HeadId, Alignment, HeadRanking, Span } from './source';

const kSide = 256;

export interface CompleteMap {
  matrix: Matrix;
  family: Family;
}

const weight = (m: Matrix, i: number): number => {
  const value = m.at(i);
  return value > 0 ? value : 0;
};

/** Jensen–Shannon divergence of two lists of shares, each divided by its sum; NaN if a sum is zero. */
export function jensenShannon(p: readonly number[], q: readonly number[]): number {
  const [a, b] = [p, q].map((list) => list.reduce((sum, v) => sum + v, 0));
  if (a === 0 || b === 0) return NaN;
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const [x, y] = [p[i] / a, q[i] / b];
    if (x > 0) sum += (x * Math.log((2 * x) / (x + y))) / 2;
    if (y > 0) sum += (y * Math.log((2 * y) / (x + y))) / 2;
  }
  return Math.min(Math.LN2, Math.max(0, sum));
}

/** The weights at the shared keys, followed by the sum of all other weights. */
function sharedRow(m: Matrix, row: number, keys: readonly number[]): number[] {
  const out: number[] = [];
  let rest = 0;
  for (let k = 0; k < m.keys; k++) rest += weight(m, row * m.keys + k);
  for (const k of keys) {
    const value = weight(m, row * m.keys + k);
    out.push(value);
    rest -= value;
  }
  return [...out, Math.max(0, rest)];
}

interface Shared {
  before: number[];
  after: number[];
}

/** The ids that both maps share, as keys and as rows. */
function sharedIds(before: CompleteMap, after: CompleteMap, alignment: Alignment): { keys: Shared; rows: Shared } {
  const both = (b0: number, b1: number, a0: number, a1: number): Shared => {
    const out: Shared = { before: [], after: [] };
    alignment.before.forEach((b, place) => {
      const a = alignment.after[place];
      if (b < b0 || b >= b1 || a < a0 || a >= a1) return;
      out.before.push(b);
      out.after.push(a);
    });
    return out;
  };
  return {
    keys: both(0, before.matrix.keys, 0, after.matrix.keys),
    rows: both(...before.family.query_range, ...after.family.query_range),
  };
}

const divergenceOfRow = (before: Matrix, after: Matrix, keys: Shared, b: number, a: number): number =>
  jensenShannon(sharedRow(before, b, keys.before), sharedRow(after, a, keys.after));

/** Mean divergence over the shared rows; NaN if there is none. */
export function meanDivergence(before: CompleteMap, after: CompleteMap, alignment: Alignment): { mean: number; rows: number } {
  const { keys, rows } = sharedIds(before, after, alignment);
  let [sum, count] = [0, 0];
  rows.before.forEach((b, i) => {
    const found = divergenceOfRow(before.matrix, after.matrix, keys, b, rows.after[i]);
    if (Number.isNaN(found)) return;
    sum += found;
    count++;
  });
  return { mean: count ? sum / count : NaN, rows: rows.before.length };
}

/** The range of places from the first to the last that either family has. */
function rangeOf(alignment: Alignment, before: [number, number], after: [number, number]): Span {
  const has = ([begin, end]: [number, number], id: number): boolean => id >= begin && id < end;
  const inside = Array.from(alignment.before.keys()).filter((p) => has(before, alignment.before[p]) || has(after, alignment.after[p]));
  return { begin: inside[0] ?? 0, end: (inside[inside.length - 1] ?? -1) + 1 };
}

export function compareMaps(
  before: CompleteMap,
  after: CompleteMap,
  alignment: Alignment,
  wanted: { rows: Span | null; columns: Span | null },
): MapComparison {
  const rows = wanted.rows ?? rangeOf(alignment, before.family.query_range, after.family.query_range);
  const columns = wanted.columns ?? rangeOf(alignment, before.family.key_range, after.family.key_range);
  let z = 0;
  while (Math.max(rows.end - rows.begin, columns.end - columns.begin) > kSide << z) z++;
  const cells = (s: Span): number => Math.ceil((s.end - s.begin) / (1 << z));
  const [down, across] = [cells(rows), cells(columns)];
  const inBoth = (place: number): boolean => alignment.before[place] >= 0 && alignment.after[place] >= 0;
  const seen = new Float64Array(down * across);
  const counts = [new Float64Array(down * across), new Float64Array(down * across)];
  const sums = [new Float64Array(down * across), new Float64Array(down * across)];
  const shared = new Uint8Array(down * across);
  const divergence = new Float64Array(down);
  const counted = new Float64Array(down);
  const { keys } = sharedIds(before, after, alignment);
  for (let p = rows.begin; p < rows.end; p++) {
    if (!inBoth(p)) continue;
    const r = (p - rows.begin) >> z;
    const [b, a] = [alignment.before[p], alignment.after[p]];
    for (let q = columns.begin; q < columns.end; q++) {
      if (!inBoth(q)) continue;
      const at = r * across + ((q - columns.begin) >> z);
      shared[at] = 1;
      const values = [
        before.matrix.at(b * before.matrix.keys + alignment.before[q]),
        after.matrix.at(a * after.matrix.keys + alignment.after[q]),
      ];
      if (!values.some((v) => v >= 0)) continue;
      seen[at]++;
      values.forEach((v, side) => {
        if (!(v >= 0)) return;
        counts[side][at]++;
        sums[side][at] += v;
      });
    }
    const found = divergenceOfRow(before.matrix, after.matrix, keys, b, a);
    if (Number.isNaN(found)) continue;
    divergence[r] += found;
    counted[r]++;
  }
  const means = (side: number): Float32Array =>
    Float32Array.from(sums[side], (sum, i) => (counts[side][i] > 0 ? sum / seen[i] : shared[i] ? NaN : -1));
  const [total, count] = [divergence, counted].map((list) => list.reduce((x, v) => x + v, 0));
  const badge: Badge = badgeOf(before.matrix) === 'exact' ? badgeOf(after.matrix) : 'quantised';
  return {
    badge,
    error: (before.matrix.codes?.error ?? 0) + (after.matrix.codes?.error ?? 0),
    z,
    rows,
    columns,
    rowsCompared: count,
    of: count,
    mean: count ? total / count : null,
    before: means(0),
    after: means(1),
    divergence: Float32Array.from(divergence, (sum, r) => (counted[r] ? sum / counted[r] : NaN)),
  };
}

/** Mean divergence of every head of a family from the head with the same number, or from a fixed head. */
export async function rankHeads(
  maps: { before(at: HeadId): Promise<CompleteMap>; after(at: HeadId): Promise<CompleteMap> },
  families: { before: Family; after: Family },
  alignment: Alignment,
  fixed: HeadId | null,
  signal: AbortSignal,
): Promise<HeadRanking> {
  const { layers, heads } = families.after;
  const out: HeadRanking = {
    badge: 'exact',
    rowsCompared: 0,
    of: 0,
    heads,
    divergence: new Float32Array(layers * heads).fill(NaN),
  };
  for (let i = 0; i < out.divergence.length && !signal.aborted; i++) {
    const at = { layer: Math.floor(i / heads), head: i % heads };
    const other = fixed ?? at;
    if (other.layer >= families.before.layers || other.head >= families.before.heads) continue;
    const [before, after] = [await maps.before(other), await maps.after(at)];
    const { mean, rows } = meanDivergence(before, after, alignment);
    out.divergence[i] = mean;
    out.rowsCompared = out.of = rows;
    if (before.matrix.codes || after.matrix.codes) out.badge = 'quantised';
  }
  return out;
}
