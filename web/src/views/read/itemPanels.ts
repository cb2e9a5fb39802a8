// Creates the panels for the items of a text, one for each kind of item. Items that have text are shown in the margin instead.

import type { Context } from '../../context';
import { ChipPanel } from './chips';
import { FramePanel } from './frames';
import type { StepStyle } from './painter';
import { PatchPanel } from './patches';
import type { ItemPanel, ItemPanelEvents } from './itemPanel';

export function createItemPanels(ctx: Context, events: ItemPanelEvents, steps: () => readonly StepStyle[]): ItemPanel[] {
  const panels: ItemPanel[] = [];
  const alone: number[] = [];
  const inMargin = new Set(ctx.text.inMargin);
  for (const items of ctx.text.data.items) {
    if (items.kind === 'patch') panels.push(new PatchPanel(ctx, items, events));
    else if (items.kind === 'frame') panels.push(new FramePanel(ctx, items, events));
    else for (let id = items.begin; id < items.end; id++) if (!inMargin.has(id)) alone.push(id);
  }
  return alone.length > 0 ? [new ChipPanel(ctx, alone, events, steps), ...panels] : panels;
}
