// A source provides what the viewer shows: the texts of queries and keys, and the maps between them. There are two sources, the live server
// and the offline page. Both use the JSON and frames of docs/viewer-api.md, so the views do not depend on which one is used.

import type { Drawing } from '../figure/drawing';
import type { AnswerKind, Method, Progress, WhatIfRequest, WhatIfResult, WhyCost, WhyRequest, WhyResult } from './explain';
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
export const kGradients = ['for', 'against', 'raises', 'lowers'] as const; // positive and negative part of P·∂y/∂P; positive and negative part of ∂y/∂P
export type Gradient = (typeof kGradients)[number];
export type WeightKind = 'raw' | 'value' | 'output' | Gradient | `${Gradient}-value`; // the last: multiplied by the norms of the value vectors
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
  | 'neurons'
  | 'mean'
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

/**
 * The reason why a row need not sum to one: part of it goes to a sink logit without a value vector; each weight is computed independently; or weights
 * are scaled after normalisation.
 */
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
  query_range: [number, number]; // the ranges of ids that are the rows and the columns
  key_range: [number, number];
  query_side: number;
  key_side: number;
  causal: boolean;
  segment_length: number; // > 0: the model reads in segments, and the keys before a query's segment are its memory
  sums_to_one: boolean;
  remainders: (Remainder | null)[]; // per layer
  sinks: number[];
  weights: WeightKind[];
  rows: [number, number][];
  all_rows: boolean;
  writes_from: number | null; // the first row that writes a token (rows.ts); null: all rows only read
  windows: [number, number][] | null;
  bands: ([number, number] | null)[]; // per layer: how far back and ahead a query sees, if bounded both ways
  summaries: (Bilingual | null)[]; // per layer: what it computes, in one line
}

/** A sentence in the page's languages. */
type Bilingual = Record<'en' | 'zh', string>;

/** Another trace of the page, whose input has one word replaced. */
interface InputChange {
  from: string;
  to: string;
  number: number;
  answer: string; // of the model to the changed input; may be empty
}

/** One of several traces. */
export interface TraceChoice {
  number: number;
  id: string;
  model: string;
  begins: string; // the beginning of its text, or empty
  state: string; // the state it opens with
  card: { title: Bilingual; look_for: Bilingual; answer: string; change: InputChange | null } | null; // in the gallery
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
  answers: { kind: AnswerKind; labels: string[] } | null; // the kind of the model's answers, if a model is loaded
  answered: { name: string; probability: number; token: number | null }[]; // the main answers on this input, if they are known
  methods: Method[]; // the attribution methods of the engine
  pair: boolean;
  given: [string, string] | null; // a text and its pair, or a source and its target; null for one text, and for long ones
  max_tokens: number | null;
  gradients_of: string | null; // the answer y whose gradients are in the trace
  generated: number[]; // probabilities of the generated tokens, which are the last of the text
  checkpoints: { step: number; id: string }[]; // of a recorded training run, ascending
  traces: TraceChoice[]; // the traces to choose from
  step: number | null; // number of this checkpoint or trace
  versions: Record<string, string>;
}

export interface TextData {
  bytes: Uint8Array; // UTF-8 as given, from byte `byteBegin` on
  byteBegin: number;
  begin: Uint32Array; // byte offsets per token
  end: Uint32Array;
  id: Int32Array;
  word: Int32Array; // −1 for specials
  flags: Uint8Array; // bit 0: special
  items: Items[];
}

/** A range of ids that follow those of the tokens and are not tokens: sentences, slots, patches, frames, intervals, nodes. */
export interface Items extends Span {
  kind: string;
  rows: number; // number of rows of patches, which are in row-major order; else 0
  picture: [number, number] | null; // height and width of the picture that contains them
  boxes: number[] | null; // the place of each item in the picture: left, top, width and height in pixels; null if the items partition the picture
  names: string[];
}

/** True for items that partition a picture of the input: drawn over it, or below it in order of time. */
export const isOnPicture = ({ rows, picture, boxes }: Items): boolean => rows > 0 || (picture !== null && !boxes);

