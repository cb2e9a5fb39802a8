import { describe, expect, it } from 'vitest';
import { codeTable, decodeFrame, halfToFloat, kHidden, kUnscored, requireArray, readFrames } from '../src/source/frame';
import { codedMatrix, columnOf, exactMatrix, massOf, poolMatrix, poolHead, rowValues } from '../src/source/matrix';
import { fromBase64, inflate } from '../src/source/offlineTrace';
import { visibleKeys, computeRow, type HeadQk } from '../src/source/qk';
import { arrange } from '../src/views/atlas/arrange';
import { kScores, type ScoreName } from '../src/source/source';

/** Encodes a frame as docs/viewer-api.md defines it. */
function frame(header: object, values: Float32Array): ArrayBuffer {
  const arrays = { values: { dtype: 'f32', shape: [values.length], offset: 0 } };
  let json = JSON.stringify({ ...header, arrays });
  json = json.padEnd(Math.ceil(json.length / 8) * 8);
  const out = new ArrayBuffer(8 + json.length + values.byteLength);
  new Uint8Array(out).set(new TextEncoder().encode(`CHF1\0\0\0\0${json}`));
  new DataView(out).setUint32(4, json.length, true);
  new Uint8Array(out).set(new Uint8Array(values.buffer), 8 + json.length);
  return out;
}

describe('frames', () => {
  it('are decoded into header and arrays', () => {
    const found = decodeFrame<{ badge: string }>(frame({ badge: 'exact' }, Float32Array.from([0.25, 0.75])));
    expect(found.header.badge).toBe('exact');
    expect([...requireArray(found, 'values', Float32Array)]).toEqual([0.25, 0.75]);
    expect(() => requireArray(found, 'values', Uint8Array)).toThrow(/missing or of another type/);
  });
  it('are refused if they are truncated or not frames', () => {
    const good = frame({}, Float32Array.from([1, 2]));
    expect(() => decodeFrame(good.slice(0, good.byteLength - 4))).toThrow(/ends beyond/);
    expect(() => decodeFrame(good.slice(0, 12))).toThrow(/header says/);
    expect(() => decodeFrame(new ArrayBuffer(16))).toThrow(/CHF1/);
  });
  it('are reassembled from a stream that is split anywhere', async () => {
    const parts = [0.5, 0.25, 0.125].map((v) => new Uint8Array(frame({ v }, Float32Array.from([v]))));
    const bytes = parts.flatMap((p) => [...new Uint8Array(Uint32Array.from([p.length]).buffer), ...p]);
    for (const size of [1, 7, 1000]) {
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          for (let i = 0; i < bytes.length; i += size) controller.enqueue(Uint8Array.from(bytes.slice(i, i + size)));
          controller.close();
        },
      });
      const seen: number[] = [];
      await readFrames<{ v: number }>(stream, (f) => seen.push(f.header.v));
      expect(seen).toEqual([0.5, 0.25, 0.125]);
    }
  });
  it('contain codes, which a table maps to weights', () => {
    for (const kind of ['linear', 'sqrt', 'log'] as const) {
      const table = codeTable({ kind, lo: 1e-6, hi: 0.8, error: 0 });
      expect(table[255]).toBeCloseTo(0.8, 6);
      expect(table[2]).toBe(0);
      expect(table[kHidden]).toBeNaN();
      expect(table[kUnscored]).toBeNaN();
      for (let c = 4; c < 256; c++) expect(table[c]).toBeGreaterThan(table[c - 1]);
    }
    expect(codeTable({ kind: 'log', lo: 1e-6, hi: 0.8, error: 0 })[3]).toBeCloseTo(1e-6, 12);
  });
  it('convert half precision to single precision', () => {
    expect([...halfToFloat(Uint16Array.from([0x3c00, 0xc000, 0x0001, 0x7c00, 0x3555, 0]))]).toEqual([
      1,
      -2,
      2 ** -24,
      Infinity,
      0.333251953125,
      0,
    ]);
  });
  it('are read from a page', async () => {
    const bytes = Uint8Array.from([1, 2, 3, 250]);
    const packed = new Uint8Array(
      await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'))).arrayBuffer(),
    );
    const base64 = (b: Uint8Array): string => btoa(String.fromCharCode(...b));
    expect([...fromBase64(base64(bytes))]).toEqual([...bytes]);
    expect([...new Uint8Array(await inflate(fromBase64(`\n${base64(packed)}\n`)))]).toEqual([...bytes]);
  });
});

