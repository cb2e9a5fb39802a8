// The tables beside two maps: the cells that changed most, the rows that changed most, and the heads in descending order of divergence.

import type { Context } from '../../context';
import { change, head as headName, share, whole } from '../../format';
import type { HeadId, HeadRanking } from '../../source/source';
import { sameHead } from '../../state';
import { h } from '../../ui/dom';
import { type Pair, type PlaceNames, largestChanges, largestRows, hiddenAsZero } from './pairMap';

const kLines = 20;
const kHeads = 12; // heads shown before “Show all”

/** Formats a divergence in nats, with three decimals. */
export const nats = (value: number): string => (Number.isNaN(value) ? '–' : value > 0 && value < 0.0005 ? '<0.001' : value.toFixed(3));

const column = (name: string, number = true): HTMLElement => h('th', { scope: 'col', class: number ? 'number' : '' }, name);

function details(title: string, open: boolean, testid: string, head: HTMLElement[], rows: HTMLElement[]): HTMLElement {
  return h(
    'details',
    { open },
    h('summary', {}, title),
    h(
      'div',
      { class: 'explain-table', tabindex: 0, role: 'group', 'aria-label': title },
      h('table', { 'data-testid': testid }, h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...rows)),
    ),
  );
}

/** A table of the largest changes of the map. `names`: the names of the two maps. */
export function changesPanel(
  ctx: Context,
  pair: Pair,
  options: { names: readonly [string, string]; places: PlaceNames; open: boolean; testid: string },
): HTMLElement | null {
  const { t } = ctx;
  const found = largestChanges(pair, kLines);
  if (found.length === 0) return null;
  const approximate = pair.badge !== 'exact';
  const rows = found.map((one) =>
    h(
      'tr',
      {},
      h('td', {}, options.places.row(one.row)),
      h('td', {}, options.places.key(one.key)),
      h('td', { class: 'number' }, share(one.before, approximate)),
      h('td', { class: 'number' }, share(one.after, approximate)),
      h('td', { class: 'number' }, change(hiddenAsZero(one.after) - hiddenAsZero(one.before))),
    ),
  );
  const head = [
    column(t('lines.query'), false),
    column(t('lines.key'), false),
    ...[...options.names, t('if.change')].map((name) => column(name)),
  ];
  return details(t('if.map.table'), options.open, options.testid, head, rows);
}

/** The rows that changed most; a click selects one. */
export function rowsPanel(
  ctx: Context,
  pair: Pair,
  options: { places: PlaceNames; open: boolean; choose(place: number): void },
): HTMLElement | null {
  const { t } = ctx;
  const found = largestRows(pair, kLines);
  if (found.length === 0) return null;
  const rows = found.map(({ row, divergence }) =>
    h(
      'tr',
      {},
      h('td', {}, h('button', { type: 'button', class: 'quiet', onclick: () => options.choose(row) }, options.places.row(row))),
      h('td', { class: 'number' }, nats(divergence), bar(divergence)),
    ),
  );
  return details(t('compare.rows'), options.open, 'compare-rows', [column(t('lines.query'), false), column(t('compare.js'))], rows);
}

const bar = (value: number): HTMLElement => h('span', { class: 'loss-bar', style: `--t: ${Math.min(1, value / Math.LN2).toFixed(4)}` });

/** Heads in descending order of divergence; NaN comes last and is printed as “–”. */
export function rankedHeads(found: HeadRanking): { at: HeadId; value: number }[] {
  const all = Array.from(found.divergence, (value, i) => ({ at: { layer: Math.floor(i / found.heads), head: i % found.heads }, value }));
  const size = (v: number): number => (Number.isNaN(v) ? -1 : v);
  return all.sort((a, b) => size(b.value) - size(a.value) || a.at.layer - b.at.layer || a.at.head - b.at.head);
}

/**
 * Every head with its mean divergence and a bar; a click selects it. `within`: within one trace, the head that the others are compared
 * with; else null.
 */
export function headsPanel(
  ctx: Context,
  found: HeadRanking | null,
  options: { within: string | null; chosen: HeadId; all: boolean; more(): void; choose(at: HeadId): void },
): HTMLElement[] {
  const { t } = ctx;
  const title = h('h3', {}, options.within === null ? t('if.heads') : t('compare.heads.within', { head: options.within }));
  if (!found) return [title, h('p', { class: 'caption' }, t('loading'))];
  const ranked = rankedHeads(found);
  const shown = options.all ? ranked : ranked.slice(0, kHeads);
  const rows = shown.map(({ at, value }, i) =>
    h(
      'tr',
      {},
      h('td', { class: 'number' }, String(i + 1)),
      h(
        'th',
        { scope: 'row' },
        h(
          'button',
          {
            type: 'button',
            class: 'quiet',
            'data-head': `${at.layer}.${at.head}`,
            'aria-pressed': String(sameHead(at, options.chosen)),
            onclick: () => options.choose(at),
          },
          headName(at),
        ),
      ),
      h('td', { class: 'number heads-bar' }, nats(value), Number.isNaN(value) ? null : bar(value)),
    ),
  );
  const head = h('tr', {}, h('td', {}), column(t('compare.head'), false), column(t('compare.js')));
  const howKey = found.rowsCompared < found.of ? 'compare.heads.some' : 'compare.heads.all';
  const how = t(howKey, { rows: whole(found.rowsCompared), of: whole(found.of) });
  return [
    title,
    h('p', { class: 'caption' }, how),
    h('table', { 'data-testid': 'compare-heads', 'data-badge': found.badge }, h('thead', {}, head), h('tbody', {}, ...rows)),
    ...(options.all || ranked.length <= kHeads
      ? []
      : [h('button', { type: 'button', class: 'quiet', onclick: options.more }, t('compare.heads.more', { n: ranked.length }))]),
  ];
}
