// The moments of a timeline: the checkpoints of a recorded training run, or the tokens of a generated text.

import type { Context } from '../../context';
import { quoted } from '../../context';
import { share, whole } from '../../format';
import type { State } from '../../state';

export interface Moments {
  readonly kind: 'training' | 'generated';
  readonly count: number;
  /** The moment of a state, or −1. */
  at(state: State): number;
  /** The label of a moment at the slider. */
  label(moment: number): string;
  /** The name of a moment in the table and on the strip. */
  name(moment: number): string;
  /** The probability of a generated token; null for other moments. */
  probability(moment: number): number | null;
  go(moment: number): void;
}

export function momentsOf(ctx: Context): Moments | null {
  if (ctx.info.checkpoints.length > 1) return training(ctx);
  return ctx.info.generated.length > 0 ? generated(ctx) : null;
}

function training(ctx: Context): Moments {
  const steps = ctx.info.checkpoints.map((c) => c.step);
  const of = whole(steps[steps.length - 1]);
  return {
    kind: 'training',
    count: steps.length,
    at: (state) => (state.step === null ? steps.length - 1 : steps.indexOf(state.step)),
    label: (moment) => ctx.t('timeline.step', { n: whole(steps[moment]), of }),
    name: (moment) => whole(steps[moment]),
    probability: () => null,
    go: (moment) => ctx.store.set({ step: steps[moment] }),
  };
}

/** A token was predicted from the row of the preceding token: selecting the token shows that row. */
function generated(ctx: Context): Moments {
  const chances = ctx.info.generated;
  const begin = ctx.text.count - chances.length;
  const span = (moment: number): { begin: number; end: number } => ({ begin: begin + moment, end: begin + moment + 1 });
  return {
    kind: 'generated',
    count: chances.length,
    at: (state) => {
      const [row] = state.q;
      const moment = row && state.q.length === 1 && row.end === row.begin + 1 ? row.begin + 1 - begin : -1;
      return state.direction === 'out' && moment >= 0 && moment < chances.length ? moment : -1;
    },
    label: (moment) =>
      ctx.t('timeline.token', { token: quoted(ctx, span(moment)), share: share(chances[moment]), n: moment + 1, of: chances.length }),
    name: (moment) => quoted(ctx, span(moment)),
    probability: (moment) => chances[moment],
    go: (moment) => {
      const row = begin + moment - 1;
      ctx.store.set({ q: [{ begin: row, end: row + 1 }], direction: 'out' });
      ctx.reveal(row, false);
    },
  };
}
