// The panels beside the text of an edited run: the answer before and after, and the heads by how much they changed.

import { type Context, quoted, visibleSpace } from '../../context';
import { change, head as headName, share, whole } from '../../format';
import { css, inkOn, shade } from '../../paint/ramp';
import type { AnswerPair, WhatIfResult } from '../../source/explain';
import type { HeadId, Span } from '../../source/source';
import type { TextModel } from '../../text/model';
import { h } from '../../ui/dom';

const kWide = 16; // most heads side by side
const kMostRows = 200; // of the table of answers

const numberHead = (ctx: Context, key: string): HTMLElement => h('th', { scope: 'col', class: 'number' }, ctx.t(key));

/**
 * The answers to show. Labels of tokens are those of the selected tokens, or, if none has a label, of all tokens whose label changed or
 * that are new; their names then include the token.
 */
export function shownAnswers(result: WhatIfResult, text: TextModel, selected: Span | null): AnswerPair[] {
  const { answers, kind } = result;
  if (kind !== 'tag') return answers.map((a) => ({ ...a, name: a.name.trim() || visibleSpace(a.name) || '∅' }));
  const chosen = answers.filter(({ token = -1 }) => selected && selected.begin <= token && token < selected.end);
  const changed = answers.filter((a, i) => a.before === null || [i - 1, i + 1].some((at) => answers[at]?.token === a.token));
  return (chosen.length > 0 ? chosen : changed).map((a) => {
    const begin = a.token ?? 0;
    return { ...a, name: `${quoted({ text }, { begin, end: begin + 1 }, text)}: ${a.name}` };
  });
}

/** The text that the model generates, before and after the edit. */
function writtenPanel({ t }: Context, { written }: WhatIfResult): HTMLElement[] {
  if (!written) return [];
  const { before, after } = written;
  const line = (key: string, text: string): HTMLElement => h('p', {}, h('strong', {}, t(key)), ' ', text || '∅');
  const lines = before === after ? [line('if.written.same', after)] : [line('if.before', before), line('if.after', after)];
  return [h('h3', {}, t('if.written')), h('div', { 'data-testid': 'if-written' }, ...lines)];
}

export function answersPanel(ctx: Context, result: WhatIfResult | null, shown: readonly AnswerPair[]): (HTMLElement | string)[] {
  if (!result) return [];
  const { t } = ctx;
  const title = h('h3', {}, t(result.kind === 'written' ? 'if.answers.written' : 'if.answers'));
  const none = result.kind === 'tag' ? 'if.answers.same' : 'if.answers.none';
  if (shown.length === 0) return [title, h('p', { class: 'caption' }, t(none))];
  const bar = (value: number | null): HTMLElement => h('span', { class: 'loss-bar', style: `--t: ${value ?? 0}` });
  const rows = shown
    .slice(0, kMostRows)
    .map((a) =>
      h(
        'tr',
        {},
        h('th', { scope: 'row' }, a.name),
        h('td', { class: 'number' }, share(a.before ?? NaN), bar(a.before)),
        h('td', { class: 'number' }, share(a.after ?? NaN), bar(a.after)),
        h('td', { class: 'number' }, a.before === null || a.after === null ? '–' : change(a.after - a.before)),
      ),
    );
  const head = h('tr', {}, h('td', {}), ...['if.before', 'if.after', 'if.change'].map((key) => numberHead(ctx, key)));
  const table = h('table', {}, h('thead', {}, head), h('tbody', {}, ...rows));
  const rest = shown.length - rows.length;
  const all = [
    ...writtenPanel(ctx, result),
    title,
    table,
    rest > 0 ? h('p', { class: 'caption' }, t('answers.more', { n: whole(rest) })) : '',
  ];
  if (result.kl === null) return all;
  return [...all, h('p', { class: 'caption' }, t('if.kl', { kl: result.kl < 1e-9 ? '0' : result.kl.toPrecision(3) }))];
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
