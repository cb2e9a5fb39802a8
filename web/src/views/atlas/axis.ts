// The grid of thumbnails, a row for each layer. The narrow atlas, whose thumbnails have no room for names, has them around the grid.

import type { Family, HeadId } from '../../source/source';
import { h } from '../../ui/dom';

const kMaxAcross = 16; // more heads than this need several rows for a layer

export function fillGrid(grid: HTMLElement, { layers, heads }: Family, cellOf: (at: HeadId) => HTMLElement): void {
  const isLabelled = heads <= kMaxAcross;
  const name = (text: string): HTMLElement | '' => (isLabelled ? h('span', { class: 'axis', 'aria-hidden': 'true' }, text) : '');
  grid.classList.toggle('labelled', isLabelled);
  const all = Array.from({ length: heads }, (_, head) => head);
  if (isLabelled) grid.append(name(''), ...all.map((head) => name(`H${head}`)));
  for (let layer = 0; layer < layers; layer++) grid.append(name(`L${layer}`), ...all.map((head) => cellOf({ layer, head })));
}
