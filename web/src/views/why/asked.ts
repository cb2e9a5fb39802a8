// The answer that is explained.

import type { Context } from '../../context';
import type { State } from '../../state';

/** The token whose answer is explained: the one that is chosen here, or, for a model that labels tokens, the first one selected; null: none. */
export function tokenAsked({ info }: Context, state: State): number | null {
  const named = /^#(\d+)$/.exec(state.target);
  if (named) return Number(named[1]);
  return info.answers?.kind === 'tag' && state.target === '' ? (state.q[0]?.begin ?? 0) : null;
}
