// Items shown neither in the margin nor on a picture, as chips: a query that is not text, a class token, a document as a whole.

import type { Context } from '../../context';
import { h } from '../../ui/dom';
import { type Paint, type StepStyle, styleOf } from './painter';
import { itemBox, type ItemPanel, type ItemPanelEvents } from './itemPanel';

export class ChipPanel implements ItemPanel {
  readonly element: HTMLElement;
  private readonly chips = new Map<number, HTMLElement>();

  constructor(
    ctx: Context,
    ids: readonly number[],
    events: ItemPanelEvents,
    private readonly steps: () => readonly StepStyle[],
  ) {
    this.element = h('div', { class: 'side-chips', role: 'group', 'aria-label': ctx.t('items.label'), 'data-testid': 'chips' });
    for (const id of ids) {
      const chip = h(
        'span',
        {
          class: 'box chip',
          'data-box': id,
          onclick: (event: MouseEvent) => events.pick(id, event),
          onpointermove: () => events.hover(id),
          onpointerleave: () => events.hover(null),
        },
        ctx.text.label(id),
      );
      this.chips.set(id, chip);
      this.element.append(chip);
    }
  }

  contains(id: number): boolean {
    return this.chips.has(id);
  }

  paint(paint: Paint): void {
    for (const [id, chip] of this.chips) {
      const style = styleOf(itemBox(id), paint, this.steps());
      chip.className = `${style.className} chip`;
      chip.style.cssText = style.css;
      if (style.share) chip.dataset['share'] = style.share;
      else delete chip.dataset['share'];
    }
  }
}
