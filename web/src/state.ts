// The state of the page, kept in one place and written into the URL: #v=read&f=dec&h=5.3,8.11&q=1204&k=300-340&…
//
// Views are functions of this state. Keys that this version does not know are kept unchanged. Continuous changes replace the URL, pins push
// a new one, so that the browser's back button goes from pin to pin.

import { formatHead, parseHead } from './heads';
import {
  type Direction,
  type HeadId,
  type Scale,
  type SinkRule,
  type Span,
  type WeightKind,
  formatSpans,
  kWeightKinds,
} from './source/source';

export const kViews = ['read', 'lines', 'map', 'atlas', 'model', 'neuron', 'why', 'what-if', 'compare'] as const;
export type ViewName = (typeof kViews)[number];
export type MapAxes = 'key' | 'offset'; // columns of the map: keys, or key − query
export type CompareLayout = 'difference' | 'sides'; // one map of the difference, or both maps
export type Language = 'en' | 'zh';

export interface Rect {
  k0: number;
  q0: number;
  k1: number;
  q1: number;
}

export interface State {
  view: ViewName;
  family: string | null;
  heads: readonly HeadId[]; // pinned heads; the first is in front
  q: readonly Span[];
  k: readonly Span[];
  direction: Direction;
  weight: WeightKind;
  scale: Scale;
  sink: SinkRule;
  words: boolean;
  step: number | null; // checkpoint of a training run (null: the last) or number of a trace (null: the first, or the gallery)
  axes: MapAxes | null; // axes of the map; null: chosen by the layer
  rect: Rect | null; // visible part of the map; null: all
  target: string; // the answer to explain: “#12” of the text, a class or a word; empty: the model's answer
  contrast: string; // the alternative answer
  methods: readonly string[]; // explanation methods; the first one shades the text; empty: the default
  byParts: boolean; // the explanation is by the named parts of the text
  edit: string; // edits (views/what-if/edits.ts)
  compareWith: string; // other side of the comparison (views/compare/choice.ts); empty: the default
  compareHead: string; // the head on the other side; empty: the default
  compareShow: CompareLayout;
  tour: number; // step of the guided tour; 0: none
  present: boolean; // presentation mode: large type
  lang: Language | null; // null: the browser's language
  id: string | null; // digest of the text that positions and edits refer to (text/model.ts)
  unknown: readonly (readonly [string, string])[];
}

export const kMaxPins = 6;

export const kInitial: State = {
  view: 'read',
  family: null,
  heads: [],
  q: [],
  k: [],
  direction: 'out',
  weight: 'raw',
  scale: 'sqrt',
  sink: 'mark',
  words: true,
  step: null,
  axes: null,
  rect: null,
  target: '',
  contrast: '',
  methods: [],
  byParts: false,
  edit: '',
  compareWith: '',
  compareHead: '',
  compareShow: 'difference',
  tour: 0,
  present: false,
  lang: null,
  id: null,
  unknown: [],
};

/** The state without the parts that belong to one text: its positions, targets and edits. */
export const forAnotherText = (state: State): State => ({
  ...state,
  q: [],
  k: [],
  rect: null,
  target: '',
  contrast: '',
  edit: '',
  compareWith: '',
  compareHead: '',
  id: null,
});

const oneOf = <T extends string>(allowed: readonly T[], value: string, fallback: T): T =>
  (allowed as readonly string[]).includes(value) ? (value as T) : fallback;

export function parseSpans(text: string): Span[] {
  return text.split(',').flatMap((part) => {
    const m = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part.trim());
    if (!m) return [];
    const begin = Number(m[1]);
    const end = m[2] === undefined ? begin + 1 : Number(m[2]);
    return end > begin ? [{ begin, end }] : [];
  });
}

export function parseHeads(text: string): HeadId[] {
  const heads = text.split(',').flatMap((part) => parseHead(part) ?? []);
  return heads.filter((h, i) => heads.findIndex((o) => sameHead(o, h)) === i).slice(0, kMaxPins);
}

export const sameHead = (a: HeadId | undefined, b: HeadId | undefined): boolean => a?.layer === b?.layer && a?.head === b?.head;

export function parseState(hash: string): State {
  let state: State = { ...kInitial };
  const unknown: [string, string][] = [];
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ''))) {
    const patch = parseKey(key, value);
    if (patch) state = { ...state, ...patch };
    else unknown.push([key, value]);
  }
  return { ...state, unknown };
}

/** The state in an address or from a host; without a language, the current one is kept. */
export function externalState(text: string, before: State): State {
  const state = parseState(text);
  return { ...state, lang: state.lang ?? before.lang };
}

