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

/** Draws the picture of an item, `side` pixels wide or high, about a point, or nothing for a side of 0. False: it has none. */
export type DrawThumbnail = (c: CanvasRenderingContext2D, id: number, x: number, y: number, side: number) => boolean;

export interface MapScene {
  queries: number;
  keys: number;
  rect: Rect; // the visible rectangle, in weights; may reach beyond the map
  cell: CellShape;
  layers: readonly Layer[]; // coarsest first
  cells: readonly Cells[]; // single weights, printed when cells are large enough
  max: number;
  scale: Scale;
  q: readonly Span[];
  k: readonly Span[];
  hover: { query: number; key: number } | null;
  sinks: readonly number[];
  keySegments: readonly (Span & { name: string })[];
  querySegments: readonly (Span & { name: string })[];
  label(key: number): string;
  tick(token: number): string; // used if labels have no room
  rowLabel(row: number): string;
  rowOfTick(token: number): number; // the row at which the tick of a token stands
  select: Rect | null;
  thumbnail?: DrawThumbnail; // of tokens, in place of their names
  rowToken(row: number): number | null; // the token that a row is named by
  columnOrigin?: number; // the column of offset 0, if columns are offsets instead of tokens
  theme: Theme;
}

const kNumberCell = 26; // CSS pixels a cell needs for its number
const kLabelCell = 8;
const kThumbnail = 28; // CSS pixels
const kMaxStretchedCell = 30; // CSS pixels: largest size of a stretched cell
const kMinStretch = 1.5; // smallest stretch; below it cells stay square
const kPad = 12; // free space at the right and below

