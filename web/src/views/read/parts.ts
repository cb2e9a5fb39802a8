// The shares of the named parts of a text (documents, turns, segments) in the row that is shown: which document was attended to.

import type { Context } from '../../context';
import type { ShownLine } from '../../focus';
import { share } from '../../format';
import type { Span } from '../../source/source';
import { h } from '../../ui/dom';

const kMost = 6; // parts, unless the whole table is asked for

interface PartShare {
  name: string;
  begin: number;
  share: number; // of the weight of the row
  chance: number; // the same if all visible keys had equal weight
}

const overlap = (a: Span, [begin, end]: readonly [number, number]): number => Math.max(0, Math.min(a.end, end) - Math.max(a.begin, begin));

/** The parts that the row sees, by falling share; empty if it sees fewer than two, or if only its heaviest keys are known. */
export function sharesOfParts(segments: readonly (Span & { name: string })[], { request, line }: ShownLine): PartShare[] {
  const { values, visible } = line;
  if (request.direction !== 'out' || !values) return [];
  const sum = ({ begin, end }: Span): number => values.subarray(begin, end).reduce((total, v) => (v > 0 ? total + v : total), 0);
  const seen = (span: Span): number => visible.reduce((count, range) => count + overlap(span, range), 0);
  const all = { begin: 0, end: values.length };
  const [total, keys] = [sum(all), seen(all)];
  if (!(total > 0) || keys === 0) return [];
  const parts = segments
    .map((segment) => ({ name: segment.name, begin: segment.begin, share: sum(segment) / total, chance: seen(segment) / keys }))
    .filter(({ chance }) => chance > 0);
  return parts.length < 2 ? [] : parts.sort((a, b) => b.share - a.share);
}

/** A table of the parts; a click on a part goes to its beginning. `all`: with every part. */
export function partsTable(ctx: Context, shown: ShownLine, all: boolean): HTMLElement | null {
  const { t } = ctx;
  const parts = sharesOfParts(ctx.segments, shown);
  if (parts.length === 0) return null;
  const isRounded = shown.line.badge !== 'exact';
  const column = (key: string, isNumber: boolean): HTMLElement =>
    h('th', { scope: 'col', class: isNumber ? 'number' : '', title: t(`${key}.title`) }, t(key));
  const rows = parts
    .slice(0, all ? parts.length : kMost)
    .map((part) =>
      h(
        'tr',
        { style: `--t: ${(part.share / parts[0].share).toFixed(3)}` },
        h(
          'th',
          { scope: 'row' },
          h('button', { type: 'button', class: 'quiet', dir: 'auto', onclick: () => ctx.reveal(part.begin, true) }, part.name),
        ),
        h('td', { class: 'number part-share' }, share(part.share, isRounded)),
        h('td', { class: 'number' }, share(part.chance)),
        h('td', { class: 'number' }, `${(part.share / part.chance).toFixed(1)} ×`),
      ),
    );
  const hidden = parts.length - rows.length;
  return h(
    'table',
    { class: 'parts', 'data-testid': 'parts' },
    h(
      'thead',
      {},
      h('tr', {}, column('parts.part', false), column('parts.share', true), column('parts.chance', true), column('parts.ratio', true)),
    ),
    h('tbody', {}, ...rows),
    hidden > 0 ? h('tfoot', {}, h('tr', {}, h('td', { colspan: 4 }, t('parts.more', { n: hidden })))) : null,
  );
}
