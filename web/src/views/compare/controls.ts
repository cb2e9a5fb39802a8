// Two lists that choose the other side of the comparison and its head.

import { sameHead } from '../../state';
import { type Family, type HeadId } from '../../source/source';
import { canShow, kMean, layersOf, membersOf } from '../../heads';
import { type Context } from '../../context';
import { head as headName } from '../../format';
import { h } from '../../ui/dom';
import { type Choice, noEditReason, othersOf, formatChoice, formatNamedHead } from './choice';
import { type Comparison, frontOf } from './comparison';

const shortened = (name: string): string => (name.length > 48 ? `${name.slice(0, 47)}…` : name);

/** `comparison`: null until the other side is open. */
export function choiceControls(ctx: Context, choice: Choice, comparison: Comparison | null): HTMLElement[] {
  const { t, store } = ctx;
  const option = (value: string, label: string, reason: string | null = null): HTMLElement =>
    h('option', { value, selected: value === formatChoice(choice), disabled: reason !== null, title: reason ?? '' }, label);
  const what = h(
    'select',
    {
      'aria-label': t('compare.with'),
      'data-testid': 'compare-with',
      onchange: () => store.set({ compareWith: what.value, compareHead: '', rect: null }, 'push'),
    },
    option('head', t('compare.with.head')),
    ...othersOf(ctx).map((one) => option(`t${one.step}`, shortened(one.name))),
    option('edit', t('compare.with.edit'), noEditReason(ctx)),
  );
  const field = (label: string, control: HTMLElement): HTMLElement => h('label', { class: 'explain-field' }, h('span', {}, label), control);
  const front = h('span', { class: 'explain-field' }, headName(frontOf(ctx)));
  if (!comparison) return [front, field(t('compare.and'), what)];
  const { head: at, families } = comparison;
  const own = ctx.family.id;
  const all = families.flatMap((family) => headsOf(ctx, family).map((one) => ({ ...one, family: family.id })));
  const isListed = all.some((one) => one.family === at.family && sameHead(one, at));
  const heads = (isListed ? all : [...all, at]).map((one) => {
    const name = `${families.length > 1 ? `${one.family} ` : ''}${headName(one)}`;
    return h('option', { value: formatNamedHead(one, own), selected: formatNamedHead(one, own) === formatNamedHead(at, own) }, name);
  });
  const to = h(
    'select',
    { 'aria-label': t('compare.to'), 'data-testid': 'compare-to', onchange: () => store.set({ compareHead: to.value }, 'push') },
    ...heads,
  );
  return [front, field(t('compare.and'), what), field(t('compare.to'), to)];
}

/** The heads of a family, and the means over those of a layer. */
const headsOf = (ctx: Context, family: Family): HeadId[] =>
  [
    ...membersOf(family, { layer: kMean, head: kMean }),
    ...layersOf(family, { layer: kMean }).map((layer) => ({ layer, head: kMean })),
  ].filter((one) => canShow(ctx.info, family, one));
