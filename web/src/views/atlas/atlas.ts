// The head atlas: every head as a thumbnail with its scores on this text. Narrow beside the text, wide as a view of its own, where it can
// be sorted, filtered, and recoloured by the attention from selected rows to selected keys.

import { type Context, type Numbers, type View, unavailableReason, badgeTitle, pin, printWeight, solo, weightName } from '../../context';
import { head as headName, score as printScore, messageOf } from '../../format';
import { bitmapOf, colourTable } from '../../paint/picture';
import { css, inkOn, shade } from '../../paint/ramp';
import {
  type AtlasHead,
  type Badge,
  type HeadId,
  type HeadPicture,
  type Mass,
  type ScoreName,
  isAbort,
  kScores,
} from '../../source/source';
import { rowName } from '../../rows';
import { type State, sameHead } from '../../state';
import { setSentence } from '../../ui/glossary';
import { fillHeadGrid } from '../../ui/headGrid';
import { MeanNames } from './means';
import { badgeElement } from '../../ui/badge';
import { legendSlot, ownLegend, showBar, showLegend } from '../../ui/legend';
import { captionOfMass, legendsOf, scaleOfMass } from './scales';
import { h, iconButton, replace } from '../../ui/dom';
import type { Exported, Thumbnail } from '../../figure/figure';
import { codeTable } from '../../source/frame';
import { type Order, type Row, arrange } from './arrange';
import { numbersOf, pagesOf, scoresTable, strongest } from './table';
import { PatchHeads } from './patches';
import { ownCells, thumbnailOf } from './thumbnail';
import { WeightedHeads } from './weighted';

const kMaxAcross = 16; // heads in a row of thumbnails beside the text (style.css)

interface Cell {
  at: HeadId;
  button: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  note: HTMLElement;
  head: AtlasHead | null;
}

export class AtlasView implements View {
  readonly element: HTMLElement;
  readonly cells: Cell[] = [];
  private readonly grid: HTMLElement;
  private readonly badge = h('span', { class: 'badge-slot', 'data-testid': 'atlas-badge' });
  private readonly legend = legendSlot('atlas-legend');
  private readonly caption = h('p', { class: 'caption' });
  private readonly definition = h('p', { class: 'definition', 'data-testid': 'definition' });
  private readonly table = h('div', { class: 'table-slot', hidden: true });
  private readonly best = h('div', { class: 'best', 'data-testid': 'mass' });
  private readonly tableButton: HTMLButtonElement;
  private order: Order = { by: 'layer', atLeast: 0 };
  private readonly weighted: WeightedHeads;
  private readonly patches: PatchHeads;
  private readonly bySum: HTMLOptionElement;
  private mass: Mass | null = null;
  private massKey = '';
  private massAbort = new AbortController();
  private loading = new AbortController();
  private page = 0;
  private readonly means: MeanNames;
  private done = 0;

  constructor(private readonly ctx: Context) {
    const { t, family } = ctx;
    this.grid = h('div', { class: 'heads', style: `--heads: ${family.heads}`, role: 'group', 'aria-label': t('atlas.label') });
    const means = (this.means = new MeanNames(ctx));
    fillHeadGrid(this.grid, family, (at) => this.makeCell(at), family.heads <= kMaxAcross ? (text, at) => means.make(text, at) : null);
    this.bySum = h('option', { value: 'sum', hidden: true }, t('atlas.by-sum'));
    const fail = (message: string): string => (this.caption.textContent = message);
    this.weighted = new WeightedHeads(ctx, () => this.showWeighted(), fail);
    this.patches = new PatchHeads(ctx, (at) => this.showPatches(at));
    this.tableButton = iconButton('table', t('table'), () => this.toggleTable());
    this.element = h(
      'section',
      { class: 'panel atlas-panel', 'aria-label': t('atlas.label') },
      h('header', { class: 'panel-head' }, h('h2', {}, t('view.atlas')), this.badge, h('span', { class: 'spring' }), this.tableButton),
      this.controls(),
      this.definition,
      h('div', { class: 'heads-frame', tabindex: 0, role: 'group', 'aria-label': t('atlas.frame') }, this.grid, this.table),
      this.legend,
      this.spanTools(),
      this.caption,
    );
    this.grid.addEventListener('pointerleave', () => ctx.focus.previewHead(null));
    this.grid.addEventListener('keydown', (event) => this.onKey(event));
    this.describe('layer');
    this.setMass(null);
    this.load();
    ctx.life.signal.addEventListener('abort', () => this.loading.abort());
  }

