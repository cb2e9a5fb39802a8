// The caption of a map: its head, its size, and how many weights a cell shows.

import type { Context } from '../../context';
import { head as headName, whole } from '../../format';
import type { MapRequest, Picture } from '../../source/source';
import { conventionOf } from '../../rows';
import type { Rect } from '../../state';

export function captionOf(ctx: Context, request: MapRequest, picture: Picture, all: Rect): string {
  const cell = 2 ** picture.z;
  const sizes = ctx.t(request.band ? 'map.caption.near' : cell > 1 ? 'map.caption.pooled' : 'map.caption', {
    head: headName(request.at),
    queries: whole(all.q1 - all.q0),
    keys: whole(all.k1 - all.k0),
    cell: Math.round(cell),
    back: whole(request.band?.back ?? 0),
    ahead: whole(request.band?.ahead ?? 0),
    across: 2 ** (picture.columnZ ?? 0),
  });
  return sizes + conventionOf(ctx);
}
