// The map panel: the matrix, zoomed and moved like an online map. Wheel or +/− zooms, drag moves, click selects query and key, Shift+drag
// selects spans.

import { sinksOnScale } from '../read/top';
import { type Context, type Numbers, type View, unavailableReason, badgeTitle, isShare } from '../../context';
import { placeOfRow } from '../../rows';
import { oncePerFrame, surface, type Surface } from '../../paint/canvas';
import { type Pool, maxOf } from '../../paint/picture';
import {
  type CellShape,
  type DrawThumbnail,
  type Layer,
  type MapScene,
  drawMap,
  kSquare,
  type Margins,
  marginsAt,
  marginsOf,
  showsNumbers,
  stretched,
  zoomOf,
} from '../../paint/mapRenderer';
import type { Exported } from '../../figure/figure';
import type { Badge, Band, Cells, MapRequest, Picture, Span } from '../../source/source';
import { type Rect, type State, sameHead } from '../../state';
import { badgeElement } from '../../ui/badge';
import { cellOf, finerLevels, availableBand, namesOfAxes, shownBand, openingRect, wholeOf, zoomed } from './axes';
import { Bitmaps } from './bitmaps';
import { captionOf } from './caption';
import { axesControl, poolControl } from './controls';
import { weightAt } from './hover';
import { h, iconButton, replace, setChosen } from '../../ui/dom';
import { legendSlot, showLegend } from '../../ui/legend';
import { figureOfMap } from './figure';
import { MapStore, type TileAt, tilesIn } from './store';
import { numbersOf } from './weightGrid';
import { TableSlot } from './table';
import { thumbnails } from './thumbnails';
import { isByWords, wordSource } from './words';
import { listenToMap } from './gestures';

const kCachedMaps = 6; // number of complete maps kept for going back

export class MapView implements View {
  readonly element: HTMLElement;
  readonly canvas: Surface;
  private readonly badge = h('span', { class: 'badge-slot', 'data-testid': 'map-badge' });
  private readonly caption = h('p', { class: 'caption', 'data-testid': 'map-caption' });
  private readonly legend = legendSlot('map-legend');
  private readonly status = h('p', { class: 'status', 'data-testid': 'map-status' });
  private readonly table: TableSlot;
  private readonly tableButton: HTMLButtonElement;
  private readonly axes: HTMLFieldSetElement;
  readonly draw: () => void;
  private maps: MapStore | null = null;
  private pendingMap: MapStore | null = null; // map of another checkpoint, until its first picture arrives
  private wantedKey = '';
  private opened = false;
  private readonly bitmaps = new Bitmaps();
  private pool: Pool = 'max';
  hover: { query: number; key: number } | null = null;
  select: Rect | null = null;
  private pointer: { x: number; y: number } | null = null;
  private legendKey = ''; // current content of the colour bar
  private statusKey = ''; // current subject of the status line
  private hoverTimer: ReturnType<typeof setTimeout> | undefined;
  private followTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly cache = new Map<string, MapStore>();
  private readonly thumbnail: DrawThumbnail;

  constructor(readonly ctx: Context) {
    this.draw = oncePerFrame(() => this.paint());
    this.thumbnail = thumbnails(ctx, this.draw);
    const { t } = ctx;
    const element = h('canvas', { class: 'street', role: 'img', tabindex: 0, 'aria-label': t('map.label'), 'data-testid': 'map' });
    this.canvas = surface(element, this.draw);
    this.table = new TableSlot(ctx, () => this.updateCaption());
    this.tableButton = iconButton('table', t('table'), () => this.toggleTable());
    const pools = poolControl(ctx, this.pool, (pool) => {
      this.pool = pool;
      this.draw();
    });
    this.axes = axesControl(ctx, this.band ? 'offset' : 'key');
    this.element = h(
      'section',
      { class: 'panel map-panel', 'aria-label': t('map.label') },
      h(
        'header',
        { class: 'panel-head' },
        h('h2', {}, t('view.map')),
        this.badge,
        h('span', { class: 'spring' }),
        this.axes,
        pools,
        iconButton('minus', t('map.out'), () => this.zoomBy(0.5)),
        iconButton('plus', t('map.in'), () => this.zoomBy(2)),
        iconButton('fit', t('map.fit'), () => this.fit()),
        this.tableButton,
      ),
      h('div', { class: 'street-frame' }, element, this.table.element),
      this.legend,
      this.caption,
      this.status,
    );
    listenToMap(this);
    ctx.life.signal.addEventListener('abort', () => [this.maps, this.pendingMap].forEach((m) => m?.stop()));
    ctx.focus.listen({
      front: (shown) => {
        clearTimeout(this.followTimer);
        const follow = (): void => this.follow(shown?.request.at ?? null);
        if (shown?.preview)
          this.followTimer = setTimeout(follow, 120); // do not load a map when the pointer only passes over a head
        else follow();
      },
    });
  }

