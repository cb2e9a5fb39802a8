// The colour bar of a view, from zero to the strongest colour, with numbers at its ends and in the middle, and the scale.

import type { Context } from '../context';
import type { Legend as FigureLegend } from '../figure/legend';
import { share, weight as printNumber } from '../format';
import { css, diverge, shade } from '../paint/ramp';
import type { Scale } from '../source/source';
import { h, replace } from './dom';

export interface Legend {
  max: number; // the value of the strongest colour
  scale: Scale;
  isShare: boolean;
  approximate?: boolean;
  signed?: boolean; // from −max to max
  largest?: number; // largest value shown; if sinks exceed `max`, the strongest colour stands for all values from there on
  others?: readonly { name: string; max: number }[]; // other pinned heads, each with its own scale from 0 to its largest weight
}

const kStops = 12;
const kDecades = 4; // decades of the logarithmic scale (weights.ts)

/** The value whose colour is at position 0…1 of the bar: the inverse of `intensity` in weights.ts. */
function valueAt(t: number, { max, scale }: Pick<Legend, 'max' | 'scale'>): number {
  if (scale === 'linear') return max * t;
  if (scale === 'sqrt') return max * t * t;
  return max * 10 ** (kDecades * (t - 1));
}

/** The smallest number of the form 1, 2 or 5 times a power of ten that is not below a value: a scale that small changes do not alter. */
export function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value) + 1e-9);
  return unit * ([1, 2, 5, 10].find((n) => n * unit >= value * (1 - 1e-6)) ?? 10);
}

export function legendSlot(testid = 'legend'): HTMLElement {
  return h('div', { class: 'legend', 'data-testid': testid });
}

const printer =
  (legend: Legend) =>
  (v: number): string =>
    legend.isShare ? share(v, legend.approximate) : printNumber(v, legend.approximate);

/** The colour bar for figures; null if nothing has a weight. */
export function legendOf(ctx: Context, legend: Legend, name = ''): FigureLegend | null {
  const { max, scale, signed = false, largest = 0 } = legend;
  if (!(max > 0)) return null;
  const print = printer(legend);
  const named = { scale: ctx.t(`legend.${scale}`), ...(name ? { name } : {}) };
  if (signed) return { low: `−${print(max)}`, middle: '0', high: `+${print(max)}`, ...named };
  return {
    low: scale === 'log' ? `≤ ${print(valueAt(0, legend))}` : '0',
    middle: print(Number(valueAt(0.5, legend).toPrecision(3))),
    high: `${largest > max ? '≥ ' : ''}${print(max)}`,
    ...named,
  };
}

/** The colour bar for pictures that are each scaled to their own largest weight. */
export const ownLegend = (ctx: Context, name = ''): FigureLegend => ({
  low: '0',
  middle: '25\u202f%',
  high: ctx.t('legend.own'),
  scale: ctx.t('legend.sqrt'),
  ...(name ? { name } : {}),
});

export function showLegend(ctx: Context, slot: HTMLElement, legend: Legend | null): void {
  const shown = legend && legendOf(ctx, legend);
  if (!shown) {
    slot.removeAttribute('role');
    slot.removeAttribute('aria-label');
    return replace(slot);
  }
  const others = (legend.others ?? []).map((o) => ctx.t('legend.other', { head: o.name, most: printer(legend)(o.max) }));
  showBar(ctx, slot, shown, { signed: legend.signed ?? false, title: ctx.t(`scale.${legend.scale}.title`), others });
}

export function showBar(
  ctx: Context,
  slot: HTMLElement,
  { low, middle, high, scale }: FigureLegend,
  options: { signed?: boolean; title?: string; others?: readonly string[] } = {},
): void {
  const theme = ctx.theme();
  const colours = Array.from({ length: kStops + 1 }, (_, i) => {
    const t = i / kStops;
    return css(options.signed ? diverge(2 * t - 1, theme) : shade(t, theme));
  });
  const others = options.others ?? [];
  const label = ctx.t('legend.label', { from: low, middle, to: high, scale });
  slot.setAttribute('role', 'img');
  slot.setAttribute('aria-label', [label, ...others].join('; '));
  replace(
    slot,
    h(
      'span',
      { class: 'legend-bar', style: `--ramp: linear-gradient(to right, ${colours.join(', ')})` },
      ...[low, middle, high].map((text) => h('span', {}, text)),
    ),
    h('span', { class: 'legend-scale', title: options.title ?? '' }, [scale, ...others].join(' · ')),
  );
}
