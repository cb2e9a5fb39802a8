import { describe, expect, it } from 'vitest';
import type { ShownLine } from '../src/focus';
import { sharesOfParts } from '../src/views/read/parts';

const segments = [
  { name: 'first', begin: 1, end: 3, role: 'text' },
  { name: 'second', begin: 3, end: 7, role: 'text' },
  { name: 'unseen', begin: 7, end: 9, role: 'text' },
];
const shown = (values: number[] | null, visible: [number, number][], direction = 'out'): ShownLine =>
  ({ request: { direction, spans: [] }, line: { values: values && Float32Array.from(values), visible } }) as unknown as ShownLine;

describe('the parts of a text', () => {
  it('have their share of a row, and the share of the keys that it sees', () => {
    const row = shown([0.5, 0.25, 0, 0.125, 0.125, 0, 0, NaN, NaN], [[0, 5]]);
    expect(sharesOfParts(segments, row)).toEqual([
      { name: 'first', begin: 1, share: 0.25, chance: 0.4 },
      { name: 'second', begin: 3, share: 0.25, chance: 0.4 },
    ]);
  });
  it('are ordered by share, and a row of weights that do not sum to one is one whole', () => {
    const found = sharesOfParts(segments, shown([0, 1, 0, 2, 0, 0, 1, NaN, NaN], [[0, 7]]));
    expect(found.map(({ name, share }) => [name, share])).toEqual([
      ['second', 0.75],
      ['first', 0.25],
    ]);
  });
  it('are not shown if the row sees one only, for columns, and if only the heaviest keys are known', () => {
    expect(sharesOfParts(segments, shown([1, 1, 1, 0, 0, 0, 0, 0, 0], [[0, 3]]))).toEqual([]);
    expect(sharesOfParts(segments, shown([1, 1, 1, 1, 1, 1, 1, 1, 1], [[0, 9]], 'in'))).toEqual([]);
    expect(sharesOfParts(segments, shown(null, [[0, 9]]))).toEqual([]);
  });
});
