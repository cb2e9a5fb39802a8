// The map panel: a street map of the matrix. Wheel or +/− zooms, drag moves, a click chooses query and key, Shift+drag chooses spans.

import type { Context, View } from '../../context';
import { absent, badgeTitle, placed, printWeight, quoted } from '../../context';
import { head as headName, whole } from '../../format';
import { oncePerFrame, surface, type Surface } from '../../paint/canvas';
import { type Pool, bitmapOf, codesOf, colourTable, mostOf } from '../../paint/picture';
import {
  type CellShape,
  type Layer,
  type Street,
  drawStreet,
  kSquare,
  type Margins,
  marginsAt,
  marginsOf,
  showsNumbers,
  stretched,
  zoomOf,
} from '../../paint/street';
import type { Exported } from '../../figure/figure';
import { type Badge, type Cells, type Picture, type Span, isAbort } from '../../source/source';
import { type Rect, type State, sameHead } from '../../state';
import { badgeElement } from '../../ui/badge';
import { h, iconButton, replace, segmented } from '../../ui/dom';
import { figureOfMap } from './figure';
import { MapStore, kTile } from './store';
import { tableOf } from './table';
import { listenToMap } from './gestures';

const kBands = 4; // widths of a band that the map opens on, where it is longer
const kKept = 6; // complete maps kept for going back

