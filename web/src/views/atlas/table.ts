// The atlas as lists: a table in pages, with the scores of every head and, under a kind of weight other than raw, the sum of its map; and the
// heads with the most attention between the chosen spans.

import { type Context, type Numbers, pin, printWeight } from '../../context';
import { head as headName, score as printScore } from '../../format';
import { type AtlasHead, type Badge, type Family, type Mass, kScores } from '../../source/source';
import { h, iconButton } from '../../ui/dom';
import type { Row } from './arrange';

const kHeads = 96; // heads per page

export const pagesOf = (rows: readonly Row[]): number => Math.max(1, Math.ceil(rows.length / kHeads));

export function scoresTable(
  ctx: Context,
  rows: readonly Row[],
  badge: Badge,
  page: number,
  go: (by: number) => void,
): (HTMLElement | null)[] {
  const { t } = ctx;
  const pages = pagesOf(rows);
  const changePage = (by: number) => (): void => {
    if (page + by >= 0 && page + by < pages) go(by);
  };
  const isWeighted = rows.some((r) => typeof r.sum === 'number');
  const sum = (r: Row): HTMLElement => h('td', { class: 'number' }, typeof r.sum === 'number' ? printWeight(ctx, r.sum, badge, 0) : '–');
  const lines = rows
    .slice(page * kHeads, (page + 1) * kHeads)
    .map((r) =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, h('button', { type: 'button', class: 'quiet', onclick: () => pin(ctx, r.at) }, headName(r.at))),
        isWeighted ? sum(r) : null,
        ...kScores.map((s) => h('td', { class: 'number' }, printScore(r.scores?.[s] ?? null))),
      ),
    );
  const names = h(
    'tr',
    {},
    h('th', { scope: 'col' }, t('head')),
    isWeighted ? h('th', { scope: 'col', title: t('atlas.how-sum') }, t('atlas.by-sum')) : null,
    ...kScores.map((s) => h('th', { scope: 'col', title: t(`define.${s}`) }, t(`score.${s}`))),
  );
  return [
    h('table', {}, h('caption', {}, t('atlas.table')), h('thead', {}, names), h('tbody', {}, ...lines)),
    pages > 1
      ? h(
          'p',
          { class: 'pages' },
          iconButton('up', t('previous'), changePage(-1)),
          ` ${page + 1} / ${pages} `,
          iconButton('down', t('next'), changePage(1)),
        )
      : null,
  ];
}

/** The scores of the heads that have arrived, as JSON; and of all heads as rows, NaN for those that have not. */
export function numbersOf(heads: readonly (AtlasHead | null)[], family: Family, mass: Mass | null): Numbers {
  const known = heads.flatMap((head) => (head ? [head] : []));
  const json = known.map(({ layer, head, badge, scores, strongest }) => ({
    layer,
    head,
    badge,
    scores,
    strongest,
    ...(mass ? { mass: mass.mass[layer * family.heads + head] } : {}),
  }));
  const rows = heads.map((head) => Float32Array.from(kScores, (score) => head?.scores[score] ?? NaN));
  return { json: { heads: json }, rows, shape: [family.layers, family.heads, kScores.length] };
}

/** The ten heads with the most attention between the chosen spans, as buttons that pin them. */
export function strongest(ctx: Context, { mass }: Mass, print: (value: number) => string): HTMLElement {
  const { heads } = ctx.family;
  const ranked = Array.from(mass, (value, i) => ({ at: { layer: Math.floor(i / heads), head: i % heads }, value }))
    .sort((a, b) => b.value - a.value || a.at.layer - b.at.layer || a.at.head - b.at.head)
    .slice(0, 10);
  const item = ({ at, value }: (typeof ranked)[number]): HTMLElement =>
    h(
      'li',
      {},
      h(
        'button',
        { type: 'button', class: 'quiet', onclick: () => pin(ctx, at) },
        h('span', {}, headName(at)),
        h('span', { class: 'number' }, print(value)),
      ),
    );
  return h('ol', { class: 'ranked' }, ...ranked.map(item));
}
