// The badge of every view: exact · sampled · top-k · quantised. Each has its own symbol, so that colour is not needed to tell them apart.

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
