// The top bar: the selection (model, head, direction, weight kind, scale, sink), the search box, and the actions.

import { hasLongWords } from '../views/read/top';
import type { Context, View } from '../context';
import { unavailableReason, badgeTitle, familyName, gradientOf, hasValueNorm, isGradient, pin, summaryOf, setDirection } from '../context';
import { head as headName } from '../format';
import { kPinColours } from '../paint/ramp';
import { type Direction, type Feature, type Scale, type SinkRule, type WeightKind, kGradients } from '../source/source';
import { type State, type ViewName } from '../state';
import { hasGallery, readableFamilies, traceName } from '../opening';
import { badgeElement } from './badge';
import { brand, languageButton } from './brand';
import { More, availableViews } from './more';
import { type SegmentOption, type Icon, h, icon, iconButton, replace, segmented, setChosen } from './dom';

export interface Actions {
  copyLink(): void;
  exportDialog(): void;
  verify(): void;
  runDialog(): void;
  reset(): void; // shows the source's current text, as when first opened
  reload(): void; // rebuilds the page in its current state
  help(): void;
  language(): void;
  toggleAtlas(): void;
  family(id: string): void;
  trace(number: number): void;
  gallery(): void; // returns to the gallery, if there is one
  turn(by: number): boolean; // to another question of the gallery; false: there is none
  present(): void; // enters or leaves presentation mode
  tour(): void; // begins the guided tour
}

export class TopBar implements View {
  readonly element: HTMLElement;
  private readonly views: HTMLFieldSetElement;
  private readonly more: More;
  private readonly pins = h('div', { class: 'pins', role: 'group', 'data-testid': 'pins' });
  private readonly groups: { group: HTMLFieldSetElement; of: (state: State) => string; shown: (state: State) => boolean }[] = [];
  private readonly words: HTMLInputElement;
  private readonly name: HTMLElement;
  private readonly model: HTMLElement;
  private readonly summary = h('span', { 'data-testid': 'summary' });
  private readonly badge = h('span', { class: 'badge-slot', 'data-testid': 'badge' });

  constructor(
    private readonly ctx: Context,
    search: HTMLElement,
    actions: Actions,
  ) {
    const { t, info, store } = ctx;
    this.views = segmented<ViewName>(
      t('view.label'),
      availableViews(ctx).map((v) => ({ value: v, label: t(`view.${v}`), title: t(`view.${v}.title`) })),
      store.now.view,
      (view) => {
        this.more.open(false);
        store.set({ view }, 'push');
      },
    );
    this.views.classList.add('views');
    this.more = new More(this.views, t('view.more'), ctx.life.signal);
    this.pins.setAttribute('aria-label', t('pins.label'));
    this.words = h('input', { type: 'checkbox', 'data-testid': 'words', onchange: () => store.set({ words: this.words.checked }, 'push') });
    const runnable = info.can_run ? null : ('run' as const);
    this.name = h('h1', { class: info.traces.length > 1 ? 'visually-hidden' : '' }); // the list of traces shows the names
    this.model = h('div', { class: 'model' }, this.name, this.traces(actions), this.families(actions), this.summary);
    this.refetch();
    this.element = h(
      'header',
      { class: 'bar' },
      h(
        'div',
        { class: 'bar-row' },
        iconButton('panel', t('atlas.toggle'), actions.toggleAtlas),
        brand(),
        hasGallery(info) ? this.action('grid', 'gallery', actions.gallery, null, true) : null,
        this.model,
        search,
        h(
          'div',
          { class: 'actions' },
          this.action('run', 'run', actions.runDialog, runnable, true),
          this.action('verify', 'verify', actions.verify, 'verify', true),
          this.action('link', 'link', actions.copyLink, null),
          this.action('export', 'export', actions.exportDialog, null),
          languageButton(t, actions.language),
          this.action('help', 'help', actions.help, null),
        ),
      ),
      h(
        'div',
        { class: 'bar-row controls' },
        this.views,
        this.pins,
        this.controls(),
        h('label', { class: 'check', title: t('words.title'), hidden: !hasLongWords(ctx) }, this.words, h('span', {}, t('words'))),
        this.badge,
      ),
    );
    ctx.focus.listen({
      front: (shown) =>
        replace(this.badge, shown ? badgeElement(ctx, shown.line.badge, badgeTitle(ctx, shown.line.badge, shown.line.error)) : null),
    });
  }

  refetch(): void {
    const { info, store } = this.ctx;
    this.name.textContent = info.name;
    this.summary.textContent = summaryOf(this.ctx, store.now.heads[0]);
    this.model.title = `${info.name}\n${this.summary.textContent}\n${info.notes.join('\n')}`;
    document.title = `${info.name} · clearhead`;
  }

  update(state: State, before: State): void {
    if (state.heads[0]?.layer !== before.heads[0]?.layer) this.refetch();
    setChosen(this.views, state.view);
    this.more.show(state.view);
    for (const { group, of, shown } of this.groups) {
      setChosen(group, of(state));
      group.hidden = !shown(state);
    }
    this.words.checked = state.words;
    const colours = this.ctx.theme().dark ? kPinColours.dark : kPinColours.light;
    replace(
      this.pins,
      ...state.heads.map((at, i) =>
        h(
          'span',
          { class: `pin${i === 0 ? ' front' : ''}`, style: `--pin: ${colours[i]}` },
          h(
            'button',
            {
              type: 'button',
              class: 'pin-name',
              'data-pin': `${at.layer}.${at.head}`,
              title: this.ctx.t('pins.front'),
              onclick: () => i > 0 && pin(this.ctx, at),
            },
            state.heads.length > 1 ? h('span', { class: 'pin-number' }, String(i + 1)) : null,
            headName(at),
          ),
          state.heads.length > 1
            ? h(
                'button',
                {
                  type: 'button',
                  class: 'pin-close',
                  'aria-label': this.ctx.t('pins.remove', { head: headName(at) }),
                  onclick: () => this.ctx.store.set({ heads: state.heads.filter((_, o) => o !== i) }, 'push'),
                },
                icon('close'),
              )
            : null,
        ),
      ),
    );
  }

