// Formatting of every number that a person reads, so that a quantity looks the same everywhere and tests can reproduce it.
//
// A share is a percentage with two decimals from 1 % up, three significant digits below, and a power of ten when tiny. A value that does
// not come from exact f32 is preceded by ≈.

import { kMean } from './heads';

const kThin = '\u202f'; // narrow no-break space: between digits and %, and every three digits

export function share(value: number, approximate = false): string {
  const mark = approximate ? '≈\u2009' : '';
  if (!Number.isFinite(value)) return '–';
  const percent = value * 100;
  const size = Math.abs(percent);
  if (size === 0) return `${mark}0${kThin}%`;
  if (size >= 1) return `${mark}${percent.toFixed(2)}${kThin}%`;
  if (size >= 0.001) return `${mark}${trimZeros(percent.toPrecision(3))}${kThin}%`;
  return `${mark}${power(percent, 2)}${kThin}%`;
}

/** A change of a share, with its sign: “+3.10 %”, “−12.00 %”. */
export function change(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value === 0 ? share(0) : `${value < 0 ? '−' : '+'}${share(Math.abs(value))}`;
}

/** For labels in running text: whole percents, one decimal below ten. */
export function shortShare(value: number, approximate = false): string {
  const mark = approximate ? '≈' : '';
  const percent = value * 100;
  if (!Number.isFinite(percent)) return '–';
  if (percent >= 9.95) return `${mark}${Math.round(percent)}${kThin}%`;
  if (percent >= 0.05) return `${mark}${percent.toFixed(1)}${kThin}%`;
  return `${mark}<0.1${kThin}%`;
}

/** A weight that is not a share (value- or output-weighted, sums of columns). */
export function weight(value: number, approximate = false): string {
  const mark = approximate ? '≈\u2009' : '';
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size === 0) return `${mark}0`;
  if (size >= 1e-4 && size < 1e5) return `${mark}${trimZeros(value.toPrecision(5))}`;
  return `${mark}${power(value, 3)}`;
}

/** A number in a cell of the map, with three decimals or three significant digits. Usually at most five characters; more from 1000 on. */
export function cell(value: number): string {
  if (!Number.isFinite(value)) return '';
  if (value === 0) return '0';
  if (Math.abs(value) >= 10) return value.toPrecision(3);
  if (Math.abs(value) >= 0.001) return value.toFixed(3).replace(/^0/, '');
  return value
    .toExponential(0)
    .replace('e-', '₋')
    .replace(/₋(\d+)$/, 'e-$1');
}

export function score(value: number | null): string {
  return value === null || !Number.isFinite(value) ? '–' : value >= 10 ? whole(Math.round(value)) : value.toFixed(2);
}

/** Counts and positions, grouped by three. */
export function whole(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, kThin);
}

export function power(value: number, digits: number): string {
  if (value === 0) return '0';
  const [mantissa, exponent] = value.toExponential(digits - 1).split('e');
  return `${mantissa}·10${superscript(Number(exponent))}`;
}

/** “L5.H3”; “L5.mean” and “mean.H3” for means over heads or layers, “mean” for both. */
export function head({ layer, head: own }: { layer: number; head: number }): string {
  if (layer === kMean && own === kMean) return 'mean';
  return `${layer === kMean ? 'mean' : `L${layer}`}.${own === kMean ? 'mean' : `H${own}`}`;
}

function superscript(n: number): string {
  return String(n).replace(/./g, (c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(c)]));
}

function trimZeros(text: string): string {
  return text.includes('.') && !text.includes('e') ? text.replace(/\.?0+$/, '') : text;
}

/** The text of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
