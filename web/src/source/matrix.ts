// A complete map, as in an offline page of tier A (docs/viewer-api.md): rows, columns, masses and pooled pictures. Weights are the
// original f32 values or u8 codes of them.

import { type Codes, codeTable, kHidden, kUnscored } from './frame';
import { weightWithoutSinks } from '../weights';
import type { HeadId, LineRequest, Band, Picture, SinkRule, Span, WeightedHead } from './source';

export interface Matrix {
  queries: number;
  keys: number;
  codes: Codes | null; // the codes in which the weights were stored, if the values are still those
  error: number; // largest absolute difference from f32; 0: exact
  at(i: number): number; // i = query · keys + key; NaN: hidden, −1: never scored
}

export function exactMatrix(weights: Float32Array, queries: number, keys: number): Matrix {
  return { queries, keys, codes: null, error: 0, at: (i) => weights[i] };
}

export function codedMatrix(weights: Uint8Array, queries: number, keys: number, codes: Codes): Matrix {
  const table = codeTable(codes);
  table[kUnscored] = -1;
  return { queries, keys, codes, error: codes.error, at: (i) => table[weights[i]] };
}

/** Applies a sink rule to a map. Sinks get weight 0; with `renorm`, each row is divided by what is left of it. */
export function matrixUnderSinkRule(m: Matrix, sinks: readonly number[], rule: SinkRule, sumsToOne: boolean): Matrix {
  if (rule === 'mark' || sinks.length === 0) return m;
  const isSink = new Set(sinks);
  if (rule === 'hide') return { ...m, at: (i) => (isSink.has(i % m.keys) && m.at(i) > 0 ? 0 : m.at(i)) };
  const left = new Float64Array(m.queries);
  let least = 1;
  for (let q = 0; q < m.queries; q++) {
    const row = Float32Array.from({ length: m.keys }, (_, k) => weightOf(m, q * m.keys + k));
    if (!row.some((v) => v > 0)) left[q] = 1;
    else least = Math.min(least, (left[q] = weightWithoutSinks(row, sinks, sumsToOne)));
  }
  const at = (i: number): number => {
    const value = m.at(i);
    if (!(value > 0)) return value;
    return isSink.has(i % m.keys) ? 0 : value / left[Math.floor(i / m.keys)];
  };
  return { ...m, codes: null, error: m.error / least, at };
}

export const badgeOf = (m: Matrix): 'exact' | 'quantised' => (m.codes || m.error > 0 ? 'quantised' : 'exact');

/** The weight of a pair; 0 if it is hidden or was never scored. */
const weightOf = (m: Matrix, i: number): number => {
  const value = m.at(i);
  return value > 0 ? value : 0;
};

export function rowValues(m: Matrix, spans: readonly Span[]): Float32Array {
  const out = new Float32Array(m.keys);
  for (const s of spans)
    for (let q = s.begin; q < Math.min(s.end, m.queries); q++) for (let k = 0; k < m.keys; k++) out[k] += weightOf(m, q * m.keys + k);
  return out;
}

export function columnOf(m: Matrix, spans: readonly Span[]): Float32Array {
  const out = new Float32Array(m.queries);
  for (const s of spans)
    for (let k = s.begin; k < Math.min(s.end, m.keys); k++) for (let q = 0; q < m.queries; q++) out[q] += weightOf(m, q * m.keys + k);
  return out;
}

/** The ranges of one row (or column) that are visible, and those that were never scored. */
export function visibleRanges(matrix: Matrix, request: LineRequest): { visible: [number, number][]; unscored: [number, number][] } {
  const out = request.direction === 'out';
  const at = request.spans[0].begin;
  const n = out ? matrix.keys : matrix.queries;
  const valueAt = (i: number): number => matrix.at(out ? at * matrix.keys + i : i * matrix.keys + at);
  const ranges = (want: (value: number) => boolean): [number, number][] => {
    const found: [number, number][] = [];
    for (let i = 0; i < n; i++) {
      if (!want(valueAt(i))) continue;
      const last = found[found.length - 1];
      if (last && last[1] === i) last[1] = i + 1;
      else found.push([i, i + 1]);
    }
    return found;
  };
  return { visible: ranges((value) => value >= 0), unscored: ranges((value) => value < 0) };
}

/** Mean over the rows of the sum of weights over the keys. */
export function massOf(m: Matrix, rows: readonly Span[], keys: readonly Span[], sinks: readonly number[], sink: SinkRule): number {
  const skip = new Set(sinks);
  let total = 0;
  let count = 0;
  for (const s of rows) {
    for (let q = s.begin; q < Math.min(s.end, m.queries); q++) {
      let sum = 0;
      for (const range of keys)
        for (let k = range.begin; k < Math.min(range.end, m.keys); k++) if (!skip.has(k)) sum += weightOf(m, q * m.keys + k);
      let sunk = 0;
      if (sink === 'renorm') for (const k of sinks) sunk += weightOf(m, q * m.keys + k);
      total += sunk < 1 ? sum / (1 - sunk) : 0;
      count++;
    }
  }
  return count ? total / count : 0;
}

/**
 * Pools a map from a corner on into at most maxCells × maxCells cells of 2^z × 2^z weights. Maxima use the map's own codes, or logarithmic ones;
 * means use linear codes.
 */
