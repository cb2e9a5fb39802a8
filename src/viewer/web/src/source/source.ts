// A source is what the viewer looks at: two sides and the maps between them. The live server and the offline page are its two kinds;
// both speak the JSON and frames of docs/viewer-api.md, so the views never know which one is behind.

import type { Drawing } from '../figure/drawing';
import type { AnswerKind, Progress, WhatIfRequest, WhatIfResult, WhyCost, WhyRequest, WhyResult } from './explain';
import type { Codes } from './frame';

export interface Span {
  begin: number;
  end: number;
}

export interface HeadId {
  layer: number;
  head: number;
}

export type Badge = 'exact' | 'sampled' | 'top-k' | 'quantised';
export type Direction = 'out' | 'in';
export const kGradients = ['for', 'against', 'raises', 'lowers'] as const; // P·∂y/∂P above zero, and below; ∂y/∂P above zero, and below
export type Gradient = (typeof kGradients)[number];
export type WeightKind = 'raw' | 'value' | 'output' | Gradient | `${Gradient}-value`; // the last: times the lengths of the values
export const kWeightKinds: readonly WeightKind[] = [
  'raw',
  'value',
  'output',
  ...kGradients,
  ...kGradients.map((g) => `${g}-value` as const),
];
export type SinkRule = 'mark' | 'hide' | 'renorm';
export type Scale = 'linear' | 'sqrt' | 'log';

export type Feature =
  | 'row'
  | 'column'
  | 'tile'
  | 'overview'
  | 'atlas'
  | 'mass'
  | 'verify'
  | 'run'
  | 'why'
  | 'what-if'
  | 'compare'
  | 'export'
  | WeightKind
  | 'weights';
export type MissingCode = 'q-not-kept' | 'v-not-kept' | 'no-model' | 'other-input' | 'layers-not-kept' | 'not-in-page' | 'over-budget';

export interface Missing {
  feature: Feature;
  code: MissingCode;
  command: string | null;
  detail: string | null;
}

export interface Side {
  kind: string;
  tokens: number;
  bytes: number;
  lang: string | null;
}

/** Where the rest of a row goes: to a logit without a value; nowhere, as each pair has a weight of its own; nowhere, as weights are scaled afterwards. */
export type Remainder = 'sink-logit' | 'independent' | 'after';

export interface Family {
  id: string;
  kind: 'encoder' | 'decoder' | 'cross' | 'other';
  layers: number;
  heads: number;
  key_heads: number;
  d_k: number;
  queries: number;
  keys: number;
  query_range: [number, number]; // the stretches of the text that rows and columns are
  key_range: [number, number];
  query_side: number;
  key_side: number;
  causal: boolean;
  sums_to_one: boolean;
  remainders: (Remainder | null)[]; // by layer: why rows need not sum to one
  sinks: number[];
  weights: WeightKind[];
  rows: [number, number][];
  all_rows: boolean;
  windows: [number, number][] | null;
  bands: ([number, number] | null)[]; // by layer: how far back and ahead a query sees, where both ways end
  summaries: (string | null)[]; // by layer: what it computes, in one line
}

/** One of several traces. */
export interface TraceChoice {
  number: number;
  id: string;
  model: string;
  begins: string; // how its text begins, or empty
  state: string; // what it opens with
  look_for: { en: string; zh: string } | null;
}

export interface Info {
  protocol: number;
  clearhead: string;
  source: 'live' | 'trace' | 'offline';
  id: string;
  name: string;
  command: string;
  sides: Side[];
  families: Family[];
  special: Record<string, string>;
  notes: string[];
  missing: Missing[];
  can_run: boolean;
  answers: { kind: AnswerKind; labels: string[] } | null; // what the model answers, where one is loaded
  pair: boolean;
  max_tokens: number | null;
  gradients_of: string | null; // the answer y whose gradients the trace kept
  generated: number[]; // the probability of each token at the text's end that a model made
  checkpoints: { step: number; id: string }[]; // of a training run that was watched, ascending
  traces: TraceChoice[]; // to choose from
  step: number | null; // which checkpoint or which trace this is
  versions: Record<string, string>;
}

export interface TextData {
  bytes: Uint8Array; // UTF-8 as given, [byteBegin, …)
  byteBegin: number;
  begin: Uint32Array; // byte offsets per token
  end: Uint32Array;
  id: Int32Array;
  word: Int32Array; // −1 for specials
  flags: Uint8Array; // bit 0: special
  items: Items[];
}

