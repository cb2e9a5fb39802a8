// The regions of the page: the atlas on the left (can be hidden), a centre, and a side of two panels with movable edges. CSS decides which
// panel is in the centre (`data-view` on the root); below 900 px the same panels are tabs.

import type { Strings } from '../strings';
import { h } from './dom';

interface Panels {
  atlas: HTMLElement;
  text: HTMLElement;
  lines: HTMLElement;
  map: HTMLElement;
  answers: HTMLElement;
  whole: readonly HTMLElement[]; // each takes the whole page in its own view (views/whole.ts)
}

export function regions(t: Strings, panels: Panels): { element: HTMLElement; toggleAtlas(): void } {
  const main = h('main', { class: 'regions' });
  const across = separator(
    t('resize.side'),
    'vertical',
    (event) => {
      const rect = main.getBoundingClientRect();
      return ((rect.right - event.clientX) / rect.width) * 100;
    },
    22,
    60,
    34,
    (value) => main.style.setProperty('--side', `${value}%`),
  );
  const down = separator(
    t('resize.list'),
    'horizontal',
    (event) => {
      const rect = main.getBoundingClientRect();
      return ((event.clientY - rect.top) / rect.height) * 100;
    },
    20,
    85,
    56,
    (value) => main.style.setProperty('--upper', `${value}%`),
  );
  across.classList.add('edge-side');
  down.classList.add('edge-list');
  main.append(panels.atlas, panels.text, panels.lines, panels.map, panels.answers, ...panels.whole, across, down);
  return { element: main, toggleAtlas: () => void main.classList.toggle('no-atlas') };
}

function separator(
  label: string,
  orientation: 'vertical' | 'horizontal',
  at: (event: PointerEvent) => number,
  least: number,
  max: number,
  start: number,
  apply: (value: number) => void,
): HTMLElement {
  let value = start;
  const element = h('div', {
    class: 'edge',
    role: 'separator',
    tabindex: 0,
    'aria-label': label,
    'aria-orientation': orientation,
    'aria-valuemin': least,
    'aria-valuemax': max,
    'aria-valuenow': start,
  });
  const set = (next: number): void => {
    value = Math.max(least, Math.min(max, next));
    element.setAttribute('aria-valuenow', String(Math.round(value)));
    apply(value);
  };
  element.addEventListener('pointerdown', (event) => element.setPointerCapture(event.pointerId));
  element.addEventListener('pointermove', (event) => {
    if (event.buttons & 1 && element.hasPointerCapture(event.pointerId)) set(at(event));
  });
  element.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: 2, ArrowUp: -2, ArrowRight: -2, ArrowDown: 2 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    set(value + step);
  });
  return element;
}