  retheme(): void {
    this.draw();
  }

  update(state: State, before: State): void {
    const { ctx } = this;
    const bandChanged = (this.band === null) !== (shownBand(ctx, before) === null);
    if (bandChanged) this.resetRect(state.rect === before.rect);
    this.axes.hidden = availableBand(ctx, state.heads[0]?.layer ?? 0) === null;
    setChosen(this.axes, this.band ? 'offset' : 'key');
    const changed =
      (['weight', 'sink', 'words'] as const).some((of) => state[of] !== before[of]) || !sameHead(state.heads[0], before.heads[0]);
    if (!this.maps || bandChanged || changed) this.follow(state.heads[0] ?? null);
    this.point(this.pointer); // the pair under it may have changed
    this.draw();
    this.fillTable();
  }

  refetch(): void {
    this.follow(this.ctx.store.now.heads[0] ?? null);
  }

  private get isByWords(): boolean {
    return isByWords(this.ctx, this.ctx.store.now, this.band !== null);
  }

  /** The range of offsets shown; null if columns are keys. */
  get band(): Band | null {
    return shownBand(this.ctx, this.ctx.store.now);
  }

  /** Chooses the visible rectangle after the columns have changed between keys and offsets; drops it if `stale`. The map by keys of a long
   * text opens on a part. */
  private resetRect(stale: boolean): void {
    const { store } = this.ctx;
    const rect = stale ? null : store.now.rect;
    const next = rect ?? (this.band ? null : this.opening());
    if (next !== store.now.rect) queueMicrotask(() => store.set({ rect: next }));
  }

  /** The visible rectangle, in weights: that of the state, or this family's whole map. */
  get rect(): Rect {
    return this.ctx.store.now.rect ?? this.whole;
  }

  /** The visible rectangle, rounded outward to whole rows and columns inside the map. */
  private get visibleRect(): Rect {
    const { rect, whole } = this;
    return {
      q0: Math.max(whole.q0, Math.floor(rect.q0)),
      k0: Math.max(whole.k0, Math.floor(rect.k0)),
      q1: Math.min(whole.q1, Math.ceil(rect.q1)),
      k1: Math.min(whole.k1, Math.ceil(rect.k1)),
    };
  }

  /** The rectangle of the whole map. */
  get whole(): Rect {
    const [k0, k1] = this.ctx.family.key_range;
    const [q0, q1] = this.ctx.family.query_range;
    return this.band ? wholeOf(this.band, q1) : { k0, q0, k1, q1 };
  }

  get margins(): Margins {
    return marginsOf(this.rect, this.canvas, this.cell);
  }

  get zoom(): number {
    return zoomOf(this.rect, this.canvas, this.cell);
  }

  /** The cell shape: square, unless rows or columns are items and the map is much longer one way than the other. */
  get cell(): CellShape {
    const { family, text } = this.ctx;
    if (this.band) return cellOf(this.rect, this.canvas);
    return Math.max(family.query_range[1], family.key_range[1]) > text.tokens ? stretched(this.whole, this.canvas) : kSquare;
  }

  /** Width of a cell in CSS pixels. */
  get across(): number {
    return this.zoom * this.cell.wide;
  }

