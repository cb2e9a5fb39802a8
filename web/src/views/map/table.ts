// The map as a table of its visible part. Each cell is one weight if there is room, else the largest weight of a block, whose tokens the
// headings name.

import { type Context, isShare } from '../../context';
import { share, power, weight as printNumber, whole, messageOf } from '../../format';
import { type Badge, type MapRequest, type Picture, type Span, isAbort } from '../../source/source';
import { rowName, tokensOfRows } from '../../rows';
import type { Rect } from '../../state';
import { truncateAtCharacter } from '../../text/model';
import { h, replace } from '../../ui/dom';
import { type WeightGrid, isOneByOne, loadWeightGrid, gridOfPicture } from './weightGrid';

const kOneByOne = 24; // rows or columns up to this number are shown one by one
const kParts = 12; // more are grouped into this many parts
const kLabel = 24; // characters per heading

interface MapTable {
  element: HTMLElement;
  badge: Badge;
  error: number;
}

async function tableOf(ctx: Context, request: MapRequest, seen: Rect, overview: Picture | null): Promise<MapTable> {
  const grid = isOneByOne(seen) ? await loadWeightGrid(ctx, request, seen, 'max', overview) : gridOfPicture(overview, seen, 'max');
  const badge = grid.badge === 'exact' && grid.error > 0 ? 'quantised' : grid.badge;
  return { element: element(ctx, grid, request.band?.back ?? null), badge, error: grid.error };
}

/** Groups the cells of an axis into at most `kParts` spans, unless there is room for all. */
function spansOf(count: number): Span[] {
  const parts = count <= kOneByOne ? count : kParts;
  return Array.from({ length: parts }, (_, i) => ({ begin: Math.floor((i * count) / parts), end: Math.floor(((i + 1) * count) / parts) }));
}

/** The largest value of a block; NaN if all pairs are hidden, −1 if none was scored. */
function largest(grid: WeightGrid, rows: Span, columns: Span): number {
  let max = NaN;
  for (let r = rows.begin; r < rows.end; r++) {
    for (let c = columns.begin; c < columns.end; c++) {
      const value = grid.values[r * grid.columns + c];
      if (!(max >= value)) max = Number.isNaN(value) ? max : value;
    }
  }
  return max;
}

/** `back`: columns are key − query, from −back on; null: columns are keys. */
function element(ctx: Context, grid: WeightGrid, back: number | null): HTMLElement {
  const [rows, columns] = [spansOf(grid.rows), spansOf(grid.columns)];
  const ids = (cells: Span, begin: number, step: number): Span => ({
    begin: Math.round(begin + cells.begin * step),
    end: Math.max(Math.round(begin + cells.begin * step) + 1, Math.round(begin + cells.end * step)),
  });
  const words = (cells: Span, of: readonly Span[]): Span => ({ begin: of[cells.begin].begin, end: of[cells.end - 1].end });
  const down = rows.map((cells) => (grid.words ? words(cells, grid.words.rows) : ids(cells, grid.begin.query, grid.step)));
  const across = columns.map((cells) => (grid.words ? words(cells, grid.words.columns) : ids(cells, grid.begin.key, grid.across)));
  const approximate = grid.error > 0 || grid.badge !== 'exact';
  const print = (v: number): string =>
    Number.isNaN(v) ? '·' : v < 0 ? '–' : isShare(ctx) ? share(v, approximate) : printNumber(v, approximate);
  const column = (span: Span): HTMLElement => (back === null ? heading(ctx, 'col', span, ctx.family.keys) : offsets(span, back));
  return h(
    'table',
    {},
    h('caption', {}, captionOf(ctx, grid, longest(grid.words ? rows : down), longest(grid.words ? columns : across))),
    h('thead', {}, h('tr', {}, h('td', {}), ...across.map(column))),
    h(
      'tbody',
      {},
      ...rows.map((row, r) =>
        h(
          'tr',
          {},
          heading(ctx, 'row', down[r], ctx.family.queries),
          ...columns.map((cells) => h('td', { class: 'number' }, print(largest(grid, row, cells)))),
        ),
      ),
    ),
  );
}

const longest = (spans: readonly Span[]): number => spans.reduce((a, s) => Math.max(a, s.end - s.begin), 0);

function captionOf(ctx: Context, grid: WeightGrid, down: number, across: number): string {
  const { t } = ctx;
  const sentences = [
    down * across === 1
      ? t(grid.words ? 'map.table.words' : 'map.table.cells')
      : t('map.table.parts', { down: whole(down), across: whole(across) }),
  ];
  if (grid.error > 0) sentences.push(t('map.table.error', { error: power(grid.error, 2) }));
  return sentences.join(' ');
}

/** A heading with the tokens of a row or column: “#12 word”, “#12–15 words of the text”. */
function heading(ctx: Context, scope: 'row' | 'col', ids: Span, count: number): HTMLElement {
  const { text } = ctx;
  const own = { begin: ids.begin, end: Math.min(ids.end, count) };
  const span = scope === 'row' ? tokensOfRows(ctx, [own])[0] : own;
  if (!span) return h('th', { scope }, rowName(ctx, own));
  const label = text.labelOf(span).replace(/\s+/g, ' ').trim() || '␣';
  if (text.itemsOf(span.begin)) return h('th', { scope, title: label }, shortened(label));
  const where = span.end === span.begin + 1 ? `#${whole(span.begin)}` : `#${whole(span.begin)}–${whole(span.end - 1)}`;
  return h('th', { scope, title: `${where} ${label}` }, h('span', { class: 'where' }, where), ' ', h('bdi', {}, shortened(label)));
}

function offsets({ begin, end }: Span, back: number): HTMLElement {
  const first = String(begin - back).replace('-', '−');
  const last = String(end - 1 - back).replace('-', '−');
  return h('th', { scope: 'col' }, end === begin + 1 ? first : `${first} … ${last}`);
}

const shortened = (label: string): string => (label.length > kLabel ? `${truncateAtCharacter(label, kLabel)} …` : label);

/** The table below the map. It shows the same part as the map. */
export class TableSlot {
  readonly element = h('div', { class: 'table-slot', hidden: true });
  private shown: { key: string; badge: Badge; error: number } | null = null;

  /** `changed` is called when the table's numbers have another badge. */
  constructor(
    private readonly ctx: Context,
    private readonly changed: () => void,
  ) {}

  /** Badge and error of the printed numbers; null while no table is shown. */
  get printed(): { badge: Badge; error: number } | null {
    return this.element.hidden ? null : this.shown;
  }

  show(request: MapRequest, seen: Rect, picture: Picture): void {
    const key = JSON.stringify([request, seen, picture.z, picture.badge, this.ctx.store.now.words]);
    if (this.element.hidden || this.shown?.key === key) return;
    const shown = (this.shown = { key, badge: picture.badge, error: 0 });
    tableOf(this.ctx, request, seen, picture).then(
      ({ element, badge, error }) => {
        if (this.shown !== shown) return;
        Object.assign(shown, { badge, error });
        replace(this.element, element);
        this.changed();
      },
      (error: unknown) => {
        if (this.shown !== shown) return;
        this.shown = null;
        if (!isAbort(error)) replace(this.element, h('p', { class: 'bad' }, messageOf(error)));
      },
    );
  }
}
