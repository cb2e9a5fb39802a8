// The running text. Distant blocks are plain text (find, copy and screen readers reach all of them); blocks within one screen of the view
// contain one span per box, which is shaded, outlined and clicked.

import type { Context } from '../../context';
import { itemDescription, quoted, visibleSpace } from '../../context';
import type { Span } from '../../source/source';
import { type Box, boxesOf, shortened } from '../../text/boxes';
import { languageOf } from '../../text/language';
import type { TextModel } from '../../text/model';
import { h } from '../../ui/dom';
import { Margin } from './margin';
import type { BoxStyle } from './painter';
import { itemBox } from './itemPanel';

const kMaxBoxLength = 400; // largest number of UTF-16 units shown in one box
const kOpenedBlocks = 2; // blocks: about one screen
const kShortest = 300; // UTF-16 units: a shorter text stands large

/** The class of the frame around a text: a short one without items beside it, or pictures above it, stands large. */
export const frameClass = (text: TextModel, pictures: number): string =>
  text.text.length < kShortest && text.inMargin.length === 0 && pictures === 0 ? 'text-frame alone' : 'text-frame';

export interface LiveBlock {
  boxes: Box[];
  elements: HTMLElement[];
  painted: string[]; // current style of each element
}

/** True if a box continues the word of the box before it. */
const isPieceOf = ({ data: { word } }: TextModel, { begin }: Box): boolean => word[begin] >= 0 && word[begin] === word[begin - 1];

interface PaneEvents {
  hover(token: number | null): void;
  pick(token: number, event: MouseEvent): void;
  select(span: Span): void;
  scroll(): void;
  hydrated(block: LiveBlock): void;
}

export class TextPane {
  readonly element: HTMLElement;
  readonly live = new Map<number, LiveBlock>();
  readonly margin: Margin;
  private readonly bodies: HTMLElement[] = [];
  private readonly observer: IntersectionObserver;
  private hovered = -1;

  constructor(
    private readonly ctx: Context,
    private readonly events: PaneEvents,
  ) {
    this.element = h('div', { class: 'prose', tabindex: 0, role: 'group', 'aria-label': ctx.t('text.label'), 'data-testid': 'text' });
    this.margin = new Margin(ctx);
    if (ctx.text.inMargin.length > 0) this.element.append(this.margin.head);
    this.observer = new IntersectionObserver((entries) => this.onVisible(entries), { root: this.element, rootMargin: '100% 0px' });
    ctx.text.blocks.forEach((_, i) => this.element.append(this.makeBlock(i)));
    this.listen();
  }

  /** Creates the boxes of the first blocks immediately, without waiting for the browser to report them visible. */
  open(): void {
    for (let i = 0; i < Math.min(kOpenedBlocks, this.bodies.length); i++) this.hydrate(i);
  }

  /** The element of a token's box; null if its block is not near the view. */
  boxOf(token: number): { element: HTMLElement; box: Box } | null {
    const item = this.margin.elementOf(token);
    if (item) return { element: item, box: itemBox(token) };
    const live = this.live.get(this.ctx.text.blockOf(token));
    const i = live ? live.boxes.findIndex((b) => b.begin <= token && token < b.end) : -1;
    return live && i >= 0 ? { element: live.elements[i], box: live.boxes[i] } : null;
  }

  /** Scrolls a token towards the middle of the view, unless it is well inside already. */
  reveal(token: number): void {
    const index = this.ctx.text.blockOf(token);
    const block = this.bodies[index]?.closest<HTMLElement>('.block');
    if (!block) return;
    const settle = (tries: number): void => {
      this.hydrate(index); // it may have been dehydrated as distant before the scroll arrived
      const found = this.boxOf(token);
      if (!found) return;
      const outer = this.element.getBoundingClientRect();
      const inner = found.element.getBoundingClientRect();
      const below = inner.bottom > outer.bottom - 40; // then it comes to stand low, because most of what it attends to is before it
      if (below || inner.top < outer.top + 40) this.element.scrollTop += inner.top - outer.top - outer.height * (below ? 0.75 : 0.4);
      if (tries > 0) requestAnimationFrame(() => settle(tries - 1)); // block heights become known only as blocks are laid out
    };
    settle(6);
  }

  /** The visible part of the text, as a range of UTF-16 offsets. */
  visibleRange(): { from: number; to: number } {
    const outer = this.element.getBoundingClientRect();
    const blocks = this.ctx.text.blocks;
    const first = this.blockAtY(outer.top);
    const last = this.blockAtY(outer.bottom);
    return { from: this.offsetIn(first, outer.top, blocks[first]), to: this.offsetIn(last, outer.bottom, blocks[last]) };
  }

