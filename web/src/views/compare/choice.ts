// The other side of a comparison in the address: `with=head` another head, `with=t3` the trace or checkpoint with that number, `with=edit`
// the run of the edits in `edit=`; `to=3.5` or `to=cross.3.5` the head on that side.

import { unavailableReason, type Context } from '../../context';
import { formatHead, hasHead, parseHead } from '../../heads';
import { traceName } from '../../opening';
import type { Family, HeadId, Info } from '../../source/source';
import type { State } from '../../state';

export type Choice = { kind: 'head' } | { kind: 'trace'; step: number } | { kind: 'edit' };
export type NamedHead = HeadId & { family: string };

interface Other {
  step: number;
  name: string; // the model of a trace and the beginning of its text, or the number of a checkpoint
}

/** The other traces and checkpoints that are loaded. */
export function othersOf(ctx: Pick<Context, 'info' | 't'>): Other[] {
  const { info, t } = ctx;
  const all = [
    ...info.traces.map((one) => ({ step: one.number, name: traceName(one) })),
    ...info.checkpoints.map(({ step }) => ({ step, name: t('compare.step', { step }) })),
  ];
  return all.filter((one) => one.step !== info.step);
}

export const formatChoice = (choice: Choice): string => (choice.kind === 'trace' ? `t${choice.step}` : choice.kind);

/** The choice in the address; by default another trace if there is one, else another head. */
export function choiceOf(state: Pick<State, 'compareWith' | 'edit'>, others: readonly Other[]): Choice {
  const step = /^t(\d{1,15})$/.exec(state.compareWith);
  if (step && others.some((one) => one.step === Number(step[1]))) return { kind: 'trace', step: Number(step[1]) };
  if (state.compareWith === 'edit' && state.edit) return { kind: 'edit' };
  return state.compareWith === '' && others.length > 0 ? { kind: 'trace', step: others[0].step } : { kind: 'head' };
}

/** The reason why an edit cannot be compared with here; null if it can. */
export function noEditReason(ctx: Context): string | null {
  return unavailableReason(ctx, 'what-if') ?? (ctx.store.now.edit ? null : ctx.t('compare.edit.none'));
}

const sameAxes = (a: Family, b: Family): boolean =>
  a.query_range[0] === b.query_range[0] &&
  a.query_range[1] === b.query_range[1] &&
  a.key_range[0] === b.key_range[0] &&
  a.key_range[1] === b.key_range[1];

/**
 * The families whose heads can be compared with a head: within a trace, those with the same rows and columns; in another trace, those of
 * the same kind.
 */
export function familiesFor(family: Family, other: Info, isSameTrace: boolean): Family[] {
  return isSameTrace ? other.families.filter((one) => sameAxes(one, family)) : other.families.filter((one) => one.kind === family.kind);
}

export const formatNamedHead = (at: NamedHead, family: string): string => `${at.family === family ? '' : `${at.family}.`}${formatHead(at)}`;

/**
 * The head on the other side: the one in the address, else the second pinned head, or the next head of the layer; in another trace, the
 * head with the same number.
 */
export function otherHead(
  state: Pick<State, 'compareHead' | 'heads'>,
  front: NamedHead,
  families: readonly Family[],
  isSameTrace: boolean,
): NamedHead {
  const found = /^(?:(.+)\.)?([^.]+\.[^.]+)$/.exec(state.compareHead);
  const exists = (at: NamedHead): boolean => families.some((f) => f.id === at.family && hasHead(f, at));
  const other = found && parseHead(found[2]);
  if (other) {
    const at = { family: found[1] ?? front.family, ...other };
    if (exists(at)) return at;
  }
  const own = families.find((f) => f.id === front.family) ?? families[0];
  if (!own) return front;
  const pinned = isSameTrace ? state.heads[1] : undefined;
  if (pinned && exists({ ...pinned, family: own.id })) return { ...pinned, family: own.id };
  const next = isSameTrace ? (front.head + 1) % own.heads : Math.min(front.head, own.heads - 1);
  return { family: own.id, layer: Math.min(front.layer, own.layers - 1), head: next };
}
