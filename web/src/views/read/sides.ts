// Creates the sides of a text other than its words, according to the kinds of its items. Items with text of their own are shown in the
// margin instead.

import type { Context } from '../../context';
import { ChipSide } from './chips';
import { FrameSide } from './frames';
import type { StepStyle } from './painter';
import { PatchSide } from './patches';
import type { Side, SideEvents } from './side';

export function sidesOf(ctx: Context, events: SideEvents, steps: () => readonly StepStyle[]): Side[] {
  const sides: Side[] = [];
  const alone: number[] = [];
  const inMargin = new Set(ctx.text.inMargin);
  for (const items of ctx.text.data.items) {
    if (items.kind === 'patch') sides.push(new PatchSide(ctx, items, events));
    else if (items.kind === 'frame') sides.push(new FrameSide(ctx, items, events));
    else for (let id = items.begin; id < items.end; id++) if (!inMargin.has(id)) alone.push(id);
  }
  return alone.length > 0 ? [new ChipSide(ctx, alone, events, steps), ...sides] : sides;
}
