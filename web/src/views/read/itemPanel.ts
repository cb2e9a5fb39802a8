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

/** Handles hovering and clicking on a drawing; `idOf` returns the id that an event points at. */
export function listenTo(element: HTMLElement | SVGElement, events: ItemPanelEvents, idOf: (event: MouseEvent) => number | null): void {
  let hovered: number | null = null;
  const hover = (id: number | null): void => {
    if (id !== hovered) events.hover((hovered = id));
  };
  element.addEventListener('pointermove', (event) => hover(idOf(event as MouseEvent)));
  element.addEventListener('pointerleave', () => hover(null));
  element.addEventListener('click', (event) => {
    const id = idOf(event as MouseEvent);
    if (id !== null) events.pick(id, event as MouseEvent);
  });
}

/** The same on a canvas; `at` returns the id at a point. */
export function listenToCanvas(canvas: HTMLCanvasElement, events: ItemPanelEvents, at: (x: number, y: number) => number | null): void {
  listenTo(canvas, events, (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    return at(event.clientX - left, event.clientY - top);
  });
}
