// Matrices, lines and pictures. src/viewer/figure/parts.cc draws the same, except signed matrices and the bars beside their rows, which
// exist only on the page.

import { cividis, mix, type Rgb } from '../paint/ramp';
import { intensity } from '../weights';
import { type Area, type Drawing, diverge, fitted, inkOn, kAccent, kInk, kPaper, kPins, kSoft, shade, textWidth, tone } from './drawing';
import type { Axis, Lines, Matrix, PicturePart } from './figure';
import { legend, swatch } from './legend';

const kSize = 8; // font size of every label
const kLabelled = 9; // cell size needed for a label
const kNumbered = 19; // cell size needed for a number
const kWidest = 22; // largest size of a square cell
const kStretched = 42; // largest width of other cells
const kFlat = 13; // largest height of other cells
const kMaxBoxes = 4096; // with more cells, all are drawn as one picture
const kSlope = 60; // rotation of column labels, degrees
const kSine = 0.866;
const kPitch = 11; // line height of the tokens beside lines
const kCurves = 180; // largest width of the curves
const kBars = 62; // width of the bars beside a matrix, with their margin
const kHidden = tone(0.06);
const kUnscored = tone(0.2);
const kFrame = tone(0.4);

const widest = (labels: readonly string[]): number => labels.reduce((max, l) => Math.max(max, textWidth(l, kSize)), 0);

/** The smallest round number (1, 2 or 5 times a power of ten) of at least `atLeast`. */
function tick(atLeast: number): number {
  let power = 1;
  while (power * 10 <= Math.max(1, atLeast)) power *= 10;
  return [1, 2, 5].map((m) => m * power).find((v) => v >= atLeast) ?? 10 * power;
}

/** Height of the sink marks between labels and cells. */
const pointers = (m: Matrix): number => (m.sinks.length > 0 ? 5 : 0);

interface Layout {
  left: number;
  top: number;
  wide: number;
  tall: number;
  rowLabels: boolean;
  columnLabels: boolean;
  labelRoom: number;
  columnRoom: number;
}

function layoutOf(m: Matrix, at: Area): Layout {
  const name = m.rows.name === '' ? 0 : 11;
  const above = m.columns.name === '' ? 0 : 11;
  const [rows, columns] = [Math.max(1, m.rows.count), Math.max(1, m.columns.count)];
  const last = m.columns.labels[m.columns.labels.length - 1];
  const end = last === undefined ? 8 : Math.min(30, 0.5 * textWidth(last, kSize));
  const beside = m.bars ? kBars : 0;
  const fit = (gutter: number): { left: number; wide: number; tall: number } => {
    const room = at.width - name - gutter - Math.max(end, beside);
    const wide = m.square ? Math.min(kWidest, room / columns, (1.25 * at.width) / rows) : Math.min(kStretched, room / columns);
    const tall = m.square ? wide : Math.min(kFlat, Math.max(1, (1.25 * at.width) / rows));
    return { left: at.left + name + gutter, wide, tall };
  };
  const number = (axis: Axis): number =>
    Math.max(textWidth(String(axis.begin), kSize), textWidth(String(axis.begin + axis.count * axis.step), kSize)) + 8;
  const labelRoom = Math.min(widest(m.rows.labels), (m.square ? 0.34 : 0.6) * at.width);
  let cell = fit(labelRoom + 4);
  const rowLabels = m.rows.labels.length > 0 && cell.tall >= kLabelled;
  if (!rowLabels) cell = fit(number(m.rows));
  const columnLabels = m.columns.labels.length > 0 && cell.wide >= kLabelled;
  const columnRoom = (columnLabels ? Math.min(64, widest(m.columns.labels) * kSine + 8) : 14) + pointers(m);
  return { ...cell, top: at.top + above + columnRoom, rowLabels, columnLabels, labelRoom, columnRoom };
}

function colourOf(m: Matrix, value: number): Rgb {
  if (Number.isNaN(value)) return kHidden;
  if (m.signed && Number.isFinite(value)) return diverge(Math.sign(value) * intensity(Math.abs(value), m.max, m.scale));
  return m.signed || value < 0 ? kUnscored : shade(intensity(value, m.max, m.scale));
}

const isSame = (a: Rgb, b: Rgb): boolean => a[0] === b[0] && a[1] === b[1] && a[2] === b[2];