  refetch(): void {
    this.load();
    this.massKey = '';
    this.loadMass(this.ctx.store.now);
    this.weighted.load(this.ctx.store.now, true);
    this.patches.load(this.ctx.store.now, true);
  }

  retheme(): void {
    for (const cell of this.cells) this.paintCell(cell);
    this.updateLegend();
  }

  update(state: State): void {
    const first = this.cells.find((cell) => sameHead(cell.at, state.heads[0])) ?? this.cells[0];
    for (const cell of this.cells) {
      const place = state.heads.findIndex((p) => sameHead(p, cell.at));
      cell.button.setAttribute('aria-pressed', String(place >= 0));
      cell.button.classList.toggle('front', place === 0);
      cell.button.tabIndex = cell === first ? 0 : -1;
    }
    this.means.update(state);
    this.loadMass(state);
    this.weighted.load(state);
    this.patches.load(state);
  }

  private makeCell(at: HeadId): HTMLButtonElement {
    const { ctx } = this;
    const canvas = h('canvas', { width: 1, height: 1, 'aria-hidden': 'true' });
    const note = h('span', { class: 'note' });
    const button = h(
      'button',
      {
        type: 'button',
        class: 'head',
        'data-head': `${at.layer}.${at.head}`,
        'aria-label': headName(at),
        tabindex: -1,
        onclick: (event: MouseEvent) => {
          if (event.detail <= 1) pin(ctx, at);
        },
        ondblclick: () => solo(ctx, at),
        onpointermove: () => this.hover(at),
        onfocus: () => this.hover(at),
        onblur: () => ctx.focus.previewHead(null),
      },
      canvas,
      h('span', { class: 'head-name' }, headName(at)),
      note,
    );
    this.cells.push({ at, button, canvas, note, head: null });
    return button;
  }

  private controls(): HTMLElement {
    const { t } = this.ctx;
    const by = h(
      'select',
      {
        'aria-label': t('atlas.sort'),
        'data-testid': 'atlas-sort',
        onchange: () => {
          this.order = { ...this.order, by: by.value as Order['by'] };
          this.describe(this.order.by);
          this.rearrange();
        },
      },
      h('option', { value: 'layer' }, t('atlas.by-layer')),
      this.bySum,
      ...kScores.map((s) => h('option', { value: s }, t(`score.${s}`))),
    );
    const least = h('input', {
      type: 'range',
      min: 0,
      max: 1,
      step: 0.05,
      value: 0,
      'aria-label': t('atlas.filter'),
      oninput: () => {
        this.order = { ...this.order, atLeast: Number(least.value) };
        value.textContent = `≥ ${Number(least.value).toFixed(2)}`;
        this.rearrange();
      },
    });
    const value = h('output', {}, '≥ 0.00');
    return h(
      'div',
      { class: 'atlas-controls' },
      h('label', {}, h('span', {}, t('atlas.sort')), by),
      h('label', { class: 'wide-only' }, h('span', {}, t('atlas.filter')), least, value),
    );
  }