/** Ids behind the tokens that are no tokens: sentences, slots, patches, frames. */
export interface Items extends Span {
  kind: string;
  rows: number; // of patches, which stand row by row; else 0
  picture: [number, number] | null; // height and width of what they are cut from
  names: string[];
}

/** RGB, row by row. */
export interface Pixels {
  height: number;
  width: number;
  rgb: Uint8Array;
}

export interface Segment extends Span {
  name: string;
  role: string | null;
  lang: string | null;
}

/** Which line of the map: a row (direction out, the spans are queries) or a column (in, keys). */
export interface LineRequest {
  family: string;
  at: HeadId;
  direction: Direction;
  spans: Span[];
  reduce: 'sum' | 'mean';
  weight: WeightKind;
  sink: SinkRule;
  step: number | null; // of the source: which checkpoint
}

export interface TopItem extends Span {
  weight: number;
}

/** A row or a column. `values` has one weight per item of the other side; null where only the heaviest are known (badge top-k). */
export interface Line {
  badge: Badge;
  error: number; // largest absolute difference to f32; 0 when exact
  total: number;
  sinkMass: number;
  entropy: number | null;
  values: Float32Array | null;
  top: TopItem[];
  visible: [number, number][];
  unscored: [number, number][];
}

/** Columns of a map that are key − query, from −back to ahead; column 0 is −back. */
export interface Near {
  back: number;
  ahead: number;
}

export interface MapRequest {
  near?: Near | null; // in place of keys
  family: string;
  at: HeadId;
  weight: WeightKind;
  sink: SinkRule;
  step: number | null;
}

/** A pooled piece of the map: cells of 2^z × 2^z weights, first cell at (keyBegin, queryBegin). */
export interface Picture {
  badge: Badge;
  sampledRows: number | null;
  z: number;
  columnZ?: number; // where columns are key − query: 2^columnZ of them a cell
  rows: number;
  columns: number;
  queryBegin: number;
  keyBegin: number;
  max: Uint8Array;
  mean: Uint8Array;
  maxCodes: Codes;
  meanCodes: Codes;
}

/** Weights one by one, for the numbers in cells. NaN hidden, −1 never scored. */
export interface Cells {
  badge: Badge;
  error: number;
  queryBegin: number;
  keyBegin: number;
  rows: number;
  columns: number;
  values: Float32Array;
}

export const kScores = [
  'previous',
  'first',
  'self',
  'local',
  'delimiter',
  'duplicate',
  'induction',
  'retrieval',
  'broad',
  'distance',
] as const;
export type ScoreName = (typeof kScores)[number];

/** A head's map, small. */
export interface HeadPicture extends HeadId {
  badge: Badge;
  queries: [number, number] | null; // what the thumbnail shows; null: all
  keys: [number, number] | null;
  rows: number;
  columns: number;
  codes: Codes;
  offsets: [number, number] | null; // the thumbnail's columns are key − query
  thumbnail: Uint8Array;
}

export interface AtlasHead extends HeadPicture {
  scores: Record<ScoreName, number | null>;
  strongest: readonly ScoreName[]; // what a thumbnail says of the head
}

/** Under another kind of weight than raw. */
export interface WeightedHead extends HeadPicture {
  sum: number; // of the whole map
}

export interface Mass {
  badge: Badge;
  error: number; // largest absolute difference to f32; 0 when exact
  mass: Float32Array; // [layer, head]
}

export interface VerifyRequest {
  family: string;
  heads: HeadId[];
  rows: Span[];
  keys: Span[];
  weight: WeightKind;
}

export interface VerifyResult {
  checked: number;
  of: number;
  largest_difference: number;
  bound: number;
  within: boolean;
  at: { layer: number; head: number; query: number; key: number; shown: number; eager: number };
  seconds: number;
}

/** What a map is compared with: one of another trace or checkpoint, of the run of an edit, or (neither) of the same trace. */
export interface Versus {
  step: number | null;
  edited: string | null;
}

/** Ids of two texts by place in one order; −1: not in that text. */
export interface Places {
  by: 'same' | 'offsets' | 'texts';
  whole: boolean; // false: the texts differ in too much to be aligned but at their ends
  before: Int32Array;
  after: Int32Array;
}

export interface CompareRequest {
  versus: Versus;
  before: HeadId & { family: string };
  after: HeadId & { family: string };
  rows: Span | null; // places; null: all
  columns: Span | null;
  exact: boolean; // all rows, however long it takes
}

