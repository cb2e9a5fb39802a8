// Panels of the reading view for items that are not text: patches over their picture, frames over time, single items. All are painted from
// the same numbers as text (painter.ts): an item is a box of one id.

import type { Box } from '../../text/boxes';
import type { Paint } from './painter';

export interface ItemPanel {
  readonly element: HTMLElement;
  paint(paint: Paint): void;
  /** True if this panel shows an id. */
  contains(id: number): boolean;
}

export interface ItemPanelEvents {
  hover(id: number | null): void;
  pick(id: number, event: MouseEvent): void;
}

/** An item as a box: it has no characters of its own. */
export const itemBox = (id: number): Box => ({ begin: id, end: id + 1, from: 0, to: 0 });

export const isChosen = (spans: readonly { begin: number; end: number }[], id: number): boolean =>
  spans.some((s) => s.begin <= id && id < s.end);

/** Handles hovering and clicking on a canvas; `at` returns the id at a point. */
export function listenToCanvas(canvas: HTMLCanvasElement, events: ItemPanelEvents, at: (x: number, y: number) => number | null): void {
  let hovered: number | null = null;
  const idOf = (event: MouseEvent): number | null => {
    const { left, top } = canvas.getBoundingClientRect();
    return at(event.clientX - left, event.clientY - top);
  };
  const hover = (id: number | null): void => {
    if (id !== hovered) events.hover((hovered = id));
  };
  canvas.addEventListener('pointermove', (event) => hover(idOf(event)));
  canvas.addEventListener('pointerleave', () => hover(null));
  canvas.addEventListener('click', (event) => {
    const id = idOf(event);
    if (id !== null) events.pick(id, event);
  });
}
