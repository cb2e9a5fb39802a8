// Drawing of the map: base picture, finer tiles over it, numbers when cells are large, axes, cross-hair. Independent of the DOM and of
// requests.

import { cell as printCell } from '../format';
import type { Cells, Scale, Span } from '../source/source';
import type { Rect } from '../state';
import { intensity } from '../weights';
import { type Theme, css, inkOn, mix, shade } from './ramp';

export interface Layer {
  bitmap: HTMLCanvasElement;
  keyBegin: number;
  queryBegin: number;
  cell: number; // weights per pixel of the bitmap, down
  cellAcross: number;
}

export interface Street {
  queries: number;
  keys: number;
  rect: Rect; // the visible rectangle, in weights; may reach beyond the map
  cell: CellShape;
  layers: readonly Layer[]; // coarsest first
  cells: readonly Cells[]; // single weights, printed when cells are large enough
  most: number;
  scale: Scale;
  q: readonly Span[];
  k: readonly Span[];
  hover: { query: number; key: number } | null;
  sinks: readonly number[];
  keySegments: readonly (Span & { name: string })[];
  querySegments: readonly (Span & { name: string })[];
  label(token: number): string;
  tick(token: number): string; // used if labels have no room
  select: Rect | null;
  columnOrigin?: number; // the column of offset 0, if columns are offsets instead of tokens
  theme: Theme;
}

const kNumberCell = 26; // CSS pixels a cell needs for its number
const kLabelCell = 8;
const kStretched = 30; // CSS pixels: largest size of a stretched cell
const kWorthIt = 1.5; // smallest stretch; below it cells stay square
const kPad = 12; // free space at the right and below

export interface Frame2d {
  width: number;
  height: number;
}

export interface Margins {
  left: number;
  top: number;
}

/**
 * Width and height of a cell, in multiples of the zoom. Maps of tokens against tokens keep square cells; maps of few words against many
 * patches do not.
 */
export interface CellShape {
  wide: number;
  tall: number;
}

export const kSquare: CellShape = { wide: 1, tall: 1 };

/** The cell shape of a map that is much longer one way than the other: as tall, or wide, as its frame allows. */
export function stretched(whole: Rect, size: Frame2d): CellShape {
  const zoom = zoomOf(whole, size, kSquare);
  const { left, top } = marginsAt(Infinity);
  const factor = (room: number, count: number): number => {
    const wanted = Math.min(kStretched, room / count) / zoom;
    return wanted > kWorthIt ? wanted : 1;
  };
  return {
    wide: factor(size.width - left - kPad, whole.k1 - whole.k0),
    tall: factor(size.height - top - kPad, whole.q1 - whole.q0),
  };
}

/** Room for the axes: token labels need more than positions. */
export const marginsAt = (zoom: number, cell = kSquare): Margins => ({
  left: zoom * cell.tall >= kLabelCell ? 84 : 62,
  top: zoom * cell.wide >= kLabelCell ? 72 : 40,
});

/** The margins around a rectangle: a map narrower than its frame is centred. */
export function marginsOf(rect: Rect, size: Frame2d, cell = kSquare): Margins {
  const base = baseMargins(rect, size, cell);
  const free = size.width - base.left - kPad - (rect.k1 - rect.k0) * cell.wide * within(rect, size, base, cell);
  return { left: base.left + Math.max(0, free / 2), top: base.top };
}

const baseMargins = (rect: Rect, size: Frame2d, cell: CellShape): Margins => marginsAt(within(rect, size, marginsAt(0), cell), cell);

/** CSS pixels per weight, before the shape of a cell is applied. */
export function zoomOf(rect: Rect, size: Frame2d, cell = kSquare): number {
  return within(rect, size, baseMargins(rect, size, cell), cell);
}

const within = (rect: Rect, size: Frame2d, m: Margins, cell: CellShape): number =>
  Math.min(
    (size.width - m.left - kPad) / ((rect.k1 - rect.k0) * cell.wide),
    (size.height - m.top - kPad) / ((rect.q1 - rect.q0) * cell.tall),
  );

/** Whether numbers fit into cells at this zoom and are few enough. */
export const showsNumbers = (zoom: number, size: Frame2d): boolean =>
  zoom >= kNumberCell && size.width / zoom <= 66 && size.height / zoom <= 66;

