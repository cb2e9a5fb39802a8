// Shading of text by signed numbers: orange for positive, blue for negative values, with the numbers of the largest printed above. In
// forced colours the thickness of an underline shows the size, dashed for negative values. Pure functions from numbers to class and style.

import { type Theme, css, diverge, inkOn, shade } from '../../paint/ramp';
import { type RowText, tokensOfRows } from '../../rows';
import type { WhyResult } from '../../source/explain';
import type { Scale, Span } from '../../source/source';
import type { Box } from '../../text/boxes';
import { intensity } from '../../weights';
import type { BoxStyle } from '../read/painter';

export interface Shading {
  /** The value of a box; NaN: none (plain), null: not comparable (hatched). */
  value(box: Box): number | null;
  /** The label above a box; empty: none. */
  label(box: Box): string;
  max: number; // largest absolute value
  signed: boolean; // false: one colour ramp, as for weights elsewhere
  scale: Scale;
  special(token: number): boolean;
  hidden?(box: Box): boolean; // struck through: some of it is hidden from every token
  marks: readonly Span[]; // outlined: the selection
  cursor: Span | null; // dashed: the keyboard cursor
  theme: Theme;
}

const within = (spans: readonly Span[], box: Box): boolean => spans.some((s) => s.begin < box.end && box.begin < s.end);

export function shaded(box: Box, shading: Shading): BoxStyle {
  const classes = ['box'];
  if (shading.special(box.begin)) classes.push('chip');
  if (shading.hidden?.(box)) classes.push('struck');
  if (within(shading.marks, box)) classes.push('query');
  else if (shading.cursor && within([shading.cursor], box)) classes.push('other');
  const value = shading.value(box);
  if (value === null) return { className: [...classes, 'unscored'].join(' '), css: '', share: '' };
  const t = intensity(Math.abs(value), shading.max, shading.scale);
  if (!(t > 0.005)) return { className: classes.join(' '), css: '', share: shading.label(box) };
  classes.push(`w${Math.ceil(t * 5)}`);
  if (value < 0) classes.push('less');
  const steps = Math.round(t * 63) / 63; // few distinct styles, which the browser can share
  const colour = shading.signed ? diverge(value < 0 ? -steps : steps, shading.theme) : shade(steps, shading.theme);
  return { className: classes.join(' '), css: `background-color:${css(colour)};color:${inkOn(colour)};`, share: shading.label(box) };
}

/** Indices of the `count` largest absolute values; zeros are left out, unless `zeros`. */
export function largestOf(values: ArrayLike<number>, count: number, zeros = false): number[] {
  const order = Array.from({ length: values.length }, (_, i) => i).filter((i) => (zeros || values[i] !== 0) && Number.isFinite(values[i]));
  return order.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b).slice(0, count);
}

/** The tokens that the rows of the answer are named by; their own tokens if the text does not contain the answer. */
export function answerMarks(ctx: RowText, { read_from: rows }: WhyResult): readonly Span[] {
  const own = rows.map((row) => ({ begin: row, end: row + 1 }));
  const named = tokensOfRows(ctx, own);
  return named.length > 0 ? named : own;
}
