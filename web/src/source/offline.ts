// The offline source: a page that contains the data of one or several traces. A request for missing data rejects with the reason;
// `info.missing` lists it beforehand, so that the controls are disabled.

import { alignTexts } from './alignment';
import { compareMaps, rankHeads } from './compare';
import { type ComputingSource, computingSource } from './computing';
import { OfflineTrace, type Manifest } from './offlineTrace';
import {
  type AtlasHead,
  type Cells,
  type CompareRequest,
  type MapComparison,
  type HeadId,
  type PageContent,
  type Info,
  type Line,
  type LineRequest,
  type MapRequest,
  type Mass,
  type Picture,
  type Pixels,
  type Alignment,
  type HeadRanking,
  type Segment,
  type SinkRule,
  type Source,
  type Span,
  type TextData,
  type VerifyResult,
  type CompareTarget,
  type WeightKind,
  type WeightedHead,
  SourceError,
} from './source';
import { hasGallery } from '../opening';

/** Answers from the trace selected last at the time of the request. */
export class OfflineSource implements Source {
  readonly offline = true;
  private current: OfflineTrace;

  private computed: { trace: OfflineTrace; source: ComputingSource | null } | null = null;

  private constructor(
    private readonly traces: readonly OfflineTrace[],
    private readonly page: Document,
  ) {
    const isTrainingRun = traces[0].info.traces.length === 0;
    this.current = isTrainingRun ? traces[traces.length - 1] : traces[0]; // opens at the last step of a run
  }

  static find(page: Document): OfflineSource | null {
    const element = page.getElementById('clearhead-manifest');
    if (!element) return null;
    const manifests = JSON.parse(element.textContent ?? '[]') as Manifest[];
    return new OfflineSource(
      manifests.map((manifest) => new OfflineTrace(manifest, page)),
      page,
    );
  }

  /** The state that the page opens with; null if it opens on the gallery. */
  get state(): string | null {
    return hasGallery(this.current.info) ? null : this.current.manifest.state;
  }

  get contents(): PageContent[] {
    return this.current.contents;
  }

  get step(): number | null {
    return this.current.info.step;
  }

  info(): Promise<Info> {
    return Promise.resolve(this.current.info);
  }

  switchTo(step: number): Promise<Info> {
    const found = this.traces.find((trace) => trace.info.step === step);
    if (!found) return Promise.reject(new SourceError('kNotFound', `t=${step}: not in this page`));
    this.current = found;
    return this.info();
  }

  /** An engine takes some 100 MB, so there is only one: that of the last trace that was asked for. */
  computing(): Source | null {
    if (this.computed?.trace !== this.current) {
      this.restore();
      this.computed = { trace: this.current, source: computingSource(this.current, this.page, this.at(this.current)) };
    }
    return this.computed.source;
  }

  restore(): void {
    this.computed?.source?.stop();
    this.computed = null;
  }

  /** A source that stays at a trace. */
  private at(trace: OfflineTrace): OfflineSource {
    const source = new OfflineSource(this.traces, this.page);
    source.current = trace;
    return source;
  }

  text(side: number): Promise<TextData> {
    return this.current.text(side);
  }

  picture(range: number): Promise<Pixels> {
    return this.current.picture(range);
  }

  segments(side: number): Promise<Segment[]> {
    return this.current.segments(side);
  }

  line(request: LineRequest): Promise<Line> {
    return this.current.line(request);
  }

  received(family: string, at: HeadId): Promise<Float32Array | null> {
    return this.current.received(family, at);
  }

  tile(request: MapRequest, z: number, x: number, y: number, _signal: AbortSignal, columnZ = 0): Promise<Picture> {
    return this.current.tile(request, z, x, y, columnZ);
  }

  cells(request: MapRequest, x: number, y: number): Promise<Cells> {
    return this.current.cells(request, x, y);
  }

  overview(request: MapRequest, onPicture: (picture: Picture) => void): Promise<void> {
    return this.current.overview(request, onPicture);
  }

  atlas(family: string, onHeads: (heads: AtlasHead[], done: number) => void): Promise<void> {
    return this.current.atlas(family, onHeads);
  }

  weightedHeads(family: string, weight: WeightKind, sink: SinkRule, onHeads: (heads: WeightedHead[]) => void): Promise<void> {
    return this.current.weightedHeads(family, weight, sink, onHeads);
  }

  mass(family: string, rows: Span[], keys: Span[], weight: WeightKind, sink: SinkRule): Promise<Mass> {
    return this.current.mass(family, rows, keys, weight, sink);
  }

  readonly neurons = (): Promise<never> => Promise.reject(this.current.missingError('neurons'));

  verify(): Promise<VerifyResult> {
    return Promise.reject(this.current.missingError('verify'));
  }

  run(): Promise<string> {
    return Promise.reject(this.current.missingError('run'));
  }

  readonly why = (): Promise<never> => Promise.reject(this.current.missingError('why'));
  readonly whatIf = (): Promise<never> => Promise.reject(this.current.missingError('what-if'));

  compareSource(target: CompareTarget): Source {
    return this.at(this.otherTrace(target));
  }

  private otherTrace({ step }: CompareTarget): OfflineTrace {
    return (step === null ? null : this.traces.find((trace) => trace.info.step === step)) ?? this.current;
  }

  async alignment(target: CompareTarget): Promise<Alignment> {
    const [before, after] = await Promise.all(
      [this.current, this.otherTrace(target)].map(async (trace) => ({ data: await trace.text(0), special: trace.info.special })),
    );
    return alignTexts(before, after);
  }

  async compare(request: CompareRequest, onComparison: (found: MapComparison) => void): Promise<void> {
    const alignment = await this.alignment(request.target);
    const [before, after] = await Promise.all([
      this.current.completeMap(request.before.family, request.before),
      this.otherTrace(request.target).completeMap(request.after.family, request.after),
    ]);
    onComparison(compareMaps(before, after, alignment, request));
  }

  async compareHeads(request: CompareRequest, onRanking: (found: HeadRanking) => void, signal: AbortSignal): Promise<void> {
    const { before, after } = request;
    const other = this.otherTrace(request.target);
    const families = { before: this.current.familyOf(before.family), after: other.familyOf(after.family) };
    const maps = {
      before: (at: HeadId) => this.current.completeMap(before.family, at),
      after: (at: HeadId) => other.completeMap(after.family, at),
    };
    const fixed = other === this.current ? before : null;
    const found = await rankHeads(maps, families, await this.alignment(request.target), fixed, signal);
    if (!signal.aborted) onRanking(found);
  }

  export(): Promise<{ blob: Blob; name: string }> {
    return Promise.reject(this.current.missingError('export'));
  }

  pdf(): Promise<Blob> {
    return Promise.reject(new SourceError('kUnsupported', 'an offline page has no server'));
  }
}
