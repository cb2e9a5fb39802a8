// The card of the part whose removal changes the answer most, and of those that change it almost as much.

import type { Context } from '../../context';
import { whole } from '../../format';
import type { WhyResult } from '../../source/explain';
import { h } from '../../ui/dom';
import { printAnswer } from './tables';

const kMostNamed = 4;

export function cutCard(ctx: Context, result: WhyResult, label: (item: number) => string): HTMLElement | null {
  const { t } = ctx;
  const { cut } = result;
  if (!cut) return null;
  const [begin, end] = result.items[cut.item];
  const said = [
    t(result.is_number ? 'why.cut.number' : 'why.cut', {
      item: label(cut.item),
      after: printAnswer(result, cut.unseen),
      before: printAnswer(result, result.probability),
      of: whole(cut.of),
    }),
  ];
  if (cut.also.length > 0) {
    const named = cut.also.slice(0, kMostNamed).map((item) => `“${label(item)}”`);
    const rest = cut.also.length - named.length;
    said.push(t('why.cut.also', { items: named.join(t('list.comma')) + (rest > 0 ? t('answers.more', { n: whole(rest) }) : '') }));
  }
  if (cut.masked !== null) said.push(t('why.cut.masked', { after: printAnswer(result, cut.masked) }));
  return h(
    'div',
    { class: 'explain-card', 'data-testid': 'why-cut' },
    h('p', {}, said.join(' ')),
    h(
      'button',
      { type: 'button', class: 'quiet', onclick: () => ctx.store.set({ view: 'what-if', edit: `c~${begin}-${end}` }, 'push') },
      t('why.try'),
    ),
  );
}
