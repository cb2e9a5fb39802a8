// The gallery, on which a page of several traces opens: for each trace a picture, a question, and the model's answer. A card is a link to
// its trace, whose page says what to look for.

import { oncePerFrame, surface } from '../../paint/canvas';
import type { Theme } from '../../paint/ramp';
import { themeOf } from '../../paint/theme';
import { openingOf } from '../../opening';
import { type Source, type TraceChoice, isAbort } from '../../source/source';
import { type Store, formatState } from '../../state';
import type { Strings } from '../../strings';
import { brand, languageButton } from '../../ui/brand';
import { h, replace } from '../../ui/dom';
import { type Drawing, drawingOf } from './drawings';
import { OpeningSentence, sentenceOf } from './sentence';

interface Card {
  of: TraceChoice;
  link: HTMLAnchorElement;
  show(drawing: Drawing | null): void; // null: no drawing available
  draw(): void;
}

export class Gallery {
  private readonly life = new AbortController();
  private readonly cards: Card[];
  private readonly painted: Promise<void>;
  private readonly sentence: OpeningSentence | null;

  constructor(
    private readonly root: HTMLElement,
    private readonly source: Source,
    traces: readonly TraceChoice[],
    private readonly store: Store,
    private readonly t: Strings,
    before: number | null,
    private readonly open: () => void,
  ) {
    const first = sentenceOf(traces);
    this.sentence =
      first &&
      new OpeningSentence(
        first,
        t,
        () => this.theme(),
        this.store.hasAddress ? null : (state) => this.store.load({ ...state, lang: this.store.now.lang }),
      );
    const changed = traces.flatMap(({ card }) => card?.change?.number ?? []);
    this.cards = traces.filter((one) => one !== first && !changed.includes(one.number)).map((one) => this.cardOf(one));
    const list = h('ul', { class: 'cards', 'aria-label': t('gallery.label') }, ...this.cards.map(({ link }) => h('li', {}, link)));
    list.addEventListener('keydown', (event) => this.onKey(event));
    document.documentElement.lang = t.language;
    document.title = `${t('gallery.heading')} · clearhead`;
    root.dataset['view'] = 'gallery';
    root.dataset['present'] = String(store.now.present);
    replace(
      root,
      h(
        'header',
        { class: 'bar' },
        h(
          'div',
          { class: 'bar-row' },
          brand(),
          h('span', { class: 'spring' }),
          languageButton(t, () => this.switchLanguage()),
        ),
      ),
      h(
        'main',
        { class: 'gallery', 'data-testid': 'gallery' },
        this.sentence?.element ?? null,
        this.sentence ? h('h2', {}, t('gallery.more')) : h('h1', {}, t('gallery.heading')),
        h('p', { class: 'caption' }, t('gallery.how')),
        list,
      ),
    );
    this.cards.find(({ of }) => of.number === before)?.link.focus();
    this.listen();
    this.painted = this.paintAll();
  }

  private listen(): void {
    const { signal } = this.life;
    this.store.listen((state) => {
      if (state.step !== null) this.leave();
    }, signal);
    for (const query of ['(prefers-color-scheme: dark)', '(forced-colors: active)'])
      matchMedia(query).addEventListener('change', () => [...this.cards, this.sentence].forEach((part) => part?.draw()), { signal });
  }

  /** The source serves one trace at a time, so pending requests must end before another page makes any. */
  private leave(): void {
    this.life.abort();
    void this.painted.then(this.open);
  }

  private switchLanguage(): void {
    this.store.set({ lang: this.t.language === 'en' ? 'zh' : 'en' });
    this.leave();
  }

  private cardOf(one: TraceChoice): Card {
    const { t } = this;
    const canvas = h('canvas', { 'aria-hidden': 'true' });
    let drawing: Drawing | null = null;
    const draw = oncePerFrame(() => {
      if (drawing && frame.width > 0) drawing(frame.context, frame, this.theme());
    });
    const frame = surface(canvas, draw);
    const title = one.card?.title[t.language] ?? one.model;
    const link = h(
      'a',
      { class: 'card', href: `#${formatState(openingOf(one, this.store.now.lang))}`, 'data-trace': one.number },
      h('div', { class: 'card-picture' }, canvas),
      h('h2', {}, title),
      one.begins && one.begins.toLowerCase() !== title.toLowerCase() ? h('p', { class: 'card-text' }, one.begins) : null,
      one.card?.answer ? h('p', { class: 'card-answer' }, `→ ${one.card.answer}`) : null,
      h('p', { class: 'card-model' }, one.model),
    );
    link.addEventListener('click', (event) => {
      if (this.store.hasAddress) return;
      event.preventDefault();
      this.store.load(openingOf(one, this.store.now.lang));
    });
    const show = (found: Drawing | null): void => {
      drawing = found;
      canvas.dataset['drawn'] = String(found !== null);
      draw();
    };
    return { of: one, link, show, draw };
  }

  private async paintAll(): Promise<void> {
    await this.sentence?.show(this.source).catch(() => undefined); // the cards remain
    for (const card of this.cards) {
      if (this.life.signal.aborted) return;
      try {
        card.show(await drawingOf(this.source, card.of, this.life.signal, this.t));
      } catch (error) {
        if (!isAbort(error)) card.show(null); // the sentence remains, and opening the trace shows the error
      }
    }
  }

  private theme(): Theme {
    return themeOf(this.root);
  }

  private onKey(event: KeyboardEvent): void {
    const links = this.cards.map(({ link }) => link);
    const here = links.findIndex((link) => link === document.activeElement);
    const top = (link: HTMLElement): number => link.getBoundingClientRect().top;
    const columns = links.filter((link) => Math.abs(top(link) - top(links[0])) < 1).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -here, End: links.length - 1 - here }[
      event.key
    ];
    if (step === undefined || here < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    links[here + step]?.focus();
  }
}
