// Two maps of the same places as one picture: either of them, or their difference, with the divergence of every row beside it. Drawn on a
// canvas whose cells can be read with the pointer and the arrow keys. Places that exist in one text only are hatched.

import type { Numbers } from '../../context';
import { cell as printCell } from '../../format';
import { surface } from '../../paint/canvas';
import { type Theme, css, diverge, inkOn, mix, shade } from '../../paint/ramp';
import type { MapComparison, Scale, Span } from '../../source/source';
import { intensity } from '../../weights';
import { h } from '../../ui/dom';
import { roundUp } from '../../ui/legend';

const kInOneOnly = -1;
const kStrip = 64; // width of the divergence bars beside the cells
const kLabelled = 10; // cell size needed for a label

export type Show = 'before' | 'after' | 'difference';

export interface Pair extends MapComparison {
  height: number; // cells
  width: number;
  cell: number; // places per cell
  max: number; // value of the strongest colour, in either map and in their difference
  changed: Float32Array; // after − before, where a weight hidden in one map counts as 0; NaN: hidden in both, or in one text only
}

/** Replaces hidden weights by 0, for pairs that only one map hides. */
export const hiddenAsZero = (value: number): number => (value >= 0 ? value : 0);
export const isInOneOnly = (value: number): boolean => value === kInOneOnly;

/** The names of the row and of the key at a place. */
export interface PlaceNames {
  row(place: number): string;
  key(place: number): string;
}

/** The numbers of a pair, for export; null where the maps cannot be compared. */
export function numbersOfPair(pair: Pair, places: PlaceNames): Numbers {
  const plain = (values: Float32Array): (number | null)[] => Array.from(values, (v) => (isInOneOnly(v) || Number.isNaN(v) ? null : v));
  const names = (span: Span, name: (place: number) => string): string[] =>
    Array.from({ length: span.end - span.begin }, (_, i) => name(span.begin + i));
  const json = {
    rows: names(pair.rows, (place) => places.row(place)),
    columns: names(pair.columns, (place) => places.key(place)),
    cell: pair.cell,
    shape: [pair.height, pair.width],
    before: plain(pair.before),
    after: plain(pair.after),
    difference: plain(pair.changed),
    divergence: plain(pair.divergence),
    mean_divergence: pair.mean,
    badge: pair.badge,
  };
  const rows = Array.from({ length: pair.height }, (_, r) => pair.changed.slice(r * pair.width, (r + 1) * pair.width));
  return { json, rows };
}

export function pairOf(found: MapComparison): Pair {
  const height = found.divergence.length;
  const width = height === 0 ? 0 : found.before.length / height;
  const changed = found.after.map((after, i) => {
    const before = found.before[i];
    const nothing = isInOneOnly(before) || isInOneOnly(after) || (Number.isNaN(before) && Number.isNaN(after));
    return nothing ? NaN : hiddenAsZero(after) - hiddenAsZero(before);
  });
  const largest = [found.before, found.after].reduce((a, list) => list.reduce((b, v) => (v > b ? v : b), a), 0);
  return { ...found, height, width, cell: 2 ** found.z, max: roundUp(largest), changed };
}

const kFinest = 256; // places that a map can show one by one

/** The part of a map around a cell, smaller by a factor. */
export function partAround(
  pair: Pair,
  at: { row: number; key: number },
  factor: number,
): { q0: number; q1: number; k0: number; k1: number } {
  const around = (place: number, { begin, end }: Span): [number, number] => {
    const size = Math.min(end - begin, Math.max(kFinest, Math.ceil((end - begin) / factor)));
    const from = Math.max(begin, Math.min(end - size, Math.round(place - size / 2)));
    return [from, from + size];
  };
  const [q0, q1] = around(at.row, pair.rows);
  const [k0, k1] = around(at.key, pair.columns);
  return { q0, q1, k0, k1 };
}

/** A number in a cell; a change too small for three decimals is printed as 0. */
export function cellText(value: number, signed: boolean): string {
  if (signed && Math.abs(value) < 0.001) return '0';
  return `${value < 0 ? '−' : signed ? '+' : ''}${printCell(Math.abs(value))}`;
}