  /** A button; null if the source lacks `feature` (the help dialog says why). */
  private action(name: Icon, key: string, run: () => void, feature: Feature | null, text = false): HTMLButtonElement | null {
    const { t } = this.ctx;
    if (feature && unavailableReason(this.ctx, feature)) return null;
    return h(
      'button',
      {
        type: 'button',
        class: 'action',
        title: t(`${key}.title`),
        'data-action': key,
        'aria-label': t(key),
        onclick: run,
      },
      icon(name),
      text ? h('span', { class: 'action-label' }, t(key)) : null,
    );
  }

  /** The list of traces, if there are several. */
  private traces(actions: Actions): HTMLElement | null {
    const { info, t } = this.ctx;
    if (info.traces.length < 2) return null;
    const select = h(
      'select',
      { class: 'traces', 'aria-label': t('traces'), title: t('traces'), onchange: () => actions.trace(Number(select.value)) },
      ...info.traces.map((one) => h('option', { value: one.number, selected: one.number === info.step }, traceName(one))),
    );
    return select;
  }

  /** The list of map families, if the model has several. */
  private families(actions: Actions): HTMLElement | null {
    const { ctx } = this;
    const { info, family, t } = ctx;
    const readable = readableFamilies(info);
    if (readable.length < 2) return null;
    const select = h(
      'select',
      { class: 'families', 'aria-label': t('family'), title: t('family'), onchange: () => actions.family(select.value) },
      ...readable.map((f) => h('option', { value: f.id, selected: f.id === family.id }, familyName(ctx, f))),
    );
    return select;
  }

  private controls(): DocumentFragment {
    const { ctx } = this;
    const { t, store, family } = ctx;
    const state = store.now;
    const all = document.createDocumentFragment();
    const add = <T extends string>(
      key: string,
      choices: SegmentOption<T>[],
      of: (s: State) => T,
      onChange: (v: T) => void,
      shown: (s: State) => boolean = () => true,
    ): void => {
      if (choices.length < 2) return;
      const group = segmented(t(key), choices, of(state), onChange);
      group.dataset['control'] = key;
      this.groups.push({ group, of, shown });
      all.append(group);
    };
    const choice = <T extends string>(prefix: string, value: T): SegmentOption<T> => ({
      value,
      label: t(`${prefix}.${value}`),
      title: t(`${prefix}.${value}.title`, { answer: ctx.info.gradients_of ?? '' }),
    });
    const hasWeight = (kind: WeightKind): boolean => kind === 'raw' || (!unavailableReason(ctx, kind) && family.weights.includes(kind));
    add<Direction>(
      'direction',
      unavailableReason(ctx, 'column') ? [choice('direction', 'out')] : [choice('direction', 'out'), choice('direction', 'in')],
      (s) => s.direction,
      (v) => setDirection(ctx, v),
    );
    add<WeightKind>(
      'weight',
      [
        ...(['raw', 'value', 'output'] as const).filter(hasWeight).map((v) => choice('weight', v)),
        ...kGradients.filter((v) => family.weights.includes(v)).map((v) => choice('weight', v)),
      ],
      (s) => gradientOf(s.weight) ?? s.weight,
      (kind) => this.showWeight(kind),
    );
    if (family.weights.includes('for-value')) {
      add<'none' | 'value'>(
        'norm',
        [choice('norm', 'none'), choice('norm', 'value')],
        (s) => (isGradient(s.weight) && hasValueNorm(s.weight) ? 'value' : 'none'),
        (norm) => {
          const gradient = gradientOf(store.now.weight);
          if (gradient) store.set({ weight: norm === 'value' ? `${gradient}-value` : gradient }, 'push');
        },
        (s) => isGradient(s.weight),
      );
    }
    add<Scale>(
      'scale',
      (['linear', 'sqrt', 'log'] as const).map((v) => choice('scale', v)),
      (s) => s.scale,
      (scale) => store.set({ scale }, 'push'),
    );
    add<SinkRule>(
      'sink',
      (['mark', 'hide', 'renorm'] as const).map((v) => choice('sink', v)),
      (s) => s.sink,
      (sink) => store.set(isGradient(store.now.weight) && sink === 'renorm' ? { sink, weight: 'raw' } : { sink }, 'push'),
    );
    return all;
  }

  // Multiplication by norms is kept when one gradient kind replaces another; rows of gradients have no sum to restore.
  private showWeight(kind: WeightKind): void {
    const { store } = this.ctx;
    const gradient = gradientOf(kind);
    if (!gradient) return store.set({ weight: kind }, 'push');
    const weight = isGradient(store.now.weight) && hasValueNorm(store.now.weight) ? (`${gradient}-value` as const) : gradient;
    store.set(store.now.sink === 'renorm' ? { weight, sink: 'hide' } : { weight }, 'push');
  }
}
