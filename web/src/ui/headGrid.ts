// A grid with one cell for each head: layers down and heads across, with their names around the grid.

import type { Family, HeadId } from '../source/source';
import { h } from './dom';

/** Fills the grid; its class `labelled` says whether it has names. `isLabelled`: false if a layer has more heads than the grid has columns. */
export function fillHeadGrid(grid: HTMLElement, { layers, heads }: Family, cellOf: (at: HeadId) => HTMLElement, isLabelled: boolean): void {
  const name = (text: string): HTMLElement[] => (isLabelled ? [h('span', { class: 'axis', 'aria-hidden': 'true' }, text)] : []);
  const all = Array.from({ length: heads }, (_, head) => head);
  grid.classList.toggle('labelled', isLabelled);
  if (isLabelled) grid.append(...name(''), ...all.flatMap((head) => name(`H${head}`)));
  for (let layer = 0; layer < layers; layer++) grid.append(...name(`L${layer}`), ...all.map((head) => cellOf({ layer, head })));
}
