// The layout of a node's neighbourhood: the node in the centre, the nodes that it has weights for on a ring, and theirs on a second ring,
// each beside the node that it was reached from. Nodes never overlap: their radius follows from the smallest distance.

export interface Neighbour {
  id: number;
  weight: number;
}

export interface Place {
  id: number;
  x: number;
  y: number;
  ring: 0 | 1 | 2;
}

export interface Edge {
  from: number;
  to: number;
  weight: number;
}

export interface Neighbourhood {
  places: Place[];
  edges: Edge[]; // strongest last
  radius: number; // of every node
  left: number; // number of nodes that are not placed because of the limit
}

interface Label {
  id: number;
  text: string;
  x: number;
  y: number;
  anchor: 'start' | 'middle' | 'end';
}

export interface Size {
  width: number;
  height: number;
}

const kMargin = 24;
const kTwoRings = 60; // with more neighbours than this, theirs are not drawn
export const kLargest = 9; // radius of a node
const kLetter = 6.4; // width of a letter, estimated
const kLine = 14; // height of a label
const kLetters = 26; // letters of a label

/**
 * Places at most `limit` nodes. `first`: the neighbours of the centre. `second`: the neighbours of each of these, which are placed if there are
 * few of the first. The nodes with the largest weights are placed first; on the second ring, those with the largest product along the path.
 */
export function layoutOf(
  centre: number,
  first: readonly Neighbour[],
  second: ReadonlyMap<number, readonly Neighbour[]>,
  size: Size,
  limit = 200,
): Neighbourhood {
  const ring = [...first].filter((n) => n.id !== centre).sort((a, b) => b.weight - a.weight);
  const near = ring.slice(0, limit - 1);
  const known = new Set([centre, ...ring.map((n) => n.id)]);
  const paths = (ring.length > kTwoRings ? [] : near)
    .flatMap((from) => (second.get(from.id) ?? []).map((to) => ({ from: from.id, to, product: from.weight * to.weight })))
    .filter(({ to }) => !known.has(to.id))
    .sort((a, b) => b.product - a.product);
  const children = new Map<number, number[]>(near.map((n) => [n.id, []]));
  const beyond = new Set<number>();
  const reached = new Set<number>();
  for (const { from, to } of paths) {
    if (reached.has(to.id)) continue;
    if (1 + near.length + reached.size < limit) {
      reached.add(to.id);
      children.get(from)?.push(to.id);
    } else beyond.add(to.id);
  }
  const places = placesOf(centre, near, children, reached.size > 0, size);
  const drawn = new Set(places.map((p) => p.id));
  const edges: Edge[] = near.map(({ id, weight }) => ({ from: centre, to: id, weight }));
  for (const { id } of near)
    for (const to of second.get(id) ?? [])
      if (to.id !== centre && to.id !== id && drawn.has(to.id)) edges.push({ from: id, to: to.id, weight: to.weight });
  edges.sort((a, b) => a.weight - b.weight);
  return { places, edges, radius: radiusOf(places), left: ring.length - near.length + beyond.size };
}

function placesOf(
  centre: number,
  near: readonly Neighbour[],
  children: ReadonlyMap<number, number[]>,
  twoRings: boolean,
  { width, height }: Size,
): Place[] {
  const [wide, tall] = [width / 2 - kMargin, height / 2 - kMargin];
  const at = (id: number, ring: 1 | 2, turn: number): Place => {
    const part = ring === 2 ? 1 : twoRings ? 0.52 : 0.86;
    const angle = 2 * Math.PI * turn - Math.PI / 2;
    return { id, ring, x: width / 2 + wide * part * Math.cos(angle), y: height / 2 + tall * part * Math.sin(angle) };
  };
  const places: Place[] = [{ id: centre, ring: 0, x: width / 2, y: height / 2 }];
  const units = near.map((n) => Math.max(1, children.get(n.id)?.length ?? 0));
  const all = units.reduce((a, b) => a + b, 0);
  let from = 0;
  near.forEach((n, i) => {
    places.push(at(n.id, 1, (from + units[i] / 2) / all));
    children.get(n.id)?.forEach((id, k) => places.push(at(id, 2, (from + k + 0.5) / all)));
    from += units[i];
  });
  return places;
}

function radiusOf(places: readonly Place[]): number {
  let smallest = Infinity;
  places.forEach((a, i) => {
    for (const b of places.slice(i + 1)) smallest = Math.min(smallest, Math.hypot(a.x - b.x, a.y - b.y));
  });
  return Math.min(kLargest, 0.42 * smallest);
}

interface Area {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

const apart = (a: Area, b: Area): boolean => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;

/** Labels for as many nodes as have room, in the order of `places`: none touches another label or a node. */
export function labelsOf({ places, radius }: Neighbourhood, { width, height }: Size, name: (id: number) => string): Label[] {
  const taken: Area[] = places.map(({ x, y }) => ({ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius }));
  const labels: Label[] = [];
  for (const place of [...places].sort((a, b) => a.ring - b.ring)) {
    const whole = name(place.id);
    const text = whole.length > kLetters ? `${whole.slice(0, kLetters - 1)}…` : whole;
    for (const [label, area] of positionsOf(place, text, radius)) {
      const inside = area.left >= 0 && area.right <= width && area.top >= 0 && area.bottom <= height;
      if (!inside || !taken.every((other) => apart(area, other))) continue;
      taken.push(area);
      labels.push(label);
      break;
    }
  }
  return labels;
}

/** Below, above, right and left of a node. */
function positionsOf({ id, x, y }: Place, text: string, radius: number): [Label, Area][] {
  const wide = kLetter * text.length;
  const gap = radius + 3;
  const centred = { left: x - wide / 2, right: x + wide / 2 };
  const level = { top: y - kLine / 2, bottom: y + kLine / 2 };
  return [
    [
      { id, text, x, y: y + gap + kLine / 2, anchor: 'middle' },
      { ...centred, top: y + gap, bottom: y + gap + kLine },
    ],
    [
      { id, text, x, y: y - gap - kLine / 2, anchor: 'middle' },
      { ...centred, top: y - gap - kLine, bottom: y - gap },
    ],
    [
      { id, text, x: x + gap, y, anchor: 'start' },
      { ...level, left: x + gap, right: x + gap + wide },
    ],
    [
      { id, text, x: x - gap, y, anchor: 'end' },
      { ...level, left: x - gap - wide, right: x - gap },
    ],
  ];
}
