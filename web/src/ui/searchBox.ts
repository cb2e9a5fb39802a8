// The search box: text, /regex/, #1204, L5.H3, seg:name. Enter goes to the next hit, Shift+Enter to the previous one.

import { canShow } from '../heads';
import { type Context, pin, selectSpans } from '../context';
import { whole } from '../format';
import type { Span } from '../source/source';
import { findHits, parseQuery } from '../text/search';
import { h, icon, iconButton } from './dom';

export class SearchBox {
  readonly element: HTMLElement;
  private readonly input: HTMLInputElement;
  private readonly count = h('output', { class: 'search-count', 'data-testid': 'search-count' });
  private hits: Span[] = [];
  private at = -1;

  constructor(
    private readonly ctx: () => Context,
    private readonly show: (hits: readonly Span[], hit: Span | null) => void,
    label: (key: string) => string,
  ) {
    this.input = h('input', {
      type: 'search',
      placeholder: label('search.placeholder'),
      'aria-label': label('search'),
      title: label('search.title'),
      spellcheck: 'false',
      autocomplete: 'off',
      oninput: () => this.search(),
      onkeydown: (event: KeyboardEvent) => this.onKey(event),
    });
    this.element = h(
      'div',
      { class: 'search', role: 'search' },
      icon('search'),
      this.input,
      this.count,
      iconButton('up', label('previous'), () => this.step(-1)),
      iconButton('down', label('next'), () => this.step(1)),
    );
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  private search(): void {
    const ctx = this.ctx();
    const query = parseQuery(this.input.value);
    this.input.setAttribute('aria-invalid', String(query.kind === 'bad'));
    const { hits, more } = findHits(ctx.text, query);
    this.hits = hits;
    this.at = -1;
    this.count.textContent =
      query.kind === 'none' || query.kind === 'head' ? '' : query.kind === 'bad' ? '!' : `${whole(hits.length)}${more ? '+' : ''}`;
    this.show(hits, null);
  }

  private onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      this.input.value = '';
      this.search();
      this.input.blur();
    }
    if (event.key !== 'Enter') return;
    event.preventDefault();
    const ctx = this.ctx();
    const query = parseQuery(this.input.value);
    if (query.kind === 'head' && canShow(ctx.info, ctx.family, query.at)) pin(ctx, query.at);
    else this.step(event.shiftKey ? -1 : 1, query.kind === 'position' || query.kind === 'segment');
  }

  private step(by: number, choose = false): void {
    if (this.hits.length === 0) return;
    const ctx = this.ctx();
    this.at = (this.at + by + this.hits.length) % this.hits.length;
    const hit = this.hits[this.at];
    this.count.textContent = `${this.at + 1} / ${whole(this.hits.length)}`;
    this.show(this.hits, hit);
    ctx.reveal(hit.begin, true);
    if (choose || hit.begin >= ctx.text.tokens) selectSpans(ctx, [hit], 'push');
  }
}