export function drawStreet(c: CanvasRenderingContext2D, size: Frame2d, street: Street): void {
  const { theme, rect } = street;
  const zoom = zoomOf(rect, size, street.cell);
  const { left, top } = marginsOf(rect, size, street.cell);
  const [across, down] = [zoom * street.cell.wide, zoom * street.cell.tall];
  const x = (key: number): number => left + (key - rect.k0) * across;
  const y = (query: number): number => top + (query - rect.q0) * down;
  c.clearRect(0, 0, size.width, size.height);
  c.save();
  c.beginPath();
  c.rect(left, top, Math.min(size.width - left, x(street.keys) - left), Math.min(size.height - top, y(street.queries) - top));
  c.clip();
  c.fillStyle = css(mix(theme.paper, theme.ink, 0.04));
  c.fillRect(left, top, size.width, size.height);
  for (const layer of street.layers) {
    c.imageSmoothingEnabled = layer.cell * zoom < 0.75;
    c.drawImage(
      layer.bitmap,
      x(layer.keyBegin),
      y(layer.queryBegin),
      layer.bitmap.width * layer.cellAcross * across,
      layer.bitmap.height * layer.cell * down,
    );
  }
  if (showsNumbers(zoom, size)) numbers(c, size, street, zoom, x, y);
  cross(c, size, street, zoom, x, y);
  c.restore();
  axes(c, size, street, zoom, x, y);
}

type Along = (token: number) => number;

function numbers(c: CanvasRenderingContext2D, size: Frame2d, street: Street, zoom: number, x: Along, y: Along): void {
  c.textAlign = 'center';
  c.textBaseline = 'middle';
  c.font = `${Math.min(13, zoom * 0.36)}px ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace`;
  const { rect } = street;
  for (const cells of street.cells) {
    for (let r = Math.max(0, Math.floor(rect.q0) - cells.queryBegin); r < cells.rows && y(cells.queryBegin + r) < size.height; r++) {
      for (let k = Math.max(0, Math.floor(rect.k0) - cells.keyBegin); k < cells.columns && x(cells.keyBegin + k) < size.width; k++) {
        const value = cells.values[r * cells.columns + k];
        if (!(value >= 0)) continue;
        const colour = shade(intensity(value, street.most, street.scale), street.theme);
        const [left, top] = [x(cells.keyBegin + k), y(cells.queryBegin + r)];
        c.fillStyle = css(colour);
        const [wide, tall] = [zoom * street.cell.wide, zoom * street.cell.tall];
        c.fillRect(left + 0.5, top + 0.5, wide - 1, tall - 1);
        c.fillStyle = inkOn(colour);
        c.fillText((cells.error > 0 ? '≈' : '') + printCell(value), left + wide / 2, top + tall / 2);
      }
    }
  }
}

function cross(c: CanvasRenderingContext2D, size: Frame2d, street: Street, zoom: number, x: Along, y: Along): void {
  const { theme } = street;
  const { left, top } = marginsOf(street.rect, size, street.cell);
  const [wide, high] = [zoom * street.cell.wide, zoom * street.cell.tall];
  const line = theme.dark ? '#ff9db0' : '#b4123c';
  const band = (from: number, to: number, across: boolean): void => {
    const tall = Math.max(1.5, (to - from) * (across ? high : wide));
    c.strokeStyle = line;
    c.lineWidth = 1.5;
    c.fillStyle = theme.dark ? 'rgb(255 157 176 / 0.10)' : 'rgb(180 18 60 / 0.07)';
    const area: [number, number, number, number] = across ? [left, y(from), size.width, tall] : [x(from), top, tall, size.height];
    c.fillRect(...area);
    if (tall > 4)
      c.strokeRect(
        across ? left - 2 : area[0],
        across ? area[1] : top - 2,
        across ? size.width + 4 : tall,
        across ? tall : size.height + 4,
      );
    else {
      c.beginPath();
      c.moveTo(across ? left : area[0] + tall / 2, across ? area[1] + tall / 2 : top);
      c.lineTo(across ? size.width : area[0] + tall / 2, across ? area[1] + tall / 2 : size.height);
      c.stroke();
    }
  };
  for (const s of street.q) band(s.begin, s.end, true);
  for (const s of street.k) band(s.begin, s.end, false);
  if (street.hover) {
    c.strokeStyle = css(mix(theme.paper, theme.ink, 0.75));
    c.lineWidth = 1;
    c.strokeRect(x(street.hover.key) - 0.5, y(street.hover.query) - 0.5, Math.max(3, wide) + 1, Math.max(3, high) + 1);
  }
  if (street.select) {
    const s = street.select;
    c.setLineDash([4, 3]);
    c.strokeStyle = line;
    c.strokeRect(x(s.k0), y(s.q0), (s.k1 - s.k0) * wide, (s.q1 - s.q0) * high);
    c.setLineDash([]);
  }
}

