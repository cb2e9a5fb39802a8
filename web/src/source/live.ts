// The live source: requests data from `clearhead view` over loopback. Every requester has a slot; a newer request of a slot aborts the
// older one, and `slot` and `seq` tell the server to stop computing it too. Slot names begin with an id of the browser tab, so two tabs of
// one server do not interfere. Every request names the text it is about: after a run in another tab it fails instead of returning numbers
// of another text.

import { type Drawing, posted } from '../figure/drawing';
import { headParams } from '../heads';
import type { Progress, WhatIfRequest, WhatIfResult, WhyCost, WhyRequest, WhyResult } from './explain';
import {
  type HeadsHeader,
  type PictureHeader,
  type TextHeader,
  decodeHeads,
  decodePicture,
  decodePixels,
  decodeText,
  decodeWeightedHeads,
} from './decode';
import { type Frame, decodeFrame, requireArray, readFrames } from './frame';
import type { Transport } from './host';
import type {
  AtlasHead,
  Badge,
  Cells,
  CompareRequest,
  MapComparison,
  ExportKind,
  HeadId,
  Info,
  Line,
  LineRequest,
  MapRequest,
  Mass,
  Neurons,
  Picture,
  Pixels,
  Alignment,
  HeadRanking,
  Segment,
  SinkRule,
  Source,
  Span,
  TextData,
  TopItem,
  VerifyRequest,
  VerifyResult,
  CompareTarget,
  WeightKind,
  WeightedHead,
} from './source';
import { SourceError, formatSpans } from './source';

type Params = Record<string, string | number>;

interface LineHeader {
  badge: Badge;
  error?: number;
  total: number;
  sink_mass: number;
  entropy: number | null;
  top: TopItem[];
  visible: [number, number][];
  unscored: [number, number][];
}

interface ComparedHeader {
  event?: string;
  badge: Badge;
  z: number;
  row_places: [number, number];
  column_places: [number, number];
  rows: number;
  of: number;
  mean: number | null;
  error?: { code: string; message: string };
}

export class LiveSource implements Source {
  readonly offline = false;
  readonly contents = [];
  step: number | null = null;
  private readonly slots = new Map<string, { seq: number; abort: AbortController }>();
  private readonly tab = Array.from(crypto.getRandomValues(new Uint8Array(6)), (b) => b.toString(16).padStart(2, '0')).join('');
  private id = ''; // id of the text that this page shows
  private latestStep = -1; // the step requested last

  constructor(
    private readonly base: string,
    private readonly transport: Transport = (address, init) => fetch(address, init),
    private readonly edit: string | null = null, // id of an edited run, if the requests are about one
  ) {}

  async info(): Promise<Info> {
    const info = await this.json<Info>('info', this.step === null ? {} : { t: this.step });
    this.id = info.id;
    this.step = info.step;
    return info;
  }

  async switchTo(step: number): Promise<Info> {
    this.latestStep = step;
    const info = await this.json<Info>('info', { t: step });
    if (this.latestStep !== step) throw new DOMException('a later step is wanted', 'AbortError');
    this.id = info.id;
    this.step = info.step;
    return info;
  }

  async text(side: number): Promise<TextData> {
    return decodeText(await this.frame<TextHeader>('text', { side }));
  }

  async segments(side: number): Promise<Segment[]> {
    return (await this.json<{ segments: Segment[] }>('segments', { side })).segments;
  }

  async picture(range: number): Promise<Pixels> {
    return decodePixels(await this.frame<object>('picture', { items: range }));
  }

