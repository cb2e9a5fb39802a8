// The context of every view: the source and its metadata, the text, the state, and helpers that all views share.

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
import { formatState, kMaxPins, sameHead, type State, type Store } from './state';
import type { Strings } from './strings';
import type { TextModel } from './text/model';
import type { Theme } from './paint/ramp';
import * as format from './format';
import { rowsOfTokens, tokensOfRows } from './rows';
import { quoted } from './text/quoted';

export { quoted, visibleSpace } from './text/quoted';

export interface Context {
  source: Source;
  info: Info;
  family: Family;
  text: TextModel; // text of the queries
  keyText: TextModel; // text of the keys; differs from `text` only in cross-attention
  segments: readonly Segment[];
  store: Store;
  focus: Focus;
  /** Aborted when the page is rebuilt (another text, language or family); every listener and stream ends with it. */
  life: AbortController;
  t: Strings;
  theme(): Theme;
  /** Announces a sentence to screen readers after a short delay; a newer sentence replaces one that is still waiting. */
  announce(sentence: string): void;
  /** Shows a message to everyone for a few seconds. */
  notify(message: string, kind?: 'plain' | 'bad'): void;
  /** Brings a token into view in the text. */
  reveal(token: number, remember: boolean): void;
  /** The span that the next click in the text selects, in the atlas's span mode. */
  picking: 'q' | 'k' | null;
}

export interface View {
  readonly element: HTMLElement;
  /** Called when the state, or the line of weights to show (focus.ts), has changed. */
  update(state: State, before: State): void;
  /** Called when the source has switched to another checkpoint: everything that came from it must be requested again. */
  refetch?(): void;
  /** Called when the colours of the page have changed. */
  retheme?(): void;
  /** The current view as a figure for print (figure/figure.ts). */
  figure?(): Exported | Promise<Exported>;
  /**
   * The numbers of the current view. Views without this method show rows, maps or an atlas; the source exports their numbers.
   */
  numbers?(): Numbers | Promise<Numbers>;
  /** The same for a page without a server, in views whose numbers the server would export. */
  offlineNumbers?(): Promise<Numbers>;
}

export interface Numbers {
  json: Record<string, unknown>;
  rows: readonly Float32Array[]; // the same numbers, for NPY
  shape?: readonly number[]; // of all rows together; default: [rows, row length]
}

/** True if the key is in the memory of the query: before its segment, for a model that reads in segments. */
function isInMemory({ segment_length: length }: Family, query: number, key: number): boolean {
  return length > 0 && key < query - (query % length);
}

/** For a token of a line of weights: " · memory" if it is in the memory of every chosen query, or has the chosen keys in its own. */
export function memoryMark(ctx: Context, { spans, direction }: { spans: readonly Span[]; direction: Direction }, token: number): string {
  const isOne = (chosen: Span): boolean =>
    direction === 'out' ? isInMemory(ctx.family, chosen.begin, token) : isInMemory(ctx.family, token, chosen.end - 1);
  return spans.every(isOne) ? ` · ${ctx.t('memory')}` : '';
}

/** The reason why a feature is not available here, in the page's language; null if it is available. */
export function unavailableReason(ctx: Context, feature: Feature): string | null {
  const found = ctx.info.missing.find((m) => m.feature === feature);
  return found ? missingReason(ctx, found) : null;
}

export function missingReason(ctx: Context, missing: Missing): string {
  const parts = [ctx.t.missing(missing.code), missing.detail, missing.command ? ctx.t('command', { command: missing.command }) : null];
  return parts.filter(Boolean).join(' ');
}

/** An axis of the map: queries run down, keys run across. */
export type MapAxis = 'query' | 'key';

/** The range of ids on one axis of a family's maps. */
export function rangeOf(family: Family, axis: MapAxis): Span {
  const [begin, end] = axis === 'query' ? family.query_range : family.key_range;
  return { begin, end };
}

/** The axis whose tokens are selected. */
export const selectedAxis = (state: State): MapAxis => (state.direction === 'out' ? 'query' : 'key');

/** True if all spans lie inside a range of a family. */
export const isInside = ([begin, end]: [number, number], spans: readonly Span[]): boolean =>
  spans.every((s) => begin <= s.begin && s.end <= end);

export const selectedSpans = (state: State): readonly Span[] => (state.direction === 'out' ? state.q : state.k);

/** Selects spans of ids on the axis of the direction: as keys, or the rows that are named by them. */
export function selectSpans(ctx: Context, spans: readonly Span[], how: 'push' | 'replace'): void {
  const which = ctx.picking ?? (ctx.store.now.direction === 'out' ? 'q' : 'k');
  const rows = spans.map((span) => rowsOfTokens(ctx, span));
  if (ctx.picking || (which === 'q' ? isInside(ctx.family.query_range, rows) : isInside(ctx.family.key_range, spans))) {
    return ctx.store.set(which === 'q' ? { q: rows } : { k: spans }, how);
  }
  const isOnOther = which === 'q' ? isInside(ctx.family.key_range, spans) : isInside(ctx.family.query_range, rows);
  if (!isOnOther) return ctx.notify(ctx.t('items.elsewhere', { name: spans[0] ? quoted(ctx, spans[0]) : '' }));
  // The token belongs to the other axis: select it there and switch the direction.
  if (which === 'q') ctx.store.set({ direction: 'in', k: spans }, how);
  else ctx.store.set({ direction: 'out', q: rows }, how);
}

