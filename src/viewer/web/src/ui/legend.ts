// The colour bar of a view: its colours from nothing to the strongest, with numbers at its ends and in its middle, and the scale between them.

import type { Context } from '../context';
import { share, weight as printNumber } from '../format';
import { css, diverge, shade } from '../paint/ramp';
import type { Scale } from '../source/source';
import { h, replace } from './dom';

export interface Legend {
  most: number; // what the strongest colour stands for
  scale: Scale;
  isShare: boolean;
  approximate?: boolean;
  signed?: boolean; // from −most to most
  says?: string; // in place of the number of the strongest colour
}

const kStops = 12;
const kDecades = 4; // of the logarithmic scale (weights.ts)

/** The number whose colour stands at a place 0…1 of the bar: the inverse of weights.ts, intensity. */
export function valueAt(t: number, { most, scale }: Pick<Legend, 'most' | 'scale'>): number {
  if (scale === 'linear') return most * t;
  if (scale === 'sqrt') return most * t * t;
  return most * 10 ** (kDecades * (t - 1));
}

/** The least 1, 2 or 5 times a power of ten that is not below a number: a scale that small changes leave as it is. */
export function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value) + 1e-9);
  return unit * ([1, 2, 5, 10].find((n) => n * unit >= value * (1 - 1e-6)) ?? 10);
}

export function legendSlot(testid = 'legend'): HTMLElement {
  return h('div', { class: 'legend', 'data-testid': testid });
}

export function showLegend(ctx: Context, slot: HTMLElement, legend: Legend | null): void {
  if (!legend || !(legend.most > 0)) {
    slot.removeAttribute('role');
    slot.removeAttribute('aria-label');
    return replace(slot);
  }
  const { most, isShare, approximate = false, signed = false, says } = legend;
  const theme = ctx.theme();
  const print = (v: number): string => (isShare ? share(v, approximate) : printNumber(v, approximate));
  const colours = Array.from({ length: kStops + 1 }, (_, i) => {
    const t = i / kStops;
    return css(signed ? diverge(2 * t - 1, theme) : shade(t, theme));
  });
  const least = legend.scale === 'log' && !signed ? `≤ ${print(valueAt(0, legend))}` : '0';
  const middle = Number(valueAt(0.5, legend).toPrecision(3));
  const scale = ctx.t(`scale.${legend.scale}`);
  const ends = signed ? [`−${print(most)}`, '0', `+${print(most)}`] : [least, says ? '' : print(middle), says ?? print(most)];
  slot.setAttribute('role', 'img');
  slot.setAttribute('aria-label', ctx.t('legend.label', { from: ends[0], to: ends[2], scale }));
  replace(
    slot,
    h(
      'span',
      { class: 'legend-bar', style: `--ramp: linear-gradient(to right, ${colours.join(', ')})` },
      ...ends.map((text) => h('span', {}, text)),
    ),
    h('span', { class: 'legend-scale', title: ctx.t(`scale.${legend.scale}.title`) }, ctx.t('legend.scale', { scale })),
  );
}
