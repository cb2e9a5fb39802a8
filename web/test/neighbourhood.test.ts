import { describe, expect, it } from 'vitest';
import { kLargest, labelsOf, layoutOf, type Neighbour, type Neighbourhood } from '../src/views/read/neighbourhood';

const size = { width: 720, height: 460 };

/** A graph of `first` neighbours, each with `each` more neighbours of its own; weights fall with the id. */
function star(first: number, each: number): [Neighbour[], Map<number, Neighbour[]>] {
  const near = Array.from({ length: first }, (_, i) => ({ id: i + 1, weight: 1 / (i + 1) }));
  const second = near.map(({ id }): [number, Neighbour[]] => [
    id,
    Array.from({ length: each }, (_, k) => ({ id: 1000 + id * 100 + k, weight: 1 / (k + 1) })),
  ]);
  return [near, new Map(second)];
}

function expectNoOverlap({ places, radius }: Neighbourhood, { width, height } = size): void {
  expect(new Set(places.map((p) => p.id)).size).toBe(places.length);
  places.forEach((a, i) => {
    expect(Math.min(a.x - radius, width - a.x - radius, a.y - radius, height - a.y - radius)).toBeGreaterThan(0);
    for (const b of places.slice(i + 1)) expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(2 * radius);
  });
}

describe('the layout of a neighbourhood', () => {
  it('has no overlapping nodes, up to 200', () => {
    for (const [first, each] of [
      [0, 0],
      [1, 0],
      [1, 40],
      [3, 4],
      [24, 9],
      [60, 30],
      [61, 30],
      [300, 0],
    ]) {
      const drawn = layoutOf(0, ...star(first, each), size);
      expect(drawn.places.length).toBeLessThanOrEqual(200);
      expectNoOverlap(drawn);
      expectNoOverlap(layoutOf(0, ...star(first, each), { width: 320, height: 288 }), { width: 320, height: 288 });
      const rings = [0, 1, 2].map((ring) => drawn.places.filter((p) => p.ring === ring).length);
      const all = 1 + first + (first > 60 ? 0 : first * each);
      expect(rings).toEqual([1, Math.min(first, 199), first > 60 ? 0 : Math.min(first * each, 199 - first)]);
      expect(drawn.left).toBe(all - drawn.places.length);
      expect(drawn.radius).toBeGreaterThan(1);
    }
  });

  it('places a node once, nearest to the centre, and draws every line between placed nodes', () => {
    const second = new Map([
      [1, [node(0, 0.3), node(2, 0.2), node(3, 0.1)]],
      [2, [node(3, 0.5)]],
    ]);
    const drawn = layoutOf(0, [node(1, 0.6), node(2, 0.4)], second, size);
    expect(drawn.places.map(({ id, ring }) => [id, ring])).toEqual([
      [0, 0],
      [1, 1],
      [2, 1],
      [3, 2],
    ]);
    const lines = drawn.edges.map(({ from, to }) => `${from}-${to}`).sort();
    expect(lines).toEqual(['0-1', '0-2', '1-2', '1-3', '2-3']);
    expect(drawn.radius).toBe(kLargest);
  });

  it('keeps the nodes with the largest weights', () => {
    const drawn = layoutOf(0, ...star(300, 0), size, 10);
    expect(drawn.places.map((p) => p.id).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(drawn.left).toBe(291);
  });
});

describe('labels', () => {
  it('never touch each other, and long names are cut', () => {
    const drawn = layoutOf(0, ...star(24, 9), size);
    const labels = labelsOf(drawn, size, (id) => (id === 0 ? 'a name of a node that is far too long' : `node ${id}`));
    expect(labels[0]).toMatchObject({ id: 0, text: 'a name of a node that is …' });
    expect(labels.length).toBeGreaterThan(10);
    const areas = labels.map(({ x, y, text, anchor }) => {
      const wide = 6.4 * text.length;
      const left = anchor === 'start' ? x : anchor === 'end' ? x - wide : x - wide / 2;
      return { left, right: left + wide, top: y - 7, bottom: y + 7 };
    });
    areas.forEach((a, i) => {
      for (const b of areas.slice(i + 1)) {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        expect(across > 1e-6 && down > 1e-6).toBe(false);
      }
    });
  });
});

function node(id: number, weight: number): Neighbour {
  return { id, weight };
}
