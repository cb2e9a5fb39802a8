// Keyboard shortcuts: ←→ token, ↑↓ line, Alt+←→ head, Alt+↑↓ layer, Enter pin, Space play, Shift+arrows span, x direction, s sink,
// r/l/m/a/v/w/e/d views, g gallery, PgUp/PgDn question, f presentation, t tour, c link, p export, ? help, / search, Esc back.

import { kMean } from '../heads';
import { type Context, selectedSpans, selectedAxis, rangeOf, selectSpans, setDirection } from '../context';
import { rowOfToken, selectedTokens, tokenBefore, tokenOfRow } from '../rows';
import type { Items, SinkRule, Span } from '../source/source';
import { type ViewName, sameHead } from '../state';
import type { Answers } from '../views/read/answers';
import type { ReadView } from '../views/read/read';
import { availableViews } from './more';
import type { Actions } from './topBar';

interface KeyTargets {
  read: ReadView;
  answers: Answers;
  search(): void;
  play(): void;
  actions: Actions;
}

const kViewKeys: Partial<Record<string, ViewName>> = {
  r: 'read',
  l: 'lines',
  m: 'map',
  a: 'atlas',
  v: 'model',
  n: 'neuron',
  w: 'why',
  e: 'what-if',
  d: 'compare',
};

export function listenToKeys(ctx: Context, targets: KeyTargets): void {
  document.addEventListener(
    'keydown',
    (event) => {
      if (event.ctrlKey || event.metaKey || document.querySelector('dialog[open]')) return;
      const element = event.target instanceof HTMLElement ? event.target : document.body;
      const typing = element.matches('textarea, select, input:not([type=radio]):not([type=checkbox]):not([type=range])');
      if (typing) return;
      const arrow = event.key.startsWith('Arrow');
      if (arrow && !event.altKey && element.matches('input, [role=separator]')) return;
      const done = arrow ? onArrow(ctx, targets, event) : onLetter(ctx, targets, event, element);
      if (done) event.preventDefault();
    },
    { signal: ctx.life.signal },
  );
}

function onArrow(ctx: Context, targets: KeyTargets, event: KeyboardEvent): boolean {
  const across = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
  const down = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
  if (event.altKey) return moveHead(ctx, across, down);
  const spans = selectedTokens(ctx, ctx.store.now);
  const last = spans[spans.length - 1];
  if (!last) return chooseFirst(ctx, targets, across + down);
  const active = event.shiftKey && movedEnd === 'begin' ? last.begin : last.end - 1;
  const items = ctx.text.itemsOf(active);
  const next = items
    ? stepItem(ctx, items, active, across, down)
    : across !== 0
      ? stepBox(ctx, targets, active, across)
      : targets.read.pane.verticalNeighbour(active, down > 0);
  if (next === null) return event.shiftKey || across + down < 0 || chooseUnwritten(ctx, active);
  if (!event.shiftKey) return choose(ctx, targets, boxSpan(targets, next), next);
  return extend(ctx, targets, spans, last, active, next);
}

let movedEnd: 'begin' | 'end' = 'end'; // the boundary of the span that Shift+arrow moves

function extend(ctx: Context, targets: KeyTargets, spans: readonly Span[], last: Span, active: number, next: number): boolean {
  const single = last.end === last.begin + 1;
  if (single) movedEnd = next < active ? 'begin' : 'end';
  const box = boxSpan(targets, next);
  const grown =
    movedEnd === 'begin'
      ? { begin: Math.min(box.begin, last.end - 1), end: last.end }
      : { begin: last.begin, end: Math.max(box.end, last.begin + 1) };
  selectSpans(ctx, [...spans.slice(0, -1), grown], 'replace');
  targets.read.reveal(next);
  return true;
}

function choose(ctx: Context, targets: KeyTargets, span: Span, at: number): boolean {
  movedEnd = 'end';
  selectSpans(ctx, [span], 'replace');
  targets.read.reveal(at);
  return true;
}

function boxSpan(targets: KeyTargets, token: number): Span {
  const box = targets.read.pane.boxOf(token)?.box;
  return box ? { begin: box.begin, end: box.end } : { begin: token, end: token + 1 };
}

