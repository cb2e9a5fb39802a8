// The data of one trace in an offline page. Blobs are decoded on first use; a request for missing data rejects with the reason, which is
// also in `info.missing`.

import { type HeadsHeader, type PictureHeader, type TextHeader, decodeHeads, decodePicture, decodePixels, decodeText } from './decode';
import type { CompleteMap } from './compare';
import type { Computes } from './computing';
import { type Codes, type Frame, decodeFrame, requireArray } from './frame';
import { type TopHeader, sumLines, topLine } from './lines';
import {
  type Matrix,
  badgeOf,
  codedMatrix,
  columnOf,
  exactMatrix,
  massOf,
  poolMatrix,
  poolBand,
  poolHead,
  rowValues,
  visibleRanges,
  matrixUnderSinkRule,
} from './matrix';
import { type QkSpec, visibleKeys } from './qk';
import { RowWorker } from './rowWorker';
import {
  type AtlasHead,
  type Cells,
  type HeadId,
  type PageContent,
  type Info,
  type Line,
  type LineRequest,
  type MapRequest,
  type Mass,
  type Band,
  type Picture,
  type Pixels,
  type Segment,
  type SinkRule,
  type Span,
  type TextData,
  type WeightKind,
  type WeightedHead,
  SourceError,
  kPageContents,
} from './source';
import { applySinkRule, topK } from '../weights';

export interface Manifest {
  protocol: number;
  info: Info;
  segments: Segment[][];
  blobs: Record<string, number>;
  folder?: string; // of the blobs' files, in a site
  tier: string;
  state: string | null;
  command: string;
  computes?: Computes | null; // set if the page contains the engine and the model
}

interface QkHeader {
  spec: QkSpec;
  error: number;
}

/** A thumbnail as a picture. Its cell size need not be a power of two, so its level may be fractional. */
const thumbnailOf = (head: AtlasHead, z: number, queryBegin: number, keyBegin: number): Picture => ({
  badge: 'quantised',
  sampledRows: null,
  z,
  rows: head.rows,
  columns: head.columns,
  queryBegin,
  keyBegin,
  max: head.thumbnail,
  mean: head.thumbnail,
  maxCodes: head.codes,
  meanCodes: head.codes,
});

/** The data of one trace in an offline page. */
export class OfflineTrace {
  private readonly frames = new Map<string, Promise<Frame<unknown>>>();
  private worker: RowWorker | null = null;

  constructor(
    readonly manifest: Manifest,
    private readonly page: Document,
  ) {}

  get contents(): PageContent[] {
    const kinds = new Set(Object.keys(this.manifest.blobs).map((name) => name.split('/')[0]));
    return kPageContents.filter((kind) => kinds.has(kind));
  }

  get info(): Info {
    return { ...this.manifest.info, protocol: this.manifest.protocol };
  }

  async text(side: number): Promise<TextData> {
    return decodeText(await this.requireFrame<TextHeader>(`text/${side}`));
  }

  async picture(range: number): Promise<Pixels> {
    return decodePixels(await this.requireFrame<object>(`picture/${range}`));
  }

  segments(side: number): Promise<Segment[]> {
    return Promise.resolve(this.manifest.segments[side] ?? []);
  }

  async line(request: LineRequest): Promise<Line> {
    const matrix = await this.matrixOf(request);
    if (matrix) return this.fromMatrix(matrix, request);
    if (request.weight !== 'raw') throw this.missingError(request.weight);
    const path = blobPath(request);
    if (request.direction === 'in') throw this.missingError('column');
    const lines: Line[] = [];
    for (const span of request.spans) for (let row = span.begin; row < span.end; row++) lines.push(await this.row(path, row, request));
    return lines.length === 1 ? lines[0] : sumLines(lines, request.reduce === 'mean' ? lines.length : 1);
  }

  async received(family: string, at: HeadId): Promise<Float32Array | null> {
    const frame = await this.frame<object>(`stats/${family}`);
    if (!frame) return null;
    const bins = frame.shapes['received'][2];
    const start = (at.layer * this.familyOf(family).heads + at.head) * bins;
    return requireArray(frame, 'received', Float32Array).subarray(start, start + bins);
  }

