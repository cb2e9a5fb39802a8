// Words, thumbnails and tables. src/viewer/figure/parts_text.cc draws the same, except signed words and words in one text only, which exist
// only on the page.

import type { Rgb } from '../paint/ramp';
import { intensity } from '../weights';
import { type Area, type Drawing, diverge, fitted, inkOn, kAccent, kInk, kPaper, kPins, kSoft, shade, textWidth, tone } from './drawing';
import type { Grid, Table, Word, Words } from './figure';
import { legend, swatch } from './legend';

const kSize = 8;
const kWord = 9;
const kPitch = 13; // line height of words
const kShare = 9; // extra height of a line with shares
const kSpace = 2.8; // width of a space
const kThumb = 36; // smallest cell of a grid

/** True if a text is written right to left: Hebrew or Arabic. */
const isFromRight = (text: string): boolean => /^[\u0580-\u077f]/.test(text);

/** Words without a space between them, such as the pieces of a word and the punctuation after it. Lines do not break inside a run. */
interface Run {
  words: { word: Word; begin: number; wide: number; joins: boolean; joined: boolean }[]; // joins: touches the previous word; joined: is touched by the next
  width: number;
  gap: Word['gap'];
}

interface Line {
  runs: { run: Run; begin: number }[];
  width: number;
  fromRight: boolean;
}

function runsOf(words: readonly Word[], max: number): Run[] {
  const runs: Run[] = [];
  words.forEach((word, i) => {
    const joins = i > 0 && word.gap === 'none';
    const joined = words[i + 1]?.gap === 'none';
    const own = textWidth(word.text, kWord) + (joins ? 0.5 : 1) + (joined ? 0.5 : 1);
    const wide = Math.min(max, Math.max(own, word.share ? textWidth(word.share, kSize) + 3 : 0));
    let run = runs[runs.length - 1];
    if (!run || !joins || run.width + wide > max) runs.push((run = { words: [], width: 0, gap: word.gap }));
    run.words.push({ word, begin: run.width, wide, joins, joined });
    run.width += wide;
  });
  return runs;
}

function linesOf(words: readonly Word[], width: number): Line[] {
  const lines: Line[] = [{ runs: [], width: 0, fromRight: false }];
  for (const run of runsOf(words, width)) {
    const gap = run.gap === 'space' ? kSpace : 0;
    const breaks = run.gap === 'line';
    let line = lines[lines.length - 1];
    if (line.runs.length > 0 && (breaks || line.width + gap + run.width > width))
      lines.push((line = { runs: [], width: 0, fromRight: !breaks && line.fromRight }));
    if (line.runs.length === 0 && !line.fromRight) line.fromRight = isFromRight(run.words[0].word.text);
    const begin = line.runs.length === 0 ? 0 : line.width + gap;
    line.runs.push({ run, begin });
    line.width = begin + run.width;
  }
  return lines;
}

function drawWord(d: Drawing, { word, joins, joined }: Run['words'][number], box: Area): void {
  const shaded = word.signed ? Math.abs(word.strength) > 0 : word.strength > 0;
  const colour: Rgb = !shaded ? (word.alone ? tone(0.2) : kPaper) : word.signed ? diverge(word.strength) : shade(word.strength);
  if (shaded || word.alone) d.marks.push({ kind: 'box', area: box, fill: colour });
  if (word.special) d.marks.push({ kind: 'box', area: box, stroke: tone(0.3), line: 0.5 });
  if (word.chosen) d.marks.push({ kind: 'box', area: box, stroke: kAccent, line: 1.25 });
  const middle = box.left + box.width / 2;
  if (word.sink) d.marks.push({ kind: 'pointer', x: middle, y: box.top + 1 });
  const ink = shaded ? inkOn(colour) : word.hidden ? tone(0.5) : kInk;
  const text = fitted(word.text, box.width, kWord);
  const anchor = joins === joined ? 'middle' : joins ? 'start' : 'end'; // so that pieces touch
  const x = joins === joined ? middle : joins ? box.left + 0.5 : box.left + box.width - 0.5;
  d.marks.push({ kind: 'text', x, y: box.top + box.height - 3, text, size: kWord, anchor, colour: ink });
  let under = box.top + box.height + 0.5;
  word.bars?.forEach((bar, i) => {
    const area = { left: box.left, top: under, width: box.width * (0.12 + 0.88 * bar), height: 1.6 };
    if (bar > 0.15) d.marks.push({ kind: 'box', area, fill: kPins[i % 6] });
    under += 2.2;
  });
  if (word.share) d.marks.push({ kind: 'text', x: middle, y: under + 7.5, text: word.share, anchor: 'middle', colour: kSoft });
}

