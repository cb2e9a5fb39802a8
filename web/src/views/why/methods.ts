// The methods that explain an answer.

import type { Context } from '../../context';
import { type MethodName, kMethods } from '../../source/explain';
import type { State } from '../../state';
import { isByParts } from './parts';

const kDefaultMethods: readonly MethodName[] = ['relevance', 'attention', 'rollout', 'occlusion'];

/** The methods that the user selected; the first one shades the text. */
export function chosenMethods(state: State): MethodName[] {
  const chosen = state.methods.filter((name): name is MethodName => (kMethods as readonly string[]).includes(name));
  return chosen.length ? chosen : [...kDefaultMethods];
}

/** The methods that are computed: by parts also occlusion, whose drops are the effect of removal. */
export function computedMethods(ctx: Context, state: State): MethodName[] {
  const chosen = chosenMethods(state);
  return isByParts(ctx, state) && !chosen.includes('occlusion') ? [...chosen, 'occlusion'] : chosen;
}
