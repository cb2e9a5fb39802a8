// The offline source: a page that contains the data of one or several traces. A request for missing data rejects with the reason;
// `info.missing` lists it beforehand, so that the controls are disabled.

import { aligned } from './alignment';
import { comparedMaps, rankedMaps } from './compare';
import { HeldTrace, type Manifest } from './held';
import {
  type AtlasHead,
  type Cells,
  type CompareRequest,
  type Compared,
  type HeadId,
  type Holding,
  type Info,
  type Line,
  type LineRequest,
  type MapRequest,
  type Mass,
  type Picture,
  type Pixels,
  type Places,
  type RankedHeads,
  type Segment,
  type SinkRule,
  type Source,
  type Span,
  type TextData,
  type VerifyResult,
  type Versus,
  type WeightKind,
  type WeightedHead,
  SourceError,
} from './source';
import { hasGallery } from '../opening';

/** Answers from the trace selected last at the time of the request. */
export class OfflineSource implements Source {
  readonly offline = true;
  private held: HeldTrace;

  private constructor(private readonly all: readonly HeldTrace[]) {
    const { traces } = all[0].info;
    this.held = traces.length > 0 ? all[0] : all[all.length - 1]; // of a training run: the last step
  }

  static find(page: Document): OfflineSource | null {
    const element = page.getElementById('clearhead-manifest');
    if (!element) return null;
    return new OfflineSource((JSON.parse(element.textContent ?? '[]') as Manifest[]).map((manifest) => new HeldTrace(manifest, page)));
  }

  /** The state that the page opens with; null if it opens on the gallery. */
  get state(): string | null {
    return hasGallery(this.held.info) ? null : this.held.manifest.state;
  }

  get holds(): Holding[] {
    return this.held.holds;
  }

  get step(): number | null {
    return this.held.info.step;
  }

  info(): Promise<Info> {
    return Promise.resolve(this.held.info);
  }

  turn(step: number): Promise<Info> {
    const found = this.all.find((held) => held.info.step === step);
    if (!found) return Promise.reject(new SourceError('kNotFound', `t=${step}: not in this page`));
    this.held = found;
    return this.info();
  }

  text(side: number): Promise<TextData> {
    return this.held.text(side);
  }

  picture(range: number): Promise<Pixels> {
    return this.held.picture(range);
  }

  segments(side: number): Promise<Segment[]> {
    return this.held.segments(side);
  }

  line(request: LineRequest): Promise<Line> {
    return this.held.line(request);
  }

  received(family: string, at: HeadId): Promise<Float32Array | null> {
    return this.held.received(family, at);
  }

  tile(request: MapRequest, z: number, x: number, y: number, _signal: AbortSignal, columnZ = 0): Promise<Picture> {
    return this.held.tile(request, z, x, y, columnZ);
  }

  cells(request: MapRequest, x: number, y: number): Promise<Cells> {
    return this.held.cells(request, x, y);
  }

  overview(request: MapRequest, take: (picture: Picture) => void): Promise<void> {
    return this.held.overview(request, take);
  }

  atlas(family: string, take: (heads: AtlasHead[], done: number) => void): Promise<void> {
    return this.held.atlas(family, take);
  }

  weightedHeads(family: string, weight: WeightKind, sink: SinkRule, take: (heads: WeightedHead[]) => void): Promise<void> {
    return this.held.weightedHeads(family, weight, sink, take);
  }

  mass(family: string, rows: Span[], keys: Span[], weight: WeightKind, sink: SinkRule): Promise<Mass> {
    return this.held.mass(family, rows, keys, weight, sink);
  }

  verify(): Promise<VerifyResult> {
    return Promise.reject(this.held.absent('verify'));
  }

  run(): Promise<void> {
    return Promise.reject(this.held.absent('run'));
  }

  readonly why = (): Promise<never> => Promise.reject(this.held.absent('why'));
  readonly whatIf = (): Promise<never> => Promise.reject(this.held.absent('what-if'));

  beside(versus: Versus): Source {
    const source = new OfflineSource(this.all);
    source.held = this.other(versus);
    return source;
  }

  private other({ step }: Versus): HeldTrace {
    return (step === null ? null : this.all.find((held) => held.info.step === step)) ?? this.held;
  }

  async places(versus: Versus): Promise<Places> {
    const [was, is] = await Promise.all(
      [this.held, this.other(versus)].map(async (held) => ({ data: await held.text(0), special: held.info.special })),
    );
    return aligned(was, is);
  }

  async compare(request: CompareRequest, take: (found: Compared) => void): Promise<void> {
    const { before, after } = request;
    const places = await this.places(request.versus);
    const [was, is] = await Promise.all([this.held.held(before.family, before), this.other(request.versus).held(after.family, after)]);
    take(comparedMaps(was, is, places, request));
  }

  async compareHeads(request: CompareRequest, take: (found: RankedHeads) => void, signal: AbortSignal): Promise<void> {
    const { before, after } = request;
    const other = this.other(request.versus);
    const families = { before: this.held.familyOf(before.family), after: other.familyOf(after.family) };
    const maps = {
      before: (at: HeadId) => this.held.held(before.family, at),
      after: (at: HeadId) => other.held(after.family, at),
    };
    const fixed = other === this.held ? before : null;
    const found = await rankedMaps(maps, families, await this.places(request.versus), fixed, signal);
    if (!signal.aborted) take(found);
  }

  export(): Promise<{ blob: Blob; name: string }> {
    return Promise.reject(this.held.absent('export'));
  }

  pdf(): Promise<Blob> {
    return Promise.reject(new SourceError('kUnsupported', 'an offline page has no server'));
  }
}