export function poolMatrix(m: Matrix, z: number, corner: { q0: number; k0: number }, maxCells: number): Picture {
  return { ...poolCells(m, { rows: 2 ** z, columns: 2 ** z }, corner, maxCells), z };
}

/** A head's map in at most 64² cells, and the sum of the map; sinks count in neither. */
export function poolHead(m: Matrix, at: HeadId, sinks: readonly number[]): WeightedHead {
  const z = Math.max(0, Math.ceil(Math.log2(Math.max(m.queries, m.keys) / 64)));
  const sinkKeys = new Set(sinks);
  const shown: Matrix = sinks.length ? { ...m, at: (i) => (sinkKeys.has(i % m.keys) && m.at(i) > 0 ? 0 : m.at(i)) } : m;
  const picture = poolMatrix(shown, z, { q0: 0, k0: 0 }, 64);
  let sum = 0;
  for (let i = 0; i < m.queries * m.keys; i++) {
    const value = shown.at(i);
    if (value > 0) sum += value;
  }
  const { badge, maxCodes: codes, max: thumbnail } = picture;
  const [queries, keys]: [number, number][] = [
    [0, picture.rows * 2 ** z],
    [0, picture.columns * 2 ** z],
  ];
  return { ...at, badge, queries, keys, rows: picture.rows, columns: picture.columns, codes, offsets: null, thumbnail, sum };
}

function poolCells(m: Matrix, cell: { rows: number; columns: number }, corner: { q0: number; k0: number }, side: number): Picture {
  const rows = Math.max(0, Math.min(side, Math.ceil((m.queries - corner.q0) / cell.rows)));
  const columns = Math.max(0, Math.min(side, Math.ceil((m.keys - corner.k0) / cell.columns)));
  const max = new Float32Array(rows * columns); // NaN: hidden, −1: never scored
  const means = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      let best = NaN;
      let sum = 0;
      let seen = 0;
      for (let q = corner.q0 + r * cell.rows; q < Math.min(m.queries, corner.q0 + (r + 1) * cell.rows); q++) {
        for (let k = corner.k0 + c * cell.columns; k < Math.min(m.keys, corner.k0 + (c + 1) * cell.columns); k++) {
          const value = m.at(q * m.keys + k);
          if (Number.isNaN(value)) continue;
          if (!(best >= value)) best = value;
          if (value < 0) continue;
          sum += value;
          seen++;
        }
      }
      max[r * columns + c] = best;
      means[r * columns + c] = seen ? sum / seen : best;
    }
  }
  const hi = highest(means);
  const maxCodes = m.codes ?? withError(logCodes(max), m.error);
  const meanCodes: Codes = { kind: 'linear', lo: 0, hi, error: m.error + hi / 506 };
  return {
    badge: badgeOf(m),
    sampledRows: null,
    z: 0,
    rows,
    columns,
    queryBegin: corner.q0,
    keyBegin: corner.k0,
    max: Uint8Array.from(max, (v) => codeOf(maxCodes, v)),
    mean: Uint8Array.from(means, (v) => codeOf(meanCodes, v)),
    maxCodes,
    meanCodes,
  };
}

/** The same for columns of key − query, from a corner on (`keys` is then the width of the band; column 0 is −back). */
export function poolBand(
  m: Matrix,
  band: Band,
  level: { z: number; columnZ: number },
  corner: { q0: number; k0: number },
  side: number,
): Picture {
  const wide = band.back + band.ahead + 1;
  const sheared: Matrix = {
    ...m,
    keys: wide,
    at: (i) => {
      const query = Math.floor(i / wide);
      const key = query + (i % wide) - band.back;
      return key >= 0 && key < m.keys ? m.at(query * m.keys + key) : NaN;
    },
  };
  const picture = poolCells(sheared, { rows: 2 ** level.z, columns: 2 ** level.columnZ }, corner, side);
  return { ...picture, z: level.z, columnZ: level.columnZ };
}

const highest = (values: Float32Array): number => values.reduce((a, v) => (v > a ? v : a), 0);

const kSmallestRatio = 1e-6; // relative to the largest: smaller values are coded as zero

/** Logarithmic codes as in the live view: from the smallest positive value, or a millionth of the largest if that is greater. */
function logCodes(values: Float32Array): Codes {
  const hi = highest(values);
  const least = values.reduce((a, v) => (v > 0 && v < a ? v : a), hi);
  const lo = Math.max(least, hi * kSmallestRatio);
  return { kind: 'log', lo, hi, error: hi > 0 ? hi * (Math.pow(hi / lo, 1 / 504) - 1) : 0 };
}

const withError = (codes: Codes, error: number): Codes => ({ ...codes, error: codes.error + error });

function codeOf(codes: Codes, value: number): number {
  if (Number.isNaN(value)) return kHidden;
  if (value < 0) return kUnscored;
  if (!(codes.hi > 0)) return 2;
  if (codes.kind === 'linear') return 2 + Math.round((253 * value) / codes.hi);
  if (codes.kind === 'sqrt') return 2 + Math.round(253 * Math.sqrt(value / codes.hi));
  if (value < codes.lo * (1 - kSmallestRatio)) return 2;
  return 3 + (codes.hi > codes.lo ? Math.round((252 * Math.log(value / codes.lo)) / Math.log(codes.hi / codes.lo)) : 252);
}
