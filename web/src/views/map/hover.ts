// The status line for the pair under the pointer: its exact weight, read from its own row.

import { type Context, type MapAxis, memoryMark, positionLabel, printWeight, quoted } from '../../context';
import { rowLabel, rowName } from '../../rows';
import { type HeadId, type Span, isAbort } from '../../source/source';
import { wordAt } from './words';

/** Null if a later pair was requested in the meantime. */
export async function weightAt(ctx: Context, at: HeadId, pair: { query: number; key: number }, isByWords: boolean): Promise<string | null> {
  const state = ctx.store.now;
  const spanOf = (axis: MapAxis, id: number): Span => (isByWords ? wordAt(ctx, axis, id) : { begin: id, end: id + 1 });
  const [rows, keys] = [spanOf('query', pair.query), spanOf('key', pair.key)];
  const key = keys.begin;
  const spans: Span[] = [rows];
  const isOne = rows.end - rows.begin + keys.end - keys.begin === 2;
  const where = isOne ? `${rowLabel(ctx, rows.begin)} → ${positionLabel(ctx, key)}` : `${rowName(ctx, rows)} → ${quoted(ctx, keys)}`;
  const family = ctx.family.id;
  const request = {
    family,
    at,
    direction: 'out',
    spans,
    reduce: 'mean',
    weight: state.weight,
    sink: state.sink,
    step: ctx.source.step,
  } as const;
  try {
    const line = await ctx.source.line({ ...request, spans }, 'map-hover');
    const value = line.values
      ? line.values.subarray(keys.begin, keys.end).reduce((sum, weight) => sum + weight, 0)
      : (line.top.find((i) => i.begin === key)?.weight ?? NaN);
    const hidden = !line.visible.some(([b, e]) => b < keys.end && keys.begin < e);
    if (hidden) return `${where}   ${ctx.t('map.hidden')}`;
    return `${where}   ${printWeight(ctx, value, line.badge, line.error)}${memoryMark(ctx, request, key)}`;
  } catch (error) {
    return isAbort(error) ? null : `${where}   ${error instanceof Error ? error.message : ''}`;
  }
}
