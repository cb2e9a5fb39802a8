// The tables beside the text: shares by method, how far to trust each method, and how far they agree. Functions from a result to elements.

import { type Context, visibleSpace } from '../../context';
import { share, weight as number } from '../../format';
import { css, diverge, inkOn } from '../../paint/ramp';
import type { MethodResult, WhyResult } from '../../source/explain';
import { h } from '../../ui/dom';
import { partColumns, partName } from './parts';
import { largestOf } from './shading';

const kRows = 12;

export interface SupportedMethod extends MethodResult {
  shares: number[];
  comprehensiveness: number;
  beats: number;
}

export const supportedMethods = (result: WhyResult): SupportedMethod[] =>
  (result.methods ?? []).filter((m): m is SupportedMethod => m.shares !== undefined);

/** A table cell coloured by the sign and size of its value. */
function cell(ctx: Context, value: number, max: number, text: string): HTMLElement {
  const colour = diverge(max > 0 ? (0.85 * value) / max : 0, ctx.theme());
  return h('td', { class: 'number', style: `background-color:${css(colour)};color:${inkOn(colour)}` }, text);
}

/** The head of a method's column, a button. */
function methodHead({ t }: Context, method: MethodResult, isFront: boolean, onclick: () => void): HTMLElement {
  const title = t('why.shade', { what: t.description(method) });
  return h(
    'th',
    { scope: 'col', class: 'number' },
    h(
      'button',
      { type: 'button', class: 'quiet', 'aria-pressed': String(isFront), 'data-method': method.name, title, onclick },
      t.method(method.name),
    ),
  );
}

/**
 * The parts with the largest shares under the front method, one column per method; clicking a column's head shades the text by that method.
 */
export function sharesTable(
  ctx: Context,
  result: WhyResult,
  front: SupportedMethod,
  all: boolean,
  on: { label(item: number): string; choose(method: SupportedMethod): void; go(item: number): void; more(): void },
): HTMLElement {
  const { t } = ctx;
  const methods = supportedMethods(result);
  const { segments } = result;
  const columns = partColumns(ctx, result, front);
  const order = largestOf(front.shares, result.items.length, segments !== undefined);
  const shown = all ? order : order.slice(0, kRows);
  const max = methods.map((m) => m.shares.reduce((a, s) => Math.max(a, Math.abs(s)), 0));
  const head = (method: SupportedMethod): HTMLElement => methodHead(ctx, method, method === front, () => on.choose(method));
  return h(
    'div',
    { class: 'explain-table', tabindex: 0, role: 'group', 'aria-label': t('why.table') },
    h(
      'table',
      { 'data-testid': 'why-shares' },
      h('caption', {}, t('why.table')),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', { scope: 'col', title: segments ? t('parts.part.title') : null }, t('why.part')),
          ...methods.map(head),
          ...columns.map(({ head: name, title }) => h('th', { scope: 'col', class: 'number', title }, name)),
        ),
      ),
      h(
        'tbody',
        {},
        ...shown.map((item) =>
          h(
            'tr',
            {},
            h(
              'th',
              { scope: 'row', title: `#${result.items[item][0]}` },
              segments ? partName(on.label(item), () => on.go(item)) : on.label(item),
            ),
            ...methods.map((m, i) => cell(ctx, m.shares[item], max[i], share(m.shares[item]).replace('-', '−'))),
            ...columns.map(({ cells }) => h('td', { class: 'number' }, cells[item])),
          ),
        ),
      ),
    ),
    order.length > shown.length
      ? h('button', { type: 'button', class: 'quiet', onclick: () => on.more() }, t('why.more', { n: order.length }))
      : null,
  );
}

/** The probability of the answer, or the number that is the answer, or a difference of two. */
export function printAnswer(result: WhyResult, answer: number): string {
  return (result.is_number ? number(answer) : share(answer)).replace('-', '−');
}

