// What every view is given: the source and what it said of itself, the text, the state, and the few things that all of them do.

import type { Exported } from './figure/figure';
import type { Focus } from './focus';
import {
  type Badge,
  type Direction,
  type Family,
  type Feature,
  type Gradient,
  type HeadId,
  type Info,
  type Missing,
  type Segment,
  type Source,
  type Span,
  type WeightKind,
  kGradients,
} from './source/source';
import { formatState, kMostPins, sameHead, type State, type Store } from './state';
import type { Strings } from './strings';
import type { TextModel } from './text/model';
import type { Theme } from './paint/ramp';
import * as format from './format';

export interface Context {
  source: Source;
  info: Info;
  family: Family;
  text: TextModel; // of the queries
  keyText: TextModel; // of the keys: the same, but for cross-attention
  segments: readonly Segment[];
  store: Store;
  focus: Focus;
  /** Ends when the page is built anew (another text, language or family): whatever listens or streams ends with it. */
  life: AbortController;
  t: Strings;
  theme(): Theme;
  /** Says it to screen readers, once things are quiet. */
  announce(sentence: string): void;
  /** Says it to everyone, for some seconds. */
  notify(message: string, kind?: 'plain' | 'bad'): void;
  /** Brings a token into view in the text. */
  reveal(token: number, remember: boolean): void;
  /** Which span the next click in the text chooses, in the atlas' span mode. */
  picking: 'q' | 'k' | null;
}

export interface View {
  readonly element: HTMLElement;
  /** The state or the line changed. */
  update(state: State, before: State): void;
  /** The source turned to another checkpoint: everything that came from it is to be asked for again. */
  renew?(): void;
  /** What it shows now, as a figure for print (figure/figure.ts). */
  figure?(): Exported | Promise<Exported>;
  /** The numbers of what it shows now. Views without it show rows, maps or an atlas, whose numbers the source exports. */
  numbers?(): Numbers;
  /** The same of a view whose numbers the server exports, for a page without one. */
  offlineNumbers?(): Promise<Numbers>;
}

export interface Numbers {
  json: Record<string, unknown>;
  rows: readonly Float32Array[]; // the same for NPY
  shape?: readonly number[]; // of all rows together; without it, that of a matrix
}

/** Why a feature is not to be had here, in the page's language; null when it is. */
export function absent(ctx: Context, feature: Feature): string | null {
  const found = ctx.info.missing.find((m) => m.feature === feature);
  return found ? reasonOf(ctx, found) : null;
}

export function reasonOf(ctx: Context, missing: Missing): string {
  const parts = [ctx.t.missing(missing.code), missing.detail, missing.command ? ctx.t('command', { command: missing.command }) : null];
  return parts.filter(Boolean).join(' ');
}

/** An axis of the map: queries down, keys across. */
export type Side = 'query' | 'key';

/** The tokens that stand on a side of a family's maps. */
export function rangeOf(family: Family, side: Side): Span {
  const [begin, end] = side === 'query' ? family.query_range : family.key_range;
  return { begin, end };
}

/** The side whose tokens are chosen. */
export const askedSide = (state: State): Side => (state.direction === 'out' ? 'query' : 'key');

/** Whether spans lie inside one of a family's ranges. */
export const isIn = ([begin, end]: [number, number], spans: readonly Span[]): boolean =>
  spans.every((s) => begin <= s.begin && s.end <= end);

export const anchor = (state: State): readonly Span[] => (state.direction === 'out' ? state.q : state.k);

export function setAnchor(ctx: Context, spans: readonly Span[], how: 'push' | 'replace'): void {
  const which = ctx.picking ?? (ctx.store.now.direction === 'out' ? 'q' : 'k');
  if (ctx.picking || isIn(which === 'q' ? ctx.family.query_range : ctx.family.key_range, spans)) {
    return ctx.store.set(which === 'q' ? { q: spans } : { k: spans }, how);
  }
  const other = which === 'q' ? ctx.family.key_range : ctx.family.query_range;
  if (!isIn(other, spans)) return ctx.notify(ctx.t('items.elsewhere', { name: spans[0] ? quoted(ctx, spans[0]) : '' }));
  // A token of the other text: it is looked at from its own side.
  if (which === 'q') ctx.store.set({ direction: 'in', k: spans }, how);
  else ctx.store.set({ direction: 'out', q: spans }, how);
}

/** Turning the direction keeps the token looked at, when the other side has none chosen yet. */
export function turn(ctx: Context, direction: Direction): void {
  const state = ctx.store.now;
  if (direction === state.direction) return;
  const patch: Partial<State> = { direction };
  if (direction === 'in' && (state.k.length === 0 || state.view === 'read')) patch.k = state.q;
  if (direction === 'out' && (state.q.length === 0 || state.view === 'read')) patch.q = state.k;
  ctx.store.set(patch, 'push');
}

