// Which weights become curves, and how strongly each is drawn.

import type { Cells, Scale, Span } from '../../source/source';
import { intensity } from '../../weights';

export const kMostTokens = 300; // of a column
export const kMostCurves = 2000;
const kFaintest = 0.05; // of the heaviest: fainter ones cannot be seen

export interface Curve {
  query: number;
  key: number;
  weight: number;
  head: number; // which of the pinned ones
  strength: number; // 0…1 on the chosen scale
}

/** Two columns that stand side by side: all of a text that has room, else a stretch of it. */
export interface Stretch {
  queries: Span;
  keys: Span;
}

/** The stretches of a map in order; each but the last has `side` tokens, as the tiles that it is read from. */
export function stretchesOf(queries: Span, keys: Span, side: number): Stretch[] {
  if (queries.end - queries.begin <= kMostTokens && keys.end - keys.begin <= kMostTokens) return [{ queries, keys }];
  const tilesOf = ({ begin, end }: Span): number => Math.ceil(end / side) - Math.floor(begin / side);
  const count = Math.max(tilesOf(queries), tilesOf(keys));
  const part = (span: Span, i: number): Span => {
    const tiles = tilesOf(span);
    const tile = Math.floor(span.begin / side) + Math.min(tiles - 1, Math.floor((i * tiles) / count));
    return { begin: Math.max(span.begin, tile * side), end: Math.min(span.end, (tile + 1) * side) };
  };
  return Array.from({ length: count }, (_, i) => ({ queries: part(queries, i), keys: part(keys, i) }));
}

/** The weight of a head's strongest curve without sinks, which sets the scale, and the head's largest weight with them. */
export interface Scaled {
  most: number;
  largest: number;
}

/** The heaviest curves of one stretch, faintest first: the strong ones are painted over them. `heads[h]` are the cells of a pinned head. */
export function curvesOf(
  heads: readonly (readonly Cells[])[],
  at: Stretch,
  sinks: readonly number[],
  scale: Scale,
): { curves: Curve[]; scales: Scaled[] } {
  const skip = new Set(sinks);
  const curves: Curve[] = [];
  const scales = heads.map((parts, head) => {
    const own: Curve[] = [];
    let most = 0;
    let largest = 0;
    for (const { values, columns, rows, queryBegin, keyBegin } of parts) {
      for (let r = Math.max(0, at.queries.begin - queryBegin); r < rows && queryBegin + r < at.queries.end; r++) {
        for (let c = Math.max(0, at.keys.begin - keyBegin); c < columns && keyBegin + c < at.keys.end; c++) {
          const weight = values[r * columns + c];
          if (!(weight > 0)) continue;
          own.push({ query: queryBegin + r, key: keyBegin + c, weight, head, strength: 0 });
          if (weight > largest) largest = weight;
          if (weight > most && !skip.has(keyBegin + c)) most = weight;
        }
      }
    }
    for (const curve of own) {
      curve.strength = intensity(curve.weight, most || 1, scale);
      if (curve.strength >= kFaintest) curves.push(curve);
    }
    return { most: most || 1, largest };
  });
  return { curves: curves.sort((a, b) => a.strength - b.strength || a.weight - b.weight).slice(-kMostCurves), scales };
}
