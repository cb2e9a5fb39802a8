// The description of a figure that a view exports. SVG, PDF and TikZ, sizes, colours and captions are derived from it in the same way for
// all views.
//
// A new view needs two things. One is a method of its class, `figure()` (interface View in context.ts), which returns the parts of what it
// shows now and a sentence that describes them:
//
//   figure(): Exported {
//     return { parts: [{ kind: 'matrix', … }, { kind: 'table', … }], description: /* a sentence */, badge: 'exact' };
//   }
//
// The other is its line in views/whole.ts. Numbers come from the view's own fields, not from the screen; text is passed in full, because the
// layout truncates it. If no kind of part fits, add a new kind: a file, its line in kDrawers, and a case in src/viewer/figure/parts.h if the
// terminal should draw it.
//
// Some parts are drawn by the page only, because their views do not exist in the terminal: signed matrices with bars beside their rows, signed
// words, and the lines of all heads.

import type { Badge, Scale } from '../source/source';
import { type Area, type Drawing, kSoft, textWidth } from './drawing';
import { headLines } from './headLines';
import type { Legend } from './legend';
import { grid, table, words } from './partsText';
import { lines, matrix, picture } from './parts';

/** The rows or columns of a matrix: labels if there is room, else the number of the first id at regular intervals. */
export interface Axis {
  name: string; // 'query', 'key'; empty: no name
  count: number; // cells
  labels: readonly string[]; // [count], or empty
  begin: number; // first id of the first cell
  step: number; // ids per cell
}

export interface Span {
  begin: number;
  end: number;
}

export interface Matrix {
  kind: 'matrix';
  rows: Axis;
  columns: Axis;
  values: ArrayLike<number>; // [rows, columns]; NaN: hidden, −1: never scored
  max: number; // the value of the darkest colour
  scale: Scale;
  texts: readonly string[]; // [rows, columns], written into cells if there is room; or empty
  square: boolean; // false: cells use the available width
  sinks: readonly number[]; // columns
  chosenRows: readonly Span[];
  chosenColumns: readonly Span[];
  legend: Legend | null;
  signed?: boolean; // negative values are blue, positive ones orange; NaN: hidden, infinite: not comparable
  bars?: { name: string; values: ArrayLike<number>; max: number }; // beside the rows; NaN: no bar
}

export interface Lines {
  kind: 'lines';
  queryName: string;
  keyName: string;
  queries: readonly string[];
  keys: readonly string[];
  lines: readonly { query: number; key: number; strength: number; head: number; standsOut: boolean }[]; // faintest first
  chosen: readonly number[]; // indices in the selected column
  asksKeys: boolean;
  strengths: readonly number[]; // for the tokens of the other column, or empty
  shares: readonly string[]; // printed beside those tokens, or empty
  heads: readonly Legend[]; // one per pinned head, since each has its own scale; named if there are several
}

export interface Word {
  text: string;
  gap: 'none' | 'space' | 'line'; // gap before the word
  strength: number; // NaN: no weight; negative values are blue if `signed`
  signed?: boolean;
  alone?: boolean; // occurs in only one of two texts: not comparable
  chosen?: boolean;
  sink?: boolean;
  special?: boolean;
  hidden?: boolean;
  share?: string; // printed under the word
  bars?: readonly number[]; // one per pinned head, 0…1
}

export interface Words {
  kind: 'words';
  title: string;
  words: readonly Word[];
  legend: Legend | null;
  bars: readonly string[]; // one per pinned head, the scale of its bars: 'L1.H0: bars to 41 %'
}

export interface Thumbnail {
  name: string;
  note: string;
  rows: number;
  columns: number;
  values: ArrayLike<number>; // [rows, columns]
  strength: number; // shading of the name; NaN: none
  chosen: boolean;
}

export interface Grid {
  kind: 'grid';
  columns: number;
  cells: readonly Thumbnail[];
  legends: readonly Legend[]; // of the thumbnails, and of the names if these are shaded
}

export interface Table {
  kind: 'table';
  head: readonly string[];
  rows: readonly (readonly string[])[];
}

/** A picture overlaid with the weights of its patches, or with the weights of its frames below it. */
export interface PicturePart {
  kind: 'picture';
  width: number; // in pixels; 0: no picture
  height: number;
  rgb: Uint8Array;
  rows: number;
  columns: number;
  strengths: readonly number[]; // [rows, columns]; NaN: no weight; empty: show the picture alone
  chosen: readonly number[];
  labels: readonly { at: number; text: string }[];
  aspect: number; // width / height
  legend: Legend | null;
}

/** The lines of all heads. */
export interface HeadLines {
  kind: 'headLines';
  layers: number;
  heads: number;
  queries: readonly string[];
  keys: readonly string[];
  cells: readonly {
    chosen: boolean;
    lines: readonly { query: number; key: number; strength: number; standsOut: boolean }[]; // faintest first
  }[]; // [layers, heads]
}

export type Part = Matrix | Lines | Words | Grid | Table | PicturePart | HeadLines;

/** Draws each kind of part and returns its height. */
const kDrawers: { [Kind in Part['kind']]: (d: Drawing, part: Extract<Part, { kind: Kind }>, at: Area) => number } = {
  matrix,
  lines,
  words,
  grid,
  table,
  picture,
  headLines,
};

/** The export of a view. */
export interface Exported {
  parts: Part[];
  description: string;
  badge: Badge; // badge of the numbers
  rules?: readonly string[]; // what the caption says about heads and weights, if this differs from the controls
}

export interface Figure {
  name: string;
  caption: string;
  command: string;
  parts: readonly Part[];
}

/** Widths in millimetres of one column and of a two-column page, as in journals. */
export const kWidths = { column: 84, page: 174 };

const kPad = 4;
const kGap = 9;
const kLeading = 10.5;

export function draw(figure: Figure, millimetres: number): Drawing {
  const d: Drawing = {
    width: (millimetres * 72) / 25.4,
    height: 0,
    title: figure.name,
    description: `${figure.caption}\n${figure.command}`,
    marks: [],
  };
  const width = d.width - 2 * kPad;
  let y = kPad;
  for (const part of figure.parts) {
    const at = { left: kPad, top: y, width, height: 0 };
    const drawer = kDrawers[part.kind] as (d: Drawing, part: Part, at: Area) => number;
    const tall = drawer(d, part, at);
    y += tall + kGap;
  }
  for (const line of wrapped(figure.caption, width)) {
    d.marks.push({ kind: 'text', x: kPad, y: y + 8, text: line, colour: kSoft });
    y += kLeading;
  }
  d.height = y + kPad;
  return d;
}

/** Wraps text at spaces and between ideographs. */
function wrapped(text: string, width: number): string[] {
  const out: string[] = [];
  let line = '';
  for (const word of text.match(/[\u2e80-\u9fff\uff00-\uff60]|[^ \u2e80-\u9fff\uff00-\uff60]+| /g) ?? []) {
    if (line.trim() !== '' && textWidth((line + word).trimEnd(), 8) > width) {
      out.push(line.trimEnd());
      line = word === ' ' ? '' : word;
    } else line += word;
  }
  return line.trim() === '' ? out : [...out, line.trimEnd()];
}