  async line(request: LineRequest, slot: string): Promise<Line> {
    const previous = this.slots.get(slot);
    previous?.abort.abort();
    const current = { seq: (previous?.seq ?? 0) + 1, abort: new AbortController() };
    this.slots.set(slot, current);
    const out = request.direction === 'out';
    const params: Params = {
      f: request.family,
      ...headParams(request.at),
      [out ? 'q' : 'k']: formatSpans(request.spans),
      reduce: request.reduce,
      w: request.weight,
      sink: request.sink,
      top: 0,
      values: 'all',
      slot: `${this.tab}-${slot}`,
      seq: current.seq,
    };
    const frame = await this.frame<LineHeader>(out ? 'row' : 'col', params, current.abort.signal);
    const head = frame.header;
    return {
      badge: head.badge,
      error: head.error ?? 0,
      total: head.total,
      sinkMass: head.sink_mass,
      entropy: head.entropy ?? null,
      values: requireArray(frame, 'values', Float32Array),
      top: head.top,
      visible: head.visible,
      unscored: head.unscored,
    };
  }

  async received(family: string, at: HeadId): Promise<Float32Array | null> {
    const frame = await this.frame<object>('stats', { f: family, ...headParams(at), bins: 512 });
    const found = frame.arrays['received'];
    return found instanceof Float32Array ? found : null;
  }

  async tile(request: MapRequest, z: number, x: number, y: number, signal: AbortSignal, columnZ = 0): Promise<Picture> {
    const level = request.band ? { z, zx: columnZ } : { z };
    return decodePicture(await this.frame<PictureHeader>('tile', { ...mapParams(request), ...level, x, y }, signal), request.band);
  }

  async cells(request: MapRequest, x: number, y: number, signal: AbortSignal, z = 0): Promise<Cells> {
    const pool = z > 0 ? 'mean' : 'max';
    const frame = await this.frame<PictureHeader>('tile', { ...mapParams(request), z, x, y, pool, dtype: 'f32' }, signal);
    const head = frame.header;
    return {
      badge: head.badge,
      error: 0,
      queryBegin: head.queries[0],
      keyBegin: head.keys[0] + (request.band?.back ?? 0),
      rows: head.rows,
      columns: head.columns,
      values: requireArray(frame, pool, Float32Array),
    };
  }

  async overview(request: MapRequest, onPicture: (picture: Picture) => void, signal: AbortSignal): Promise<void> {
    await this.stream<PictureHeader>('overview', mapParams(request), signal, (frame) => {
      if (frame.header.event === 'picture') onPicture(decodePicture(frame, request.band));
    });
  }

  async atlas(family: string, onHeads: (heads: AtlasHead[], done: number) => void, signal: AbortSignal): Promise<void> {
    let done = 0;
    await this.stream<HeadsHeader>('atlas', { f: family }, signal, (frame) => {
      if (frame.header.event === 'progress') onHeads([], (done = frame.header.done ?? done));
      if (frame.header.event === 'heads') onHeads(decodeHeads(frame), done);
    });
    onHeads([], 1);
  }

  weightedHeads(f: string, w: WeightKind, sink: SinkRule, onHeads: (heads: WeightedHead[]) => void, signal: AbortSignal): Promise<void> {
    return this.stream<HeadsHeader>('atlas', { f, w, sink }, signal, (frame) => {
      if (frame.header.event === 'heads') onHeads(decodeWeightedHeads(frame));
    });
  }

  async mass(family: string, rows: Span[], keys: Span[], w: WeightKind, sink: SinkRule, signal: AbortSignal): Promise<Mass> {
    const body = { f: family, rows: rows.map(pairOf), keys: keys.map(pairOf), w, sink };
    const response = await this.post('mass', body, signal);
    const frame = decodeFrame<{ badge: Badge }>(await response.arrayBuffer());
    return { badge: frame.header.badge, error: 0, mass: requireArray(frame, 'mass', Float32Array) };
  }

  async neurons(f: string, at: HeadId, query: number, signal: AbortSignal): Promise<Neurons> {
    const params = { f, ...headParams(at), q: query };
    const frame = await this.frame<{ badge: Badge; scale: number; has_terms: boolean }>('neurons', params, signal);
    const { badge, scale, has_terms: hasTerms } = frame.header;
    const floats = (name: string): Float32Array => requireArray(frame, name, Float32Array);
    const [q, k, products, scores, weights] = ['q', 'k', 'products', 'scores', 'weights'].map(floats);
    return { at, query, badge, scale, hasTerms, keys: requireArray(frame, 'keys', Uint32Array), q, k, products, scores, weights };
  }