/**
 * Switches the direction. The selected token is kept if the other axis has it and has no selection yet; in the reading view, also if it has
 * one.
 */
export function setDirection(ctx: Context, direction: Direction): void {
  const state = ctx.store.now;
  if (direction === state.direction) return;
  const patch: Partial<State> = { direction };
  const { query_range, key_range } = ctx.family;
  const [keys, rows] = [tokensOfRows(ctx, state.q), state.k.map((span) => rowsOfTokens(ctx, span))];
  const isRead = state.view === 'read';
  if (direction === 'in' && keys.length > 0 && isInside(key_range, keys) && (isRead || state.k.length === 0)) patch.k = keys;
  if (direction === 'out' && rows.length > 0 && isInside(query_range, rows) && (isRead || state.q.length === 0)) patch.q = rows;
  ctx.store.set(patch, 'push');
}

/** Pins a head and brings it to the front; a head that is already in front is unpinned. */
export function pin(ctx: Context, at: HeadId): void {
  const heads = ctx.store.now.heads;
  const others = heads.filter((o) => !sameHead(o, at));
  if (sameHead(heads[0], at)) {
    if (others.length) ctx.store.set({ heads: others }, 'push');
    return;
  }
  ctx.store.set({ heads: [at, ...others].slice(0, kMaxPins) }, 'push');
}

export function solo(ctx: Context, at: HeadId): void {
  ctx.store.set({ heads: [at] }, 'push');
}

/**
 * Prints a weight. Raw weights are shares of their row (a sink logit may take part of it); weights multiplied by norms are plain numbers.
 */
export function printWeight(ctx: Context, value: number, badge: Badge, error: number): string {
  const approximate = badge === 'quantised' || badge === 'sampled' || error > 0;
  return isShare(ctx) ? format.share(value, approximate) : format.weight(value, approximate);
}

/** The gradient part of a weight kind, such as `for` of `for-value`; null for kinds without a gradient. */
export const gradientOf = (weight: WeightKind): Gradient | null => kGradients.find((g) => weight === g || weight === `${g}-value`) ?? null;
export const isGradient = (weight: WeightKind): boolean => gradientOf(weight) !== null;
export const hasValueNorm = (weight: WeightKind): boolean => weight === 'value' || weight.endsWith('-value');

/** The name of the weight kind in captions. */
export function weightName(ctx: Context): string {
  const { weight } = ctx.store.now;
  const gradient = gradientOf(weight);
  if (!gradient) return ctx.t(`weight.${weight}`);
  const what = (gradient === 'for' || gradient === 'against' ? 'P·∂y/∂P' : '∂y/∂P') + (hasValueNorm(weight) ? '·‖v‖' : '');
  return ctx.t('weight.of', { name: ctx.t(`weight.${gradient}`), answer: ctx.info.gradients_of ?? '', what });
}

export function isShare(ctx: Context): boolean {
  return ctx.store.now.weight === 'raw';
}

export function badgeTitle(ctx: Context, badge: Badge, error: number): string {
  const plain = ctx.t(`badge.${badge}`);
  return error > 0 ? `${plain} ${ctx.t('badge.error', { error: format.power(error, 2) })}` : plain;
}

/** Position and name of an id: “#12 word” for a token, the name for an item. */
export function positionLabel(ctx: Context, id: number, text: TextModel = ctx.text): string {
  return text.itemsOf(id) ? text.label(id) : `#${format.whole(id)} ${quoted(ctx, { begin: id, end: id + 1 }, text)}`;
}

/** The description of an item: “patch 2,3 of 8 × 8”, “sentence 3”; empty for a token. */
export function itemDescription(ctx: Context, id: number): string {
  const items = ctx.text.itemsOf(id);
  if (!items) return '';
  const name = ctx.text.label(id);
  return items.rows > 0 ? ctx.t('items.of', { name, rows: items.rows, columns: (items.end - items.begin) / items.rows }) : name;
}

/** The display name of a family; for kind `other`, made from the kinds of its rows and columns. */
export function familyName(ctx: Context, family: Family): string {
  if (family.kind !== 'other') return ctx.t(`family.${family.kind}`);
  const kind = ([begin]: [number, number]): string => ctx.t.kind(ctx.text.itemsOf(begin)?.kind ?? 'token');
  const sides = `${kind(family.query_range)} → ${kind(family.key_range)}`;
  return sides.split(' ').includes(family.id) ? sides : `${family.id}: ${sides}`;
}

/** A summary of what the layer of a head computes: layers of one family may use windows of different lengths. */
export const summaryOf = ({ family, t }: Context, head: HeadId | undefined): string => {
  const summary = family.summaries[head?.layer ?? 0];
  return summary ? `L${head?.layer ?? 0}: ${summary[t.language]}` : '';
};

/** The command that reproduces the current view. */
export function commandOf(ctx: Context): string {
  const { command } = ctx.info;
  const state = `--state '${formatState(ctx.store.now)}'`;
  if (/^clearhead view /.test(command)) return `${command} ${state}`;
  const file = / --trace (\S+)/.exec(command)?.[1]; // the trace was written by another command: view that file
  return file ? `${command} && clearhead view ${file} ${state}` : command;
}
