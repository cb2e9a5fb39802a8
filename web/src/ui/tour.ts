// The guided tour: seven steps, each with a sentence, the part of the page that it is about, and the view in which that part is shown. The
// step is in the state, so the back button and links work.

import { type Context, type View, unavailableReason } from '../context';
import type { State } from '../state';
import { setSentence } from './glossary';
import { h, iconButton } from './dom';

interface Step {
  name: 'text' | 'shade' | 'list' | 'head' | 'atlas' | 'map' | 'why';
  view: State['view'];
  about: string; // selector
}

const kSteps: readonly Step[] = [
  { name: 'text', view: 'read', about: '.text-panel .prose' },
  { name: 'shade', view: 'read', about: '.text-panel .legend' },
  { name: 'list', view: 'read', about: '.answers-panel' },
  { name: 'head', view: 'read', about: '.pins' },
  { name: 'atlas', view: 'atlas', about: '.atlas-panel' },
  { name: 'map', view: 'map', about: '.map-panel' },
  { name: 'why', view: 'why', about: '.why-panel' },
];

export class TourView implements View {
  readonly element: HTMLElement;
  private readonly sentence = h('p', { 'aria-live': 'polite', 'data-testid': 'tour-sentence' });
  private readonly count = h('span', { class: 'tour-count' });
  private readonly back: HTMLButtonElement;
  private readonly next: HTMLButtonElement;
  private shown = 0;

  constructor(private readonly ctx: Context) {
    const { t } = ctx;
    this.back = h('button', { type: 'button', onclick: () => this.go(this.shown - 1) }, t('previous'));
    this.next = h('button', { type: 'button', class: 'primary', 'data-testid': 'tour-next', onclick: () => this.go(this.shown + 1) });
    this.element = h(
      'aside',
      { class: 'tour', 'aria-label': t('tour.label'), 'data-testid': 'tour', hidden: true },
      h(
        'div',
        { class: 'tour-head' },
        this.count,
        iconButton('close', t('close'), () => this.go(0)),
      ),
      this.sentence,
      h('div', { class: 'tour-buttons' }, this.back, this.next),
    );
    ctx.life.signal.addEventListener('abort', () => this.mark(null));
  }

  private go(step: number): void {
    this.ctx.store.set(tourState(this.ctx, step > kSteps.length ? 0 : step), 'push');
  }

  update(state: State): void {
    if (state.tour === this.shown) return;
    this.shown = state.tour;
    const step = kSteps[state.tour - 1];
    this.element.hidden = !step;
    if (!step) return this.mark(null);
    const { t } = this.ctx;
    this.count.textContent = t('tour.step', { n: state.tour, of: kSteps.length });
    const isAbsent = step.name === 'why' && unavailableReason(this.ctx, 'why') !== null;
    setSentence(this.sentence, t, t(isAbsent ? 'tour.why.no-model' : `tour.${step.name}`));
    this.back.disabled = state.tour === 1;
    this.next.textContent = t(state.tour === kSteps.length ? 'tour.done' : 'next');
    requestAnimationFrame(() => this.mark(isAbsent ? '.views' : step.about));
    if (!this.element.contains(document.activeElement)) this.next.focus({ preventScroll: true });
  }

  /** Puts a frame around the part of the page that the step is about. */
  private mark(about: string | null): void {
    for (const marked of document.querySelectorAll('.tour-about')) marked.classList.remove('tour-about');
    const found = about ? document.querySelector(about) : null;
    if (!found) return;
    found.classList.add('tour-about');
    const [part, own] = [found.getBoundingClientRect(), this.element.getBoundingClientRect()];
    const isUnder = part.left > own.left - part.width / 2 && part.bottom > own.top;
    this.element.classList.toggle('left', isUnder && part.left > innerWidth / 2);
  }
}

/** What a step changes in the state; step 0 ends the tour and leaves the view as it is. */
export function tourState(ctx: Context | null, step: number): Partial<State> {
  const view = kSteps[step - 1]?.view;
  if (!view) return { tour: 0 };
  return { tour: step, view: view === 'why' && ctx && unavailableReason(ctx, 'why') ? 'map' : view };
}
