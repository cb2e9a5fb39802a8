// A comparison that is entered from another view opens on the largest difference: first the head that differs most, then its row that
// differs most. It gives up as soon as the reader selects something.

import type { Context } from '../../context';
import type { MapComparison } from '../../source/source';
import { type State, sameHead } from '../../state';

type Step = 'head' | 'row';

export class LargestDifference {
  private next: Step | null = null;
  private seen: State | null = null; // the state in which the next step was decided

  constructor(private readonly ctx: Context) {}

  begin(): void {
    this.next = 'head';
    this.seen = this.ctx.store.now;
  }

  /** Takes a step if it is the next one: `choose` selects a head or a row. */
  take(step: Step, choose: () => void): void {
    const { seen } = this;
    if (this.next !== step || !seen) return;
    const { now } = this.ctx.store;
    const isUntouched =
      now.view === seen.view && now.q === seen.q && now.compareHead === seen.compareHead && sameHead(now.heads[0], seen.heads[0]);
    this.next = isUntouched && step === 'head' ? 'row' : null;
    if (!isUntouched) return;
    choose();
    this.seen = this.ctx.store.now;
  }
}

/** The place of the row that differs most; null if no row differs. */
export function largestRow({ divergence, rows, z }: MapComparison): number | null {
  const largest = divergence.reduce((best, value, i) => (value > (divergence[best] || 0) ? i : best), 0);
  return divergence[largest] > 0 ? rows.begin + largest * 2 ** z : null;
}