function axes(c: CanvasRenderingContext2D, size: Frame2d, street: Street, zoom: number, x: Along, y: Along): void {
  const { theme, rect } = street;
  const { left, top } = marginsOf(rect, size, street.cell);
  const [wide, tall] = [zoom * street.cell.wide, zoom * street.cell.tall];
  const font = (side: number): string => `${side >= kLabelCell ? Math.max(9, Math.min(13, side * 0.8)) : 11}px system-ui, sans-serif`;
  c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
  c.strokeStyle = css(mix(theme.paper, theme.ink, 0.4));
  c.lineWidth = 1;
  c.font = font(wide);
  c.textBaseline = 'middle';
  segmentBands(c, size, street, zoom, x, y);
  const right = Math.min(size.width, x(street.keys));
  const bottom = Math.min(size.height, y(street.queries));
  let labels = wide >= kLabelCell;
  let step = labels ? 1 : tick(64 / wide);
  const origin = street.columnOrigin ?? 0;
  const [label, number] =
    street.columnOrigin === undefined
      ? [street.label, street.tick]
      : [(k: number) => String(k - origin), (k: number) => String(k - origin)];
  for (let k = Math.ceil((rect.k0 - origin) / step) * step + origin; k < street.keys && x(k) < right; k += step) {
    const at = x(k) + (labels ? wide / 2 : 0);
    c.save();
    c.translate(at, top - (labels ? 11 : 8));
    c.rotate(labels ? -Math.PI / 2.6 : 0);
    c.textAlign = labels ? 'left' : 'center';
    c.fillText(labels ? fitted(c, label(k), top - 19) : number(k), 0, labels ? 0 : -4);
    c.restore();
    if (!labels) stroke(c, at, top - 5, at, top);
  }
  labels = tall >= kLabelCell;
  step = labels ? 1 : tick(64 / tall);
  c.font = font(tall);
  for (let q = Math.ceil(rect.q0 / step) * step; q < street.queries && y(q) < bottom; q += step) {
    const at = y(q) + (labels ? tall / 2 : 0);
    c.textAlign = 'right';
    c.fillText(labels ? fitted(c, street.label(q), left - 16) : street.tick(q), left - 9, at);
    if (!labels) stroke(c, left - 5, at, left, at);
  }
  for (const s of street.sinks) {
    const at = x(s + 0.5);
    if (at < left || at > right) continue;
    c.beginPath();
    c.moveTo(at - 4, top - 7);
    c.lineTo(at + 4, top - 7);
    c.lineTo(at, top - 1);
    c.fill();
  }
}

/** Draws segments as bands along both axes, with names if they fit. */
function segmentBands(c: CanvasRenderingContext2D, size: Frame2d, street: Street, zoom: number, x: Along, y: Along): void {
  const { theme } = street;
  const { left, top } = marginsOf(street.rect, size, street.cell);
  const names = zoom < kLabelCell;
  street.keySegments.forEach((s, i) => {
    const [from, to] = [Math.max(left, x(s.begin)), x(Math.min(s.end, street.keys))];
    if (to <= from) return;
    c.fillStyle = css(mix(theme.paper, theme.ink, i % 2 ? 0.32 : 0.2));
    c.fillRect(from, top - 3, Math.max(1, to - from - 1), 3);
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    c.textAlign = 'left';
    if (names && to - from > 28) c.fillText(fitted(c, s.name, to - from - 6), from + 2, top - 30);
  });
  street.querySegments.forEach((s, i) => {
    const [from, to] = [Math.max(top, y(s.begin)), y(Math.min(s.end, street.queries))];
    if (to <= from) return;
    c.fillStyle = css(mix(theme.paper, theme.ink, i % 2 ? 0.32 : 0.2));
    c.fillRect(left - 3, from, 3, Math.max(1, to - from - 1));
    c.save();
    c.translate(left - 52, to);
    c.rotate(-Math.PI / 2);
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    c.textAlign = 'left';
    if (names && to - from > 28) c.fillText(fitted(c, s.name, to - from - 6), 2, 0);
    c.restore();
  });
  c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
}

function stroke(c: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  c.beginPath();
  c.moveTo(x0, y0);
  c.lineTo(x1, y1);
  c.stroke();
}

/** The smallest round number (1, 2 or 5 times a power of ten) of at least `atLeast`. */
export function tick(atLeast: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, atLeast)));
  return [1, 2, 5, 10].map((m) => m * power).find((v) => v >= atLeast) ?? 10 * power;
}

function fitted(c: CanvasRenderingContext2D, text: string, width: number): string {
  if (c.measureText(text).width <= width) return text;
  const tail = /\s\S{1,5}$/.exec(text)?.[0] ?? ''; // keeps the end: “sentence 12” and “sentence 13” differ there
  let cut = [...text.slice(0, Math.min(60, text.length - tail.length))];
  while (cut.length > 1 && c.measureText(`${cut.join('')}…${tail}`).width > width) cut = cut.slice(0, -1);
  return `${cut.join('')}…${tail}`;
}