  /** Span mode: which span the next click in the text selects, and the heads with the most attention between the two spans. */
  private spanTools(): HTMLElement {
    const { ctx } = this;
    const { t } = ctx;
    const missing = unavailableReason(ctx, 'mass');
    const choose = (which: 'q' | 'k'): HTMLButtonElement =>
      h(
        'button',
        {
          type: 'button',
          class: 'quiet',
          'aria-pressed': 'false',
          'data-pick': which,
          title: missing ?? t(`span.${which}.title`),
          disabled: Boolean(missing),
          onclick: () => {
            ctx.picking = ctx.picking === which ? null : which;
            for (const b of tools.querySelectorAll<HTMLElement>('[data-pick]'))
              b.setAttribute('aria-pressed', String(b.dataset['pick'] === ctx.picking));
          },
        },
        t(`span.${which}`),
      );
    const tools = h(
      'div',
      { class: 'span-tools' },
      h('span', { class: 'label' }, t('span.label')),
      choose('q'),
      choose('k'),
      h('button', { type: 'button', class: 'quiet', onclick: () => ctx.store.set({ q: [], k: [] }, 'push') }, t('span.clear')),
    );
    return h('div', { class: 'spans' }, tools, this.best);
  }

  private load(): void {
    const { ctx } = this;
    const missing = unavailableReason(ctx, 'atlas');
    this.sayCaption();
    if (missing) return;
    this.loading.abort();
    this.loading = new AbortController();
    const onHeads = (heads: AtlasHead[], done: number): void => {
      this.done = done;
      for (const found of heads) {
        const cell = this.cellOf(found);
        if (!cell) continue;
        cell.head = found;
        this.paintCell(cell);
      }
      this.updateBadge();
      if (heads.length) this.rearrange();
    };
    ctx.source.atlas(ctx.family.id, onHeads, this.loading.signal).catch((error: unknown) => {
      if (!isAbort(error)) this.caption.textContent = messageOf(error);
    });
  }

  private showPatches(at: HeadId): void {
    this.paintCell(this.cellOf(at));
    this.sayCaption();
  }

  private sayCaption(): void {
    setSentence(this.caption, this.ctx.t, unavailableReason(this.ctx, 'atlas') ?? this.captionText());
  }

  private captionText(): string {
    const { ctx } = this;
    const rows = this.patches.spans.map((span) => rowName(ctx, span)).join(ctx.t('list.quoted'));
    if (this.patches.on) return ctx.t('atlas.caption-patches', { rows });
    return this.weighted.on ? ctx.t('atlas.caption-weighted', { weight: weightName(ctx) }) : ctx.t('atlas.caption');
  }

  private showWeighted(): void {
    this.bySum.hidden = !this.weighted.on;
    if (!this.weighted.on && this.order.by === 'sum') {
      this.order = { ...this.order, by: 'layer' };
      this.bySum.parentElement!.querySelector('option')!.selected = true;
    }
    this.sayCaption();
    for (const cell of this.cells) this.paintCell(cell);
    this.updateBadge();
    this.rearrange();
  }

  /** Shows the badge of the printed numbers: the masses between the spans, else the scores. */
  private updateBadge(): void {
    this.updateLegend();
    if (this.mass) {
      replace(this.badge, badgeElement(this.ctx, this.mass.badge, badgeTitle(this.ctx, this.mass.badge, this.mass.error)));
      return;
    }
    const badge = this.badgeOf();
    const isThere = this.cells.some((c) => c.head);
    replace(this.badge, isThere ? badgeElement(this.ctx, badge, badgeTitle(this.ctx, badge, 0), this.done < 1) : null);
  }

  private updateLegend(): void {
    const { ctx, mass } = this;
    if (mass) showLegend(ctx, this.legend, scaleOfMass(ctx, mass));
    else showBar(ctx, this.legend, ownLegend(ctx), { title: ctx.t('scale.sqrt.title') });
  }

  private badgeOf(): Badge {
    if (this.mass) return this.mass.badge;
    const badges = new Set(this.weighted.on ? this.weighted.badges : this.cells.map((c) => c.head?.badge));
    return badges.has('sampled') ? 'sampled' : badges.has('quantised') ? 'quantised' : 'exact';
  }

