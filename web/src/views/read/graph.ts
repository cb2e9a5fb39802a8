// Nodes of a graph: the selected node with its neighbours and theirs, joined by lines as thick as the weights, and the same weights as a
// table. The drawing follows the selection, not the pointer, so that nothing moves under it.

import { type Context, printWeight, quoted, rangeOf, selectedSpans } from '../../context';
import type { ShownLine } from '../../focus';
import { css, mix, shade } from '../../paint/ramp';
import type { Items, Line } from '../../source/source';
import { h, svgElement } from '../../ui/dom';
import { intensity, largest } from '../../weights';
import { listenTo, type ItemPanel, type ItemPanelEvents } from './itemPanel';
import { kLargest, labelsOf, layoutOf, type Neighbour, type Neighbourhood, type Size } from './neighbourhood';

const kExpanded = 24; // neighbours whose own neighbours are drawn
const kWidest = 720;
const kThickest = 8; // largest line width in pixels, for nodes of full size

export class GraphPanel implements ItemPanel {
  readonly element: HTMLElement;
  private readonly drawing = svgElement('svg', { class: 'graph-side', role: 'img' });
  private readonly caption = h('figcaption', { class: 'caption', 'data-testid': 'graph-caption' });
  private readonly table = h('tbody');
  private wanted = '';
  private second: { of: string; neighbours: Map<number, Neighbour[]> } | null = null;

  constructor(
    private readonly ctx: Context,
    private readonly items: Items,
    private readonly events: ItemPanelEvents,
  ) {
    const { t } = ctx;
    this.drawing.setAttribute('data-testid', 'graph');
    const heading = h('tr', {}, h('th', { scope: 'col' }, t('graph.node')), h('th', { scope: 'col' }, t('graph.weight')));
    const table = h('table', { 'data-testid': 'graph-table' }, h('thead', {}, heading), this.table);
    this.element = h(
      'figure',
      { class: 'side-figure' },
      this.drawing,
      this.caption,
      h('details', {}, h('summary', {}, t('graph.table')), table),
    );
    // On the whole drawing: a node that is redrawn under the pointer would not report that the pointer left it.
    listenTo(this.drawing, events, ({ target }) => {
      const node = target instanceof SVGElement ? target.dataset['node'] : undefined;
      return node === undefined ? null : Number(node);
    });
    new ResizeObserver(() => this.paint()).observe(this.element);
  }

  contains(id: number): boolean {
    return this.items.begin <= id && id < this.items.end;
  }

  paint(): void {
    const { ctx, size } = this;
    const shown = ctx.focus.pinned;
    if (!shown && selectedSpans(ctx.store.now).length > 0) return; // the line is on its way
    const centre = shown?.request.spans[0]?.begin ?? -1;
    const { scale } = ctx.store.now;
    const key = shown && this.contains(centre) ? JSON.stringify([shown.request, scale, ctx.theme().dark, size]) : 'none';
    if (key === this.wanted) return;
    this.wanted = key;
    if (key === 'none' || !shown) return this.showNone();
    const first = this.neighbours(shown.line, centre);
    void this.expand(shown, first).then((second) => {
      if (this.wanted === key) this.show(shown, layoutOf(centre, first, second, size), size);
    });
  }

  /** The size of the drawing, in pixels. */
  private get size(): Size {
    const width = Math.max(240, Math.min(kWidest, this.element.clientWidth));
    return { width, height: Math.round(width * (width < 480 ? 0.9 : 0.64)) };
  }

  /** The nodes that a line has weights for, the largest first. */
  private neighbours(line: Line, centre: number): Neighbour[] {
    const { values, top } = line;
    const found = values
      ? line.visible.flatMap(([begin, end]) =>
          Array.from({ length: end - begin }, (_, i) => ({ id: begin + i, weight: values[begin + i] })),
        )
      : top.map((item) => ({ id: item.begin, weight: item.weight }));
    return found.filter(({ id, weight }) => id !== centre && this.contains(id) && weight > 0).sort((a, b) => b.weight - a.weight);
  }

