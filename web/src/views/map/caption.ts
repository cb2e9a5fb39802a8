// The caption of a map: its head, its size, and how many weights a cell shows.

import type { Context } from '../../context';
import { head as headName, whole } from '../../format';
import type { MapRequest, Picture } from '../../source/source';
import { conventionOf } from '../../rows';
import type { Rect } from '../../state';

export function captionOf(ctx: Context, request: MapRequest, picture: Picture, all: Rect, isByWords: boolean): string {
  const cell = 2 ** picture.z;
  const kind = request.band ? '.near' : cell > 1 ? '.pooled' : isByWords ? '.words' : '';
  const sizes = ctx.t(`map.caption${kind}`, {
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