  private paintCell(cell: Cell): void {
    const theme = this.ctx.theme();
    if (this.mass) {
      const value = this.mass.mass[cell.at.layer * this.ctx.family.heads + cell.at.head];
      const max = this.mass.mass.reduce((a, b) => Math.max(a, b), 0);
      const colour = shade(max > 0 ? value / max : 0, theme);
      cell.button.style.background = css(colour);
      cell.button.style.color = inkOn(colour);
      replace(cell.note, h('span', {}, this.print(value)));
    } else {
      cell.button.style.background = '';
      cell.button.style.color = '';
      replace(cell.note, ...this.noteOf(cell));
    }
    const shown = this.shownOf(cell);
    if (shown) {
      const values = codeTable(shown.codes);
      const picture = bitmapOf(shown.thumbnail, shown.rows, shown.columns, colourTable(shown.codes, values[255], 'sqrt', theme));
      const { left, top, width, height } = ownCells(shown, this.ctx.family);
      cell.canvas.width = width;
      cell.canvas.height = height;
      cell.canvas.getContext('2d')?.drawImage(picture, -left, -top);
    }
    cell.button.setAttribute('aria-label', [headName(cell.at), ...[...cell.note.children].map((c) => c.textContent)].join(' '));
  }

  private cellOf({ layer, head }: HeadId): Cell {
    return this.cells[layer * this.ctx.family.heads + head];
  }

  private shownOf(cell: Cell): HeadPicture | null {
    return this.patches.at(cell.at) ?? this.weighted.at(cell.at) ?? cell.head;
  }

  /**
   * The note under a head: the map's sum under another kind of weight; else the chosen score, or the strongest, which the engine selects.
   */
  private noteOf({ at, head }: Cell): HTMLElement[] {
    if (this.weighted.on && (this.order.by === 'layer' || this.order.by === 'sum')) {
      const weighted = this.weighted.at(at);
      return weighted ? [h('span', { class: 'number' }, printWeight(this.ctx, weighted.sum, weighted.badge, 0))] : [];
    }
    if (!head || this.order.by === 'sum') return [];
    const { t } = this.ctx;
    const number = (score: ScoreName): HTMLElement => h('span', { class: 'number' }, printScore(head.scores[score]));
    if (this.order.by !== 'layer') return [number(this.order.by)];
    return head.strongest.map((name) => h('span', { class: 'named' }, t(`score.${name}`), ' ', number(name)));
  }

  private print(value: number): string {
    return printWeight(this.ctx, value, this.mass?.badge ?? 'exact', this.mass?.error ?? 0);
  }

  private rows(): Row[] {
    return arrange(
      this.cells.map((c) => ({ at: c.at, scores: c.head?.scores ?? null, sum: this.weighted.at(c.at)?.sum ?? null })),
      this.order,
    );
  }

  private rearrange(): void {
    const rows = this.rows();
    const place = new Map(rows.map((r, i) => [`${r.at.layer}.${r.at.head}`, i]));
    for (const cell of this.cells) {
      const at = place.get(`${cell.at.layer}.${cell.at.head}`);
      cell.button.hidden = at === undefined;
      cell.button.style.order = this.order.by === 'layer' ? '' : String(at ?? 0);
      if (!this.mass) replace(cell.note, ...this.noteOf(cell));
    }
    this.grid.classList.toggle('sorted', this.order.by !== 'layer' || this.order.atLeast > 0);
    if (!this.table.hidden) this.fillTable();
  }

  private hover(at: HeadId): void {
    this.ctx.focus.previewHead(at);
    const head = this.cellOf(at).head;
    if (!head) return;
    const list = kScores.map((s) => `${this.ctx.t(`score.${s}`)} ${printScore(head.scores[s])}`).join(' · ');
    this.definition.textContent = `${headName(at)}: ${list}`;
  }

