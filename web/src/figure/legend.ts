// Colour bars of figures. src/viewer/figure/legend.cc draws the same bars, except those of changes and of overlaid pictures, which exist
// only on the page.

import type { Rgb } from '../paint/ramp';
import { type Area, type Drawing, type Mark, kSoft, shade, textWidth, tone } from './drawing';

/** A colour bar from no weight to the largest: the numbers at both ends and in the middle, and the scale. */
export interface Legend {
  low: string; // '0', '10 %', '41 %'
  middle: string;
  high: string;
  scale: string; // 'square root scale'
  name?: string; // label before the bar
}

/** Returns the mark that fills an area of a bar; t is its position, 0…1. */
type Swatch = (area: Area, t: number) => Mark;
export const swatch =
  (colour: (t: number) => Rgb): Swatch =>
  (area, t) => ({ kind: 'box', area, fill: colour(t) });

const kSize = 8;
const kGap = 6;
const kLeading = 9.5;
const kTall = 6; // height of the bar
const kBar = 120; // minimum width; wider if its numbers need more room
const kSwatches = 24;

function barWidth(l: Legend): number {
  const end = Math.max(textWidth(l.low, kSize), textWidth(l.high, kSize));
  return Math.max(kBar, 2 * end + textWidth(l.middle, kSize) + 2 * kGap);
}

/** Draws a bar at the top of an area, `indent` from its left if there is room. Returns its height. */
export function legend(d: Drawing, l: Legend | null, at: Area, indent = 0, mark: Swatch = swatch(shade)): number {
  if (!l) return 0;
  const bar = barWidth(l);
  const name = l.name ? textWidth(l.name, kSize) + kGap : 0;
  const all = name + bar + kGap + textWidth(l.scale, kSize);
  const isBelow = all > at.width; // whether the name of the scale goes below the bar
  const left = at.left + Math.max(0, Math.min(indent, at.width - all));
  const [from, to] = [left + name, left + name + bar];
  const [text, numbers] = [at.top + kTall + 1, at.top + kTall + 9];
  if (l.name) d.marks.push({ kind: 'text', x: left, y: text, text: l.name });
  const each = bar / kSwatches;
  for (let i = 0; i < kSwatches; i++)
    d.marks.push(mark({ left: from + each * i, top: at.top, width: each, height: kTall }, (i + 0.5) / kSwatches));
  d.marks.push({ kind: 'box', area: { left: from, top: at.top, width: bar, height: kTall }, stroke: tone(0.4), line: 0.5 });
  d.marks.push({ kind: 'text', x: from, y: numbers, text: l.low, colour: kSoft });
  d.marks.push({ kind: 'text', x: (from + to) / 2, y: numbers, text: l.middle, anchor: 'middle', colour: kSoft });
  d.marks.push({ kind: 'text', x: to, y: numbers, text: l.high, anchor: 'end', colour: kSoft });
  const scale = isBelow ? { x: from, y: numbers + kLeading } : { x: to + kGap, y: text };
  d.marks.push({ kind: 'text', ...scale, text: l.scale, colour: kSoft });
  return kTall + 13 + (isBelow ? kLeading : 0);
}