function cells(d: Drawing, m: Matrix, l: Layout): void {
  const [rows, columns] = [m.rows.count, m.columns.count];
  const all: Area = { left: l.left, top: l.top, width: l.wide * columns, height: l.tall * rows };
  if (rows * columns > kMaxBoxes) {
    const rgb = new Uint8Array(3 * rows * columns);
    for (let i = 0; i < rows * columns; i++) rgb.set(colourOf(m, m.values[i]), 3 * i);
    d.marks.push({ kind: 'pixels', area: all, width: columns, height: rows, rgb });
    return;
  }
  d.marks.push({ kind: 'box', area: all, fill: kHidden });
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; ) {
      const colour = colourOf(m, m.values[r * columns + c]);
      let end = c + 1;
      while (end < columns && isSame(colourOf(m, m.values[r * columns + end]), colour)) end++;
      if (!isSame(colour, kHidden)) {
        const area = { left: l.left + c * l.wide, top: l.top + r * l.tall, width: l.wide * (end - c), height: l.tall };
        d.marks.push({ kind: 'box', area, fill: colour });
      }
      c = end;
    }
  }
  if (m.texts.length === 0 || l.wide < kNumbered || l.tall < kLabelled) return;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const at = r * columns + c;
      const [x, y] = [l.left + (c + 0.5) * l.wide, l.top + (r + 0.5) * l.tall + 2.8];
      d.marks.push({ kind: 'text', x, y, text: m.texts[at], anchor: 'middle', colour: inkOn(colourOf(m, m.values[at])) });
    }
  }
}

function ticks(axis: Axis, cell: number, put: (place: number, text: string) => void): void {
  const every = tick((36 / cell) * axis.step);
  for (let value = Math.ceil(axis.begin / every) * every || 0; value < axis.begin + axis.count * axis.step; value += every)
    put((value - axis.begin) / axis.step, String(value));
}

function axes(d: Drawing, m: Matrix, l: Layout, at: Area): void {
  const [right, bottom] = [l.left + m.columns.count * l.wide, l.top + m.rows.count * l.tall];
  const x = (column: number): number => l.left + column * l.wide;
  const y = (row: number): number => l.top + row * l.tall;
  const stroke = (x0: number, y0: number, x1: number, y1: number): void => {
    d.marks.push({ kind: 'curve', x0, y0, x1, y1, stroke: kFrame });
  };
  if (m.columns.name !== '')
    d.marks.push({ kind: 'text', x: (l.left + right) / 2, y: at.top + 8, text: m.columns.name, anchor: 'middle', colour: kSoft });
  if (m.rows.name !== '')
    d.marks.push({ kind: 'text', x: at.left + 8, y: (l.top + bottom) / 2, text: m.rows.name, anchor: 'middle', colour: kSoft, turn: 90 });
  if (l.rowLabels) {
    m.rows.labels.forEach((label, r) => {
      d.marks.push({ kind: 'text', x: l.left - 4, y: y(r + 0.5) + 2.8, text: fitted(label, l.labelRoom, kSize), anchor: 'end' });
    });
  }
  if (l.columnLabels) {
    m.columns.labels.forEach((label, c) => {
      const text = fitted(label, (l.columnRoom - pointers(m) - 8) / kSine + 1, kSize);
      d.marks.push({ kind: 'text', x: x(c + 0.5) + 2, y: l.top - 3 - pointers(m), text, turn: kSlope });
    });
  }
  if (!l.rowLabels) {
    ticks(m.rows, l.tall, (place, text) => {
      stroke(l.left - 3, y(place), l.left, y(place));
      d.marks.push({ kind: 'text', x: l.left - 5, y: y(place) + 2.8, text, anchor: 'end' });
    });
  }
  if (!l.columnLabels) {
    ticks(m.columns, l.wide, (place, text) => {
      stroke(x(place), l.top - 3, x(place), l.top);
      d.marks.push({ kind: 'text', x: x(place), y: l.top - 5 - pointers(m), text, anchor: 'middle' });
    });
  }
  const frame = { left: l.left, top: l.top, width: right - l.left, height: bottom - l.top };
  d.marks.push({ kind: 'box', area: frame, stroke: kFrame, line: 0.5 });
  for (const sink of m.sinks) d.marks.push({ kind: 'pointer', x: x(sink + 0.5), y: l.top });
  for (const s of m.chosenRows) {
    const area = { left: l.left, top: y(s.begin), width: right - l.left, height: l.tall * (s.end - s.begin) };
    d.marks.push({ kind: 'box', area, stroke: kAccent, line: 1 });
  }
  for (const s of m.chosenColumns) {
    const area = { left: x(s.begin), top: l.top, width: l.wide * (s.end - s.begin), height: bottom - l.top };
    d.marks.push({ kind: 'box', area, stroke: kAccent, line: 1 });
  }
}

