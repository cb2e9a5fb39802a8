// The names around the grid of heads: buttons that show the mean over the heads of a layer, over the layers, or over both.

import { pin, type Context } from '../../context';
import { head as headName } from '../../format';
import { canShow, meanName } from '../../heads';
import type { HeadId } from '../../source/source';
import { sameHead, type State } from '../../state';
import { h } from '../../ui/dom';
import { axisName } from '../../ui/headGrid';

export class MeanNames {
  private readonly buttons: { at: HeadId; button: HTMLButtonElement }[] = [];

  constructor(private readonly ctx: Context) {}

  make(text: string, at: HeadId): HTMLElement {
    const { ctx } = this;
    if (!canShow(ctx.info, ctx.family, at)) return axisName(text, at);
    const button = h(
      'button',
      {
        type: 'button',
        class: 'axis',
        'data-head': headName(at),
        title: meanName(ctx, at),
        onclick: () => pin(ctx, at),
        onpointermove: () => ctx.focus.previewHead(at),
      },
      text || ctx.t('mean'),
    );
    this.buttons.push({ at, button });
    return button;
  }

  update({ heads }: State): void {
    for (const { at, button } of this.buttons) {
      const place = heads.findIndex((one) => sameHead(one, at));
      button.setAttribute('aria-pressed', String(place >= 0));
      button.classList.toggle('front', place === 0);
    }
  }
}
