// The methods that explain an answer.

import type { Context } from '../../context';
import type { State } from '../../state';
import { isByParts } from './parts';

const kDefaultMethods = ['relevance', 'attention', 'rollout', 'occlusion'];

/** The methods that the user selected; the first one shades the text. */
export function chosenMethods({ info }: Context, state: State): string[] {
  const chosen = state.methods.filter((name) => info.methods.some((m) => m.name === name));
  return chosen.length ? chosen : [...kDefaultMethods];
}

/** The methods that are computed: by parts also occlusion, whose drops are the effect of removal. */
export function computedMethods(ctx: Context, state: State): string[] {
  const chosen = chosenMethods(ctx, state);
  return isByParts(ctx, state) && !chosen.includes('occlusion') ? [...chosen, 'occlusion'] : chosen;
}