describe('rows from Q and K', () => {
  const head = (spec: Partial<HeadQk['spec']>): HeadQk => ({
    spec: { scale: 0.5, soft_cap: null, alibi_slope: null, band: { back: null, ahead: 0, offset: 0 }, ...spec },
    d: 2,
    keys: 4,
    rows: Uint32Array.from([2]),
    q: Float32Array.from([1, 2]),
    k: Float32Array.from([1, 0, 0, 1, 1, 1, 9, 9]),
    shift: Float32Array.from([0]),
    norm: Float32Array.from([1]),
    segmentsQ: null,
    segmentsK: null,
  });
  const raw = (h: HeadQk): number[] => [...computeRow(h, 0)].map((v) => (v > 0 ? Math.log(v) : -Infinity));
  it('are exp of scale·q·k − L over the visible keys', () => {
    const scores = raw(head({}));
    expect(scores[0]).toBeCloseTo(0.5, 5);
    expect(scores[1]).toBeCloseTo(1, 5);
    expect(scores[2]).toBeCloseTo(1.5, 5);
    expect(scores[3]).toBe(-Infinity);
  });
  it('apply the soft cap, then ALiBi', () => {
    const scores = raw(head({ soft_cap: 1, alibi_slope: 0.25 }));
    expect(scores[0]).toBeCloseTo(Math.tanh(0.5) - 0.5, 5);
    expect(scores[2]).toBeCloseTo(Math.tanh(1.5), 5);
  });
  it('are limited to the band, which is clipped at both ends', () => {
    expect(visibleKeys({ scale: 1, soft_cap: null, alibi_slope: null, band: { back: 3, ahead: 1, offset: 2 } }, 4, 100)).toEqual([3, 8]);
    expect(visibleKeys({ scale: 1, soft_cap: null, alibi_slope: null, band: { back: null, ahead: null, offset: 0 } }, 4, 7)).toEqual([
      0, 7,
    ]);
    expect(visibleKeys({ scale: 1, soft_cap: null, alibi_slope: null, band: { back: 1, ahead: 0, offset: -9 } }, 4, 7)).toEqual([0, 0]);
  });
});

describe('a complete map in codes', () => {
  const m = codedMatrix(Uint8Array.from([255, 0, 0, 128, 128, 0, 2, 64, 255]), 3, 3, { kind: 'linear', lo: 0, hi: 253, error: 0.5 });
  it('gives rows, columns and masses', () => {
    expect([...rowValues(m, [{ begin: 1, end: 2 }])]).toEqual([126, 126, 0]);
    expect([...columnOf(m, [{ begin: 0, end: 1 }])]).toEqual([253, 126, 0]);
    expect(massOf(m, [{ begin: 1, end: 3 }], [{ begin: 1, end: 3 }], [], 'mark')).toBe((126 + 62 + 253) / 2);
  });
  it('pools to the largest code and the mean over visible pairs', () => {
    const picture = poolMatrix(m, 1, { q0: 0, k0: 0 }, 256);
    expect([picture.rows, picture.columns]).toEqual([2, 2]);
    expect([...picture.max]).toEqual([255, 0, 64, 255]);
    const mean = codeTable(picture.meanCodes);
    expect(mean[picture.mean[0]]).toBeCloseTo((253 + 126 + 126) / 3, -0.5);
    expect(picture.mean[1]).toBe(kHidden);
  });
});

describe('a complete map in f32', () => {
  const weights = Float32Array.from([1, NaN, NaN, 0.25, 0.75, NaN, 0.125, 0.5, -1]);
  const m = exactMatrix(weights, 3, 3);
  it('gives exact rows and masses, and 0 for pairs that were never scored', () => {
    expect([...rowValues(m, [{ begin: 2, end: 3 }])]).toEqual([0.125, 0.5, 0]);
    expect(massOf(m, [{ begin: 1, end: 3 }], [{ begin: 1, end: 3 }], [], 'mark')).toBe((0.75 + 0.5) / 2);
  });
  it('is coded logarithmically, within the stated error', () => {
    const picture = poolMatrix(m, 0, { q0: 0, k0: 0 }, 256);
    expect(picture.badge).toBe('exact');
    const table = codeTable(picture.maxCodes);
    weights.forEach((weight, i) => {
      if (Number.isNaN(weight)) expect(picture.max[i]).toBe(kHidden);
      else if (weight < 0) expect(picture.max[i]).toBe(kUnscored);
      else expect(Math.abs(table[picture.max[i]] - weight)).toBeLessThanOrEqual(picture.maxCodes.error * 1.001);
    });
    expect(picture.maxCodes).toMatchObject({ kind: 'log', lo: 0.125, hi: 1 });
  });
  it('pools to the largest weight; a cell is unscored only if none of its pairs was scored', () => {
    const picture = poolMatrix(m, 1, { q0: 0, k0: 0 }, 256);
    expect([...picture.max].map((code) => codeTable(picture.maxCodes)[code])).toEqual([1, NaN, 0.5, NaN]);
    expect([picture.max[1], picture.max[3]]).toEqual([kHidden, kUnscored]);
    const head = poolHead(m, { layer: 1, head: 2 }, []);
    expect([head.rows, head.columns, head.sum]).toEqual([3, 3, 2.625]);
    expect(poolHead(m, { layer: 1, head: 2 }, [0]).sum).toBe(1.25);
  });
});

describe('the atlas', () => {
  const scores = (v: number): Record<ScoreName, number | null> =>
    ({ ...Object.fromEntries(kScores.map((s) => [s, 0])), previous: v, distance: 99 }) as Record<ScoreName, number | null>;
  const rows = [0.1, 0.9, 0.5].map((v, i) => ({ at: { layer: 0, head: i }, scores: scores(v) }));
  it('sorts by a score and filters by it', () => {
    expect(arrange(rows, { by: 'previous', atLeast: 0 }).map((r) => r.at.head)).toEqual([1, 2, 0]);
    expect(arrange(rows, { by: 'previous', atLeast: 0.5 }).map((r) => r.at.head)).toEqual([1, 2]);
    expect(arrange(rows, { by: 'layer', atLeast: 0.6 }).map((r) => r.at.head)).toEqual([1]);
    const weighted = rows.map((r, i) => ({ ...r, sum: [0.2, 0, 3][i] }));
    expect(arrange(weighted, { by: 'sum', atLeast: 0.6 }).map((r) => r.at.head)).toEqual([2, 0, 1]);
  });
});