  get down(): number {
    return this.zoom * this.cell.tall;
  }

  /** The pair under a point of the canvas; null outside the map. */
  pairAt(x: number, y: number): { query: number; key: number } | null {
    const { left, top } = this.margins;
    const column = Math.floor(this.rect.k0 + (x - left) / this.across);
    const query = Math.floor(this.rect.q0 + (y - top) / this.down);
    const key = this.keyAt(query, column);
    const { q0, k0, q1, k1 } = this.whole;
    const inside = x >= left && y >= top && column >= k0 && column < k1 && query >= q0 && query < q1;
    return inside && key >= 0 && key < this.ctx.family.keys ? { query, key } : null;
  }

  /** The key at a column of a query's row. */
  keyAt(query: number, column: number): number {
    return this.band ? query + column - this.band.back : column;
  }

  private columnOf(query: number, key: number): number {
    return this.band ? key - query + this.band.back : key;
  }

  /** Zooms about a point of the canvas (default: its middle), between the whole map and cells of 64 pixels. */
  zoomBy(factor: number, x = (this.canvas.width + this.margins.left) / 2, y = (this.canvas.height + this.margins.top) / 2): void {
    const { rect } = this;
    const now = this.margins;
    if (this.band) {
      const centre = { query: rect.q0 + (y - now.top) / this.down, column: rect.k0 + (x - now.left) / this.across };
      this.ctx.store.set({ rect: zoomed(rect, this.whole, this.canvas, factor, centre) });
      return;
    }
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

  /** Shows the whole map. If the map opens on a part by default, the whole rectangle must be stored explicitly. */
  fit(): void {
    this.ctx.store.set({ rect: !this.band && this.opening() ? this.whole : null });
  }

  /** The part on which a map by keys opens. Null: the whole map. */
  private opening(): Rect | null {
    return openingRect(this.ctx, this.whole);
  }

  /** Shows the map from a corner at a zoom, clamped to the map. */
  show(key: number, query: number, zoom: number): void {
    const { left, top } = marginsAt(zoom, this.cell);
    const across = (this.canvas.width - left - 12) / (zoom * this.cell.wide);
    const down = (this.canvas.height - top - 12) / (zoom * this.cell.tall);
    const k0 = Math.max(this.whole.k0, Math.min(key, this.whole.k1 - across));
    const q0 = Math.max(this.whole.q0, Math.min(query, this.whole.q1 - down));
    this.ctx.store.set({ rect: { k0, q0, k1: k0 + across, q1: q0 + down } });
  }

  choose(q: readonly Span[], k: readonly Span[], how: 'push' | 'replace' = 'push'): void {
    const { ctx } = this;
    ctx.store.set({ q, k }, how);
    if (q[0]) ctx.reveal(ctx.store.now.direction === 'out' || !k[0] ? placeOfRow(ctx, q[0].begin) : k[0].begin, false);
  }

  /** Handles a pointer over a point of the canvas; null: the pointer has left. */
  point(pointer: { x: number; y: number } | null): void {
    this.pointer = pointer;
    this.hover = pointer && this.pairAt(pointer.x, pointer.y);
    const { q, k } = this.ctx.store.now;
    const chosen = q[0] && k[0] ? { query: q[0].begin, key: k[0].begin } : null;
    const pair = this.hover ?? chosen;
    const key = JSON.stringify([pair, this.maps?.key]);
    if (key === this.statusKey) return;
    this.statusKey = key;
    this.draw();
    clearTimeout(this.hoverTimer);
    if (!pair) this.status.textContent = this.ctx.t('map.how');
    else this.hoverTimer = setTimeout(() => void this.showWeight(pair, key), 30);
  }

  /** Shows the exact weight of a pair, read from its own row. */
  private async showWeight(pair: { query: number; key: number }, key: string): Promise<void> {
    const at = this.maps?.request.at;
    const text = at && (await weightAt(this.ctx, at, pair, this.isByWords));
    if (text && this.statusKey === key) this.status.textContent = text;
  }

  private follow(at: { layer: number; head: number } | null): void {
    const { ctx } = this;
    const state = ctx.store.now;
    const head = at ?? state.heads[0];
    if (!head) return;
    const band = shownBand(ctx, { ...state, heads: [head] });
    const request: MapRequest = { family: ctx.family.id, at: head, weight: state.weight, sink: state.sink, step: ctx.source.step, band };
    const key = JSON.stringify([request, this.isByWords]);
    if (this.wantedKey === key) return;
    this.wantedKey = key;
    this.pendingMap?.stop();
    this.pendingMap = null;
    const kept = this.cache.get(key);
    const next: MapStore = kept ?? new MapStore(this.isByWords ? wordSource(ctx) : ctx.source, request, key, () => this.arrived(next));
    if (!kept && !unavailableReason(ctx, 'overview')) next.start();
    const before = this.maps;
    // The same head at another checkpoint: keep the old map until the new one has a picture.
    if (before?.overview && !next.overview && sameHead(before.request.at, head) && before.request.step !== request.step)
      this.pendingMap = next;
    else this.showMap(next);
  }

  private arrived(map: MapStore): void {
    if (map === this.pendingMap && (map.overview || map.failure)) this.showMap(map);
    if (map !== this.maps) return;
    this.draw();
    this.updateCaption();
    this.fillTable();
  }

  private showMap(map: MapStore): void {
    if (this.maps) this.cacheMap(this.maps);
    this.maps = map;
    this.pendingMap = null;
    this.point(this.pointer);
    this.updateCaption();
    this.draw();
    this.fillTable();
  }

  /** Keeps the last few complete maps, so that going back to a head is instant. */
  private cacheMap(map: MapStore): void {
    const complete = !map.streaming && map.overview !== null;
    map.stop();
    if (!complete) return;
    this.cache.set(map.key, map);
    const oldest = this.cache.keys().next().value;
    if (this.cache.size > kCachedMaps && oldest !== undefined) this.cache.delete(oldest);
  }

  private paint(): void {
    const { k0, q0, k1, q1 } = this.rect;
    if (Math.min((k1 - k0) * this.across, (q1 - q0) * this.down) < 24) return; // too small to be read
    if (!this.opened) {
      this.opened = true;
      const rect = this.ctx.store.now.rect ?? (this.band ? null : this.opening());
      if (rect !== this.ctx.store.now.rect) this.ctx.store.set({ rect });
    }
    const scene = this.scene();
    this.updateLegend(scene.max);
    drawMap(this.canvas.context, this.canvas, scene);
    const { left, top } = this.margins;
    this.canvas.element.dataset['place'] = [scene.rect.k0, scene.rect.q0, left, top, this.across, this.down].join(',');
  }

  private updateLegend(max: number): void {
    const { ctx, maps, band } = this;
    const codes = this.pool === 'max' ? maps?.overview?.maxCodes : maps?.overview?.meanCodes;
    const largest = band || ctx.family.sinks.length === 0 ? 0 : Infinity; // sinks do not set the scale
    const shown = { max, scale: ctx.store.now.scale, isShare: isShare(ctx), approximate: (codes?.error ?? 0) > 0, largest };
    const key = JSON.stringify([shown, largest > 0, Boolean(maps?.overview), ctx.theme().paper]);
    if (key === this.legendKey) return;
    this.legendKey = key;
    showLegend(ctx, this.legend, maps?.overview ? shown : null);
  }

  private scene(): MapScene {
    const { ctx, maps } = this;
    const state = ctx.store.now;
    const overview = maps?.overview ?? null;
    const { band } = this;
    const sinks = band ? [] : ctx.family.sinks; // sinks have no column when columns are offsets
    const max = overview ? maxOf(overview, this.pool, band ? [] : sinksOnScale(ctx, this.isByWords)) : 1;
    const layerOf = (picture: Picture): Layer => this.bitmaps.layerOf(picture, this.pool, max, state.scale, ctx.theme());
    const layers: Layer[] = overview ? [layerOf(overview)] : [];
    const tiles = this.tilesWanted(overview);
    const numbers = showsNumbers(this.zoom, this.canvas) ? this.tilesAt(0) : [];
    maps?.requestMissing(unavailableReason(ctx, 'tile') ? [] : tiles, numbers);
    const drawn: Badge[] = [];
    for (const at of tiles) {
      const found = maps?.tile(at);
      if (!found || (found.badge === 'sampled' && overview?.badge === 'exact')) continue; // finer, but only from some rows: the badge would be wrong
      drawn.push(found.badge);
      layers.push(layerOf(found));
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
      max,
      scale: state.scale,
      q: state.q,
      k: band ? [] : state.k,
      hover: this.hover && { query: this.hover.query, key: this.columnOf(this.hover.query, this.hover.key) },
      sinks,
      keySegments: band ? [] : ctx.segments,
      ...namesOfAxes(ctx, this.isByWords),
      thumbnail: this.thumbnail,
      select: this.select ?? (band ? this.chosenPair() : null),
      theme: ctx.theme(),
      ...(band ? { columnOrigin: band.back } : {}),
    };
  }

  /** The cell of the selected pair when columns are offsets, where its key has no column of its own. */
  private chosenPair(): Rect | null {
    const { q, k } = this.ctx.store.now;
    if (!q[0] || !k[0]) return null;
    const column = this.columnOf(q[0].begin, k[0].begin);
    const { k1 } = this.whole;
    return column >= 0 && column < k1 ? { q0: q[0].begin, q1: q[0].begin + 1, k0: column, k1: column + 1 } : null;
  }

  /** The tiles of the level at which a cell is about one screen pixel, if that is finer than the overview. */
  private tilesWanted(overview: Picture | null): TileAt[] {
    const finer = overview && finerLevels(overview, this.zoom, this.across, this.canvas.ratio);
    return finer ? this.tilesAt(...finer) : [];
  }

  private tilesAt(z: number, columnZ = z): TileAt[] {
    const { rect, band } = this;
    const right = Math.min(this.whole.k1, rect.k0 + (this.canvas.width - this.margins.left) / this.across);
    const bottom = Math.min(this.whole.q1, rect.q0 + (this.canvas.height - this.margins.top) / this.down);
    return tilesIn({ k0: rect.k0, q0: rect.q0, k1: right, q1: bottom }, z, columnZ, !band && this.ctx.family.causal);
  }

  private updateCaption(): void {
    const { ctx, maps } = this;
    const picture = maps?.overview ?? null;
    const missing = unavailableReason(ctx, 'overview');
    const drawn = { badge: picture?.badge ?? 'exact', error: picture?.badge === 'quantised' ? picture.maxCodes.error : 0 };
    const { badge, error } = this.table.printed ?? drawn;
    replace(this.badge, picture ? badgeElement(ctx, badge, badgeTitle(ctx, badge, error), maps?.streaming === true) : null);
    this.caption.textContent =
      missing ??
      maps?.failure?.message ??
      (maps && picture ? captionOf(ctx, maps.request, picture, this.whole, this.isByWords) : ctx.t('loading'));
  }

  figure(): Promise<Exported> {
    const { ctx, maps } = this;
    if (!maps) return Promise.reject(new Error(ctx.t('loading')));
    return figureOfMap(ctx, maps.request, this.visibleRect, this.pool, maps.overview, this.caption.textContent ?? '');
  }

  offlineNumbers(): Promise<Numbers> {
    const { ctx, maps, visibleRect: seen } = this;
    return maps ? numbersOf(ctx, maps.request, seen, maps.overview) : Promise.reject(new Error(ctx.t('loading')));
  }

  private toggleTable(): void {
    this.table.element.hidden = !this.table.element.hidden;
    this.tableButton.setAttribute('aria-pressed', String(!this.table.element.hidden));
    this.fillTable();
    this.updateCaption();
  }

  private fillTable(): void {
    if (this.maps?.overview) this.table.show(this.maps.request, this.visibleRect, this.maps.overview);
  }
}
