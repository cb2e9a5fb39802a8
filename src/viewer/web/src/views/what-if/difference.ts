// The map of one head before and after, laid over each other: cells of what is after, less what stood at the same tokens before. Drawn on a canvas that reads its cells
// by pointer and arrow keys; texts beyond 256 tokens in cells of 2^z × 2^z weights, where their tokens are the same.

import { cell as printCell } from '../../format';
import { surface } from '../../paint/canvas';
import { type Theme, css, diverge, inkOn, mix, shade } from '../../paint/ramp';
import type { Cells, Family, MapRequest, Scale, Source } from '../../source/source';
import { intensity } from '../../weights';
import { h } from '../../ui/dom';

const kSide = 256;
export type Show = 'before' | 'after' | 'difference';

/** Weights of the same cells in two runs; NaN: hidden, or in one text only. */
export interface Maps {
  rows: number;
  columns: number;
  queryBegin: number; // ids of what is after
  keyBegin: number;
  cell: number; // weights a cell is wide
  before: Float32Array;
  after: Float32Array;
  changed: Float32Array;
}

export interface Change {
  row: number; // ids of the first weight
  key: number;
  before: number;
  after: number;
}

/** Null where the texts differ in length and are too long to be laid over each other. */
export async function mapsOf(
  sources: { before: Source; after: Source },
  request: MapRequest,
  family: Family,
  toBefore: Int32Array,
  beforeCount: number,
  signal: AbortSignal,
): Promise<Maps | null> {
  const count = Math.max(toBefore.length, beforeCount);
  const z = Math.max(0, Math.ceil(Math.log2(count / kSide)));
  if (z > 0 && (toBefore.length !== beforeCount || toBefore.some((b, i) => b !== i))) return null;
  const [was, is] = await Promise.all([sources.before.cells(request, 0, 0, signal, z), sources.after.cells(request, 0, 0, signal, z)]);
  const scale = 2 ** z;
  const range = ([begin, end]: [number, number]): [number, number] => [Math.floor(begin / scale), Math.ceil(end / scale)];
  const [q0, q1] = range(family.query_range);
  const [k0, k1] = range(family.key_range);
  const maps: Maps = {
    rows: Math.min(q1, is.rows) - q0,
    columns: Math.min(k1, is.columns) - k0,
    queryBegin: q0 * scale,
    keyBegin: k0 * scale,
    cell: scale,
    before: new Float32Array(0),
    after: new Float32Array(0),
    changed: new Float32Array(0),
  };
  const size = Math.max(0, maps.rows * maps.columns);
  for (const name of ['before', 'after', 'changed'] as const) maps[name] = new Float32Array(size).fill(NaN);
  const at = (cells: Cells, q: number, k: number): number => {
    const value = q >= 0 && k >= 0 && q < cells.rows && k < cells.columns ? cells.values[q * cells.columns + k] : NaN;
    return value >= 0 ? value : NaN;
  };
  for (let r = 0; r < maps.rows; r++) {
    for (let c = 0; c < maps.columns; c++) {
      const i = r * maps.columns + c;
      const [q, k] = [q0 + r, k0 + c];
      maps.after[i] = at(is, q, k);
      maps.before[i] = z > 0 ? at(was, q, k) : at(was, toBefore[q] ?? -1, toBefore[k] ?? -1);
      const cut = (v: number, other: number): number =>
        Number.isNaN(v) && other >= 0 && (z > 0 || (toBefore[q] >= 0 && toBefore[k] >= 0)) ? 0 : v;
      maps.changed[i] = cut(maps.after[i], maps.before[i]) - cut(maps.before[i], maps.after[i]); // hidden in one run only: nothing there
    }
  }
  return maps;
}

/** The cells that changed most. */
export function largestChanges(maps: Maps, count: number): Change[] {
  const order = Array.from(maps.changed.keys()).filter((i) => Math.abs(maps.changed[i]) > 0);
  order.sort((a, b) => Math.abs(maps.changed[b]) - Math.abs(maps.changed[a]) || a - b);
  return order.slice(0, count).map((i) => changeAt(maps, i));
}

const changeAt = (maps: Maps, i: number): Change => ({
  row: maps.queryBegin + Math.floor(i / maps.columns) * maps.cell,
  key: maps.keyBegin + (i % maps.columns) * maps.cell,
  before: maps.before[i],
  after: maps.after[i],
});

export interface DifferenceEvents {
  read(change: Change | null): void; // under the pointer or the keyboard
  choose(row: number): void;
}

export class DifferenceMap {
  readonly element: HTMLElement;
  readonly canvas = h('canvas', { tabindex: 0, role: 'img', 'data-testid': 'if-map' });
  private maps: Maps | null = null;
  private show: Show = 'difference';
  private scale: Scale = 'sqrt';
  private theme: Theme | null = null;
  private label: (id: number) => string = String;
  private at: { r: number; c: number } | null = null;
  private readonly surface = surface(this.canvas, () => this.draw());

  constructor(private readonly events: DifferenceEvents) {
    this.element = h('div', { class: 'difference-frame' }, this.canvas);
    this.canvas.addEventListener('pointermove', (event) => this.move(this.cellAt(event)));
    this.canvas.addEventListener('pointerleave', () => this.move(null));
    this.canvas.addEventListener('click', (event) => {
      const cell = this.cellAt(event);
      if (cell && this.maps) this.events.choose(this.maps.queryBegin + cell.r * this.maps.cell);
    });
    this.canvas.addEventListener('keydown', (event) => this.onKey(event));
  }