  paint(style: (box: Box) => BoxStyle): void {
    for (const live of this.live.values()) this.paintBlock(live, style);
  }

  /** Moves the printed shares of neighbouring boxes apart where they would overlap. */
  spreadShares(): void {
    const labels = [...this.element.querySelectorAll<HTMLElement>('[data-share]')].map((element) => {
      const rect = element.getClientRects()[0] ?? element.getBoundingClientRect();
      return { element, top: rect.top, at: rect.left + rect.width / 2, shift: 0, half: 4 + 2.9 * (element.dataset['share']?.length ?? 0) };
    });
    labels.sort((a, b) => a.top - b.top);
    let line = -Infinity;
    for (const label of labels) label.top = line = label.top - line > 14 ? label.top : line; // chips are a little lower than words
    labels.sort((a, b) => a.top - b.top || a.at - b.at);
    for (let round = 0; round < 4; round++) {
      for (let i = 1; i < labels.length; i++) {
        const [a, b] = [labels[i - 1], labels[i]];
        const over = a.at + a.shift + a.half - (b.at + b.shift - b.half);
        if (a.top !== b.top || over <= 0) continue;
        a.shift -= over / 2;
        b.shift += over / 2;
      }
    }
    for (const { element, shift } of labels) {
      if (shift) element.style.setProperty('--shift', `${Math.round(shift)}px`);
      else element.style.removeProperty('--shift');
    }
  }

  paintBlock(live: LiveBlock, style: (box: Box) => BoxStyle): void {
    for (let i = 0; i < live.boxes.length; i++) {
      const wanted = style(live.boxes[i]);
      const key = `${wanted.className}|${wanted.css}|${wanted.share}`;
      if (live.painted[i] === key) continue;
      live.painted[i] = key;
      const element = live.elements[i];
      element.className = wanted.className;
      element.style.cssText = wanted.css;
      if (wanted.share) element.dataset['share'] = wanted.share;
      else delete element.dataset['share'];
    }
  }

  /** The box one visual line above or below a token's, nearest in x; null at the ends of the text. */
  verticalNeighbour(token: number, down: boolean): number | null {
    const here = this.boxOf(token);
    if (!here) return null;
    const from = here.element.getBoundingClientRect();
    let best: { token: number; line: number; x: number } | null = null;
    for (const live of this.live.values()) {
      live.elements.forEach((element, i) => {
        const rect = element.getBoundingClientRect();
        const line = down ? rect.top - from.top : from.top - rect.top;
        if (line < from.height * 0.6 || (best && line > best.line + from.height * 0.6)) return;
        const x = Math.abs(rect.left + rect.width / 2 - from.left - from.width / 2);
        const closer = !best || line < best.line - from.height * 0.6 || x < best.x;
        if (closer) best = { token: live.boxes[i].begin, line, x };
      });
    }
    return best ? (best as { token: number }).token : null;
  }

  private makeBlock(index: number): HTMLElement {
    const { text, segments } = this.ctx;
    const block = text.blocks[index];
    const plain = text.text.slice(block.begin, block.end);
    const segment = segments[block.segment];
    const body = h(
      'p',
      { class: 'block-text', dir: 'auto', lang: languageOf(plain, segment?.lang ?? this.ctx.info.sides[0]?.lang ?? null) },
      plain,
    );
    const estimate =
      37 *
      plain
        .trimEnd()
        .split('\n')
        .reduce((lines, line) => lines + Math.max(1, Math.ceil(line.length / 68)), 0);
    const element = h('div', { class: 'block', 'data-block': index, style: `contain-intrinsic-size: auto ${estimate}px` });
    if (segment && block.opensSegment) {
      element.append(
        h(
          'h3',
          { class: 'segment-name' },
          this.ctx.t.part(segment.name),
          segment.role && segment.role !== 'text' && segment.role !== segment.name ? h('span', {}, ` ${segment.role}`) : null,
        ),
      );
    }
    if (text.inMargin.length > 0) element.append(h('div', { class: 'beside' }, this.margin.createBlock(block.items, body), body));
    else element.append(body);
    this.bodies.push(body);
    this.observer.observe(element);
    return element;
  }

  private onVisible(entries: IntersectionObserverEntry[]): void {
    for (const entry of entries) {
      const index = Number((entry.target as HTMLElement).dataset['block']);
      if (entry.isIntersecting) this.hydrate(index);
      else this.dehydrate(index);
    }
    this.events.scroll();
  }