/** Two maps in cells of 2^z × 2^z places: means, NaN hidden, −1 in one text only. */
export interface Compared {
  badge: Badge;
  error: number;
  z: number;
  rows: Span;
  columns: Span;
  lookedAt: number; // rows, of those that both maps have
  of: number;
  mean: number | null; // divergence of these rows, in nats
  before: Float32Array; // [cells down, cells across]
  after: Float32Array;
  divergence: Float32Array; // [cells down], NaN: none
}

/** Mean divergence of each head; of one trace from the head that is compared, else from that of the same number. */
export interface RankedHeads {
  badge: Badge;
  lookedAt: number;
  of: number;
  heads: number; // of a layer
  divergence: Float32Array; // [layer, head], NaN: none
}

export type ExportKind = 'html' | 'json' | 'npy';

/** What an offline page may hold beside text, statistics and thumbnails. */
export const kHoldings = ['exact', 'weights', 'overview', 'near', 'top', 'top8', 'qk'] as const;
export type Holding = (typeof kHoldings)[number];

export interface Source {
  readonly offline: boolean;
  readonly holds: readonly Holding[]; // of an offline page
  /** The checkpoint or the trace that everything is asked of; null where there is but one. */
  readonly step: number | null;
  info(): Promise<Info>;
  /** Turns to another checkpoint or trace and says what it is; `step` is this one as soon as that is known. */
  turn(step: number): Promise<Info>;
  text(side: number): Promise<TextData>;
  segments(side: number): Promise<Segment[]>;
  /** What the items of a range are cut from. */
  picture(range: number): Promise<Pixels>;
  /** `slot` names the asker: a newer request of the same slot supersedes an older one, which rejects with AbortError. */
  line(request: LineRequest, slot: string): Promise<Line>;
  received(family: string, at: HeadId): Promise<Float32Array | null>;
  /** `columnZ`: of a request for what is near. */
  tile(request: MapRequest, z: number, x: number, y: number, signal: AbortSignal, columnZ?: number): Promise<Picture>;
  /** At level z > 0 the mean of each cell of 2^z × 2^z weights. */
  cells(request: MapRequest, x: number, y: number, signal: AbortSignal, z?: number): Promise<Cells>;
  overview(request: MapRequest, take: (picture: Picture) => void, signal: AbortSignal): Promise<void>;
  atlas(family: string, take: (heads: AtlasHead[], done: number) => void, signal: AbortSignal): Promise<void>;
  /** Under a kind of weight other than raw. */
  weightedHeads(
    family: string,
    weight: WeightKind,
    sink: SinkRule,
    take: (heads: WeightedHead[]) => void,
    signal: AbortSignal,
  ): Promise<void>;
  mass(family: string, rows: Span[], keys: Span[], weight: WeightKind, sink: SinkRule, signal: AbortSignal): Promise<Mass>;
  verify(request: VerifyRequest): Promise<VerifyResult>;
  run(text: string, pair: string | null, progress: (done: number, what: string) => void, signal: AbortSignal): Promise<void>;
  why(request: WhyRequest, cost: (cost: WhyCost) => void, progress: Progress, signal: AbortSignal): Promise<WhyResult>;
  whatIf(request: WhatIfRequest, progress: Progress, signal: AbortSignal): Promise<WhatIfResult>;
  /** What is compared with, as a source of its own. */
  beside(versus: Versus): Source;
  places(versus: Versus): Promise<Places>;
  compare(request: CompareRequest, take: (found: Compared) => void, signal: AbortSignal): Promise<void>;
  compareHeads(request: CompareRequest, take: (found: RankedHeads) => void, signal: AbortSignal): Promise<void>;
  export(kind: ExportKind, state: string): Promise<{ blob: Blob; name: string }>;
  /** PDF of a figure; kUnsupported where this source cannot make one. */
  pdf(drawing: Drawing): Promise<Blob>;
}

/** What a source answers instead: the closed codes of clearhead/error.h, or `forbidden`. */
export class SourceError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly command: string | null = null,
  ) {
    super(message);
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException ? error.name === 'AbortError' : error instanceof SourceError && error.code === 'kCancelled';
}

export const isStale = (error: unknown): boolean => error instanceof SourceError && error.code === 'kStale';

export const formatSpans = (spans: readonly Span[]): string =>
  spans.map((s) => (s.end === s.begin + 1 ? `${s.begin}` : `${s.begin}-${s.end}`)).join(',');
