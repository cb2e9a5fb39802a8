// The margin: items beside the text that they cover, with their weights. One column for the front line, or several: the pinned heads, or
// the same head in every layer, such as the hops of a memory network.

import type { Context } from '../../context';
import { isShare } from '../../context';
import { shortShare, weight as printNumber } from '../../format';
import { css, inkOn, mix, shade } from '../../paint/ramp';
import type { HeadId } from '../../source/source';
import { sameHead } from '../../state';
import { h, replace } from '../../ui/dom';
import { intensity } from '../../weights';
import type { Paint } from './painter';
import { isChosen, itemBox } from './itemPanel';

const kTint = 0.34; // strength of the tint over a line's text, which must stay readable
const kFaintest = 0.02; // weaker tints are invisible

export interface Column {
  at: HeadId;
  name: string;
  values: Float32Array | null;
}

interface Cell {
  element: HTMLElement;
  weights: HTMLElement;
  line: HTMLElement | null; // the text beside the item
}

export class Margin {
  /** Names of the columns, above the text; hidden if there is only one. */
  readonly head: HTMLElement;
  private readonly cells = new Map<number, Cell>();

  constructor(private readonly ctx: Context) {
    this.head = h('div', { class: 'margin-head', role: 'group', 'aria-label': ctx.t('items.layers'), 'data-testid': 'hops', hidden: true });
  }

  /** Creates the margin of a block with its items. `line` is the block's text. */
  createBlock(items: readonly number[], line: HTMLElement): HTMLElement {
    const margin = h('div', { class: 'margin' });
    for (const id of items) {
      const weights = h('span', { class: 'margin-weights' });
      const element = h(
        'span',
        { class: 'margin-item', 'data-box': id },
        h('span', { class: 'margin-name' }, this.ctx.text.label(id)),
        weights,
      );
      this.cells.set(id, { element, weights, line: items.length === 1 ? line : null });
      margin.append(element);
    }
    return margin;
  }

  elementOf(id: number): HTMLElement | null {
    return this.cells.get(id)?.element ?? null;
  }

  /** `tints`: whether the text of a line is shaded as a whole, because its words are not shaded one by one. */
  paint(paint: Paint, columns: readonly Column[], tints: boolean): void {
    const { ctx } = this;
    const theme = ctx.theme();
    const { scale, heads } = ctx.store.now;
    const max = columns.reduce((all, column) => Math.max(all, ...[...this.cells.keys()].map((id) => column.values?.[id] ?? 0)), 0);
    this.nameColumns(columns);
    for (const [id, cell] of this.cells) {
      const box = itemBox(id);
      const isPart = paint.canHaveWeight(box);
      const t = isPart && paint.visibility(box) === 'visible' ? paint.intensity(box) : NaN;
      const chosen = isChosen(paint.anchors, id);
      cell.element.classList.toggle('query', chosen);
      cell.element.classList.toggle('other', isChosen(paint.others, id));
      const shaded = (value: number, strength: number, front: boolean): HTMLElement => {
        const colour = shade(strength, theme);
        const style = strength > 0 ? `background: ${css(colour)}; color: ${inkOn(colour)}` : '';
        const print = isShare(ctx) ? shortShare(value) : printNumber(value);
        return h('span', { class: front ? 'margin-weight front' : 'margin-weight', style }, value >= 0 ? print : '');
      };
      const own = !isPart
        ? []
        : columns.length > 0
          ? columns.map((c) => shaded(c.values?.[id] ?? NaN, intensity(c.values?.[id] ?? 0, max, scale), sameHead(c.at, heads[0])))
          : t >= 0
            ? [shaded(paint.weight(box), t, true)]
            : [];
      replace(cell.weights, ...own);
      if (!cell.line) continue;
      const tinted = tints && t > kFaintest;
      cell.line.style.background = tinted ? css(mix(theme.paper, shade(t, theme), kTint)) : '';
      cell.line.classList.toggle('tinted', tinted);
    }
  }

  private nameColumns(columns: readonly Column[]): void {
    const { ctx } = this;
    this.head.hidden = columns.length < 2;
    this.head.parentElement?.style.setProperty('--columns', String(Math.max(1, columns.length)));
    const front = ctx.store.now.heads[0];
    replace(
      this.head,
      h('span', { class: 'margin-family' }, ctx.family.id),
      ...columns.map(({ at, name }) =>
        h(
          'button',
          {
            type: 'button',
            class: 'margin-column',
            title: ctx.t('items.layers'),
            'aria-pressed': String(sameHead(at, front)),
            onclick: () => ctx.store.set({ heads: [at, ...ctx.store.now.heads.slice(1).filter((o) => !sameHead(o, at))] }, 'push'),
          },
          name,
        ),
      ),
    );
  }
}
