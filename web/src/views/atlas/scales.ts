// Colour scales of the atlas. Each thumbnail is scaled to its own largest weight; names are shaded by the mass of their head.

import { type Context, isShare } from '../../context';
import type { Legend as FigureLegend } from '../../figure/legend';
import type { Mass } from '../../source/source';
import { type Legend, legendOf, ownLegend } from '../../ui/legend';

export function scaleOfMass(ctx: Context, { mass, error }: Mass): Legend {
  const max = mass.reduce((a, b) => Math.max(a, b), 0);
  return { max, scale: 'linear', isShare: isShare(ctx), approximate: error > 0 };
}

/** The colour bars of the atlas figure. */
export function legendsOf(ctx: Context, mass: Mass | null): FigureLegend[] {
  const names = mass && legendOf(ctx, scaleOfMass(ctx, mass), ctx.t('legend.names'));
  return [ownLegend(ctx, ctx.t('legend.maps')), ...(names ? [names] : [])];
}