/** RGB, row-major. */
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

/** A line of the map: a row (direction out, the spans are queries) or a column (direction in, the spans are keys). */
export interface LineRequest {
  family: string;
  at: HeadId;
  direction: Direction;
  spans: Span[];
  reduce: 'sum' | 'mean';
  weight: WeightKind;
  sink: SinkRule;
  step: number | null; // checkpoint of the source
}

export interface TopItem extends Span {
  weight: number;
}

/** A row or a column. `values` has one weight per item of the other axis; null if only the heaviest are known (badge top-k). */
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

/** The columns of a map over key − query: from −back to ahead; column 0 is −back. */
export interface Band {
  back: number;
  ahead: number;
}

export interface MapRequest {
  band?: Band | null; // columns of key − query instead of keys
  family: string;
  at: HeadId;
  weight: WeightKind;
  sink: SinkRule;
  step: number | null;
}

/** A pooled part of the map: cells of 2^z × 2^z weights, first cell at (keyBegin, queryBegin). */
export interface Picture {
  badge: Badge;
  sampledRows: number | null;
  z: number;
  columnZ?: number; // if columns are key − query: a cell spans 2^columnZ of them
  rows: number;
  columns: number;
  queryBegin: number;
  keyBegin: number;
  max: Uint8Array;
  mean: Uint8Array;
  maxCodes: Codes;
  meanCodes: Codes;
}

/** Single weights, for the numbers in cells. NaN: hidden, −1: never scored. */
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

/** A thumbnail of a head's map. */
export interface HeadPicture extends HeadId {
  badge: Badge;
  queries: [number, number] | null; // the range that the thumbnail shows; null: all
  keys: [number, number] | null;
  rows: number;
  columns: number;
  codes: Codes;
  offsets: [number, number] | null; // set if the thumbnail's columns are key − query
  thumbnail: Uint8Array;
}

export interface AtlasHead extends HeadPicture {
  scores: Record<ScoreName, number | null>;
  strongest: readonly ScoreName[]; // the scores printed on the thumbnail
}

/** A head under a kind of weight other than raw. */
export interface WeightedHead extends HeadPicture {
  sum: number; // sum over the whole map
}

export interface Mass {
  badge: Badge;
  error: number; // largest absolute difference to f32; 0 when exact
  mass: Float32Array; // [layer, head]
}

