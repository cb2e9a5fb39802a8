// The views that a page can show, and the list "More", which holds those that are not tabs. The list closes when a view is chosen or the
// focus leaves.

import type { Context } from '../context';
import { type ViewName, kViews } from '../state';
import { kWholePageViews } from '../views/whole';
import { h, icon } from './dom';

const kTabs: readonly string[] = ['read', 'lines', 'map', 'why'] satisfies ViewName[];

/** The views that this page can show; the help dialog says why it lacks the others. */
export const availableViews = (ctx: Context): ViewName[] => kViews.filter((view) => kWholePageViews[view]?.isAvailable(ctx) ?? true);

export class More {
  private readonly name = h('span', {});
  private readonly list = h('div', { class: 'more-list', hidden: true });
  private readonly button: HTMLButtonElement;
  private readonly labels = new Map<string, string>(); // of the views in the list

  constructor(
    views: HTMLFieldSetElement,
    private readonly word: string,
    signal: AbortSignal,
  ) {
    for (const label of views.querySelectorAll('label')) {
      const view = label.dataset['value'] ?? '';
      if (kTabs.includes(view)) continue;
      this.labels.set(view, label.textContent ?? '');
      this.list.append(label);
    }
    const toggle = (): void => this.open(this.list.hidden);
    this.button = h('button', { type: 'button', class: 'more-button', 'aria-expanded': 'false', onclick: toggle }, this.name, icon('down'));
    const all = h('div', { class: 'more', 'data-testid': 'more' }, this.button, this.list);
    if (this.labels.size > 0) views.querySelector('.choices')?.append(all);
    all.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || this.list.hidden) return;
      event.stopPropagation();
      this.open(false);
      this.button.focus();
    });
    const isOutside = (target: EventTarget | null): boolean => !(target instanceof Node && all.contains(target));
    document.addEventListener('pointerdown', ({ target }) => isOutside(target) && this.open(false), { signal });
    all.addEventListener('focusout', ({ relatedTarget }) => relatedTarget && isOutside(relatedTarget) && this.open(false));
  }

  open(open: boolean): void {
    this.list.hidden = !open;
    this.button.setAttribute('aria-expanded', String(open));
  }

  /** Names the current view if it is in the list. */
  show(view: ViewName): void {
    const label = this.labels.get(view);
    this.name.textContent = label ?? this.word;
    this.button.dataset['chosen'] = String(label !== undefined);
  }
}
