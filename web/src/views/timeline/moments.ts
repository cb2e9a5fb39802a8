// The moments of a timeline: the checkpoints of a recorded training run, the tokens of a generated text, or the steps of an episode.

import type { Context } from '../../context';
import { quoted } from '../../context';
import { share, whole } from '../../format';
import { placeOfRow } from '../../rows';
import type { State } from '../../state';

export interface Moments {
  readonly kind: 'training' | 'generated' | 'episode';
  readonly heads: readonly string[]; // the columns of the table
  readonly none: string; // shown if no moment is chosen
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

function training(ctx: Context): Moments {
  const steps = ctx.info.checkpoints.map((c) => c.step);
  const of = whole(steps[steps.length - 1]);
  return {
    kind: 'training',
    heads: ['timeline.steps'],
    none: 'timeline.none',
    count: steps.length,
    at: (state) => (state.step === null ? steps.length - 1 : steps.indexOf(state.step)),
    label: (moment) => ctx.t('timeline.step', { n: whole(steps[moment]), of }),
    name: (moment) => whole(steps[moment]),
    probability: () => null,
    go: (moment) => ctx.store.set({ step: steps[moment] }),
  };
}

/** Moments that are rows, one after another from `first`: a moment selects its row, in the direction of what the row attends to. */
function rowsFrom(ctx: Context, first: number, count: number): Pick<Moments, 'count' | 'at' | 'go'> {
  return {
    count,
    at: ({ q, direction }) => {
      const [row] = q;
      const moment = row && q.length === 1 && row.end === row.begin + 1 ? row.begin - first : -1;
      return direction === 'out' && moment >= 0 && moment < count ? moment : -1;
    },
    go: (moment) => {
      const row = first + moment;
      ctx.store.set({ q: [{ begin: row, end: row + 1 }], direction: 'out' });
      ctx.reveal(placeOfRow(ctx, row), false);
    },
  };
}

/** Selecting a token shows the row that wrote it. */
function generated(ctx: Context): Moments {
  const chances = ctx.info.generated;
  const begin = ctx.text.count - chances.length;
  const name = (moment: number): string => quoted(ctx, { begin: begin + moment, end: begin + moment + 1 });
  return {
    ...rowsFrom(ctx, begin - 1, chances.length),
    kind: 'generated',
    heads: ['token', 'timeline.probability'],
    none: 'timeline.none',
    label: (moment) => ctx.t('timeline.token', { token: name(moment), share: share(chances[moment]), n: moment + 1, of: chances.length }),
    name,
    probability: (moment) => chances[moment],
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
    ...rowsFrom(ctx, begin, end - begin),
    kind: 'episode',
    heads: ['timeline.episode'],
    none: 'timeline.none.episode',
    label: (moment) => ctx.t('timeline.of', { name: name(moment), of: end - begin }),
    name,
    probability: () => null,
  };
}