  set(maps: Maps | null, show: Show, scale: Scale, theme: Theme, label: (id: number) => string): void {
    Object.assign(this, { maps, show, scale, theme, label });
    this.draw();
  }

  private onKey(event: KeyboardEvent): void {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const { maps, at } = this;
    if (!maps || event.altKey) return;
    if (event.key === 'Enter' && at) this.events.choose(maps.queryBegin + at.r * maps.cell);
    else if (step) {
      const clip = (v: number, n: number): number => Math.max(0, Math.min(n - 1, v));
      this.move(at ? { r: clip(at.r + step[0], maps.rows), c: clip(at.c + step[1], maps.columns) } : { r: 0, c: 0 });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private move(cell: { r: number; c: number } | null): void {
    if (cell?.r === this.at?.r && cell?.c === this.at?.c) return;
    this.at = cell;
    const { maps } = this;
    this.events.read(maps && cell ? changeAt(maps, cell.r * maps.columns + cell.c) : null);
    this.draw();
  }

  /** Where cells stand: labels at the left and above where they have room. */
  private place(): { left: number; top: number; side: number; labels: boolean } {
    const { maps, surface } = this;
    const fit = (margin: number): number =>
      Math.min(
        (surface.width - margin - 6) / Math.max(1, maps?.columns ?? 1),
        (surface.height - margin - 6) / Math.max(1, maps?.rows ?? 1),
      );
    const labels = maps?.cell === 1 && fit(70) >= 10;
    const margin = labels ? 70 : 30;
    return { left: margin, top: margin, side: Math.min(fit(margin), 40), labels };
  }

  private cellAt(event: MouseEvent): { r: number; c: number } | null {
    const { maps } = this;
    if (!maps) return null;
    const rect = this.canvas.getBoundingClientRect();
    const { left, top, side } = this.place();
    const c = Math.floor((event.clientX - rect.left - left) / side);
    const r = Math.floor((event.clientY - rect.top - top) / side);
    return r >= 0 && c >= 0 && r < maps.rows && c < maps.columns ? { r, c } : null;
  }

  private draw(): void {
    const { maps, theme, surface } = this;
    const { context: c, width, height } = surface;
    c.clearRect(0, 0, width, height);
    if (!maps || !theme || width < 60) return;
    const { left, top, side, labels } = this.place();
    const values = this.show === 'difference' ? maps.changed : maps[this.show];
    const signed = this.show === 'difference';
    const most = values.reduce((a, v) => Math.max(a, Number.isFinite(v) ? Math.abs(v) : 0), 0);
    const numbers = side >= 30;
    c.font = `${Math.min(12, side * 0.34)}px ui-monospace, "DejaVu Sans Mono", monospace`;
    c.textAlign = 'center';
    c.textBaseline = 'middle';
    for (let r = 0; r < maps.rows; r++) {
      for (let k = 0; k < maps.columns; k++) {
        const value = values[r * maps.columns + k];
        const t = intensity(Math.abs(value), most, this.scale);
        const [x, y] = [left + k * side, top + r * side];
        const gap = side >= 6 ? 0.5 : 0;
        const colour = Number.isNaN(value)
          ? mix(theme.paper, theme.ink, theme.dark ? 0.09 : 0.06)
          : signed
            ? diverge(value < 0 ? -t : t, theme)
            : shade(t, theme);
        c.fillStyle = css(colour);
        c.fillRect(x, y, Math.ceil(side) - gap, Math.ceil(side) - gap);
        if (!numbers || Number.isNaN(value)) continue;
        c.fillStyle = inkOn(colour);
        c.fillText(`${value < 0 ? '−' : signed && value > 0 ? '+' : ''}${printCell(Math.abs(value))}`, x + side / 2, y + side / 2);
      }
    }
    this.axes(c, maps, theme, { left, top, side, labels });
  }

  private axes(
    c: CanvasRenderingContext2D,
    maps: Maps,
    theme: Theme,
    { left, top, side, labels }: { left: number; top: number; side: number; labels: boolean },
  ): void {
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    c.font = '11px system-ui, sans-serif';
    const step = labels ? 1 : Math.max(1, Math.ceil(36 / side));
    const name = (id: number): string => (labels ? [...this.label(id)].slice(0, 9).join('') : String(id));
    for (let r = 0; r < maps.rows; r += step) {
      c.textAlign = 'right';
      c.fillText(name(maps.queryBegin + r * maps.cell), left - 5, top + (r + 0.5) * side);
    }
    for (let k = 0; k < maps.columns; k += step) {
      c.save();
      c.translate(left + (k + 0.5) * side, top - 6);
      c.rotate(labels ? -Math.PI / 2.6 : 0);
      c.textAlign = labels ? 'left' : 'center';
      c.fillText(name(maps.keyBegin + k * maps.cell), 0, labels ? 0 : -4);
      c.restore();
    }
    if (!this.at) return;
    c.strokeStyle = theme.dark ? '#ff9db0' : '#b4123c';
    c.lineWidth = 2;
    c.strokeRect(left + this.at.c * side - 1, top + this.at.r * side - 1, side + 1, side + 1);
  }
}
