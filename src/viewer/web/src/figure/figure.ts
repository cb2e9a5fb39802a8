// What a view exports: a description of its figure, of these parts. SVG, PDF and TikZ, sizes, colours and captions follow for all views alike.
//
// A new view takes part by one method of its class, `figure()` (interface View in context.ts), which returns the parts of what it shows now, and a
// sentence that says what they are:
//
//   figure(): Exported {
//     return { parts: [{ kind: 'matrix', … }, { kind: 'table', … }], says: /* a sentence */, badge: 'exact' };
//   }
//
// and by its line in the table of views in app.ts (`exported`). Numbers come from the view's own fields, not from the screen; text is given whole, for
// the layout cuts it. Parts that no kind fits are a new kind: a case in parts.ts, and in src/viewer/figure/parts.h if the terminal is to draw it.
//
// What only the page draws (why, what if and compare, which the terminal does not have) is here alone: signed matrices with bars beside their rows, signed words.

import type { Badge, Scale } from '../source/source';
import { type Drawing, kSoft, textWidth } from './drawing';
import type { Legend } from './legend';
import { grid, table, words } from './parts_text';
import { lines, matrix, picture } from './parts';

/** Rows or columns of a matrix: labels where they have room, else every so many the number of the first. */
export interface Axis {
  name: string; // 'query', 'key'; empty: none
  count: number; // cells
  labels: readonly string[]; // [count], or empty
  begin: number; // what the first cell stands for
  step: number; // and how many a cell
}

export interface Span {
  begin: number;
  end: number;
}

export interface Matrix {
  kind: 'matrix';
  rows: Axis;
  columns: Axis;
  values: ArrayLike<number>; // [rows, columns]; NaN hidden, −1 never scored
  most: number; // the darkest
  scale: Scale;
  texts: readonly string[]; // [rows, columns], written into cells where they have room; or empty
  square: boolean; // false: cells are as wide as there is room for
  sinks: readonly number[]; // columns
  chosenRows: readonly Span[];
  chosenColumns: readonly Span[];
  legend: Legend | null;
  signed?: boolean; // below zero is blue, above orange; NaN hidden, infinite not comparable
  bars?: { name: string; values: ArrayLike<number>; most: number }; // beside the rows; NaN: none
}

export interface Lines {
  kind: 'lines';
  queryName: string;
  keyName: string;
  queries: readonly string[];
  keys: readonly string[];
  lines: readonly { query: number; key: number; strength: number; head: number; standsOut: boolean }[]; // faintest first
  chosen: readonly number[]; // places on the side that is asked
  asksKeys: boolean;
  strengths: readonly number[]; // of the other side's tokens, or empty
  shares: readonly string[]; // beside them, or empty
  heads: readonly Legend[]; // of the pinned heads, whose lines have scales of their own; named where there are several
}

export interface Word {
  text: string;
  gap: 'none' | 'space' | 'line'; // before it
  strength: number; // NaN: none; below zero: blue, where `signed`
  signed?: boolean;
  alone?: boolean; // in one of two texts only: not comparable
  chosen?: boolean;
  sink?: boolean;
  special?: boolean;
  hidden?: boolean;
  share?: string; // under it
  bars?: readonly number[]; // of the pinned heads, 0…1
}

export interface Words {
  kind: 'words';
  title: string;
  words: readonly Word[];
  legend: Legend | null;
  bars: readonly string[]; // of the pinned heads: what their bars mean, 'L1.H0: bars to 41 %'
}

export interface Thumbnail {
  name: string;
  note: string;
  rows: number;
  columns: number;
  values: ArrayLike<number>; // [rows, columns]
  strength: number; // shades the name; NaN: none
  chosen: boolean;
}

export interface Grid {
  kind: 'grid';
  columns: number;
  cells: readonly Thumbnail[];
  legends: readonly Legend[]; // of the thumbnails, and of the names where they are shaded
}

export interface Table {
  kind: 'table';
  head: readonly string[];
  rows: readonly (readonly string[])[];
}

/** A picture with weights in their places over it: patches, or frames below it. */
export interface PicturePart {
  kind: 'picture';
  width: number; // of the pixels; 0: there is no picture
  height: number;
  rgb: Uint8Array;
  rows: number;
  columns: number;
  strengths: readonly number[]; // [rows, columns]; NaN without weight; empty: the picture alone
  chosen: readonly number[];
  labels: readonly { at: number; text: string }[];
  aspect: number; // width / height
  legend: Legend | null;
}

export type Part = Matrix | Lines | Words | Grid | Table | PicturePart;

/** What a view shows now. */
export interface Exported {
  parts: Part[];
  says: string;
  badge: Badge; // of its numbers
  rules?: readonly string[]; // what the caption says of heads and weights, where it is not what the controls say
}

export interface Figure {
  name: string;
  caption: string;
  command: string;
  parts: readonly Part[];
}

/** Widths of a column and of a page of two, as journals have them, in millimetres. */
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
    const tall =
      part.kind === 'matrix'
        ? matrix(d, part, at)
        : part.kind === 'lines'
          ? lines(d, part, at)
          : part.kind === 'words'
            ? words(d, part, at)
            : part.kind === 'grid'
              ? grid(d, part, at)
              : part.kind === 'picture'
                ? picture(d, part, at)
                : table(d, part, at);
    y += tall + kGap;
  }
  for (const line of wrapped(figure.caption, width)) {
    d.marks.push({ kind: 'text', x: kPad, y: y + 8, text: line, colour: kSoft });
    y += kLeading;
  }
  d.height = y + kPad;
  return d;
}

/** At blanks, and between ideographs. */
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