/** Draws one bar per row. The line at the end marks the largest possible value. */
function bars(d: Drawing, m: Matrix, l: Layout, at: Area): void {
  if (!m.bars) return;
  const [left, room] = [l.left + m.columns.count * l.wide + 8, kBars - 14];
  const bottom = l.top + m.rows.count * l.tall;
  for (const x of [left, left + room]) d.marks.push({ kind: 'curve', x0: x, y0: l.top, x1: x, y1: bottom, stroke: kFrame, line: 0.5 });
  d.marks.push({ kind: 'text', x: left, y: Math.max(at.top + 8, l.top - 3), text: fitted(m.bars.name, kBars - 8, kSize), colour: kSoft });
  for (let r = 0; r < m.rows.count; r++) {
    const value = m.bars.values[r];
    if (!(value > 0)) continue;
    const tall = Math.min(8, 0.8 * l.tall);
    const area = {
      left,
      top: l.top + (r + 0.5) * l.tall - tall / 2,
      width: (room * Math.min(value, m.bars.max)) / m.bars.max,
      height: tall,
    };
    d.marks.push({ kind: 'box', area, fill: tone(0.55) });
  }
}

/** Draws a matrix. Each drawing function of a part returns its height. */
export function matrix(d: Drawing, m: Matrix, at: Area): number {
  const l = layoutOf(m, at);
  cells(d, m, l);
  axes(d, m, l, at);
  bars(d, m, l, at);
  const bottom = l.top + m.rows.count * l.tall;
  const below = { ...at, top: bottom + 5 };
  return bottom + 5 + legend(d, m.legend, below, l.left - at.left, swatch(m.signed ? (t) => diverge(2 * t - 1) : shade)) - at.top;
}

/** Opacity of a line, which depends on whether it stands out and on whether tokens are selected. */
function opacityOf(strength: number, standsOut: boolean, hasSelection: boolean): number {
  if (!standsOut) return 0.05 + 0.08 * strength;
  return hasSelection ? 0.25 + 0.75 * strength : 0.08 + 0.82 * strength;
}

/** Draws the colour bars under lines: first that of shaded tokens, then one per head with its lines as they are drawn. */
function barsOfLines(d: Drawing, part: Lines, at: Area): number {
  let { top } = at;
  const hasSelection = part.chosen.length > 0;
  if (part.strengths.length > 0 && part.heads.length > 0) top += legend(d, part.heads[0], at);
  part.heads.forEach((head, i) => {
    top += legend(d, head, { ...at, top }, 0, ({ left, top: above, width, height }, t) => {
      const y = above + height / 2;
      const style = { stroke: kPins[i % 6], line: 0.4 + 2 * t, opacity: opacityOf(t, true, hasSelection) };
      return { kind: 'curve', x0: left, y0: y, x1: left + width, y1: y, ...style };
    });
  });
  return top - at.top;
}