  async verify(request: VerifyRequest): Promise<VerifyResult> {
    const body = {
      f: request.family,
      heads: request.heads.map((h) => [h.layer, h.head]),
      rows: request.rows.map(pairOf),
      keys: request.keys.map(pairOf),
      w: request.weight,
    };
    return (await (await this.post('verify', body)).json()) as VerifyResult;
  }

  async run(text: string, pair: string | null, onProgress: (done: number, what: string) => void, signal: AbortSignal): Promise<string> {
    const done = await this.events('run', { text, pair }, signal, { progress: (data) => reportProgress(data, onProgress) });
    return (done as { state: string }).state;
  }

  async why(request: WhyRequest, onCost: (onCost: WhyCost) => void, onProgress: Progress, signal: AbortSignal): Promise<WhyResult> {
    const handlers = { cost: (data: unknown) => onCost(data as WhyCost), progress: (data: unknown) => reportProgress(data, onProgress) };
    return (await this.events('why', request, signal, handlers)) as WhyResult;
  }

  async whatIf(request: WhatIfRequest, onProgress: Progress, signal: AbortSignal): Promise<WhatIfResult> {
    return (await this.events('what-if', request, signal, { progress: (data) => reportProgress(data, onProgress) })) as WhatIfResult;
  }

  compareSource({ step, edited }: CompareTarget): Source {
    const source = new LiveSource(this.base, this.transport, edited);
    source.step = step ?? this.step;
    return source;
  }

  async alignment(target: CompareTarget): Promise<Alignment> {
    const frame = await this.frame<{ by: Alignment['method']; whole: boolean }>('aligned', targetParams(target));
    const { by, whole } = frame.header;
    return { method: by, whole, before: requireArray(frame, 'before', Int32Array), after: requireArray(frame, 'after', Int32Array) };
  }

  async compare(request: CompareRequest, onComparison: (found: MapComparison) => void, signal: AbortSignal): Promise<void> {
    await this.stream<ComparedHeader>('compare', compareParams(request), signal, (frame) => {
      const { header } = frame;
      if (header.event !== 'picture') return;
      const span = ([begin, end]: [number, number]): Span => ({ begin, end });
      onComparison({
        badge: header.badge,
        error: 0,
        z: header.z,
        rows: span(header.row_places),
        columns: span(header.column_places),
        rowsCompared: header.rows,
        of: header.of,
        mean: header.mean,
        before: requireArray(frame, 'before', Float32Array),
        after: requireArray(frame, 'after', Float32Array),
        divergence: requireArray(frame, 'divergence', Float32Array),
      });
    });
  }

  async compareHeads(request: CompareRequest, onRanking: (found: HeadRanking) => void, signal: AbortSignal): Promise<void> {
    await this.stream<ComparedHeader>('compare-heads', compareParams(request), signal, (frame) => {
      const { badge, rows, of, event } = frame.header;
      if (event !== 'heads') return;
      const heads = frame.shapes['divergence'][1];
      onRanking({ badge, rowsCompared: rows, of, heads, divergence: requireArray(frame, 'divergence', Float32Array) });
    });
  }

