// The answer that is explained. In the state, a target is "#12" (a token of the text), a class or word, or empty (the model's own answer);
// for a model that labels tokens also "#12 LABEL".

import type { Context } from '../../context';
import type { State } from '../../state';

const labelsTokens = ({ info }: Context): boolean => info.answers?.kind === 'tag';

function parts(ctx: Context, { target }: State): { token: number | null; rest: string } {
  const [, token, rest = ''] = /^#(\d+)(?: (.*))?$/.exec(target) ?? [];
  const isToken = token !== undefined && (rest === '' || labelsTokens(ctx));
  return isToken ? { token: Number(token), rest } : { token: null, rest: target };
}

/** The class or word to explain; empty for the model's own answer. */
export const targetAsked = (ctx: Context, state: State): string => parts(ctx, state).rest;

/**
 * The token whose answer is explained, or null if the answer does not belong to a token of the text. For a model that labels tokens, it is
 * by default the first selected token.
 */
export function tokenAsked(ctx: Context, state: State): number | null {
  const { token, rest } = parts(ctx, state);
  if (token !== null || (rest !== '' && !labelsTokens(ctx))) return token;
  return labelsTokens(ctx) ? (state.q[0]?.begin ?? 0) : null;
}

/** The state's target after a class or word was typed: for a model that labels tokens, a class of the token that is explained. */
export function targetOf(ctx: Context, state: State, typed: string): string {
  if (typed !== '') return labelsTokens(ctx) ? `#${tokenAsked(ctx, state)} ${typed}` : typed;
  const { token } = parts(ctx, state);
  return token === null ? '' : `#${token}`;
}
