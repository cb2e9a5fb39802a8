// Two lists that choose the other side of the comparison and its head.

import type { Context } from '../../context';
import { head as headName } from '../../format';
import { h } from '../../ui/dom';
import { type Choice, noEdit, othersOf, writtenChoice, writtenHead } from './choice';
import { type There, frontOf } from './there';

const shortened = (name: string): string => (name.length > 48 ? `${name.slice(0, 47)}…` : name);

/** `there`: the other side, once it is open. */
export function choiceControls(ctx: Context, choice: Choice, there: There | null): HTMLElement[] {
  const { t, store } = ctx;
  const option = (value: string, label: string, reason: string | null = null): HTMLElement =>
    h('option', { value, selected: value === writtenChoice(choice), disabled: reason !== null, title: reason ?? '' }, label);
  const what = h(
    'select',
    {
      'aria-label': t('compare.with'),
      'data-testid': 'compare-with',
      onchange: () => store.set({ versus: what.value, to: '', rect: null }, 'push'),
    },
    option('head', t('compare.with.head')),
    ...othersOf(ctx).map((one) => option(`t${one.step}`, shortened(one.name))),
    option('edit', t('compare.with.edit'), noEdit(ctx)),
  );
  const field = (label: string, control: HTMLElement): HTMLElement => h('label', { class: 'explain-field' }, h('span', {}, label), control);
  const front = h('span', { class: 'explain-field' }, headName(frontOf(ctx)));
  if (!there) return [front, field(t('compare.and'), what)];
  const { head: at, families } = there;
  const own = ctx.family.id;
  const heads = families.flatMap((family) =>
    Array.from({ length: family.layers * family.heads }, (_, i) => {
      const one = { family: family.id, layer: Math.floor(i / family.heads), head: i % family.heads };
      const name = `${families.length > 1 ? `${family.id} ` : ''}${headName(one)}`;
      return h('option', { value: writtenHead(one, own), selected: writtenHead(one, own) === writtenHead(at, own) }, name);
    }),
  );
  const to = h(
    'select',
    { 'aria-label': t('compare.to'), 'data-testid': 'compare-to', onchange: () => store.set({ to: to.value }, 'push') },
    ...heads,
  );
  return [front, field(t('compare.and'), what), field(t('compare.to'), to)];
}