  private hydrate(index: number): void {
    if (this.live.has(index)) return;
    const { text } = this.ctx;
    const block = text.blocks[index];
    const boxes = boxesOf(text, block.tokens);
    const elements: HTMLElement[] = [];
    const body = document.createDocumentFragment();
    let at = block.begin;
    for (const box of boxes) {
      if (box.from > at) body.append(text.text.slice(at, box.from));
      const content = box.to > box.from ? text.text.slice(Math.max(at, box.from), box.to) : text.label(box.begin);
      at = Math.max(at, box.to);
      const element = document.createElement('span');
      const last = elements[elements.length - 1];
      const lead = /^\s*(?=\S)/.exec(content)?.[0] ?? ''; // the space before a word belongs to the token, but shading it would make words run together
      if (lead) body.append(lead);
      element.dataset['box'] = String(box.begin);
      element.textContent = shortened(content.slice(lead.length), kMaxBoxLength);
      if (text.isSpecial(box.begin)) element.dir = 'ltr'; // so that dir=auto of the block considers only its own text
      if (last && isPieceOf(text, box)) {
        last.dataset['joined'] = '';
        element.dataset['joins'] = '';
      }
      elements.push(element);
      body.append(element);
    }
    if (block.end > at) body.append(text.text.slice(at, block.end));
    this.bodies[index].replaceChildren(body);
    const live = { boxes, elements, painted: [] };
    this.live.set(index, live);
    this.events.hydrated(live);
  }

  private dehydrate(index: number): void {
    const selection = document.getSelection();
    if (!this.live.has(index) || (selection && !selection.isCollapsed && selection.containsNode(this.bodies[index], true))) return;
    const block = this.ctx.text.blocks[index];
    this.live.delete(index);
    this.bodies[index].textContent = this.ctx.text.text.slice(block.begin, block.end);
  }

  private listen(): void {
    const tokenOf = (event: Event): number | null => {
      const box = event.target instanceof HTMLElement ? event.target.closest<HTMLElement>('[data-box]') : null;
      return box ? Number(box.dataset['box']) : null;
    };
    this.element.addEventListener('pointermove', (event) => {
      if (event.buttons !== 0) return;
      const token = tokenOf(event);
      if (token !== null && token !== this.hovered) this.events.hover((this.hovered = token));
    });
    this.element.addEventListener('pointerleave', () => {
      this.hovered = -1;
      this.events.hover(null);
    });
    this.element.addEventListener('click', (event) => {
      const token = tokenOf(event);
      const span = this.selectedSpan();
      if (span && span.end > span.begin + 1) this.events.select(span);
      else if (token !== null) this.events.pick(token, event);
    });
    this.element.addEventListener('scroll', () => this.events.scroll(), { passive: true });
  }

  private selectedSpan(): Span | null {
    const selection = document.getSelection();
    if (!selection || selection.isCollapsed || selection.rangeCount === 0) return null;
    const range = selection.getRangeAt(0);
    const tokens: number[] = [];
    for (const live of this.live.values()) {
      live.elements.forEach((element, i) => {
        if (range.intersectsNode(element)) tokens.push(live.boxes[i].begin, live.boxes[i].end - 1);
      });
    }
    return tokens.length ? { begin: Math.min(...tokens), end: Math.max(...tokens) + 1 } : null;
  }

  private blockAtY(y: number): number {
    let low = 0;
    let high = this.bodies.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.bodies[middle].closest('.block') as HTMLElement).getBoundingClientRect().top <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  private offsetIn(index: number, y: number, block: { begin: number; end: number }): number {
    const rect = (this.bodies[index].closest('.block') as HTMLElement).getBoundingClientRect();
    const t = rect.height > 0 ? Math.max(0, Math.min(1, (y - rect.top) / rect.height)) : 0;
    return block.begin + t * (block.end - block.begin);
  }
}

/** One line about a token: its text, position and bytes. */
export function describeToken(ctx: Context, box: Box): string {
  const { text } = ctx;
  const items = text.itemsOf(box.begin);
  if (items) return [itemDescription(ctx, box.begin), shortened(text.excerpt(box.begin), 60)].filter(Boolean).join('   ');
  const parts: string[] = [];
  for (let t = box.begin; t < Math.min(box.end, box.begin + 4); t++) {
    const id = text.data.id[t];
    const bytes = text.bytesOf(t);
    parts.push(`#${t} · id ${id}${bytes ? ` · ${bytes}` : ''}`);
  }
  const label = text.isSpecial(box.begin) ? text.label(box.begin) : visibleSpace(text.text.slice(box.from, box.to));
  const segment = text.segmentOf(box.begin);
  const where = segment >= 0 ? ` · ${ctx.segments[segment].name}` : '';
  return `${shortened(label, 48) || quoted(ctx, box)}   ${parts.join('  +  ')}${where}`;
}