/** The drop in the answer without each method's highest-ranked items, compared with random rankings. */
export function trustTable(ctx: Context, result: WhyResult): HTMLElement {
  const { t } = ctx;
  const methods = supportedMethods(result).sort((a, b) => b.comprehensiveness - a.comprehensiveness);
  const { rankings, comprehensiveness: random } = result.random;
  const max = Math.max(random, ...methods.map((m) => m.comprehensiveness), 1e-9);
  const bar = (value: number): HTMLElement => h('span', { class: 'loss-bar', style: `--t: ${Math.max(0, value / max)}` });
  const row = (name: string, value: number, beats: string, what = ''): HTMLElement =>
    h(
      'tr',
      {},
      h('th', { scope: 'row', title: what }, name),
      h('td', { class: 'number' }, printAnswer(result, value), bar(value)),
      h('td', { class: 'number' }, beats),
    );
  return h(
    'section',
    {},
    h('h3', {}, t('why.trust')),
    h(
      'p',
      { class: 'caption' },
      t('why.trust.how', { removed: result.removed, items: result.items.length, rankings, random: printAnswer(result, random) }),
    ),
    h(
      'div',
      { class: 'explain-table', tabindex: 0, role: 'group', 'aria-label': t('why.trust') },
      h(
        'table',
        { 'data-testid': 'why-trust' },
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('th', { scope: 'col' }, t('why.trust.method')),
            h('th', { scope: 'col', class: 'number' }, t('why.trust.loses')),
            h('th', { scope: 'col', class: 'number' }, t('why.trust.beats')),
          ),
        ),
        h(
          'tbody',
          {},
          ...methods.map((m) =>
            row(t.method(m.name), m.comprehensiveness, t('why.trust.of', { n: m.beats, of: rankings }), t.description(m)),
          ),
          row(t('why.random'), random, '–'),
        ),
      ),
    ),
  );
}

/** Kendall's τ of each pair of methods. */
export function agreementTable(ctx: Context, result: WhyResult): HTMLElement | null {
  const { t } = ctx;
  const methods = (result.methods ?? []).map((m, i) => ({ m, i })).filter(({ m }) => m.shares);
  if (methods.length < 2) return null;
  return h(
    'section',
    {},
    h('h3', {}, t('why.agreement')),
    h('p', { class: 'caption' }, t('why.agreement.how')),
    h(
      'div',
      { class: 'explain-table', tabindex: 0, role: 'group', 'aria-label': t('why.agreement') },
      h(
        'table',
        { 'data-testid': 'why-agreement' },
        h('thead', {}, h('tr', {}, h('td', {}), ...methods.map(({ m }) => h('th', { scope: 'col', class: 'number' }, t.method(m.name))))),
        h(
          'tbody',
          {},
          ...methods.map(({ m, i }) =>
            h(
              'tr',
              {},
              h('th', { scope: 'row' }, t.method(m.name)),
              ...methods.map(({ i: j }) => {
                const tau = result.agreement[i][j];
                return cell(ctx, tau ?? 0, 1, tau === null ? '–' : tau.toFixed(2).replace('-', '−'));
              }),
            ),
          ),
        ),
      ),
    ),
  );
}

/** The command whose page shows which weights support this answer; null if this page shows them already. */
export function mapsHint(ctx: Context): HTMLElement | null {
  const { target, contrast } = ctx.store.now;
  const kind = ctx.info.answers?.kind;
  if (ctx.family.weights.includes('for') || !ctx.info.command || kind === 'written') return null;
  const named = target.startsWith('#') ? `token ${target.slice(1)}` : target;
  const options = [named && `--target ${JSON.stringify(named)}`, contrast && `--contrast ${JSON.stringify(contrast)}`].filter(Boolean);
  const command = [ctx.info.command, '--gradients', ...options].join(' ');
  return h('p', { class: 'caption', 'data-testid': 'why-maps' }, ctx.t('why.maps'), ' ', h('code', {}, command));
}

/** Translates the engine's description of an answer into the page's language. */
export function answerOf(ctx: Context, description: string): string {
  const quantile = /^(?:forecast|([\d.]+) % quantile) of "([^]*)"$/.exec(description);
  if (quantile) return ctx.t(quantile[1] ? 'why.answer.quantile' : 'why.answer.forecast', { q: quantile[1] ?? '', what: quantile[2] });
  const [, kind, what, , against] = /^(class|tag|next token|word at the mask) "([^]*?)"( against "([^]*)")?$/.exec(description) ?? [];
  if (!kind) return description;
  const answer = ctx.t(`why.answer.${kind}`, { what: visibleSpace(what) });
  return against === undefined ? answer : ctx.t('why.answer.against', { answer, against: visibleSpace(against) });
}
