// What the panels that draw items over a picture share: the picture, which is loaded once; the numbers to paint; and the item under the
// pointer. The panel is drawn again, at most once per frame, whenever one of them changes.

import type { Context } from '../../context';
import { oncePerFrame } from '../../paint/canvas';
import { loadPicture } from '../../paint/pixels';
import type { Items } from '../../source/source';
import type { ItemPanel, ItemPanelEvents } from './itemPanel';
import type { Paint } from './painter';

export abstract class PicturePanel implements ItemPanel {
  abstract readonly element: HTMLElement;
  protected readonly draw = oncePerFrame(() => this.drawAll());
  protected picture: HTMLCanvasElement | null = null;
  protected painted: Paint | null = null;
  protected hovered: number | null = null;

  constructor(protected readonly items: Items) {}

  contains(id: number): boolean {
    return this.items.begin <= id && id < this.items.end;
  }

  paint(paint: Paint): void {
    this.painted = paint;
    this.draw();
  }

  /** Draws the panel from its picture, numbers and hovered item. */
  protected abstract drawAll(): void;

  /** The events of a canvas of this panel: hovering marks the item here, too. */
  protected withHover(events: ItemPanelEvents): ItemPanelEvents {
    return {
      hover: (id) => {
        this.hovered = id;
        this.draw();
        events.hover(id);
      },
      pick: events.pick,
    };
  }

  /** Loads the picture. Without it, the weights are still drawn in place. */
  protected load(ctx: Context): void {
    loadPicture(ctx, this.items)?.then(
      (picture) => {
        this.picture = picture;
        this.draw();
      },
      () => undefined,
    );
  }
}