function stepBox(ctx: Context, targets: KeyTargets, token: number, by: number): number | null {
  const here = boxSpan(targets, token);
  const before = ctx.store.now.direction === 'out' ? tokenBefore(ctx, here.begin) : here.begin - 1;
  const next = by > 0 ? here.end : before;
  return next >= 0 && next < ctx.text.tokens ? next : null;
}

/** The first move: to the first token, or back from a row whose token the text does not contain. */
function chooseFirst(ctx: Context, targets: KeyTargets, by: number): boolean {
  const row = selectedSpans(ctx.store.now)[0]?.begin;
  if (row === undefined) return choose(ctx, targets, { begin: 0, end: 1 }, 0);
  const token = tokenOfRow(ctx, row - 1);
  return by > 0 || token === null || choose(ctx, targets, boxSpan(targets, token), token);
}

/** Moves on from the last token to the row after it, whose token the text does not contain. */
function chooseUnwritten(ctx: Context, token: number): boolean {
  const row = rowOfToken(ctx, token) + 1;
  const isRow = ctx.store.now.direction === 'out' && row < ctx.family.query_range[1] && tokenOfRow(ctx, row) === null;
  if (isRow) ctx.store.set({ q: [{ begin: row, end: row + 1 }] });
  return true;
}

/**
 * The neighbour of an item: patches form rows; other items form one line, in which up and down also mean back and forward. Null at either
 * end.
 */
function stepItem(ctx: Context, items: Items, id: number, across: number, down: number): number | null {
  const columns = items.rows > 0 ? (items.end - items.begin) / items.rows : 1;
  const axis = selectedAxis(ctx.store.now);
  const { begin, end } = rangeOf(ctx.family, axis);
  const next = id + across + down * columns;
  const isNamed = axis === 'key' || next !== ctx.family.writes_from;
  return next >= begin && next < end && isNamed ? next : null;
}

/** Moves the front head; the other pins stay. */
function moveHead(ctx: Context, across: number, down: number): boolean {
  const { heads } = ctx.store.now;
  const front = heads[0];
  if (!front) return false;
  // Along an axis on which a mean is shown, the first step goes to an end.
  const step = (index: number, by: number, n: number): number =>
    by === 0 ? index : index === kMean ? (by > 0 ? 0 : n - 1) : (index + by + n) % n;
  const moved = { layer: step(front.layer, down, ctx.family.layers), head: step(front.head, across, ctx.family.heads) };
  ctx.store.set({ heads: [moved, ...heads.slice(1).filter((o) => !sameHead(o, moved))] });
  return true;
}

function onLetter(ctx: Context, targets: KeyTargets, event: KeyboardEvent, element: HTMLElement): boolean {
  if (event.altKey) return false;
  const { store } = ctx;
  const view = kViewKeys[event.key];
  if (view) {
    if (availableViews(ctx).includes(view)) store.set({ view }, 'push');
    return true;
  }
  const next: Record<SinkRule, SinkRule> = { mark: 'hide', hide: 'renorm', renorm: 'mark' };
  switch (event.key) {
    case 'Enter':
      if (element.matches('button, summary, a, input')) return false;
      store.pin();
      ctx.notify(ctx.t('pinned'));
      return true;
    case ' ':
      if (element.matches('button, summary, a, input:not([type=range])')) return false;
      targets.play();
      return true;
    case 'x':
      setDirection(ctx, store.now.direction === 'out' ? 'in' : 'out');
      return true;
    case 's':
      store.set({ sink: next[store.now.sink] }, 'push');
      return true;
    case 'c':
      targets.actions.copyLink();
      return true;
    case 'p':
      targets.actions.exportDialog();
      return true;
    case 'g':
      targets.actions.gallery();
      return true;
    case 'PageUp':
    case 'PageDown':
      return store.now.present && targets.actions.turn(event.key === 'PageDown' ? 1 : -1);
    case 'f':
      targets.actions.present();
      return true;
    case 't':
      targets.actions.tour();
      return true;
    case '?':
      targets.actions.help();
      return true;
    case '/':
      targets.search();
      return true;
    case 'Escape':
      return targets.answers.back();
    default:
      return false;
  }
}
