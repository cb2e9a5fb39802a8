// Recomputes a row of weights from Q, K and the row's record (docs/viewer-api.md):
//
//   w_j = 2^(s_j·log2 e − shift)/norm,    s = scale·q·k, then soft-cap, then ALiBi

export interface QkSpec {
  scale: number;
  soft_cap: number | null;
  alibi_slope: number | null;
  band: { back: number | null; ahead: number | null; offset: number };
}

export interface HeadQk {
  spec: QkSpec;
  d: number;
  keys: number;
  rows: Uint32Array; // query of each stored q
  q: Float32Array; // [rows, d]
  k: Float32Array; // [keys, d]
  shift: Float32Array; // [rows], base 2
  norm: Float32Array; // [rows]
  segmentsQ: Uint32Array | null; // [rows]
  segmentsK: Uint32Array | null; // [keys]
}

/** The keys that the band lets a query see, as [begin, end). */
export function visibleKeys(spec: QkSpec, query: number, keys: number): [number, number] {
  const { back, ahead, offset } = spec.band;
  const begin = back === null ? 0 : Math.max(0, query + offset - back);
  const end = ahead === null ? keys : Math.max(0, Math.min(keys, query + offset + ahead + 1));
  return [Math.min(begin, end), end];
}

/** Weights of the stored row `at` (an index into `rows`) over all keys. */
export function computeRow(head: HeadQk, at: number): Float32Array {
  const { spec, d, q, k } = head;
  const query = head.rows[at];
  const values = new Float32Array(head.keys);
  const [begin, end] = visibleKeys(spec, query, head.keys);
  for (let j = begin; j < end; j++) {
    if (head.segmentsQ && head.segmentsK && head.segmentsQ[at] !== head.segmentsK[j]) continue;
    let dot = 0;
    for (let c = 0, a = at * d, b = j * d; c < d; c++) dot += q[a + c] * k[b + c];
    let s = dot * spec.scale;
    if (spec.soft_cap !== null) s = spec.soft_cap * Math.tanh(s / spec.soft_cap);
    if (spec.alibi_slope !== null) s += spec.alibi_slope * (j - query - spec.band.offset);
    values[j] = 2 ** (s * Math.LOG2E - head.shift[at]) / head.norm[at];
  }
  return values;
}
