// The map's table: the overview pooled to at most 12 × 12, largest weights.

import { type Context, isShare } from '../../context';
import { share, weight as printNumber } from '../../format';
import { type Pool, codesOf } from '../../paint/picture';
import { codeTable } from '../../source/frame';
import type { Picture, Span } from '../../source/source';
import type { Rect } from '../../state';
import { h } from '../../ui/dom';

/** `back`: columns are key − query from −back on; null: keys. */
export function tableOf(ctx: Context, picture: Picture, pool: Pool, seen: Rect, back: number | null): HTMLElement {
  const values = codeTable(pool === 'max' ? picture.maxCodes : picture.meanCodes);
  const codes = codesOf(picture, pool);
  const cell = 2 ** picture.z;
  const { q0, q1, k0, k1 } = seen;
  const down = { begin: Math.floor(q0 / cell), end: Math.ceil(q1 / cell) };
  const wide = 2 ** (picture.columnZ ?? picture.z);
  const across = { begin: Math.floor(k0 / wide), end: Math.ceil(k1 / wide) };
  const [rows, columns] = [Math.min(12, down.end - down.begin), Math.min(12, across.end - across.begin)];
  const from = (i: number, of: number, s: Span): number => s.begin + Math.floor((i * (s.end - s.begin)) / of);
  const best = (r: number, c: number): number => {
    let most = NaN;
    for (let y = from(r, rows, down); y < from(r + 1, rows, down); y++) {
      for (let x = from(c, columns, across); x < from(c + 1, columns, across); x++) {
        const v = values[codes[y * picture.columns + x]];
        if (!(most >= v)) most = v;
      }
    }
    return most;
  };
  const name = (i: number, of: number, s: Span): string => {
    const id = Math.round(from(i, of, s) * cell);
    return ctx.text.itemsOf(id) ? ctx.text.label(id) : `#${id}`;
  };
  const column = (c: number): string =>
    back === null ? name(c, columns, across) : String(Math.round(from(c, columns, across) * wide) - back);
  const print = (v: number): string => (Number.isFinite(v) ? (isShare(ctx) ? share(v, true) : printNumber(v, true)) : '·');
  return h(
    'table',
    {},
    h('caption', {}, ctx.t('map.table')),
    h('thead', {}, h('tr', {}, h('td', {}), ...Array.from({ length: columns }, (_, c) => h('th', { scope: 'col' }, column(c))))),
    h(
      'tbody',
      {},
      ...Array.from({ length: rows }, (_, r) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, name(r, rows, down)),
          ...Array.from({ length: columns }, (_2, c) => h('td', { class: 'number' }, print(best(r, c)))),
        ),
      ),
    ),
  );
}
