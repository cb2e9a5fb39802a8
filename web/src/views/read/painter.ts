// The appearance of a box: background by the front head's weight, bars below it if several heads are pinned, underline and share for the
// top five, and marks for the query, sinks, and hidden or unscored tokens. A pure function from numbers to class and style.

import type { Span, TopItem } from '../../source/source';
import type { Box } from '../../text/boxes';
import type { Legend } from '../../ui/legend';
import { type Theme, css, inkOn, kPinColours, kSteps, shade } from '../../paint/ramp';

export interface BoxStyle {
  className: string;
  css: string;
  share: string;
}

export interface Paint {
  /** Intensity 0…1 of a box under the front head; NaN without a line. */
  intensity(box: Box): number;
  /** Weight of a box under the front head; NaN without a line. */
  weight(box: Box): number;
  /** Colour scale of the boxes. */
  scale: Legend;
  /** Intensity 0…1 of a box under each pinned head; empty if fewer than two are pinned. */
  bars(box: Box): readonly number[];
  /** Scales of the bar lengths, one per pinned head. */
  barScales: readonly Legend[];
  top: readonly (TopItem & { label: string })[];
  anchors: readonly Span[];
  others: readonly Span[]; // spans selected on the other axis
  sinks: ReadonlySet<number>;
  hideSinks: boolean;
  special(token: number): boolean;
  visibility(box: Box): 'visible' | 'hidden' | 'unscored';
  /** True if a box can have a weight in the current direction. If a text has items, other boxes are plain, not hatched. */
  canHaveWeight(box: Box): boolean;
  hits: readonly Span[];
  hit: Span | null;
  theme: Theme;
}

const overlaps = (spans: readonly Span[], box: Span): boolean => {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle].end <= box.begin) low = middle + 1;
    else high = middle;
  }
  return low < spans.length && spans[low].begin < box.end;
};

export function styleOf(box: Box, paint: Paint, steps: readonly StepStyle[]): BoxStyle {
  const classes: string[] = ['box'];
  if (paint.special(box.begin)) classes.push('chip');
  if (paint.anchors.some((s) => s.begin < box.end && box.begin < s.end)) classes.push('query');
  if (paint.others.some((s) => s.begin < box.end && box.begin < s.end)) classes.push('other');
  if (paint.hits.length && overlaps(paint.hits, box)) classes.push(paint.hit && overlaps([paint.hit], box) ? 'hit now' : 'hit');
  let isSink = false;
  for (let t = box.begin; t < box.end; t++) isSink = isSink || paint.sinks.has(t);
  const seen = paint.visibility(box);
  if (seen !== 'visible') classes.push(seen);
  const item = paint.top.find((i) => i.begin < box.end && box.begin < i.end);
  if (item) classes.push('top');
  const t = paint.intensity(box);
  let style = '';
  if (isSink && Number.isFinite(t)) classes.push('sink');
  if (t > 0 && !(isSink && paint.hideSinks)) {
    const step = Math.min(kSteps - 1, Math.round(t * (kSteps - 1)));
    style = steps[step].css;
    classes.push(`w${Math.ceil(t * 5)}`);
  }
  const bars = paint.bars(box);
  if (bars.length) style += barsOf(bars, paint.theme);
  return { className: classes.join(' '), css: style, share: item && item.begin >= box.begin ? item.label : '' };
}

export interface StepStyle {
  css: string;
}

export function stepStyles(theme: Theme): StepStyle[] {
  return Array.from({ length: kSteps }, (_, i) => {
    const colour = shade(i / (kSteps - 1), theme);
    return { css: i === 0 ? '' : `background-color:${css(colour)};color:${inkOn(colour)};` };
  });
}

/** Up to six bars under a box, 3 px high, in the order of pinning; the width shows the amount. */
function barsOf(bars: readonly number[], theme: Theme): string {
  const colours = theme.dark ? kPinColours.dark : kPinColours.light;
  const shown = bars.map((t, i) => ({ t, i })).filter(({ t }) => t > 0.15);
  if (shown.length === 0) return '';
  const image = shown.map(({ i }) => `linear-gradient(${colours[i]} 0 0)`);
  const position = shown.map(({ i }) => `0 calc(100% - ${(bars.length - 1 - i) * 4}px)`);
  const size = shown.map(({ t }) => `${Math.round(12 + 88 * t)}% 3px`);
  return `background-image:${image.join(',')};background-position:${position.join(',')};background-size:${size.join(',')};`;
}