  /** Reads server-sent events, and passes each to the handler of its name; returns the data of `done`. */
  private async events(
    path: string,
    body: unknown,
    signal: AbortSignal,
    handlers: Record<string, (data: unknown) => void>,
  ): Promise<unknown> {
    const response = await this.post(path, body, signal);
    if (!response.body) throw new SourceError('kIo', `api/${path}: no answer`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let pending = '';
    for (;;) {
      const { done, value } = await reader.read();
      pending += value ?? '';
      const events = pending.split('\n\n');
      pending = events.pop() ?? '';
      for (const event of events) {
        const name = /^event: ?(.*)$/m.exec(event)?.[1] ?? '';
        const data = JSON.parse(/^data: ?(.*)$/m.exec(event)?.[1] ?? '{}') as unknown;
        if (name === 'done') return data;
        if (name === 'error') {
          const { error } = data as { error: { code: string; message: string; command?: string } };
          throw new SourceError(error.code, error.message, error.command ?? null);
        }
        handlers[name]?.(data);
      }
      if (done) throw new SourceError('kIo', `api/${path}: the server stopped before it was done`);
    }
  }

  async export(kind: ExportKind, state: string): Promise<{ blob: Blob; name: string }> {
    const response = await this.get('export', { kind, state });
    const name = /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '')?.[1] ?? `clearhead.${kind}`;
    return { blob: await response.blob(), name };
  }

  async pdf(drawing: Drawing): Promise<Blob> {
    return (await this.post('pdf', posted(drawing))).blob();
  }

  private async json<T>(path: string, params: Params): Promise<T> {
    return (await (await this.get(path, params)).json()) as T;
  }

  private async frame<Header>(path: string, params: Params, signal?: AbortSignal): Promise<Frame<Header>> {
    return decodeFrame<Header>(await (await this.get(path, params, signal)).arrayBuffer());
  }

  private async stream<Header extends { event?: string; error?: { code: string; message: string } }>(
    path: string,
    params: Params,
    signal: AbortSignal,
    onFrame: (frame: Frame<Header>) => void,
  ): Promise<void> {
    const response = await this.get(path, params, signal);
    if (!response.body) return;
    await readFrames<Header>(response.body, (frame) => {
      if (frame.header.event === 'error' && frame.header.error) throw new SourceError(frame.header.error.code, frame.header.error.message);
      onFrame(frame);
    });
  }

  private async get(path: string, params: Params, signal?: AbortSignal): Promise<Response> {
    return checked(await this.transport(this.address(path, params), signal ? { signal } : {}));
  }

  private async post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
    const init = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
    return checked(await this.transport(this.address(path, {}), signal ? { ...init, signal } : init));
  }

  private address(path: string, params: Params): string {
    const all: Params = this.id && path !== 'info' && path !== 'run' ? { ...params, id: this.id } : { ...params };
    if (this.step !== null && path !== 'info') all['t'] = this.step;
    if (this.edit !== null) all['edited'] = this.edit;
    const query = new URLSearchParams(Object.entries(all).map(([k, v]) => [k, String(v)] as [string, string])).toString();
    return `${this.base}api/${path}${query ? `?${query}` : ''}`;
  }
}

async function checked(response: Response): Promise<Response> {
  if (response.ok) return response;
  const fallback = { error: { code: 'kIo', message: `HTTP ${response.status}`, command: null as string | null } };
  const body = (await response.json().catch(() => fallback)) as typeof fallback;
  throw new SourceError(body.error.code, body.error.message, body.error.command ?? null);
}

function reportProgress(data: unknown, onProgress: Progress): void {
  const { done, what } = data as { done: number; what: string };
  onProgress(done, what);
}

const pairOf = (s: Span): [number, number] => [s.begin, s.end];

const mapParams = (request: MapRequest): Params => ({
  f: request.family,
  ...headParams(request.at),
  w: request.weight,
  sink: request.sink,
  ...(request.band ? { axes: 'offset', back: request.band.back, ahead: request.band.ahead } : {}),
});

const targetParams = ({ step, edited }: CompareTarget): Params => ({
  ...(step === null ? {} : { with: step }),
  ...(edited === null ? {} : { with_edited: edited }),
});

const compareParams = ({ target, before, after, rows, columns, exact }: CompareRequest): Params => ({
  f: before.family,
  ...headParams(before),
  with_f: after.family,
  with_l: headParams(after).l,
  with_h: headParams(after).h,
  ...(rows ? { rows: formatSpans([rows]) } : {}),
  ...(columns ? { columns: formatSpans([columns]) } : {}),
  ...(exact ? { exact: 1 } : {}),
  ...targetParams(target),
});