export interface Size {
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
export function stretched(whole: Rect, size: Size): CellShape {
  const zoom = zoomOf(whole, size, kSquare);
  const { left, top } = marginsAt(Infinity);
  const factor = (room: number, count: number): number => {
    const wanted = Math.min(kMaxStretchedCell, room / count) / zoom;
    return wanted > kMinStretch ? wanted : 1;
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
export function marginsOf(rect: Rect, size: Size, cell = kSquare): Margins {
  const base = baseMargins(rect, size, cell);
  const free = size.width - base.left - kPad - (rect.k1 - rect.k0) * cell.wide * within(rect, size, base, cell);
  return { left: base.left + Math.max(0, free / 2), top: base.top };
}

const baseMargins = (rect: Rect, size: Size, cell: CellShape): Margins => marginsAt(within(rect, size, marginsAt(0), cell), cell);

/** CSS pixels per weight, before the shape of a cell is applied. */
export function zoomOf(rect: Rect, size: Size, cell = kSquare): number {
  return within(rect, size, baseMargins(rect, size, cell), cell);
}

const within = (rect: Rect, size: Size, m: Margins, cell: CellShape): number =>
  Math.min(
    (size.width - m.left - kPad) / ((rect.k1 - rect.k0) * cell.wide),
    (size.height - m.top - kPad) / ((rect.q1 - rect.q0) * cell.tall),
  );

/** True if numbers fit into cells at this zoom and are few enough. */
export const showsNumbers = (zoom: number, size: Size): boolean =>
  zoom >= kNumberCell && size.width / zoom <= 66 && size.height / zoom <= 66;

export function drawMap(c: CanvasRenderingContext2D, size: Size, scene: MapScene): void {
  const { theme, rect } = scene;
  const zoom = zoomOf(rect, size, scene.cell);
  const { left, top } = marginsOf(rect, size, scene.cell);
  const [across, down] = [zoom * scene.cell.wide, zoom * scene.cell.tall];
  const x = (key: number): number => left + (key - rect.k0) * across;
  const y = (query: number): number => top + (query - rect.q0) * down;
  c.clearRect(0, 0, size.width, size.height);
  c.save();
  c.beginPath();
  c.rect(left, top, Math.min(size.width - left, x(scene.keys) - left), Math.min(size.height - top, y(scene.queries) - top));
  c.clip();
  c.fillStyle = css(mix(theme.paper, theme.ink, 0.04));
  c.fillRect(left, top, size.width, size.height);
  for (const layer of scene.layers) {
    c.imageSmoothingEnabled = layer.cell * zoom < 0.75;
    c.drawImage(
      layer.bitmap,
      x(layer.keyBegin),
      y(layer.queryBegin),
      layer.bitmap.width * layer.cellAcross * across,
      layer.bitmap.height * layer.cell * down,
    );
  }
  if (showsNumbers(zoom, size)) drawNumbers(c, size, scene, zoom, x, y);
  drawCrosshair(c, size, scene, zoom, x, y);
  c.restore();
  drawAxes(c, size, scene, zoom, x, y);
}

type AxisPosition = (token: number) => number;

function drawNumbers(c: CanvasRenderingContext2D, size: Size, scene: MapScene, zoom: number, x: AxisPosition, y: AxisPosition): void {
  c.textAlign = 'center';
  c.textBaseline = 'middle';
  c.font = `${Math.min(13, zoom * 0.36)}px ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace`;
  const { rect } = scene;
  for (const cells of scene.cells) {
    for (let r = Math.max(0, Math.floor(rect.q0) - cells.queryBegin); r < cells.rows && y(cells.queryBegin + r) < size.height; r++) {
      for (let k = Math.max(0, Math.floor(rect.k0) - cells.keyBegin); k < cells.columns && x(cells.keyBegin + k) < size.width; k++) {
        const value = cells.values[r * cells.columns + k];
        if (!(value >= 0)) continue;
        const colour = shade(intensity(value, scene.max, scene.scale), scene.theme);
        const [left, top] = [x(cells.keyBegin + k), y(cells.queryBegin + r)];
        c.fillStyle = css(colour);
        const [wide, tall] = [zoom * scene.cell.wide, zoom * scene.cell.tall];
        c.fillRect(left + 0.5, top + 0.5, wide - 1, tall - 1);
        c.fillStyle = inkOn(colour);
        c.fillText((cells.error > 0 ? '≈' : '') + printCell(value), left + wide / 2, top + tall / 2, wide - 2);
      }
    }
  }
}

function drawCrosshair(c: CanvasRenderingContext2D, size: Size, scene: MapScene, zoom: number, x: AxisPosition, y: AxisPosition): void {
  const { theme } = scene;
  const { left, top } = marginsOf(scene.rect, size, scene.cell);
  const [wide, high] = [zoom * scene.cell.wide, zoom * scene.cell.tall];
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
  for (const s of scene.q) band(s.begin, s.end, true);
  for (const s of scene.k) band(s.begin, s.end, false);
  if (scene.hover) {
    c.strokeStyle = css(mix(theme.paper, theme.ink, 0.75));
    c.lineWidth = 1;
    c.strokeRect(x(scene.hover.key) - 0.5, y(scene.hover.query) - 0.5, Math.max(3, wide) + 1, Math.max(3, high) + 1);
  }
  if (scene.select) {
    const s = scene.select;
    c.setLineDash([4, 3]);
    c.strokeStyle = line;
    c.strokeRect(x(s.k0), y(s.q0), (s.k1 - s.k0) * wide, (s.q1 - s.q0) * high);
    c.setLineDash([]);
  }
}

function drawAxes(c: CanvasRenderingContext2D, size: Size, scene: MapScene, zoom: number, x: AxisPosition, y: AxisPosition): void {
  const { theme, rect } = scene;
  const { left, top } = marginsOf(rect, size, scene.cell);
  const [wide, tall] = [zoom * scene.cell.wide, zoom * scene.cell.tall];
  const font = (side: number): string => `${side >= kLabelCell ? Math.max(9, Math.min(13, side * 0.8)) : 11}px system-ui, sans-serif`;
  c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
  c.strokeStyle = css(mix(theme.paper, theme.ink, 0.4));
  c.lineWidth = 1;
  c.font = font(wide);
  c.textBaseline = 'middle';
  drawSegmentBands(c, size, scene, zoom, x, y);
  const right = Math.min(size.width, x(scene.keys));
  const bottom = Math.min(size.height, y(scene.queries));
  let labels = wide >= kLabelCell;
  let step = labels ? 1 : tick(64 / wide);
  const origin = scene.columnOrigin ?? 0;
  const [label, number] =
    scene.columnOrigin === undefined ? [scene.label, scene.tick] : [(k: number) => String(k - origin), (k: number) => String(k - origin)];
  for (let k = Math.ceil((rect.k0 - origin) / step) * step + origin; k < scene.keys && x(k) < right; k += step) {
    const at = x(k) + (labels ? wide / 2 : 0);
    if (!labels) drawLine(c, at, top - 5, at, top);
    const side = thumbnailSide(k, labels, wide);
    if (scene.columnOrigin === undefined && scene.thumbnail?.(c, k, Math.max(at, left + side / 2), top - 8 - side / 2, side)) continue;
    c.save();
    c.translate(at, top - (labels ? 11 : 8));
    c.rotate(labels ? -Math.PI / 2.6 : 0);
    c.textAlign = labels ? 'left' : 'center';
    c.fillText(labels ? truncated(c, label(k), top - 19) : number(k), 0, labels ? 0 : -4);
    c.restore();
  }
  labels = tall >= kLabelCell;
  step = labels ? 1 : tick(64 / tall);
  c.font = font(tall);
  for (let q = Math.ceil(rect.q0 / step) * step; q < scene.queries && y(q) < bottom; q += step) {
    const at = labels ? y(q) + tall / 2 : y(scene.rowOfTick(q));
    if (at < top) continue;
    if (!labels) drawLine(c, left - 5, at, left, at);
    const token = labels ? scene.rowToken(q) : q;
    const side = thumbnailSide(q, labels, tall);
    if (token !== null && scene.thumbnail?.(c, token, left - 9 - side / 2, Math.max(at, top + side / 2), side)) continue;
    c.textAlign = 'right';
    c.fillText(labels ? truncated(c, scene.rowLabel(q), left - 16) : scene.tick(q), left - 9, at);
  }
  for (const s of scene.sinks) {
    const at = x(s + 0.5);
    if (at < left || at > right) continue;
    c.beginPath();
    c.moveTo(at - 4, top - 7);
    c.lineTo(at + 4, top - 7);
    c.lineTo(at, top - 1);
    c.fill();
  }
}

/** The size of the picture of a row or column; 0: it has no room beside those of its neighbours. */
const thumbnailSide = (at: number, labels: boolean, cell: number): number =>
  labels && at % Math.ceil((kThumbnail - 8) / cell) !== 0
    ? 0
    : labels
      ? Math.min(kThumbnail, Math.max(kThumbnail - 10, cell - 2))
      : kThumbnail;

/** Draws segments as bands along both axes, with names if they fit. */
function drawSegmentBands(c: CanvasRenderingContext2D, size: Size, scene: MapScene, zoom: number, x: AxisPosition, y: AxisPosition): void {
  const { theme } = scene;
  const { left, top } = marginsOf(scene.rect, size, scene.cell);
  const names = zoom < kLabelCell;
  scene.keySegments.forEach((s, i) => {
    const [from, to] = [Math.max(left, x(s.begin)), x(Math.min(s.end, scene.keys))];
    if (to <= from) return;
    c.fillStyle = css(mix(theme.paper, theme.ink, i % 2 ? 0.32 : 0.2));
    c.fillRect(from, top - 3, Math.max(1, to - from - 1), 3);
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    c.textAlign = 'left';
    if (names && to - from > 28) c.fillText(truncated(c, s.name, to - from - 6), from + 2, top - 30);
  });
  scene.querySegments.forEach((s, i) => {
    const [from, to] = [Math.max(top, y(s.begin)), y(Math.min(s.end, scene.queries))];
    if (to <= from) return;
    c.fillStyle = css(mix(theme.paper, theme.ink, i % 2 ? 0.32 : 0.2));
    c.fillRect(left - 3, from, 3, Math.max(1, to - from - 1));
    c.save();
    c.translate(left - 52, to);
    c.rotate(-Math.PI / 2);
    c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
    c.textAlign = 'left';
    if (names && to - from > 28) c.fillText(truncated(c, s.name, to - from - 6), 2, 0);
    c.restore();
  });
  c.fillStyle = css(mix(theme.paper, theme.ink, 0.78));
}

function drawLine(c: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
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

/** Writes names below items that are `step` pixels wide, from `left` on: as many as have room for the longest. Returns their places. */
export function drawNames(c: CanvasRenderingContext2D, names: readonly string[], left: number, top: number, step: number): number[] {
  const longest = Math.max(0, ...names.slice(0, 500).map((name) => c.measureText(name).width));
  const every = tick(Math.min(160, longest + 10) / step);
  const places: number[] = [];
  for (let i = 0; i < names.length; i += every) {
    places.push(left + i * step);
    c.fillText(truncated(c, names[i], Math.min(every, names.length - i) * step - 4), left + i * step + 3, top);
  }
  return places;
}

function truncated(c: CanvasRenderingContext2D, text: string, width: number): string {
  if (c.measureText(text).width <= width) return text;
  const tail = /\s\S{1,5}$/.exec(text)?.[0] ?? ''; // keeps the end: “sentence 12” and “sentence 13” differ there
  let cut = [...text.slice(0, Math.min(60, text.length - tail.length))];
  while (cut.length > 1 && c.measureText(`${cut.join('')}…${tail}`).width > width) cut = cut.slice(0, -1);
  return `${cut.join('')}…${tail}`;
}