  private describe(by: Order['by']): void {
    setSentence(this.definition, this.ctx.t, this.ctx.t(by === 'layer' ? 'atlas.how' : by === 'sum' ? 'atlas.how-sum' : `define.${by}`));
  }

  private onKey(event: KeyboardEvent): void {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.ctx.family.heads, ArrowUp: -this.ctx.family.heads }[event.key];
    if (step === undefined || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const visible = this.rows().map((r) => this.cellOf(r.at));
    const here = visible.findIndex((c) => c.button === document.activeElement);
    visible[Math.max(0, Math.min(visible.length - 1, here + step))]?.button.focus();
  }

  private loadMass(state: State): void {
    const { ctx } = this;
    const spans = state.view === 'atlas' && state.q.length > 0 && state.k.length > 0;
    const key = spans ? JSON.stringify([state.q, state.k, state.weight, state.sink]) : '';
    if (key === this.massKey) return;
    this.massKey = key;
    this.massAbort.abort();
    this.massAbort = new AbortController();
    if (!spans || unavailableReason(ctx, 'mass')) {
      this.setMass(null);
      return;
    }
    ctx.source.mass(ctx.family.id, [...state.q], [...state.k], state.weight, state.sink, this.massAbort.signal).then(
      (mass) => {
        if (this.massKey === key) this.setMass(mass);
      },
      (error: unknown) => {
        if (isAbort(error) || this.massKey !== key) return;
        this.setMass(null);
        replace(this.best, h('p', { class: 'bad' }, messageOf(error)));
      },
    );
  }

  private setMass(mass: Mass | null): void {
    this.mass = mass;
    for (const cell of this.cells) this.paintCell(cell);
    this.updateBadge();
    const { ctx } = this;
    if (!mass) return replace(this.best, h('p', { class: 'caption' }, ctx.t('span.how')));
    replace(
      this.best,
      h('p', { class: 'caption' }, captionOfMass(ctx)),
      strongest(ctx, mass, (value) => this.print(value)),
    );
  }

  figure(): Exported {
    const { ctx, mass } = this;
    const max = mass ? mass.mass.reduce((a, b) => Math.max(a, b), 0) : 0;
    const sorted = this.order.by !== 'layer' || this.order.atLeast > 0;
    const cells = this.rows().map((row): Thumbnail => {
      const cell = this.cellOf(row.at);
      const own = mass ? mass.mass[row.at.layer * ctx.family.heads + row.at.head] : NaN;
      const note = cell.note.firstElementChild?.textContent ?? '';
      const strength = mass ? (max > 0 ? own / max : 0) : NaN;
      const chosen = ctx.store.now.heads.some((at) => sameHead(at, row.at));
      return { name: headName(row.at), note, strength, chosen, ...thumbnailOf(this.shownOf(cell), ctx.family) };
    });
    const columns = sorted ? Math.min(12, Math.max(1, cells.length)) : ctx.family.heads;
    const says = mass ? (this.best.querySelector('.caption')?.textContent ?? '') : this.captionText();
    return { parts: [{ kind: 'grid', columns, cells, legends: legendsOf(ctx, mass) }], description: says, badge: this.badgeOf() };
  }

  offlineNumbers(): Promise<Numbers> {
    const heads = this.cells.map(({ head }) => head);
    return Promise.resolve(numbersOf(heads, this.ctx.family, this.mass));
  }

  private toggleTable(): void {
    this.table.hidden = !this.table.hidden;
    this.grid.hidden = !this.table.hidden;
    this.tableButton.setAttribute('aria-pressed', String(!this.table.hidden));
    if (!this.table.hidden) this.fillTable();
  }

  private fillTable(): void {
    const rows = this.rows();
    this.page = Math.min(this.page, pagesOf(rows) - 1);
    const go = (by: number): void => {
      this.page += by;
      this.fillTable();
    };
    replace(this.table, ...scoresTable(this.ctx, rows, this.badgeOf(), this.page, go));
  }
}