export function words(d: Drawing, part: Words, at: Area): number {
  let y = at.top;
  if (part.title !== '') {
    d.marks.push({ kind: 'text', x: at.left, y: y + 8, text: fitted(part.title, at.width, kSize), bold: true });
    y += 14;
  }
  if (part.words.some((word) => word.sink)) y += 4; // room for the mark above the word
  for (const line of linesOf(part.words, at.width)) {
    let [bars, shares] = [0, false];
    for (const { run, begin } of line.runs) {
      for (const one of run.words) {
        const from = begin + one.begin;
        const left = line.fromRight ? at.left + at.width - from - one.wide : at.left + from;
        drawWord(d, one, { left, top: y, width: one.wide, height: kPitch - 1.5 });
        bars = Math.max(bars, one.word.bars?.length ?? 0);
        shares = shares || Boolean(one.word.share);
      }
    }
    y += kPitch + 2.2 * bars + (shares ? kShare : 0);
  }
  const signed = part.words.some((word) => word.signed);
  y += legend(d, part.legend, { ...at, top: y + 4 }, 0, swatch(signed ? (t) => diverge(2 * t - 1) : shade));
  let x = at.left;
  part.bars.forEach((text, i) => {
    const wide = 27 + textWidth(text, kSize);
    if (x > at.left && x + wide > at.left + at.width) {
      x = at.left;
      y += 11;
    }
    d.marks.push({ kind: 'box', area: { left: x, top: y + 8.2, width: 14, height: 1.6 }, fill: kPins[i % 6] });
    d.marks.push({ kind: 'text', x: x + 17, y: y + 12, text });
    x += wide;
  });
  return y + (part.bars.length === 0 ? 0 : 13) + (part.legend ? 4 : 0) - at.top;
}

export function grid(d: Drawing, part: Grid, at: Area): number {
  const each = at.width / Math.max(1, part.columns);
  const columns = each >= kThumb ? part.columns : Math.max(1, Math.floor(at.width / kThumb));
  const wide = Math.min(72, at.width / columns);
  const side = wide - 5;
  const hasNotes = part.cells.some((cell) => cell.note !== '');
  const tall = side + 12 + (hasNotes ? 9.5 : 0) + 4;
  part.cells.forEach((cell, i) => {
    const x = at.left + wide * (i % columns);
    const y = at.top + tall * Math.floor(i / columns);
    const area = { left: x, top: y, width: side, height: side };
    let max = 0;
    for (let v = 0; v < cell.values.length; v++) if (cell.values[v] > max) max = cell.values[v];
    const rgb = new Uint8Array(3 * cell.values.length);
    for (let v = 0; v < cell.values.length; v++) {
      const value = cell.values[v];
      rgb.set(Number.isNaN(value) ? tone(0.06) : value < 0 ? tone(0.2) : shade(intensity(value, max, 'sqrt')), 3 * v);
    }
    if (rgb.length > 0) d.marks.push({ kind: 'pixels', area, width: cell.columns, height: cell.rows, rgb });
    d.marks.push({ kind: 'box', area, stroke: cell.chosen ? kAccent : tone(0.4), line: cell.chosen ? 1.25 : 0.5 });
    const shaded = cell.strength >= 0;
    const colour: Rgb = shaded ? shade(cell.strength) : kPaper;
    const under = { left: x, top: y + side + 1.5, width: side, height: hasNotes ? 20 : 10.5 };
    if (shaded) d.marks.push({ kind: 'box', area: under, fill: colour });
    const ink = shaded ? inkOn(colour) : kInk;
    d.marks.push({ kind: 'text', x: x + side / 2, y: y + side + 9.5, text: cell.name, anchor: 'middle', colour: ink });
    if (cell.note !== '') {
      const text = fitted(cell.note, side, kSize);
      d.marks.push({ kind: 'text', x: x + side / 2, y: y + side + 19, text, anchor: 'middle', colour: shaded ? ink : kSoft });
    }
  });
  let y = at.top + tall * Math.ceil(part.cells.length / columns);
  for (const one of part.legends) y += legend(d, one, { ...at, top: y + 2 });
  return y - at.top;
}

export function table(d: Drawing, part: Table, at: Area): number {
  const widths = part.head.map((name, c) =>
    part.rows.reduce((w, row) => Math.max(w, textWidth(row[c] ?? '', kSize)), textWidth(name, kSize)),
  );
  let y = at.top;
  const line = (cells: readonly string[], colour: Rgb): void => {
    let x = at.left;
    for (let c = 0; c < cells.length && c < widths.length; c++) {
      const room = at.left + at.width - x;
      if (room < 12) break;
      d.marks.push({ kind: 'text', x, y: y + 8, text: fitted(cells[c], room, kSize), colour });
      x += widths[c] + 10;
    }
    y += 11;
  };
  line(part.head, kSoft);
  d.marks.push({ kind: 'curve', x0: at.left, y0: y, x1: at.left + at.width, y1: y, stroke: tone(0.4), line: 0.5 });
  y += 2;
  for (const row of part.rows) line(row, kInk);
  return y - at.top;
}
