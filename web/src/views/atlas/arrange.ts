// Selection and order of the heads in the atlas.

import type { HeadId, ScoreName } from '../../source/source';

export interface Order {
  by: 'layer' | 'sum' | ScoreName;
  atLeast: number; // threshold on the chosen score; in layer order, on the highest score other than distance
}

export interface Row {
  at: HeadId;
  scores: Record<ScoreName, number | null> | null;
  sum?: number | null; // under a kind of weight other than raw
}

export function arrange(rows: readonly Row[], order: Order): Row[] {
  const { by } = order;
  const valueOf = (row: Row): number => {
    if (by === 'sum') return row.sum ?? 0;
    if (!row.scores) return 0;
    if (by !== 'layer') return row.scores[by] ?? 0;
    return Math.max(0, ...Object.entries(row.scores).map(([name, v]) => (name === 'distance' ? 0 : (v ?? 0))));
  };
  const kept = rows.filter((r) => order.atLeast === 0 || by === 'sum' || valueOf(r) >= order.atLeast);
  return by === 'layer' ? kept : [...kept].sort((a, b) => valueOf(b) - valueOf(a) || a.at.layer - b.at.layer || a.at.head - b.at.head);
}
