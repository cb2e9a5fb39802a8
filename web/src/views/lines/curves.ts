// Selects the weights that are drawn as curves, and their opacity.

import type { Cells, Scale, Span } from '../../source/source';
import { intensity } from '../../weights';
import { kTile } from '../map/store';

export const kMaxTokens = 300; // tokens in a column
export const kMaxCurves = 2000;
const kMinStrength = 0.05; // relative to the heaviest: fainter curves are invisible

export interface Curve {
  query: number;
  key: number;
  weight: number;
  head: number; // index of the pinned head
  strength: number; // 0…1 on the selected scale
}

/** Two columns side by side: the whole text if it fits, else a stretch of it. */
export interface Stretch {
  queries: Span;
  keys: Span;
}

/** The stretches of a map in order. Each but the last has `side` tokens, like the tiles that it is read from. */
export function stretchesOf(queries: Span, keys: Span, side: number): Stretch[] {
  if (queries.end - queries.begin <= kMaxTokens && keys.end - keys.begin <= kMaxTokens) return [{ queries, keys }];
  const tilesOf = ({ begin, end }: Span): number => Math.ceil(end / side) - Math.floor(begin / side);
  const count = Math.max(tilesOf(queries), tilesOf(keys));
  const part = (span: Span, i: number): Span => {
    const tiles = tilesOf(span);
    const tile = Math.floor(span.begin / side) + Math.min(tiles - 1, Math.floor((i * tiles) / count));
    return { begin: Math.max(span.begin, tile * side), end: Math.min(span.end, (tile + 1) * side) };
  };
  return Array.from({ length: count }, (_, i) => ({ queries: part(queries, i), keys: part(keys, i) }));
}

/**
 * max: the weight of a head's strongest curve outside the sinks, which sets the scale. largest: the head's largest weight including sinks.
 */
export interface Scaled {
  max: number;
  largest: number;
}

/** The heaviest curves of one stretch, faintest first, so that strong ones are painted on top. `heads[h]`: the cells of pinned head h. */
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
    let max = 0;
    let largest = 0;
    for (const { values, columns, rows, queryBegin, keyBegin } of parts) {
      for (let r = Math.max(0, at.queries.begin - queryBegin); r < rows && queryBegin + r < at.queries.end; r++) {
        for (let c = Math.max(0, at.keys.begin - keyBegin); c < columns && keyBegin + c < at.keys.end; c++) {
          const weight = values[r * columns + c];
          if (!(weight > 0)) continue;
          own.push({ query: queryBegin + r, key: keyBegin + c, weight, head, strength: 0 });
          if (weight > largest) largest = weight;
          if (weight > max && !skip.has(keyBegin + c)) max = weight;
        }
      }
    }
    for (const curve of own) {
      curve.strength = intensity(curve.weight, max || 1, scale);
      if (curve.strength >= kMinStrength) curves.push(curve);
    }
    return { max: max || 1, largest };
  });
  return { curves: curves.sort((a, b) => a.strength - b.strength || a.weight - b.weight).slice(-kMaxCurves), scales };
}

/** The tiles of exact weights that cover a stretch. */
export function tilesOf({ queries, keys }: Stretch, causal: boolean): { x: number; y: number }[] {
  const tiles: { x: number; y: number }[] = [];
  for (let y = Math.floor(queries.begin / kTile); y * kTile < queries.end; y++)
    for (let x = Math.floor(keys.begin / kTile); x * kTile < keys.end; x++) if (!causal || x <= y) tiles.push({ x, y });
  return tiles;
}