export interface Change {
  row: number; // places of the cell's first row and key
  key: number;
  before: number;
  after: number;
  divergence: number;
}

export const changeAt = (pair: Pair, i: number): Change => {
  const r = Math.floor(i / pair.width);
  return {
    row: pair.rows.begin + r * pair.cell,
    key: pair.columns.begin + (i % pair.width) * pair.cell,
    before: isInOneOnly(pair.before[i]) ? NaN : pair.before[i],
    after: isInOneOnly(pair.after[i]) ? NaN : pair.after[i],
    divergence: pair.divergence[r],
  };
};

/** The `count` cells that changed most. */
export function largestChanges(pair: Pair, count: number): Change[] {
  const order = Array.from(pair.changed.keys()).filter((i) => Math.abs(pair.changed[i]) > 0);
  order.sort((a, b) => Math.abs(pair.changed[b]) - Math.abs(pair.changed[a]) || a - b);
  return order.slice(0, count).map((i) => changeAt(pair, i));
}

/** The `count` rows of cells with the largest divergence. */
export function largestRows(pair: Pair, count: number): { row: number; divergence: number }[] {
  const order = Array.from(pair.divergence.keys()).filter((r) => pair.divergence[r] > 0);
  order.sort((a, b) => pair.divergence[b] - pair.divergence[a] || a - b);
  return order.slice(0, count).map((r) => ({ row: pair.rows.begin + r * pair.cell, divergence: pair.divergence[r] }));
}

interface PairEvents {
  read(change: Change | null): void; // the cell under the pointer or the keyboard cursor
  choose(place: number): void; // place of a row
  point?(cell: Cell | null): void; // for a second map beside this one
  zoom?(place: { row: number; key: number }): void; // on a double click
}

interface Cell {
  r: number;
  c: number;
}

interface PairMapOptions {
  pair: Pair | null;
  show: Show;
  scale: Scale;
  theme: Theme | null;
  names: PlaceNames;
  strip: 'bars' | 'room' | 'none'; // the divergence of rows, or empty space of the same width
  chosen: readonly number[]; // places of the selected rows
}

export class PairMap {
  readonly element: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  private options: PairMapOptions = {
    pair: null,
    show: 'difference',
    scale: 'sqrt',
    theme: null,
    names: { row: String, key: String },
    strip: 'bars',
    chosen: [],
  };
  private at: Cell | null = null;
  private pattern: { of: string; fill: CanvasPattern | null } = { of: '', fill: null };
  private readonly surface;

  constructor(
    private readonly events: PairEvents,
    testid: string,
  ) {
    this.canvas = h('canvas', { tabindex: 0, role: 'img', 'data-testid': testid });
    this.surface = surface(this.canvas, () => this.draw());
    this.element = h('div', { class: 'difference-frame' }, this.canvas);
    this.canvas.addEventListener('pointermove', (event) => this.move(this.cellAt(event)));
    this.canvas.addEventListener('pointerleave', () => this.move(null));
    this.canvas.addEventListener('click', (event) => {
      const cell = this.cellAt(event);
      if (cell && this.options.pair) this.events.choose(this.options.pair.rows.begin + cell.r * this.options.pair.cell);
    });
    this.canvas.addEventListener('dblclick', (event) => {
      const cell = this.cellAt(event);
      const { pair } = this.options;
      if (cell && pair) this.events.zoom?.({ row: pair.rows.begin + cell.r * pair.cell, key: pair.columns.begin + cell.c * pair.cell });
    });
    this.canvas.addEventListener('keydown', (event) => this.onKey(event));
  }

  set(options: Partial<PairMapOptions>): void {
    if (options.pair !== undefined && options.pair !== this.options.pair && this.at) {
      this.at = null;
      this.events.read(null); // its numbers belong to the previous map
    }
    this.options = { ...this.options, ...options };
    this.draw();
  }

  /** Outlines the cell that the pointer is over in the other map. */
  mark(cell: Cell | null): void {
    this.at = cell;
    this.draw();
  }

