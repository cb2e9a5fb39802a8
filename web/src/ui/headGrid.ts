// A grid with one cell for each head: layers down and heads across, with their names around the grid.

import { kMean } from '../heads';
import type { Family, HeadId } from '../source/source';
import { h } from './dom';

/** Makes the name of a row, of a column, or of the whole grid; `at`: the mean of its heads. */
type NameOf = (text: string, at: HeadId) => HTMLElement;
export const axisName: NameOf = (text) => h('span', { class: 'axis', 'aria-hidden': 'true' }, text);

/** Fills the grid. `nameOf`: null if a layer has more heads than the grid has columns; the grid then has no names and no class `labelled`. */
export function fillHeadGrid(
  grid: HTMLElement,
  { layers, heads }: Family,
  cellOf: (at: HeadId) => HTMLElement,
  nameOf: NameOf | null,
): void {
  const all = Array.from({ length: heads }, (_, head) => head);
  grid.classList.toggle('labelled', nameOf !== null);
  const name = (text: string, layer: number, head: number): HTMLElement[] => (nameOf ? [nameOf(text, { layer, head })] : []);
  grid.append(...name('', kMean, kMean), ...(nameOf ? all.flatMap((head) => name(`H${head}`, kMean, head)) : []));
  for (let layer = 0; layer < layers; layer++)
    grid.append(...name(`L${layer}`, layer, kMean), ...all.map((head) => cellOf({ layer, head })));
}