  /** The neighbours of the neighbours. A line that is not available is left out. */
  private async expand({ request }: ShownLine, first: readonly Neighbour[]): Promise<Map<number, Neighbour[]>> {
    const { ctx } = this;
    const of = JSON.stringify(request);
    if (this.second?.of === of) return this.second.neighbours;
    const range = rangeOf(ctx.family, request.direction === 'out' ? 'query' : 'key');
    const wanted = first.slice(0, kExpanded).filter(({ id }) => range.begin <= id && id < range.end);
    const lines = await Promise.allSettled(
      wanted.map(({ id }, i) => ctx.source.line({ ...request, spans: [{ begin: id, end: id + 1 }] }, `node-${i}`)),
    );
    const found = lines.map(
      (line, i) => [wanted[i].id, line.status === 'fulfilled' ? this.neighbours(line.value, wanted[i].id) : []] as const,
    );
    this.second = { of, neighbours: new Map(found) };
    return this.second.neighbours;
  }

  private showNone(): void {
    this.drawing.setAttribute('hidden', '');
    this.table.replaceChildren();
    this.caption.textContent = this.ctx.t('graph.choose', { n: this.items.end - this.items.begin });
  }

  private show(shown: ShownLine, drawn: Neighbourhood, size: Size): void {
    const { ctx } = this;
    this.drawing.removeAttribute('hidden');
    this.drawing.setAttribute('viewBox', `0 0 ${size.width} ${size.height}`);
    this.draw(shown, drawn, size);
    this.fillTable(shown, drawn);
    const count = (ring: number): number => drawn.places.filter((p) => p.ring === ring).length;
    const name = quoted(ctx, { begin: drawn.places[0].id, end: drawn.places[0].id + 1 });
    const caption =
      ctx.t(`graph.caption.${shown.request.direction}`, { name, first: count(1) }) +
      (count(2) > 0 ? ` ${ctx.t('graph.second', { n: count(2) })}` : '') +
      (drawn.left > 0 ? ` ${ctx.t('graph.left', { n: drawn.left })}` : '');
    this.caption.textContent = caption;
    this.drawing.setAttribute('aria-label', caption);
  }

  private draw({ line }: ShownLine, drawn: Neighbourhood, size: Size): void {
    const { ctx } = this;
    const { places, edges, radius } = drawn;
    this.drawing.replaceChildren();
    const theme = ctx.theme();
    const max = line.values ? largest(line.values, []) : (line.top[0]?.weight ?? 0);
    const strength = (weight: number): number => intensity(weight, max, ctx.store.now.scale);
    const at = new Map(places.map((p) => [p.id, p]));
    for (const { from, to, weight } of edges) {
      const [a, b] = [at.get(from), at.get(to)];
      if (!a || !b) continue;
      const t = a.ring === 0 ? strength(weight) : 0; // lines of the outer nodes are thin: their weights belong to other rows
      const stroke = css(a.ring === 0 ? mix(shade(t, theme), theme.ink, 0.15) : mix(theme.paper, theme.ink, 0.4));
      const thick = 0.75 + ((kThickest * radius) / kLargest) * t;
      this.drawing.append(
        svgElement('line', { x1: a.x, y1: a.y, x2: b.x, y2: b.y, stroke, 'stroke-width': thick, 'data-edge': `${from}-${to}` }),
      );
    }
    for (const { id, x, y, ring } of places) {
      const weight = ring === 2 ? NaN : weightOf(line, id);
      const fill = css(Number.isNaN(weight) ? theme.paper : shade(strength(weight), theme));
      const circle = svgElement('circle', { cx: x, cy: y, r: radius, fill, class: ring === 0 ? 'node centre' : 'node', 'data-node': id });
      circle.append(svgElement('title', {}, ctx.text.label(id)));
      this.drawing.append(circle);
    }
    for (const { text, x, y, anchor } of labelsOf(drawn, size, (id) => ctx.text.label(id)))
      this.drawing.append(svgElement('text', { x, y, 'text-anchor': anchor, 'dominant-baseline': 'middle' }, text));
  }

  private fillTable({ line }: ShownLine, { places }: Neighbourhood): void {
    const { ctx, events } = this;
    this.table.replaceChildren();
    const rows = places
      .filter((p) => p.ring < 2)
      .map(({ id }) => ({ id, weight: weightOf(line, id) }))
      .sort((a, b) => b.weight - a.weight);
    for (const { id, weight } of rows) {
      const choose = (event: MouseEvent): void => events.pick(id, event);
      const button = h('button', { type: 'button', onclick: choose }, ctx.text.label(id));
      this.table.append(h('tr', {}, h('td', {}, button), h('td', {}, printWeight(ctx, weight, line.badge, line.error))));
    }
  }
}

/** The weight of a node in a line; zero if only the largest weights are known and it is not among them. */
const weightOf = ({ values, top }: Line, id: number): number =>
  values ? values[id] : (top.find((item) => item.begin === id)?.weight ?? 0);