export class MapView implements View {
  readonly element: HTMLElement;
  readonly canvas: Surface;
  private readonly badge = h('span', { class: 'badge-slot', 'data-testid': 'map-badge' });
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'map-caption' });
  private readonly status = h('p', { class: 'status', 'data-testid': 'map-status' });
  private readonly table = h('div', { class: 'table-slot', hidden: true });
  private readonly tableButton: HTMLButtonElement;
  private readonly draw: () => void;
  private maps: MapStore | null = null;
  private coming: MapStore | null = null; // of another checkpoint, until its first picture is there
  private wanted = '';
  private opened = false;
  private readonly bitmaps = new WeakMap<Picture, { key: string; bitmap: HTMLCanvasElement }>();
  private pool: Pool = 'max';
  hover: { query: number; key: number } | null = null;
  select: Rect | null = null;
  private hoverTimer: ReturnType<typeof setTimeout> | undefined;
  private followTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly finished = new Map<string, MapStore>();

  constructor(readonly ctx: Context) {
    this.draw = oncePerFrame(() => this.paint());
    const { t } = ctx;
    const element = h('canvas', { class: 'street', role: 'img', tabindex: 0, 'aria-label': t('map.label'), 'data-testid': 'map' });
    this.canvas = surface(element, this.draw);
    this.tableButton = iconButton('table', t('table'), () => this.toggleTable());
    const pools = segmented(
      t('map.pool'),
      [
        { value: 'max' as const, label: t('map.max'), title: t('map.max.title') },
        { value: 'mean' as const, label: t('map.mean'), title: t('map.mean.title') },
      ],
      this.pool,
      (value) => {
        this.pool = value;
        this.draw();
      },
    );
    this.element = h(
      'section',
      { class: 'panel map-panel', 'aria-label': t('map.label') },
      h(
        'header',
        { class: 'panel-head' },
        h('h2', {}, t('view.map')),
        this.badge,
        h('span', { class: 'spring' }),
        pools,
        iconButton('minus', t('map.out'), () => this.zoomBy(0.5)),
        iconButton('plus', t('map.in'), () => this.zoomBy(2)),
        iconButton('fit', t('map.fit'), () => this.fit()),
        this.tableButton,
      ),
      h('div', { class: 'street-frame' }, element, this.table),
      this.caption,
      this.status,
    );
    this.status.textContent = t('map.how');
    listenToMap(this);
    ctx.life.signal.addEventListener('abort', () => [this.maps, this.coming].forEach((m) => m?.stop()));
    ctx.focus.listen({
      front: (shown) => {
        clearTimeout(this.followTimer);
        const follow = (): void => this.follow(shown?.request.at ?? null);
        if (shown?.preview)
          this.followTimer = setTimeout(follow, 120); // a pointer that only passes over a head asks for no map
        else follow();
      },
    });
  }

  retheme(): void {
    this.draw();
  }

  update(state: State, before: State): void {
    if (!this.maps || state.weight !== before.weight || state.sink !== before.sink || !sameHead(state.heads[0], before.heads[0]))
      this.follow(state.heads[0] ?? null);
    this.draw();
    if (!this.table.hidden) this.fillTable();
  }

  renew(): void {
    this.follow(this.ctx.store.now.heads[0] ?? null);
  }

  /** What is seen, in weights: the state's rectangle, or all of the map that is of this family. */
  get rect(): Rect {
    return this.ctx.store.now.rect ?? this.whole;
  }

  /** All of it. */
  get whole(): Rect {
    const [k0, k1] = this.ctx.family.key_range;
    const [q0, q1] = this.ctx.family.query_range;
    return { k0, q0, k1, q1 };
  }

  get margins(): Margins {
    return marginsOf(this.rect, this.canvas, this.cell);
  }

  get zoom(): number {
    return zoomOf(this.rect, this.canvas, this.cell);
  }

  /** Square, unless rows or columns are items: then a map much longer one way than the other fills its frame. */
  get cell(): CellShape {
    const { family, text } = this.ctx;
    return Math.max(family.query_range[1], family.key_range[1]) > text.tokens ? stretched(this.whole, this.canvas) : kSquare;
  }

  /** CSS pixels of a cell. */
  get across(): number {
    return this.zoom * this.cell.wide;
  }

  get down(): number {
    return this.zoom * this.cell.tall;
  }

  /** The pair under a point of the canvas, or null outside the map. */
  pairAt(x: number, y: number): { query: number; key: number } | null {
    const { left, top } = this.margins;
    const key = Math.floor(this.rect.k0 + (x - left) / this.across);
    const query = Math.floor(this.rect.q0 + (y - top) / this.down);
    const { q0, k0, q1, k1 } = this.whole;
    return x >= left && y >= top && key >= k0 && key < k1 && query >= q0 && query < q1 ? { query, key } : null;
  }

  /** Zooms about a point of the canvas (its middle by default), between the whole map and cells of 64 pixels. */
  zoomBy(factor: number, x = (this.canvas.width + this.margins.left) / 2, y = (this.canvas.height + this.margins.top) / 2): void {
    const { rect } = this;
    const now = this.margins;
    const whole = zoomOf(this.whole, this.canvas, this.cell);
    const next = Math.max(whole, Math.min(64, this.zoom * factor));
    if (next <= whole) {
      this.fit();
      return;
    }
    const then = marginsAt(next, this.cell);
    const key = rect.k0 + (x - now.left) / this.across;
    const query = rect.q0 + (y - now.top) / this.down;
    this.show(key - (x - then.left) / (next * this.cell.wide), query - (y - then.top) / (next * this.cell.tall), next);
  }

  /** Shows all of the map. Where it opens on a part of it, all has to be said. */
  fit(): void {
    this.ctx.store.set({ rect: this.opening() ? this.whole : null });
  }

  /** The part that a map opens on whose queries see a band of keys: over a long text that is a line too thin to read. Null: all of it. */
  private opening(): Rect | null {
    const { family, store } = this.ctx;
    const { heads, q, k } = store.now;
    const band = family.bands[heads[0]?.layer ?? 0];
    const chosen = q[0] ?? k[0];
    if (!band || !chosen) return null;
    const [back, ahead] = band;
    const side = Math.max(64, kBands * (back + ahead + 1));
    const { q0, k0, q1, k1 } = this.whole;
    if (side >= Math.max(q1 - q0, k1 - k0)) return null;
    const begin = (middle: number, least: number, most: number): number =>
      Math.max(least, Math.min(Math.round(middle - side / 2), most - side));
    const rect = { q0: begin(chosen.begin, q0, q1), k0: begin(chosen.begin + (ahead - back) / 2, k0, k1) };
    return { ...rect, q1: rect.q0 + side, k1: rect.k0 + side };
  }

  /** Shows the map from a corner at a zoom, kept inside the map. */
  show(key: number, query: number, zoom: number): void {
    const { left, top } = marginsAt(zoom, this.cell);
    const across = (this.canvas.width - left - 12) / (zoom * this.cell.wide);
    const down = (this.canvas.height - top - 12) / (zoom * this.cell.tall);
    const k0 = Math.max(this.whole.k0, Math.min(key, this.whole.k1 - across));
    const q0 = Math.max(this.whole.q0, Math.min(query, this.whole.q1 - down));
    this.ctx.store.set({ rect: { k0, q0, k1: k0 + across, q1: q0 + down } });
  }

  choose(q: readonly Span[], k: readonly Span[], how: 'push' | 'replace' = 'push'): void {
    this.ctx.store.set({ q, k }, how);
    if (q[0]) this.ctx.reveal(this.ctx.store.now.direction === 'out' ? q[0].begin : (k[0] ?? q[0]).begin, false);
  }

  setHover(hover: { query: number; key: number } | null): void {
    if (hover?.query === this.hover?.query && hover?.key === this.hover?.key) return;
    this.hover = hover;
    this.draw();
    clearTimeout(this.hoverTimer);
    if (!hover) this.status.textContent = this.ctx.t('map.how');
    else this.hoverTimer = setTimeout(() => void this.readOut(hover), 30);
  }

  refresh(): void {
    this.draw();
  }

  /** The exact weight under the pointer, from its own row. */
  private async readOut(hover: { query: number; key: number }): Promise<void> {
    const { ctx } = this;
    const state = ctx.store.now;
    const at = this.maps?.request.at;
    if (!at) return;
    const span = (token: number): Span => ({ begin: token, end: token + 1 });
    const where = `${placed(ctx, hover.query)} → ${placed(ctx, hover.key)}`;
    const base = {
      family: ctx.family.id,
      at,
      direction: 'out' as const,
      spans: [span(hover.query)],
      reduce: 'sum' as const,
      weight: state.weight,
      sink: state.sink,
      step: ctx.source.step,
    };
    try {
      const line = await ctx.source.line(base, 'map-hover');
      const value = line.values ? line.values[hover.key] : (line.top.find((i) => i.begin === hover.key)?.weight ?? NaN);
      if (this.hover !== hover) return;
      const hidden = !line.visible.some(([b, e]) => b <= hover.key && hover.key < e);
      this.status.textContent = `${where}   ${hidden ? ctx.t('map.hidden') : printWeight(ctx, value, line.badge, line.error)}`;
    } catch (error) {
      if (!isAbort(error) && this.hover === hover) this.status.textContent = `${where}   ${error instanceof Error ? error.message : ''}`;
    }
  }

  private follow(at: { layer: number; head: number } | null): void {
    const { ctx } = this;
    const state = ctx.store.now;
    const head = at ?? state.heads[0];
    if (!head) return;
    const request = { family: ctx.family.id, at: head, weight: state.weight, sink: state.sink, step: ctx.source.step };
    const key = JSON.stringify(request);
    if (this.wanted === key) return;
    this.wanted = key;
    this.coming?.stop();
    this.coming = null;
    const kept = this.finished.get(key);
    const next: MapStore = kept ?? new MapStore(ctx.source, request, () => this.arrived(next));
    if (!kept && !absent(ctx, 'overview')) next.start();
    const before = this.maps;
    // The same head at another checkpoint: what is seen stays until there is something to see.
    if (before?.overview && !next.overview && sameHead(before.request.at, head) && before.request.step !== request.step) this.coming = next;
    else this.take(next);
  }

  private arrived(map: MapStore): void {
    if (map === this.coming && (map.overview || map.failure)) this.take(map);
    if (map !== this.maps) return;
    this.draw();
    this.say();
  }

  private take(map: MapStore): void {
    if (this.maps) this.putAway(this.maps);
    this.maps = map;
    this.coming = null;
    this.say();
    this.draw();
  }

  /** Keeps the last few maps that are complete, so that going back to a head shows it at once. */
  private putAway(map: MapStore): void {
    const complete = !map.streaming && map.overview !== null;
    map.stop();
    if (!complete) return;
    this.finished.set(JSON.stringify(map.request), map);
    const oldest = this.finished.keys().next().value;
    if (this.finished.size > kKept && oldest !== undefined) this.finished.delete(oldest);
  }

  private paint(): void {
    if (this.canvas.width < 120 || this.canvas.height < 120) return;
    if (!this.opened) {
      this.opened = true;
      const rect = this.ctx.store.now.rect ?? this.opening();
      if (rect !== this.ctx.store.now.rect) this.ctx.store.set({ rect });
    }
    const street = this.street();
    drawStreet(this.canvas.context, this.canvas, street);
    const { left, top } = this.margins;
    this.canvas.element.dataset['place'] = [street.rect.k0, street.rect.q0, left, top, this.across, this.down].join(',');
  }

  private street(): Street {
    const { ctx, maps } = this;
    const state = ctx.store.now;
    const overview = maps?.overview ?? null;
    const most = overview ? mostOf(overview, this.pool, ctx.family.sinks) : 1;
    const layers: Layer[] = overview ? [this.layerOf(overview, most)] : [];
    const tiles = this.tilesWanted(overview);
    const numbers = showsNumbers(this.zoom, this.canvas) ? this.tilesAt(0) : [];
    maps?.want(absent(ctx, 'tile') ? [] : tiles, numbers);
    const drawn: Badge[] = [];
    for (const { z, x, y } of tiles) {
      const found = maps?.tile(z, x, y);
      if (!found || (found.badge === 'sampled' && overview?.badge === 'exact')) continue; // finer, but only of some rows: the badge would not be true
      drawn.push(found.badge);
      layers.push(this.layerOf(found, most));
    }
    this.canvas.element.dataset['tiles'] = drawn.join(' ');
    const cells = numbers.map(({ x, y }) => maps?.cells(x, y)).filter((c): c is Cells => Boolean(c));
    return {
      queries: this.whole.q1,
      keys: this.whole.k1,
      rect: this.rect,
      cell: this.cell,
      layers,
      cells,
      most,
      scale: state.scale,
      q: state.q,
      k: state.k,
      hover: this.hover,
      sinks: ctx.family.sinks,
      keySegments: ctx.segments,
      querySegments: ctx.segments,
      label: (token) => quoted(ctx, { begin: token, end: token + 1 }),
      tick: (token) => (ctx.text.itemsOf(token) ? ctx.text.label(token) : String(token)),
      select: this.select,
      theme: ctx.theme(),
    };
  }

  private layerOf(picture: Picture, most: number): Layer {
    const { scale } = this.ctx.store.now;
    const theme = this.ctx.theme();
    const key = `${this.pool}|${most}|${scale}|${theme.dark}|${theme.paper}`;
    let made = this.bitmaps.get(picture);
    if (made?.key !== key) {
      const colours = colourTable(this.pool === 'max' ? picture.maxCodes : picture.meanCodes, most, scale, theme);
      made = { key, bitmap: bitmapOf(codesOf(picture, this.pool), picture.rows, picture.columns, colours) };
      this.bitmaps.set(picture, made);
    }
    return { bitmap: made.bitmap, keyBegin: picture.keyBegin, queryBegin: picture.queryBegin, cell: 2 ** picture.z };
  }

  /** Tiles of the level whose cells are about a screen pixel, when that is finer than the overview. */
  private tilesWanted(overview: Picture | null): { z: number; x: number; y: number }[] {
    const z = Math.max(0, Math.round(Math.log2(1 / (this.zoom * this.canvas.ratio))));
    return overview && z < overview.z ? this.tilesAt(z) : [];
  }

  private tilesAt(z: number): { z: number; x: number; y: number }[] {
    const { family } = this.ctx;
    const { rect } = this;
    const side = kTile * 2 ** z;
    const right = Math.min(this.whole.k1, rect.k0 + (this.canvas.width - this.margins.left) / this.across);
    const bottom = Math.min(this.whole.q1, rect.q0 + (this.canvas.height - this.margins.top) / this.down);
    const wanted: { z: number; x: number; y: number }[] = [];
    for (let y = Math.floor(rect.q0 / side); y * side < bottom; y++) {
      for (let x = Math.floor(rect.k0 / side); x * side < right; x++) if (!family.causal || x <= y) wanted.push({ z, x, y });
    }
    return wanted;
  }

  private say(): void {
    const { ctx, maps } = this;
    const picture = maps?.overview ?? null;
    const missing = absent(ctx, 'overview');
    const badge: Badge = picture?.badge ?? 'exact';
    const error = picture && badge === 'quantised' ? picture.maxCodes.error : 0;
    replace(this.badge, picture ? badgeElement(ctx, badge, badgeTitle(ctx, badge, error), maps?.streaming === true) : null);
    const cell = picture ? 2 ** picture.z : 1;
    this.caption.textContent =
      missing ??
      maps?.failure?.message ??
      (picture
        ? ctx.t(cell > 1 ? 'map.caption.pooled' : 'map.caption', {
            head: headName(maps?.request.at ?? { layer: 0, head: 0 }),
            queries: whole(this.whole.q1 - this.whole.q0),
            keys: whole(this.whole.k1 - this.whole.k0),
            cell: Math.round(cell),
          })
        : ctx.t('loading'));
  }

  figure(): Promise<Exported> {
    const { ctx, maps, whole, rect } = this;
    if (!maps) return Promise.reject(new Error(ctx.t('loading')));
    const seen = {
      q0: Math.max(whole.q0, Math.floor(rect.q0)),
      k0: Math.max(whole.k0, Math.floor(rect.k0)),
      q1: Math.min(whole.q1, Math.ceil(rect.q1)),
      k1: Math.min(whole.k1, Math.ceil(rect.k1)),
    };
    return figureOfMap(ctx, maps.request, seen, this.pool, maps.overview, this.caption.textContent ?? '');
  }

  private toggleTable(): void {
    this.table.hidden = !this.table.hidden;
    this.tableButton.setAttribute('aria-pressed', String(!this.table.hidden));
    this.fillTable();
  }

  /** The table alternative: the overview pooled to at most 12 × 12, largest weights. */
  private fillTable(): void {
    const picture = this.maps?.overview;
    if (this.table.hidden || !picture) return;
    replace(this.table, tableOf(this.ctx, picture, this.pool, this.whole));
  }
}
