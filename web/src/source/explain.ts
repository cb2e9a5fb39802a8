// Requests and answers of the explanations (docs/viewer-api.md, api/why and api/what-if).

import type { HeadId } from './source';

export type AnswerKind = 'class' | 'number' | 'tag' | 'next' | 'masked' | 'written';

/** An attribution method of the engine. */
export interface Method {
  name: string; // as on the command line
  what: string; // a description, in English
}

export interface WhyRequest {
  target: string; // a class or a word; empty: the model's answer
  contrast: string;
  token: number | null; // the id of the token to explain
  methods: string[];
  units: 'auto' | 'segment';
  at_most: number; // time limit in seconds; 0: no limit
}

export interface WhyCost {
  runs: number;
  tokens: number;
  items: number;
  item_kind: string;
  seconds: number;
}

export interface MethodResult extends Method {
  refused?: string; // the reason why this model does not support the method; the other fields are then missing
  shares?: number[]; // one per item; absolute values sum to one
  signed?: boolean;
  drops?: number[]; // of occlusion: the drop in the answer without each item
  comprehensiveness?: number; // drop in the answer's probability without the highest-ranked items
  beats?: number; // number of random rankings that do worse
  seconds?: number;
}

export interface WhyResult {
  answer: string;
  probability: number; // or the number that is the answer
  is_number: boolean;
  items: [number, number][];
  item_kind: string;
  segments?: { name: string; tokens: number }[]; // one per item, for units of segments
  read_from: number[];
  cost: WhyCost;
  methods: MethodResult[] | null; // null: it would have taken longer than at_most
  share: number;
  removed: number;
  random: { rankings: number; comprehensiveness: number };
  agreement: (number | null)[][];
  cut: { item: number; also: number[]; of: number; unseen: number; masked: number | null } | null;
}

export interface WhatIfRequest {
  text: string | null;
  knock_out: (HeadId & { f: string })[];
  cut: { ids: [number, number] }[];
  keep_only: { ids: [number, number] }[];
}

/** An answer's probability before and after an edit. token: the id in the edited text that a label belongs to. */
export interface AnswerPair {
  name: string;
  before: number | null;
  after: number | null;
  token?: number;
}

export interface WhatIfResult {
  id: string;
  kind: AnswerKind | 'none';
  answers: AnswerPair[];
  written: { before: string; after: string } | null; // the text that the model generates; null if it generates none from a source
  kl: number | null; // nats
  aligned: [number, number, number][]; // before, after, count
  families: { id: string; rows: number; divergence: (number | null)[][] }[]; // nats, [layer][head]
}

export interface Progress {
  (done: number, what: string): void;
}
