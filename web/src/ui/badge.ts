// The badge of every view: exact · sampled · top-k · quantised. It differs in its sign, not only in its colour.

import type { Context } from '../context';
import type { Badge } from '../source/source';
import { h } from './dom';

const kSigns: Record<Badge, string> = { exact: '=', sampled: '∴', 'top-k': '▤', quantised: '≈' };

export function badgeElement(ctx: Context, badge: Badge, title: string, busy = false): HTMLElement {
  return h(
    'span',
    { class: `badge ${badge}${busy ? ' busy' : ''}`, title, 'data-badge': badge },
    h('span', { 'aria-hidden': 'true' }, kSigns[badge]),
    ` ${ctx.t(`badge.name.${badge}`)}`,
    busy ? h('span', { class: 'visually-hidden' }, ` ${ctx.t('loading')}`) : null,
  );
}
