// The moments of a timeline: the checkpoints of a recorded training run, the tokens of a generated text, or the steps of an episode.

import type { Context } from '../../context';
import { quoted } from '../../context';
import { share, whole } from '../../format';
import type { State } from '../../state';

export interface Moments {
  readonly kind: 'training' | 'generated' | 'episode';
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
  return ctx.info.generated.length > 0 ? generated(ctx) : episode(ctx);
}

/** The row that is selected, if it is a single one and shows what it attends to. */
function selectedRow(state: State): number | null {
  const [row] = state.q;
  return row && state.q.length === 1 && row.end === row.begin + 1 && state.direction === 'out' ? row.begin : null;
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
      const row = selectedRow(state);
      const moment = row === null ? -1 : row + 1 - begin;
      return moment < chances.length ? Math.max(moment, -1) : -1;
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

/** The steps of an episode, if they are the rows of the map: each attends to the steps up to its own. */
function episode(ctx: Context): Moments | null {
  const { family, text } = ctx;
  const [begin, end] = family.query_range;
  const isEpisode = text.data.items.some((items) => items.kind === 'step' && items.begin === begin && items.end === end);
  if (!isEpisode || !family.causal || end - begin < 2) return null;
  const name = (moment: number): string => text.label(begin + moment);
  return {
    kind: 'episode',
    count: end - begin,
    at: (state) => {
      const row = selectedRow(state);
      return row !== null && begin <= row && row < end ? row - begin : -1;
    },
    label: (moment) => ctx.t('timeline.of', { name: name(moment), of: end - begin }),
    name,
    probability: () => null,
    go: (moment) => {
      const row = begin + moment;
      ctx.store.set({ q: [{ begin: row, end: row + 1 }], direction: 'out' });
      ctx.reveal(row, false);
    },
  };
}