/** How the scores of a row are made, for the keys with its largest weights, heaviest first. */
export interface Neurons {
  at: HeadId;
  query: number;
  badge: Badge;
  scale: number;
  hasTerms: boolean; // the score also has terms that are not products, such as a position bias
  keys: Uint32Array;
  q: Float32Array; // [channel]
  k: Float32Array; // [key, channel]
  products: Float32Array; // scale·q·k, [key, channel]
  scores: Float32Array; // sums over the channels
  weights: Float32Array;
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

/** The other side of a comparison: another trace or checkpoint, the run of an edit, or (both null) the same trace. */
export interface CompareTarget {
  step: number | null;
  edited: string | null;
}

/** The ids of two texts, merged into one order. A place is a position in this order; −1: not in that text. */
export interface Alignment {
  method: 'same' | 'offsets' | 'texts';
  whole: boolean; // false: the texts differ too much to be aligned, except at their ends
  before: Int32Array;
  after: Int32Array;
}

export interface CompareRequest {
  target: CompareTarget;
  before: HeadId & { family: string };
  after: HeadId & { family: string };
  rows: Span | null; // places; null: all
  columns: Span | null;
  exact: boolean; // compute all rows, however long it takes
}

/** Two maps in cells of 2^z × 2^z places: means. NaN: hidden, −1: in one text only. */
export interface MapComparison {
  badge: Badge;
  error: number;
  z: number;
  rows: Span;
  columns: Span;
  rowsCompared: number; // number of shared rows that were computed, out of `of`
  of: number;
  mean: number | null; // mean divergence of these rows, in nats
  before: Float32Array; // [cells down, cells across]
  after: Float32Array;
  divergence: Float32Array; // [cells down]; NaN: no value
}

/** Mean divergence of each head. Within one trace it is measured from the compared head, else from the head with the same number. */
export interface HeadRanking {
  badge: Badge;
  rowsCompared: number;
  of: number;
  heads: number; // heads per layer
  divergence: Float32Array; // [layer, head]; NaN: no value
}

export type ExportKind = 'html' | 'json' | 'npy';

/** The optional contents of an offline page, besides text, statistics and thumbnails. */
export const kPageContents = ['exact', 'weights', 'overview', 'near', 'top', 'top8', 'qk'] as const;
export type PageContent = (typeof kPageContents)[number];

export interface Source {
  readonly offline: boolean;
  readonly contents: readonly PageContent[]; // contents of an offline page
  /** The checkpoint or trace that requests refer to; null if there is only one. */
  readonly step: number | null;
  info(): Promise<Info>;
  /** Switches to another checkpoint or trace and returns its info; `step` has the new value once the info has arrived. */
  switchTo(step: number): Promise<Info>;
  /** The source that computes the current trace, for a page that contains its model; null for other pages. */
  computing?(): Source | null;
  /** Ends the computing, so that the trace is that of the page again, whatever text was run since. */
  restore?(): void;
  text(side: number): Promise<TextData>;
  segments(side: number): Promise<Segment[]>;
  /** The picture that contains the items of a range. */
  picture(range: number): Promise<Pixels>;
  /** `slot` names the requester: a newer request of the same slot supersedes an older one, which rejects with AbortError. */
  line(request: LineRequest, slot: string): Promise<Line>;
  received(family: string, at: HeadId): Promise<Float32Array | null>;
  /** `columnZ`: level of the columns, for requests with `band`. */
  tile(request: MapRequest, z: number, x: number, y: number, signal: AbortSignal, columnZ?: number): Promise<Picture>;
  /** At level z > 0, the mean of each cell of 2^z × 2^z weights. */
  cells(request: MapRequest, x: number, y: number, signal: AbortSignal, z?: number): Promise<Cells>;
  overview(request: MapRequest, onPicture: (picture: Picture) => void, signal: AbortSignal): Promise<void>;
  atlas(family: string, onHeads: (heads: AtlasHead[], done: number) => void, signal: AbortSignal): Promise<void>;
  /** Thumbnails and sums under a kind of weight other than raw. */
  weightedHeads(
    family: string,
    weight: WeightKind,
    sink: SinkRule,
    onHeads: (heads: WeightedHead[]) => void,
    signal: AbortSignal,
  ): Promise<void>;
  mass(family: string, rows: Span[], keys: Span[], weight: WeightKind, sink: SinkRule, signal: AbortSignal): Promise<Mass>;
  neurons(family: string, at: HeadId, query: number, signal: AbortSignal): Promise<Neurons>;
  verify(request: VerifyRequest): Promise<VerifyResult>;
  run(text: string, pair: string | null, onProgress: (done: number, what: string) => void, signal: AbortSignal): Promise<string>;
  why(request: WhyRequest, onCost: (onCost: WhyCost) => void, onProgress: Progress, signal: AbortSignal): Promise<WhyResult>;
  whatIf(request: WhatIfRequest, onProgress: Progress, signal: AbortSignal): Promise<WhatIfResult>;
  /** A source for what is compared with. */
  compareSource(target: CompareTarget): Source;
  alignment(target: CompareTarget): Promise<Alignment>;
  compare(request: CompareRequest, onComparison: (found: MapComparison) => void, signal: AbortSignal): Promise<void>;
  compareHeads(request: CompareRequest, onRanking: (found: HeadRanking) => void, signal: AbortSignal): Promise<void>;
  export(kind: ExportKind, state: string): Promise<{ blob: Blob; name: string }>;
  /** PDF of a figure; rejects with kUnsupported if this source cannot make one. */
  pdf(drawing: Drawing): Promise<Blob>;
}

/** An error of a source. The codes are those of clearhead/error.h, or `forbidden`. */
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
