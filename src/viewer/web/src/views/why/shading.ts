// How text is shaded by signed numbers of stretches of it: orange for what is above zero, blue for what is below, the largest with their number over them. In forced
// colours a line under the text says how much, dashed below zero. Pure: from numbers to class and style.

import { type Theme, css, diverge, inkOn, shade } from '../../paint/ramp';
import type { Scale, Span } from '../../source/source';
import type { Box } from '../../text/boxes';
import { intensity } from '../../weights';
import type { BoxStyle } from '../read/painter';

export interface Shading {
  /** The number of a box: NaN is none (plain), null is not comparable (hatched). */
  value(box: Box): number | null;
  /** What stands over a box; empty: nothing. */
  label(box: Box): string;
  most: number; // the largest size
  signed: boolean; // false: one colour, as weights have elsewhere
  scale: Scale;
  special(token: number): boolean;
  marks: readonly Span[]; // outlined: what is looked at
  cursor: Span | null; // dashed: where the keyboard is
  theme: Theme;
}

const within = (spans: readonly Span[], box: Box): boolean => spans.some((s) => s.begin < box.end && box.begin < s.end);

export function shaded(box: Box, shading: Shading): BoxStyle {
  const classes = ['box'];
  if (shading.special(box.begin)) classes.push('chip');
  if (within(shading.marks, box)) classes.push('query');
  else if (shading.cursor && within([shading.cursor], box)) classes.push('other');
  const value = shading.value(box);
  if (value === null) return { className: [...classes, 'unscored'].join(' '), css: '', share: '' };
  const t = intensity(Math.abs(value), shading.most, shading.scale);
  if (!(t > 0.005)) return { className: classes.join(' '), css: '', share: shading.label(box) };
  classes.push(`w${Math.ceil(t * 5)}`);
  if (value < 0) classes.push('less');
  const steps = Math.round(t * 63) / 63; // styles that the browser can share
  const colour = shading.signed ? diverge(value < 0 ? -steps : steps, shading.theme) : shade(steps, shading.theme);
  return { className: classes.join(' '), css: `background-color:${css(colour)};color:${inkOn(colour)};`, share: shading.label(box) };
}

/** Places of the `count` largest sizes. */
export function largestOf(values: ArrayLike<number>, count: number): number[] {
  const order = Array.from({ length: values.length }, (_, i) => i).filter((i) => values[i] !== 0 && Number.isFinite(values[i]));
  return order.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b).slice(0, count);
}
