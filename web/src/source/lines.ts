// Lines of an offline page that contain only the heaviest keys, and sums of several lines.

import { type Frame, requireArray } from './frame';
import type { Line, SinkRule } from './source';

export interface TopHeader {
  top: number;
}

export function topLine(
  frame: Frame<TopHeader>,
  at: number,
  row: number,
  causal: boolean,
  keys: number,
  sink: SinkRule,
  sinks: readonly number[],
): Line {
  const count = frame.header.top;
  const k = requireArray(frame, 'keys', Uint32Array);
  const w = requireArray(frame, 'weights', Float32Array);
  const sinkMass = requireArray(frame, 'sink_mass', Float32Array)[at];
  const renorm = sink === 'renorm' && sinkMass < 1 ? 1 / (1 - sinkMass) : 1;
  const top = Array.from({ length: count }, (_, i) => ({
    begin: k[at * count + i],
    end: k[at * count + i] + 1,
    weight: w[at * count + i] * renorm,
  })).filter((i) => i.weight > 0 && (sink === 'mark' || !sinks.includes(i.begin)));
  return {
    badge: 'top-k',
    error: 0,
    total: NaN,
    sinkMass,
    entropy: null,
    values: null,
    top,
    visible: [[0, causal ? row + 1 : keys]],
    unscored: [],
  };
}

/**
 * Sums several lines. If any of them contains only its heaviest keys, the sum is known only for keys that are in the top list of every
 * line.
 */
export function sumLines(lines: readonly Line[], divisor: number): Line {
  const full = lines.every((l) => l.values);
  const sums = new Map<number, number>();
  let values: Float32Array | null = null;
  if (full) {
    values = new Float32Array(lines[0].values?.length ?? 0);
    for (const line of lines) line.values?.forEach((v, i) => values && (values[i] += v / divisor));
  }
  const found = new Map<number, number>();
  for (const line of lines) {
    for (const item of line.top) {
      sums.set(item.begin, (sums.get(item.begin) ?? 0) + item.weight / divisor);
      found.set(item.begin, (found.get(item.begin) ?? 0) + 1);
    }
  }
  const top = [...sums]
    .filter(([begin]) => found.get(begin) === lines.length)
    .map(([begin, weight]) => ({ begin, end: begin + 1, weight }))
    .sort((a, b) => b.weight - a.weight || a.begin - b.begin);
  const add = (f: (l: Line) => number): number => lines.reduce((a, l) => a + f(l), 0) / divisor;
  const first = lines[0];
  const last = lines[lines.length - 1];
  return {
    badge: full ? first.badge : 'top-k',
    error: add((l) => l.error),
    total: add((l) => l.total),
    sinkMass: add((l) => l.sinkMass),
    entropy: null,
    values,
    top,
    visible: [[first.visible[0]?.[0] ?? 0, last.visible[0]?.[1] ?? 0]],
    unscored: [],
  };
}
