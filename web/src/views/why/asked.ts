// The answer that is explained. In the state, a target is "#12" (a token of the text), a class or word, or empty (the model's own answer).

import type { Context } from '../../context';
import type { State } from '../../state';

/** The token that a target names, or null if it is a class, a word or empty. */
const namedToken = (target: string): number | null => {
  const named = /^#(\d+)$/.exec(target);
  return named ? Number(named[1]) : null;
};

/** The class or word to explain; empty if a token is chosen, or for the model's own answer. */
export const targetAsked = ({ target }: State): string => (namedToken(target) === null ? target : '');

/**
 * The token whose answer is explained, or null if the answer does not belong to a token of the text. For a model that labels tokens, it is
 * by default the first selected token.
 */
export function tokenAsked({ info }: Context, state: State): number | null {
  if (state.target !== '') return namedToken(state.target);
  return info.answers?.kind === 'tag' ? (state.q[0]?.begin ?? 0) : null;
}
