// Creates the panels for the items of a text, one for each kind of item. Items that have text are shown in the margin instead.

import type { Context } from '../../context';
import { BoxPanel } from './boxes';
import { ChipPanel } from './chips';
import { FramePanel } from './frames';
import { GraphPanel } from './graph';
import type { StepStyle } from './painter';
import { PatchPanel } from './patches';
import type { ItemPanel, ItemPanelEvents } from './itemPanel';
import type { Items } from '../../source/source';

/** The kinds of items that have a drawing of their own. */
const kPanels: Record<string, new (ctx: Context, items: Items, events: ItemPanelEvents) => ItemPanel> = {
  patch: PatchPanel,
  frame: FramePanel,
  interval: FramePanel,
  node: GraphPanel,
};

export function createItemPanels(ctx: Context, events: ItemPanelEvents, steps: () => readonly StepStyle[]): ItemPanel[] {
  const panels: ItemPanel[] = [];
  const alone: number[] = [];
  const inMargin = new Set(ctx.text.inMargin);
  for (const items of ctx.text.data.items) {
    const Panel = items.boxes ? BoxPanel : kPanels[items.kind];
    if (Panel) panels.push(new Panel(ctx, items, events));
    else for (let id = items.begin; id < items.end; id++) if (!inMargin.has(id)) alone.push(id);
  }
  return alone.length > 0 ? [new ChipPanel(ctx, alone, events, steps), ...panels] : panels;
}