  async tile(request: MapRequest, z: number, x: number, y: number, columnZ = 0): Promise<Picture> {
    const matrix = await this.shownMatrix(request);
    if (!matrix) throw this.missingError('tile');
    const corner = { q0: y * 256 * 2 ** z, k0: x * 256 * 2 ** columnZ };
    if (request.band) return poolBand(matrix, request.band, { z, columnZ }, corner, 256);
    return poolMatrix(matrix, z, { q0: y * 256 * 2 ** z, k0: x * 256 * 2 ** z }, 256);
  }

  async cells(request: MapRequest, x: number, y: number): Promise<Cells> {
    const matrix = await this.shownMatrix(request);
    if (!matrix) throw this.missingError('tile');
    const [q0, k0] = [y * 256, x * 256];
    const { band } = request;
    const wide = band ? band.back + band.ahead + 1 : matrix.keys;
    const [rows, columns] = [Math.min(256, matrix.queries - q0), Math.min(256, wide - k0)];
    const out = new Float32Array(rows * columns);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const key = band ? q0 + r + k0 + c - band.back : k0 + c;
        out[r * columns + c] = key >= 0 && key < matrix.keys ? matrix.at((q0 + r) * matrix.keys + key) : NaN;
      }
    }
    return { badge: badgeOf(matrix), error: matrix.error, queryBegin: q0, keyBegin: k0, rows, columns, values: out };
  }

  async overview(request: MapRequest, onPicture: (picture: Picture) => void): Promise<void> {
    const matrix = await this.shownMatrix(request);
    const level = (count: number): number => Math.max(0, Math.ceil(Math.log2(count / 512)));
    if (matrix && request.band) {
      const { back, ahead } = request.band;
      onPicture(poolBand(matrix, request.band, { z: level(matrix.queries), columnZ: level(back + ahead + 1) }, { q0: 0, k0: 0 }, 512));
      return;
    }
    if (!matrix && request.sink !== 'mark' && this.familyOf(request.family).sinks.length > 0) throw this.missingError('overview'); // stored pictures include the sinks
    if (request.band) return onPicture(await this.bandPicture(request, request.band));
    if (matrix) return onPicture(poolMatrix(matrix, level(Math.max(matrix.queries, matrix.keys)), { q0: 0, k0: 0 }, 512));
    if (request.weight !== 'raw') throw this.missingError(request.weight);
    const kept = await this.frame<PictureHeader>(`overview/${blobPath(request)}`);
    if (kept) return onPicture({ ...decodePicture(kept), badge: 'quantised' });
    const family = this.familyOf(request.family);
    const heads = decodeHeads(await this.requireFrame<HeadsHeader>(`atlas/${request.family}`));
    const head = heads.find((h) => h.layer === request.at.layer && h.head === request.at.head);
    if (!head) throw this.missingError('overview');
    // Fall back to the thumbnail if its cells are square.
    const [queries, keys] = [head.queries ?? [0, family.queries], head.keys ?? [0, family.keys]];
    const cell = (keys[1] - keys[0]) / head.columns;
    if (Math.abs((queries[1] - queries[0]) / head.rows - cell) > 0.01 * cell) throw this.missingError('overview');
    onPicture(thumbnailOf(head, Math.log2(cell), queries[0], keys[0]));
  }

  /**
   * A band about the diagonal if the page does not contain the complete map: the stored picture of the band, else the thumbnail of a layer
   * with a band of that width.
   */
  private async bandPicture(request: MapRequest, band: Band): Promise<Picture> {
    if (request.weight !== 'raw') throw this.missingError(request.weight);
    const heads = decodeHeads(await this.requireFrame<HeadsHeader>(`atlas/${request.family}`));
    const head = heads.find((h) => h.layer === request.at.layer && h.head === request.at.head);
    const isOfBand = head?.offsets && head.offsets[0] === -band.back && head.offsets[1] === band.ahead + 1;
    if (!head || !isOfBand) throw this.missingError('overview');
    const kept = await this.frame<PictureHeader>(`near/${blobPath(request)}`);
    if (kept) return { ...decodePicture(kept, band), badge: 'quantised' };
    const queries = head.queries ?? [0, this.familyOf(request.family).queries];
    const z = Math.log2((queries[1] - queries[0]) / head.rows);
    return { ...thumbnailOf(head, z, queries[0], 0), columnZ: Math.log2((band.back + band.ahead + 1) / head.columns) };
  }

  async atlas(family: string, onHeads: (heads: AtlasHead[], done: number) => void): Promise<void> {
    onHeads(decodeHeads(await this.requireFrame<HeadsHeader>(`atlas/${family}`)), 1);
  }

  async weightedHeads(family: string, weight: WeightKind, sink: SinkRule, onHeads: (heads: WeightedHead[]) => void): Promise<void> {
    const f = this.familyOf(family);
    for (let i = 0; i < f.layers * f.heads; i++) {
      const at = { layer: Math.floor(i / f.heads), head: i % f.heads };
      const matrix = await this.matrixOf({ family, at, weight });
      if (matrix) onHeads([poolHead(matrix, at, sink === 'mark' ? [] : f.sinks)]);
    }
  }

  async mass(family: string, rows: Span[], keys: Span[], weight: WeightKind, sink: SinkRule): Promise<Mass> {
    const f = this.familyOf(family);
    const mass = new Float32Array(f.layers * f.heads);
    const between = await this.frame<object>(`segmass/${family}`);
    const segments = this.manifest.segments[0] ?? [];
    const find = (spans: Span[]): number =>
      spans.length === 1 ? segments.findIndex((s) => s.begin === spans[0].begin && s.end === spans[0].end) : -1;
    const [from, to] = [find(rows), find(keys)];
    if (weight === 'raw' && between && from >= 0 && to >= 0 && sink === 'mark') {
      const all = requireArray(between, 'mass', Float32Array);
      for (let i = 0; i < mass.length; i++) mass[i] = all[(i * segments.length + from) * segments.length + to];
      return { badge: 'exact', error: 0, mass };
    }
    let error = 0;
    let badge: Mass['badge'] = 'exact';
    const width = keys.reduce((n, s) => n + s.end - s.begin, 0);
    for (let i = 0; i < mass.length; i++) {
      const matrix = await this.matrixOf({ family, at: { layer: Math.floor(i / f.heads), head: i % f.heads }, weight });
      if (!matrix) throw this.missingError('mass');
      if (badgeOf(matrix) === 'quantised') [badge, error] = ['quantised', Math.max(error, matrix.error * width)];
      mass[i] = massOf(matrix, rows, keys, sink === 'mark' ? [] : f.sinks, sink);
    }
    return { badge, error, mass };
  }

  private fromMatrix(matrix: Matrix, request: LineRequest): Line {
    const family = this.familyOf(request.family);
    const out = request.direction === 'out';
    const count = request.spans.reduce((n, s) => n + s.end - s.begin, 0);
    const divisor = request.reduce === 'mean' ? count : 1;
    const shown = matrixUnderSinkRule(matrix, family.sinks, request.sink, family.sums_to_one);
    const values = (out ? rowValues(shown, request.spans) : columnOf(shown, request.spans)).map((v) => v / divisor);
    const raw = out && family.sinks.length > 0 ? rowValues(matrix, request.spans) : null;
    return {
      badge: badgeOf(shown),
      error: (shown.error * count) / divisor,
      total: values.reduce((a, b) => a + b, 0),
      sinkMass: raw ? family.sinks.reduce((a, s) => a + raw[s], 0) / divisor : 0,
      entropy: null,
      values,
      top: topK(values, 8),
      ...visibleRanges(matrix, request),
    };
  }

  /** One row of a head: recomputed from Q and K if the page contains them for this row, otherwise only its largest weights. */
  private async row(path: string, row: number, request: LineRequest): Promise<Line> {
    const family = this.familyOf(request.family);
    const qk = await this.frame<QkHeader>(`qk/${path}`);
    if (qk) {
      const at = indexOf(requireArray(qk, 'rows', Uint32Array), row);
      if (at >= 0) {
        this.worker ??= new RowWorker(this.page);
        const raw = await this.worker.row(path, qk, at, family.d_k, family.keys);
        const { values, sinkMass } = applySinkRule(raw, family.sinks, request.sink, family.sums_to_one);
        return {
          badge: 'quantised',
          error: qk.header.error,
          total: values.reduce((a, b) => a + b, 0),
          sinkMass,
          entropy: null,
          values,
          top: topK(values, 8),
          visible: [visibleKeys(qk.header.spec, row, family.keys)],
          unscored: [],
        };
      }
    }
    for (const name of ['top', 'top8']) {
      const frame = await this.frame<TopHeader>(`${name}/${path}`);
      const at = frame ? indexOf(requireArray(frame, 'rows', Uint32Array), row) : -1;
      if (frame && at >= 0) return topLine(frame, at, row, family.causal, family.keys, request.sink, family.sinks);
    }
    throw this.missingError('row');
  }

  /** A map that the page contains completely, for comparison. */
  async completeMap(family: string, at: HeadId): Promise<CompleteMap> {
    const matrix = await this.matrix(`${family}/${at.layer}/${at.head}`);
    if (!matrix) throw this.missingError('compare');
    return { matrix, family: this.familyOf(family) };
  }

  /** The map under the sink rule; null if the page does not contain these weights. */
  private async shownMatrix(request: MapRequest): Promise<Matrix | null> {
    const matrix = await this.matrixOf(request);
    const { sinks, sums_to_one } = this.familyOf(request.family);
    return matrix && matrixUnderSinkRule(matrix, sinks, request.sink, sums_to_one);
  }

  /** The map of a weight kind; null if the page does not contain these weights. */
  private matrixOf(request: Pick<MapRequest, 'family' | 'at' | 'weight'>): Promise<Matrix | null> {
    if (!this.familyOf(request.family).weights.includes(request.weight)) throw this.missingError(request.weight);
    return this.matrix(blobPath(request) + (request.weight === 'raw' ? '' : `/${request.weight}`));
  }

  private async matrix(path: string): Promise<Matrix | null> {
    const exact = await this.frame<object>(`exact/${path}`);
    if (exact) {
      const [queries, keys] = exact.shapes['weights'];
      return exactMatrix(requireArray(exact, 'weights', Float32Array), queries, keys);
    }
    const coded = await this.frame<{ codes: Codes }>(`weights/${path}`);
    if (!coded) return null;
    const [queries, keys] = coded.shapes['weights'];
    return codedMatrix(requireArray(coded, 'weights', Uint8Array), queries, keys, coded.header.codes);
  }

  familyOf(id: string): Info['families'][number] {
    const found = this.manifest.info.families.find((f) => f.id === id);
    if (!found) throw new SourceError('kNotFound', `family ${id}: not in this page`);
    return found;
  }

  missingError(what: string): SourceError {
    const missing = this.manifest.info.missing.find((m) => m.feature === what);
    const detail = missing?.detail ?? `This page does not contain this (${what}).`;
    return new SourceError('kNotFound', detail, missing?.command ?? null);
  }

  private async requireFrame<Header>(name: string): Promise<Frame<Header>> {
    const frame = await this.frame<Header>(name);
    if (!frame) throw new SourceError('kFormat', `offline page: ${name} is missing`);
    return frame;
  }

  private async frame<Header>(name: string): Promise<Frame<Header> | null> {
    const index = this.manifest.blobs[name];
    if (index === undefined) return null;
    let frame = this.frames.get(name);
    if (!frame) {
      frame = this.bytes(index).then((buffer) => decodeFrame<unknown>(buffer));
      this.frames.set(name, frame);
      frame.catch(() => this.frames.delete(name)); // the network may come back
    }
    return (await frame) as Frame<Header>;
  }

  /** The bytes of a blob. */
  bytes(index: number): Promise<ArrayBuffer> {
    return this.deflated(index).then(inflate);
  }

  /** The compressed bytes of a blob: an element of the page, or a file of a site. */
  private async deflated(index: number): Promise<BlobPart> {
    const { folder } = this.manifest;
    if (folder) return fetchFile(`${folder}/${index}.deflate`);
    const element = this.page.getElementById(`clearhead-blob-${index}`);
    if (!element) throw new SourceError('kFormat', `offline page: blob ${index} is missing`);
    return fromBase64(element.textContent ?? '');
  }
}

const blobPath = (request: Pick<MapRequest, 'family' | 'at'>): string => `${request.family}/${request.at.layer}/${request.at.head}`;

async function fetchFile(path: string): Promise<ArrayBuffer> {
  const answer = await fetch(path).catch(() => null);
  if (answer?.ok) return answer.arrayBuffer();
  const reason = answer
    ? `the server answered ${answer.status}`
    : location.protocol === 'file:'
      ? 'this page must come from a web server: run "python3 -m http.server" in its folder and open http://localhost:8000'
      : 'the server does not answer';
  throw new SourceError('kIo', `${path}: ${reason}`);
}

export function fromBase64(base64: string): Uint8Array {
  const text = atob(base64.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export function inflate(bytes: BlobPart): Promise<ArrayBuffer> {
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer();
}

function indexOf(sorted: Uint32Array, wanted: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return sorted[low] === wanted ? low : -1;
}
