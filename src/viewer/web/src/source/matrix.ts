// A whole map as u8 codes, as an offline page of tier A holds it: rows, columns, masses and pooled pictures of it.

import { type Codes, codeTable, kHidden, kUnscored } from './frame';
import type { Picture, SinkRule, Span } from './source';

export interface Matrix {
  weights: Uint8Array; // [query, key]
  queries: number;
  keys: number;
  codes: Codes;
}

const weightsOf = (codes: Codes): Float32Array => codeTable(codes).map((v) => (Number.isNaN(v) ? 0 : v));

export function rowValues(m: Matrix, spans: readonly Span[]): Float32Array {
  const table = weightsOf(m.codes);
  const out = new Float32Array(m.keys);
  for (const s of spans)
    for (let q = s.begin; q < Math.min(s.end, m.queries); q++) for (let k = 0; k < m.keys; k++) out[k] += table[m.weights[q * m.keys + k]];
  return out;
}

export function columnOf(m: Matrix, spans: readonly Span[]): Float32Array {
  const table = weightsOf(m.codes);
  const out = new Float32Array(m.queries);
  for (const s of spans)
    for (let k = s.begin; k < Math.min(s.end, m.keys); k++) for (let q = 0; q < m.queries; q++) out[q] += table[m.weights[q * m.keys + k]];
  return out;
}

/** Mean over the rows of the sum over the keys. */
export function massOf(m: Matrix, rows: readonly Span[], keys: readonly Span[], sinks: readonly number[], sink: SinkRule): number {
  const table = weightsOf(m.codes);
  const skip = new Set(sinks);
  let total = 0;
  let count = 0;
  for (const s of rows) {
    for (let q = s.begin; q < Math.min(s.end, m.queries); q++) {
      let sum = 0;
      for (const range of keys)
        for (let k = range.begin; k < Math.min(range.end, m.keys); k++) if (!skip.has(k)) sum += table[m.weights[q * m.keys + k]];
      let sunk = 0;
      if (sink === 'renorm') for (const k of sinks) sunk += table[m.weights[q * m.keys + k]];
      total += sunk < 1 ? sum / (1 - sunk) : 0;
      count++;
    }
  }
  return count ? total / count : 0;
}

/** At most side × side cells of 2^z × 2^z weights from a corner on. The maximum keeps its code; a mean is coded again, linearly. */
export function poolMatrix(m: Matrix, z: number, corner: { q0: number; k0: number }, side: number): Picture {
  const cell = 2 ** z;
  const rows = Math.max(0, Math.min(side, Math.ceil((m.queries - corner.q0) / cell)));
  const columns = Math.max(0, Math.min(side, Math.ceil((m.keys - corner.k0) / cell)));
  const table = weightsOf(m.codes);
  const max = new Uint8Array(rows * columns);
  const means = new Float32Array(rows * columns);
  let most = 0;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      let best = kHidden;
      let sum = 0;
      let seen = 0;
      for (let q = corner.q0 + r * cell; q < Math.min(m.queries, corner.q0 + (r + 1) * cell); q++) {
        for (let k = corner.k0 + c * cell; k < Math.min(m.keys, corner.k0 + (c + 1) * cell); k++) {
          const code = m.weights[q * m.keys + k];
          if (code > best) best = code;
          if (code <= kUnscored) continue;
          sum += table[code];
          seen++;
        }
      }
      max[r * columns + c] = best;
      means[r * columns + c] = seen ? sum / seen : NaN;
      if (seen) most = Math.max(most, sum / seen);
    }
  }
  const mean = Uint8Array.from(means, (v, i) => (Number.isNaN(v) ? max[i] : 2 + Math.round(most > 0 ? (253 * v) / most : 0)));
  const meanCodes: Codes = { kind: 'linear', lo: 0, hi: most, error: m.codes.error + most / 506 };
  return {
    badge: 'quantised',
    sampledRows: null,
    z,
    rows,
    columns,
    queryBegin: corner.q0,
    keyBegin: corner.k0,
    max,
    mean,
    maxCodes: m.codes,
    meanCodes,
  };
}