  /** The place of the cell that was read last, else of the middle cell. */
  get middle(): { row: number; key: number } | null {
    const { pair } = this.options;
    if (!pair) return null;
    const at = this.at ?? { r: pair.height >> 1, c: pair.width >> 1 };
    return { row: pair.rows.begin + at.r * pair.cell, key: pair.columns.begin + at.c * pair.cell };
  }

  private onKey(event: KeyboardEvent): void {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const { at } = this;
    const { pair } = this.options;
    if (!pair || event.altKey) return;
    if (event.key === 'Enter' && at) this.events.choose(pair.rows.begin + at.r * pair.cell);
    else if (step) {
      const clip = (v: number, n: number): number => Math.max(0, Math.min(n - 1, v));
      this.move(at ? { r: clip(at.r + step[0], pair.height), c: clip(at.c + step[1], pair.width) } : { r: 0, c: 0 });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private move(cell: Cell | null): void {
    if (cell?.r === this.at?.r && cell?.c === this.at?.c) return;
    this.at = cell;
    const { pair } = this.options;
    this.events.read(pair && cell ? changeAt(pair, cell.r * pair.width + cell.c) : null);
    this.events.point?.(cell);
    this.draw();
  }

  /** Layout of the cells, with labels on the left and above if there is room. */
  private layout(): { left: number; top: number; side: number; labels: boolean; strip: number } {
    const { surface } = this;
    const { pair } = this.options;
    const strip = this.options.strip !== 'none' && surface.width > 260 ? kStrip : 0;
    const fit = (margin: number): number =>
      Math.min(
        (surface.width - margin - 6 - strip) / Math.max(1, pair?.width ?? 1),
        (surface.height - margin - 6) / Math.max(1, pair?.height ?? 1),
      );
    const labels = pair?.cell === 1 && fit(70) >= kLabelled;
    const margin = labels ? 70 : this.tickWidth + 9;
    return { left: margin, top: margin, side: Math.min(fit(margin), 40), labels, strip };
  }

  /** Width of the longest position number. */
  private get tickWidth(): number {
    const { pair } = this.options;
    return 6.6 * String(Math.max(pair?.rows.end ?? 0, pair?.columns.end ?? 0, 100)).length;
  }

  private cellAt(event: MouseEvent): Cell | null {
    const { pair } = this.options;
    if (!pair) return null;
    const rect = this.canvas.getBoundingClientRect();
    const { left, top, side, strip } = this.layout();
    const c = Math.floor((event.clientX - rect.left - left) / side);
    const r = Math.floor((event.clientY - rect.top - top) / side);
    const inStrip = c >= pair.width && event.clientX - rect.left < left + pair.width * side + strip;
    return r >= 0 && c >= 0 && r < pair.height && (c < pair.width || inStrip) ? { r, c: Math.min(c, pair.width - 1) } : null;
  }

  private draw(): void {
    const { surface } = this;
    const { pair, theme, show } = this.options;
    const { context: c, width, height } = surface;
    c.clearRect(0, 0, width, height);
    if (!pair || !theme || width < 60) return;
    const { left, top, side, strip } = this.layout();
    const signed = show === 'difference';
    const values = signed ? pair.changed : pair[show];
    const numbers = side >= 30;
    const gap = side >= 6 ? 0.5 : 0;
    const box = Math.ceil(side) - gap;
    const hidden = css(mix(theme.paper, theme.ink, theme.dark ? 0.09 : 0.06));
    const hatch = this.hatch(c, theme);
    c.font = `${Math.min(12, side * 0.34)}px ui-monospace, "DejaVu Sans Mono", monospace`;
    c.textAlign = 'center';
    c.textBaseline = 'middle';
    for (let r = 0; r < pair.height; r++) {
      for (let k = 0; k < pair.width; k++) {
        const i = r * pair.width + k;
        const [x, y] = [left + k * side, top + r * side];
        const value = values[i];
        if (isInOneOnly(pair.before[i]) || Number.isNaN(value)) {
          c.fillStyle = isInOneOnly(pair.before[i]) ? hatch : hidden;
          c.fillRect(x, y, box, box);
          continue;
        }
        const t = intensity(Math.abs(value), pair.max, this.options.scale);
        const colour = signed ? diverge(value < 0 ? -t : t, theme) : shade(t, theme);
        c.fillStyle = css(colour);
        c.fillRect(x, y, box, box);
        if (!numbers) continue;
        c.fillStyle = inkOn(colour);
        c.fillText(cellText(value, signed), x + side / 2, y + side / 2);
      }
    }
    this.axes(c, pair, theme);
    if (strip > 0 && this.options.strip === 'bars') this.rows(c, pair, theme);
  }

  private hatch(c: CanvasRenderingContext2D, theme: Theme): CanvasPattern | string {
    const of = css(theme.paper);
    if (this.pattern.of !== of) {
      const tile = document.createElement('canvas');
      tile.width = tile.height = 6;
      const p = tile.getContext('2d');
      if (p) {
        p.fillStyle = of;
        p.fillRect(0, 0, 6, 6);
        p.strokeStyle = css(mix(theme.paper, theme.ink, 0.3));
        for (const at of [-6, 0, 6]) {
          p.moveTo(at, 6);
          p.lineTo(at + 6, 0);
        }
        p.stroke();
      }
      this.pattern = { of, fill: c.createPattern(tile, 'repeat') };
    }
    return this.pattern.fill ?? of;
  }

  /** Draws one bar per row for its divergence. The line at the end marks the largest possible value. */
  private rows(c: CanvasRenderingContext2D, pair: Pair, theme: Theme): void {
    const { left, top, side, strip } = this.layout();
    const from = left + pair.width * side + 8;
    const room = strip - 14;
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    c.font = '11px system-ui, sans-serif';
    c.textAlign = 'left';
    c.fillText('JS', from, top - 10);
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.12));
    c.fillRect(from, top, 1, pair.height * side);
    c.fillRect(from + room, top, 1, pair.height * side);
    for (let r = 0; r < pair.height; r++) {
      const value = pair.divergence[r];
      if (Number.isNaN(value)) continue;
      c.fillStyle = css(mix(theme.paper, theme.ink, 0.62));
      const tall = Math.max(1, Math.min(side - (side >= 4 ? 1 : 0), 12));
      c.fillRect(from, top + (r + 0.5) * side - tall / 2, (room * value) / Math.LN2, tall);
    }
  }