function parseKey(key: string, value: string): Partial<State> | null {
  switch (key) {
    case 'v':
      return { view: oneOf(kViews, value, 'read') };
    case 'f':
      return { family: value };
    case 'h':
      return { heads: parseHeads(value) };
    case 'q':
      return { q: parseSpans(value) };
    case 'k':
      return { k: parseSpans(value) };
    case 'd':
      return { direction: oneOf(['out', 'in'], value, 'out') };
    case 'w':
      return { weight: oneOf([...kWeightKinds], value, 'raw') };
    case 's':
      return { scale: oneOf(['linear', 'sqrt', 'log'], value, 'sqrt') };
    case 'sink':
      return { sink: oneOf(['mark', 'hide', 'renorm'], value, 'mark') };
    case 'word':
      return { words: value !== '0' };
    case 'target':
      return { target: value };
    case 'contrast':
      return { contrast: value };
    case 'methods':
      return { methods: value.split(',').filter(Boolean) };
    case 'units':
      return value === 'segment' ? { byParts: true } : null;
    case 'edit':
      return { edit: value };
    case 'with':
      return { compareWith: value };
    case 'to':
      return { compareHead: value };
    case 'show':
      return { compareShow: oneOf(['difference', 'sides'], value, 'difference') };
    case 'tour':
      return /^[1-9]$/.test(value) ? { tour: Number(value) } : null;
    case 'present':
      return { present: value === '1' };
    case 'lang':
      return { lang: value === 'zh' ? 'zh' : 'en' };
    case 'id':
      return { id: value };
    case 't':
      return /^\d{1,15}$/.test(value) ? { step: Number(value) } : null;
    case 'axes':
      return value === 'key' || value === 'offset' ? { axes: value } : null;
    case 'x': {
      const n = value.split(',').map(Number);
      const good = n.length === 4 && n.every((v) => Number.isFinite(v) && v >= 0) && n[2] > n[0] && n[3] > n[1];
      return { rect: good ? { k0: n[0], q0: n[1], k1: n[2], q1: n[3] } : null };
    }
    default:
      return null;
  }
}

/** The URL form without `#`. Defaults are left out, except the view and the heads, which make a link self-explanatory. */
export function formatState(state: State): string {
  const parts: [string, string][] = [['v', state.view]];
  if (state.family) parts.push(['f', state.family]);
  if (state.heads.length) parts.push(['h', state.heads.map(formatHead).join(',')]);
  if (state.q.length) parts.push(['q', formatSpans(state.q)]);
  if (state.k.length) parts.push(['k', formatSpans(state.k)]);
  if (state.direction !== 'out') parts.push(['d', state.direction]);
  if (state.weight !== 'raw') parts.push(['w', state.weight]);
  if (state.scale !== 'sqrt') parts.push(['s', state.scale]);
  if (state.sink !== 'mark') parts.push(['sink', state.sink]);
  if (!state.words) parts.push(['word', '0']);
  if (state.step !== null) parts.push(['t', String(state.step)]);
  if (state.axes) parts.push(['axes', state.axes]);
  if (state.rect) parts.push(['x', [state.rect.k0, state.rect.q0, state.rect.k1, state.rect.q1].map((v) => Math.round(v)).join(',')]);
  if (state.target) parts.push(['target', state.target]);
  if (state.contrast) parts.push(['contrast', state.contrast]);
  if (state.methods.length) parts.push(['methods', state.methods.join(',')]);
  if (state.byParts) parts.push(['units', 'segment']);
  if (state.edit) parts.push(['edit', state.edit]);
  if (state.compareWith) parts.push(['with', state.compareWith]);
  if (state.compareHead) parts.push(['to', state.compareHead]);
  if (state.compareShow !== 'difference') parts.push(['show', state.compareShow]);
  if (state.tour > 0) parts.push(['tour', String(state.tour)]);
  if (state.present) parts.push(['present', '1']);
  if (state.lang) parts.push(['lang', state.lang]);
  if (state.id) parts.push(['id', state.id]);
  return [...parts, ...state.unknown].map(([k, v]) => `${k}=${escapeValue(v)}`).join('&');
}

const escapeValue = (value: string): string => encodeURIComponent(value).replace(/%2C/gi, ',');

type Listener = (state: State, before: State) => void;

/** Holds the state, notifies listeners and keeps the URL in sync. */
export class Store {
  private readonly listeners = new Set<Listener>();
  private external: ((state: State) => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private state: State,
    private readonly history: Pick<History, 'pushState' | 'replaceState'> | null,
  ) {}

  /** False in a frame without an address of its own, where a link to a state would leave the page. */
  get hasAddress(): boolean {
    return this.history !== null;
  }

  get now(): State {
    return this.state;
  }

  /** Calls the listener on every change, until the signal aborts. */
  listen(listener: Listener, signal?: AbortSignal): void {
    this.listeners.add(listener);
    signal?.addEventListener('abort', () => this.listeners.delete(listener));
  }

  /** `push` for pins and changes of view, `replace` for continuous changes. */
  set(patch: Partial<State>, how: 'replace' | 'push' = 'replace'): void {
    const before = this.state;
    this.state = { ...before, ...patch };
    if (formatState(before) !== formatState(this.state)) this.write(how);
    for (const listener of this.listeners) listener(this.state, before);
  }

  /** Pushes the current state to the history, so that the back button can return to it. */
  pin(): void {
    this.write('push');
  }

  /** Takes over a state from the URL (back button, pasted link) and drops a pending write to it. */
  load(state: State): void {
    clearTimeout(this.timer);
    const before = this.state;
    this.state = state;
    for (const listener of this.listeners) listener(this.state, before);
  }

  /** Applies a state from the address or the host, with the handler if there is one, else with `load`. */
  applyExternal(state: State): void {
    if (this.external) this.external(state);
    else this.load(state);
  }

  /** Sets the handler of states from the address or the host, until the signal aborts: it checks that they are about the page's text. */
  handleExternal(handler: (state: State) => void, signal: AbortSignal): void {
    this.external = handler;
    signal.addEventListener('abort', () => {
      if (this.external === handler) this.external = null;
    });
  }

  private write(how: 'replace' | 'push'): void {
    clearTimeout(this.timer);
    const url = (): string => `#${formatState(this.state)}`;
    if (how === 'push') this.history?.pushState(null, '', url());
    else this.timer = setTimeout(() => this.history?.replaceState(null, '', url()), 150); // browsers refuse hundreds of writes a second
  }
}
