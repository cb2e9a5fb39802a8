// The explanation by parts: the named segments of the text (documents, turns) are the items, each with the share that it would have by its
// length, and the change of the answer when no token attends to it.

import type { Context } from '../../context';
import { change, share, weight as number } from '../../format';
import type { MethodResult, WhyResult } from '../../source/explain';
import type { State } from '../../state';
import { h, segmented } from '../../ui/dom';

const hasParts = (ctx: Context): boolean => ctx.segments.length > 1 && ctx.text.data.items.length === 0;

export const isByParts = (ctx: Context, state: State): boolean => state.byParts && hasParts(ctx);

/** The choice between words and parts; null if the text has fewer than two parts. */
export function unitsControl(ctx: Context): HTMLFieldSetElement | null {
  const { t, store } = ctx;
  if (!hasParts(ctx)) return null;
  const choices = (['word', 'segment'] as const).map((value) => ({ value, label: t.kind(value), title: t(`why.by.${value}.title`) }));
  const control = segmented(t('why.by'), choices, 'word', (value) => store.set({ byParts: value === 'segment' }, 'push'));
  control.dataset['testid'] = 'why-units';
  return control;
}

interface PartNumbers {
  chance: number; // the share if every token had the same share
  ratio: number; // the share divided by it
  without: number | null; // the change of the answer without the part; null: unknown
}

/** For each part; empty if the items are not parts. */
export function partNumbers({ segments = [], methods }: WhyResult, { shares = [] }: MethodResult): PartNumbers[] {
  const total = segments.reduce((sum, { tokens }) => sum + tokens, 0);
  const drops = methods?.find((m) => m.drops)?.drops;
  return segments.map(({ tokens }, i) => ({
    chance: tokens / total,
    ratio: (shares[i] * total) / tokens,
    without: drops ? 0 - drops[i] : null,
  }));
}

interface PartColumn {
  head: string;
  title: string;
  cells: string[]; // one per item
}

/** The columns beside the shares of the methods; none if the items are not parts. */
export function partColumns(ctx: Context, result: WhyResult, front: MethodResult): PartColumn[] {
  const { t } = ctx;
  const parts = partNumbers(result, front);
  if (parts.length === 0) return [];
  const signed = (value: number): string => (value > 0 ? '+' : '') + number(value).replace('-', '−');
  const changed = (value: number): string => (result.is_number ? signed(value) : change(value));
  return [
    { head: t('parts.chance'), title: t('why.chance.title'), cells: parts.map((p) => share(p.chance)) },
    {
      head: t('parts.ratio'),
      title: t('why.ratio.title', { method: t.method(front.name) }),
      cells: parts.map((p) => `${p.ratio.toFixed(1).replace('-', '−')} ×`),
    },
    { head: t('why.without'), title: t('why.without.title'), cells: parts.map((p) => changed(p.without ?? NaN)) },
  ];
}

/** The name of a part, which goes to its beginning. */
export const partName = (name: string, go: () => void): HTMLElement =>
  h('button', { type: 'button', class: 'quiet part-name', dir: 'auto', onclick: go }, name);