/** Pins a head and brings it to the front; the head in front is let go. */
export function pin(ctx: Context, at: HeadId): void {
  const heads = ctx.store.now.heads;
  const others = heads.filter((o) => !sameHead(o, at));
  if (sameHead(heads[0], at)) {
    if (others.length) ctx.store.set({ heads: others }, 'push');
    return;
  }
  ctx.store.set({ heads: [at, ...others].slice(0, kMostPins) }, 'push');
}

export function solo(ctx: Context, at: HeadId): void {
  ctx.store.set({ heads: [at] }, 'push');
}

/** Weights are shares of their row (a sink logit may take some of it); weighted by norms they are numbers. */
export function printWeight(ctx: Context, value: number, badge: Badge, error: number): string {
  const approximate = badge === 'quantised' || badge === 'sampled' || error > 0;
  return isShare(ctx) ? format.share(value, approximate) : format.weight(value, approximate);
}

/** How an answer changes with weights, where they are shown by that. */
export const gradientOf = (weight: WeightKind): Gradient | null => kGradients.find((g) => weight === g || weight === `${g}-value`) ?? null;
export const isGradient = (weight: WeightKind): boolean => gradientOf(weight) !== null;
export const hasLengths = (weight: WeightKind): boolean => weight === 'value' || weight.endsWith('-value');

/** The weight kind as captions say it. */
export function weightName(ctx: Context): string {
  const { weight } = ctx.store.now;
  const gradient = gradientOf(weight);
  if (!gradient) return ctx.t(`weight.${weight}`);
  const what = (gradient === 'for' || gradient === 'against' ? 'P·∂y/∂P' : '∂y/∂P') + (hasLengths(weight) ? '·‖v‖' : '');
  return ctx.t('weight.of', { name: ctx.t(`weight.${gradient}`), answer: ctx.info.gradients_of ?? '', what });
}

export function isShare(ctx: Context): boolean {
  return ctx.store.now.weight === 'raw';
}

export function badgeTitle(ctx: Context, badge: Badge, error: number): string {
  const plain = ctx.t(`badge.${badge}`);
  return error > 0 ? `${plain} ${ctx.t('badge.error', { error: format.power(error, 2) })}` : plain;
}

/** A token as a sentence would quote it: whitespace at the ends gone, or shown when there is nothing else. */
export function quoted(ctx: Pick<Context, 'text'>, span: Span, text: TextModel = ctx.text): string {
  const label = text.labelOf(span);
  return label.trim() || visibleSpace(label) || '∅';
}

export function visibleSpace(text: string): string {
  return text
    .replace(/ /g, '␣')
    .replace(/\n/g, '⏎')
    .replace(/\t/g, '⇥')
    .replace(/\r/g, '␍')
    .replace(/\u00a0/g, '⍽');
}

/** Where an id stands and what it is: “#12 word” of a token, its name of an item. */
export function placed(ctx: Context, id: number, text: TextModel = ctx.text): string {
  return text.itemsOf(id) ? text.label(id) : `#${format.whole(id)} ${quoted(ctx, { begin: id, end: id + 1 }, text)}`;
}

/** What items are called: “patch 2,3 of 8 × 8”, “sentence 3”. */
export function described(ctx: Context, id: number): string {
  const items = ctx.text.itemsOf(id);
  if (!items) return '';
  const name = ctx.text.label(id);
  return items.rows > 0 ? ctx.t('items.of', { name, rows: items.rows, columns: (items.end - items.begin) / items.rows }) : name;
}

/** A family's name where its kind does not say it. */
export function familyName(ctx: Context, family: Family): string {
  if (family.kind !== 'other') return ctx.t(`family.${family.kind}`);
  const kind = ([begin]: [number, number]): string => ctx.t.kind(ctx.text.itemsOf(begin)?.kind ?? 'token');
  const sides = `${kind(family.query_range)} → ${kind(family.key_range)}`;
  return sides.split(' ').includes(family.id) ? sides : `${family.id}: ${sides}`;
}

/** What the layer of a head computes: layers of one family may see windows of different lengths. */
export const summaryOf = (family: Family, head: HeadId | undefined): string => {
  const summary = family.summaries[head?.layer ?? 0];
  return summary ? `L${head?.layer ?? 0}: ${summary}` : '';
};

/** The command that shows this again. */
export function commandOf(ctx: Context): string {
  const { command } = ctx.info;
  const state = `--state '${formatState(ctx.store.now)}'`;
  if (/^clearhead view /.test(command)) return `${command} ${state}`;
  const file = / --trace (\S+)/.exec(command)?.[1]; // made by another command: its trace is viewed
  return file ? `${command} && clearhead view ${file} ${state}` : command;
}
