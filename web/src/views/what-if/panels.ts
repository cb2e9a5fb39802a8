// The panels beside the text of an edited run: the answer before and after, and the heads by how much they changed.

import { type Context, visibleSpace } from '../../context';
import { change, head as headName, share } from '../../format';
import { css, inkOn, shade } from '../../paint/ramp';
import type { WhatIfResult } from '../../source/explain';
import type { HeadId } from '../../source/source';
import { h } from '../../ui/dom';

const kWide = 16; // most heads side by side

const numberHead = (ctx: Context, key: string): HTMLElement => h('th', { scope: 'col', class: 'number' }, ctx.t(key));

export function answersPanel(ctx: Context, result: WhatIfResult): HTMLElement[] {
  const { t } = ctx;
  const title = h('h3', {}, t(result.kind === 'written' ? 'if.answers.written' : 'if.answers'));
  if (result.answers.length === 0) return [title, h('p', { class: 'caption' }, t('if.answers.none'))];
  const bar = (value: number | null): HTMLElement => h('span', { class: 'loss-bar', style: `--t: ${value ?? 0}` });
  const rows = result.answers.map((a) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, a.name.trim() || visibleSpace(a.name) || '∅'),
      h('td', { class: 'number' }, share(a.before ?? NaN), bar(a.before)),
      h('td', { class: 'number' }, share(a.after ?? NaN), bar(a.after)),
      h('td', { class: 'number' }, a.before === null || a.after === null ? '–' : change(a.after - a.before)),
    ),
  );
  const head = h('tr', {}, h('td', {}), ...['if.before', 'if.after', 'if.change'].map((key) => numberHead(ctx, key)));
  const table = h('table', {}, h('thead', {}, head), h('tbody', {}, ...rows));
  if (result.kl === null) return [title, table];
  return [title, table, h('p', { class: 'caption' }, t('if.kl', { kl: result.kl < 1e-9 ? '0' : result.kl.toPrecision(3) }))];
}

/** The heads of the current family, most changed first. */
export function divergences(ctx: Context, result: WhatIfResult | null): { at: HeadId; value: number }[] {
  const family = result?.families.find((f) => f.id === ctx.family.id);
  const all = (family?.divergence ?? []).flatMap((heads, layer) =>
    heads.flatMap((value, head) => (value === null ? [] : [{ at: { layer, head }, value }])),
  );
  return all.sort((a, b) => b.value - a.value || a.at.layer - b.at.layer || a.at.head - b.at.head);
}

/** Every head, coloured by how much its rows changed; `out`: the heads that are knocked out. */
export function headsPanel(
  ctx: Context,
  result: WhatIfResult | null,
  out: ReadonlySet<string>,
  choose: (at: HeadId) => void,
): HTMLElement[] {
  const { t, family } = ctx;
  const rows = result?.families.find((f) => f.id === family.id)?.rows ?? 0;
  const values = new Map(divergences(ctx, result).map(({ at, value }) => [headName(at), value]));
  const theme = ctx.theme();
  const cells: HTMLElement[] = [];
  for (let layer = 0; layer < family.layers; layer++) {
    for (let head = 0; head < family.heads; head++) {
      const at = { layer, head };
      const value = values.get(headName(at)) ?? 0;
      const colour = shade(Math.sqrt(Math.min(1, value / Math.LN2)), theme);
      cells.push(
        h(
          'button',
          {
            type: 'button',
            class: `changed-head${out.has(headName(at)) ? ' out' : ''}`,
            'data-head': `${layer}.${head}`,
            'aria-pressed': 'false',
            style: result ? `background-color:${css(colour)};color:${inkOn(colour)}` : '',
            onclick: () => choose(at),
          },
          h('span', {}, headName(at)),
          result ? h('span', {}, value.toFixed(3)) : null,
        ),
      );
    }
  }
  const style = `--heads: ${Math.min(family.heads, kWide)}`;
  const grid = h('div', { class: 'changed-heads', style, tabindex: 0, role: 'group', 'aria-label': t('if.heads.table') }, ...cells);
  const title = h('h3', {}, t(result ? 'if.heads' : 'if.heads.choose'));
  return result ? [title, h('p', { class: 'caption' }, t('if.heads.how', { rows })), grid] : [title, grid];
}
