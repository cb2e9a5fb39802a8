// The lines of every head, layers down and heads across, each in a narrow panel between its tokens. The names of the tokens stand once per
// layer, at both ends of its row.

import { type Area, type Drawing, fitted, kAccent, kInk, kPins, kSoft, textWidth, tone } from './drawing';
import type { HeadLines } from './figure';

const kSize = 8;
const kPitch = 10; // height of a named token
const kDense = 3; // height of a token if there are too many for names
const kMostNamed = 32;
const kGap = 10; // between layers, and between heads
const kNarrowest = 16; // of a panel

const widest = (labels: readonly string[]): number => labels.reduce((max, label) => Math.max(max, textWidth(label, kSize)), 0);

export function headLines(d: Drawing, part: HeadLines, at: Area): number {
  const tokens = Math.max(part.queries.length, part.keys.length);
  const isNamed = tokens <= kMostNamed;
  const pitch = isNamed ? kPitch : kDense;
  const most = 0.16 * at.width;
  const beside = (labels: readonly string[]): number => (isNamed ? Math.min(most, widest(labels)) + 5 : 0);
  const layerName = 16;
  const [before, after] = [layerName + beside(part.queries), beside(part.keys)];
  const room = at.width - before - after + kGap;
  const columns = Math.max(1, Math.min(part.heads, Math.floor(room / (kNarrowest + kGap))));
  const wide = room / columns - kGap;
  const tall = tokens * pitch;
  let top = at.top;
  for (let layer = 0; layer < part.layers; layer++) {
    for (let first = 0; first < part.heads; first += columns) {
      const y = (place: number): number => top + 11 + (place + 0.5) * pitch;
      d.marks.push({ kind: 'text', x: at.left, y: top + 8, text: `L${layer}`, colour: kSoft });
      if (isNamed) {
        part.queries.forEach((name, i) =>
          d.marks.push({
            kind: 'text',
            x: at.left + before - 4,
            y: y(i) + 2.8,
            text: fitted(name, most, kSize),
            anchor: 'end',
            colour: kInk,
          }),
        );
        part.keys.forEach((name, i) =>
          d.marks.push({ kind: 'text', x: at.left + at.width - after + 4, y: y(i) + 2.8, text: fitted(name, most, kSize), colour: kInk }),
        );
      }
      for (let head = first; head < Math.min(part.heads, first + columns); head++) {
        const left = at.left + before + (head - first) * (wide + kGap);
        const cell = part.cells[layer * part.heads + head];
        d.marks.push({ kind: 'text', x: left + wide / 2, y: top + 8, text: `H${head}`, anchor: 'middle', colour: kSoft });
        for (const x of [left, left + wide])
          d.marks.push({
            kind: 'curve',
            x0: x,
            y0: top + 11,
            x1: x,
            y1: top + 11 + tall,
            stroke: cell.chosen ? kAccent : tone(0.25),
            line: 0.5,
          });
        for (const { query, key, strength, standsOut } of cell.lines) {
          const opacity = standsOut ? 0.25 + 0.75 * strength : 0.06 + 0.4 * strength;
          const ends = { x0: left, y0: y(query), x1: left + wide, y1: y(key) };
          d.marks.push({ kind: 'curve', ...ends, stroke: kPins[0], line: 0.3 + 1.4 * strength, opacity, bent: true });
        }
      }
      top += 11 + tall + kGap;
    }
  }
  return top - kGap - at.top;
}
