// Colour scales and captions of the atlas. Each thumbnail is scaled to its own largest weight; names are shaded by the mass of their head.

import { type Context, isShare, quoted } from '../../context';
import type { Legend as FigureLegend } from '../../figure/legend';
import { areWritten, rowName } from '../../rows';
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

/** Returns the caption of the masses: from the chosen rows to the chosen keys. */
export function captionOfMass(ctx: Context): string {
  const { q, k } = ctx.store.now;
  const rows = q.map((span) => rowName(ctx, span)).join(ctx.t('list.quoted'));
  const keys = k.map((span) => quoted(ctx, span)).join(ctx.t('list.quoted'));
  return ctx.t(areWritten(ctx, q) ? 'span.caption.written' : 'span.caption', { rows, keys });
}