export function lines(d: Drawing, part: Lines, at: Area): number {
  const queries = Math.min(0.38 * at.width, Math.max(widest(part.queries), textWidth(part.queryName, kSize)));
  const shares = part.shares.length === 0 ? 0 : widest(part.shares) + 6;
  const keys = Math.min(0.38 * at.width - shares, Math.max(widest(part.keys), textWidth(part.keyName, kSize)));
  const from = at.left + queries + 6;
  const to = Math.min(from + kCurves, at.left + at.width - keys - shares - 6);
  const top = at.top + 13;
  const y = (place: number): number => top + (place + 0.5) * kPitch;
  d.marks.push({ kind: 'text', x: from - 4, y: at.top + 8, text: part.queryName, anchor: 'end', colour: kSoft });
  d.marks.push({ kind: 'text', x: to + 4, y: at.top + 8, text: part.keyName, colour: kSoft });
  const hasSelection = part.chosen.length > 0;
  for (const standsOut of [false, true]) {
    for (const one of part.lines) {
      if (one.standsOut !== standsOut) continue;
      const opacity = opacityOf(one.strength, standsOut, hasSelection);
      const ends = { x0: from, y0: y(one.query), x1: to, y1: y(one.key) };
      d.marks.push({ kind: 'curve', ...ends, stroke: kPins[one.head % 6], line: 0.4 + 2 * one.strength, opacity, bent: true });
    }
  }
  const token = (isKey: boolean, place: number, label: string, room: number): void => {
    const text = fitted(label, room, kSize);
    const width = textWidth(text, kSize);
    const left = isKey ? to + 4 : from - 4 - width;
    const other = part.asksKeys !== isKey;
    const strength = other ? (part.strengths[place] ?? 0) : 0;
    const colour = strength > 0 ? shade(strength) : kPaper;
    const area = { left: left - 1.5, top: y(place) - 0.5 * kPitch + 0.5, width: width + 3, height: kPitch - 1 };
    if (strength > 0) d.marks.push({ kind: 'box', area, fill: colour });
    if (!other && part.chosen.includes(place)) d.marks.push({ kind: 'box', area, stroke: kAccent, line: 1 });
    const anchor = isKey ? 'start' : 'end';
    const ink = strength > 0 ? inkOn(colour) : kInk;
    d.marks.push({ kind: 'text', x: isKey ? to + 4 : from - 4, y: y(place) + 2.8, text, anchor, colour: ink });
    const share = other ? part.shares[place] : '';
    if (share)
      d.marks.push({ kind: 'text', x: isKey ? left + width + 4 : left - 4, y: y(place) + 2.8, text: share, anchor, colour: kSoft });
  };
  part.queries.forEach((label, i) => token(false, i, label, queries));
  part.keys.forEach((label, i) => token(true, i, label, keys));
  const bottom = top + Math.max(part.queries.length, part.keys.length) * kPitch + 4;
  return bottom + barsOfLines(d, part, { ...at, top: bottom }) - at.top;
}

/** Draws the original picture, and beside it the picture lit by weight: dark without weight. */
export function picture(d: Drawing, part: PicturePart, at: Area): number {
  const lit = part.strengths.length > 0;
  const count = (part.width > 0 ? 1 : 0) + (lit ? 1 : 0);
  const width = Math.min(count > 1 ? (at.width - 8) / 2 : at.width, 220 * Math.max(1, part.aspect));
  const height = width / part.aspect;
  const pixels = (left: number): void => {
    const area = { left, top: at.top, width, height };
    if (part.width > 0) d.marks.push({ kind: 'pixels', area, width: part.width, height: part.height, rgb: part.rgb });
  };
  pixels(at.left);
  const left = at.left + (count > 1 ? width + 8 : 0);
  if (lit) d.marks.push(litMark(part, { left, top: at.top, width, height }));
  const [wide, tall] = [width / part.columns, height / part.rows];
  const place = (i: number): Area => ({
    left: left + (i % part.columns) * wide,
    top: at.top + Math.floor(i / part.columns) * tall,
    width: wide,
    height: tall,
  });
  for (const i of part.chosen) d.marks.push({ kind: 'box', area: place(i), stroke: kAccent, line: 1.5 });
  for (const { at: i, text } of part.labels) {
    const { left: x, top: y } = place(i);
    const over = textWidth(text, kSize) + 2;
    d.marks.push({ kind: 'box', area: { left: x + (wide - over) / 2, top: y + tall / 2 - 5, width: over, height: 10 }, fill: [0, 0, 0] });
    d.marks.push({ kind: 'text', x: x + wide / 2, y: y + tall / 2 + 2.8, text, anchor: 'middle', colour: kPaper });
  }
  return height + 4 + legend(d, lit ? part.legend : null, { ...at, top: at.top + height + 4 }, 0, swatch(light));
}

/** The colour of a weight over a picture. */
const light = (t: number): Rgb => cividis(0.06 + 0.94 * t);

/** The picture darkened and then lit by weight, because a picture has no paper colour (per pixel, as lightPatches of paint/pixels.ts). */
function litMark(part: PicturePart, area: Area): Drawing['marks'][number] {
  const [width, height] = part.width > 0 ? [part.width, part.height] : [part.columns, part.rows];
  const rgb = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = Math.floor((y * part.rows) / height) * part.columns + Math.floor((x * part.columns) / width);
      const t = part.strengths[i];
      const at = 3 * (y * width + x);
      const own: Rgb = part.width > 0 ? [part.rgb[at], part.rgb[at + 1], part.rgb[at + 2]] : kPaper;
      const lit = Number.isNaN(t) ? own : mix(own, light(t), part.width > 0 ? 0.58 + 0.2 * t : 1);
      rgb.set(lit, at);
    }
  }
  return { kind: 'pixels', area, width, height, rgb };
}
