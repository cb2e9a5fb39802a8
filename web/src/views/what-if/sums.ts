// The values of boxes under What if: the sum of their tokens' values, printed on the boxes of the largest values.

import { change, share, shortShare } from '../../format';
import type { Box } from '../../text/boxes';
import { type Shading, largestOf } from '../why/shading';

const kLabelled = 5; // tokens

/** values: [id]; NaN: no value. isNew: whether a token has no value before the edit. */
export function labelledSums(
  values: Float32Array | null,
  signed: boolean,
  isNew: (id: number) => boolean,
): Pick<Shading, 'value' | 'label'> {
  const top = new Set(values ? largestOf(values, kLabelled) : []);
  const sum = (box: Box): number | null => {
    let total = 0;
    for (let id = box.begin; id < box.end; id++) {
      const value = values?.[id] ?? NaN;
      if (Number.isNaN(value)) return isNew(id) ? null : NaN;
      total += value;
    }
    return total;
  };
  return {
    value: (box: Box) => (values ? sum(box) : NaN),
    label: (box: Box) => {
      const isLabelled = values && Array.from({ length: box.end - box.begin }, (_, i) => box.begin + i).some((id) => top.has(id));
      const value = isLabelled ? sum(box) : null;
      return value === null ? '' : signed ? `${value < 0 ? '−' : '+'}${shortShare(Math.abs(value))}` : shortShare(value);
    },
  };
}

/** A weight before and after, and its change, for the status line. */
export const weightsOf = (before: number, after: number): string => `${share(before)} → ${share(after)}   ${change(after - before)}`;
