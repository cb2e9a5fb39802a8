// The status line for the pair under the pointer: its exact weight, read from its own row.

import { type Context, memoryMark, positionLabel, printWeight } from '../../context';
import { rowLabel } from '../../rows';
import { type HeadId, type Span, isAbort } from '../../source/source';

/** Null if a later pair was requested in the meantime. */
export async function weightAt(ctx: Context, at: HeadId, { query, key }: { query: number; key: number }): Promise<string | null> {
  const state = ctx.store.now;
  const spans: Span[] = [{ begin: query, end: query + 1 }];
  const where = `${rowLabel(ctx, query)} → ${positionLabel(ctx, key)}`;
  const family = ctx.family.id;
  const request = {
    family,
    at,
    direction: 'out',
    spans,
    reduce: 'sum',
    weight: state.weight,
    sink: state.sink,
    step: ctx.source.step,
  } as const;
  try {
    const line = await ctx.source.line({ ...request, spans }, 'map-hover');
    const value = line.values ? line.values[key] : (line.top.find((i) => i.begin === key)?.weight ?? NaN);
    const hidden = !line.visible.some(([b, e]) => b <= key && key < e);
    if (hidden) return `${where}   ${ctx.t('map.hidden')}`;
    return `${where}   ${printWeight(ctx, value, line.badge, line.error)}${memoryMark(ctx, request, key)}`;
  } catch (error) {
    return isAbort(error) ? null : `${where}   ${error instanceof Error ? error.message : ''}`;
  }
}