  private axes(c: CanvasRenderingContext2D, pair: Pair, theme: Theme): void {
    const { left, top, side, labels } = this.layout();
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    c.font = '11px system-ui, sans-serif';
    const [down, across] = labels ? [1, 1] : [Math.max(1, Math.ceil(28 / side)), Math.max(1, Math.ceil((this.tickWidth + 10) / side))];
    const { names } = this.options;
    const label = (place: number, of: 'row' | 'key'): string => (labels ? [...names[of](place)].slice(0, 9).join('') : String(place));
    for (let r = 0; r < pair.height; r += down) {
      c.textAlign = 'right';
      c.fillText(label(pair.rows.begin + r * pair.cell, 'row'), left - 5, top + (r + 0.5) * side);
    }
    for (let k = 0; k < pair.width; k += across) {
      if (!labels && (pair.width - k) * side < this.tickWidth / 2) break;
      c.save();
      c.translate(left + (k + 0.5) * side, top - 6);
      c.rotate(labels ? -Math.PI / 2.6 : 0);
      c.textAlign = labels ? 'left' : 'center';
      c.fillText(label(pair.columns.begin + k * pair.cell, 'key'), 0, labels ? 0 : -4);
      c.restore();
    }
    c.strokeStyle = theme.dark ? '#ff9db0' : '#b4123c';
    c.lineWidth = 1.5;
    for (const place of this.options.chosen) {
      const r = Math.floor((place - pair.rows.begin) / pair.cell);
      if (r >= 0 && r < pair.height) c.strokeRect(left - 1, top + r * side - 0.5, pair.width * side + 1, Math.max(2, side));
    }
    if (!this.at) return;
    c.lineWidth = 2;
    c.strokeStyle = css(mix(theme.paper, theme.ink, 0.85));
    c.strokeRect(left + this.at.c * side - 1, top + this.at.r * side - 1, side + 1, side + 1);
  }
}
