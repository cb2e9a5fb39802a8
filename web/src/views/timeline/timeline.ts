// The timeline at the bottom of the page: a slider over moments; Space plays it. For generated text also a strip of its tokens, each with a
// bar for its probability.

import type { Context, View } from '../../context';
import { shortShare, share } from '../../format';
import type { Exported, Word } from '../../figure/figure';
import type { State } from '../../state';
import { h, icon, iconButton, replace } from '../../ui/dom';
import { legendOf } from '../../ui/legend';
import { type Moments, momentsOf } from './moments';

const kPause = 700; // milliseconds per moment
const kMaxChips = 400; // tokens on the strip; the slider and the table have all

export class Timeline implements View {
  readonly element: HTMLElement;
  private readonly slider: HTMLInputElement;
  private readonly label = h('output', { class: 'timeline-label', 'data-testid': 'timeline-label' });
  private readonly playButton: HTMLButtonElement;
  private readonly table = h('div', { class: 'table-slot timeline-table', hidden: true });
  private readonly tableButton: HTMLButtonElement;
  private readonly chips: HTMLButtonElement[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private playing = false;

  constructor(
    private readonly ctx: Context,
    private readonly moments: Moments,
  ) {
    const { t } = ctx;
    this.slider = h('input', {
      type: 'range',
      min: 0,
      max: moments.count - 1,
      step: 1,
      'aria-label': t('timeline.label'),
      'data-testid': 'timeline',
      oninput: () => this.choose(Number(this.slider.value)),
    });
    this.playButton = iconButton('run', t('timeline.play'), () => this.toggle());
    this.playButton.dataset['testid'] = 'timeline-play';
    this.tableButton = iconButton('table', t('table'), () => this.toggleTable());
    this.element = h(
      'section',
      { class: `panel timeline-panel ${moments.kind}`, 'aria-label': t('timeline.label') },
      h(
        'div',
        { class: 'timeline-row' },
        this.playButton,
        h('div', { class: 'timeline-slider' }, this.slider, moments.kind === 'generated' ? null : this.ticks()),
        this.label,
        this.tableButton,
      ),
      moments.kind === 'generated' ? this.strip() : null,
      this.table,
      h('p', { class: 'caption' }, t(`timeline.caption.${moments.kind}`)),
    );
    ctx.life.signal.addEventListener('abort', () => this.stop());
  }

  /** The timeline of the current trace; null if it has no moments. */
  static of(ctx: Context): Timeline | null {
    const moments = momentsOf(ctx);
    return moments && new Timeline(ctx, moments);
  }

  update(state: State): void {
    const at = this.moments.at(state);
    this.label.textContent = at < 0 ? this.ctx.t(this.moments.none) : this.moments.label(at);
    if (at >= 0) this.slider.value = String(at);
    this.slider.setAttribute('aria-valuetext', this.label.textContent);
    this.chips.forEach((chip, i) => {
      if (i === at) chip.setAttribute('aria-current', 'step');
      else chip.removeAttribute('aria-current');
    });
    const chip = this.chips[at];
    if (chip) scrollIntoStrip(chip);
    for (const row of this.table.querySelectorAll('tr')) row.classList.toggle('now', row.dataset['moment'] === String(at));
  }

  /** The moments as words of a figure: tokens with their probabilities, or steps; the current one is outlined. */
  figure(): Exported {
    const { moments, ctx } = this;
    const at = moments.at(ctx.store.now);
    const words = Array.from({ length: Math.min(moments.count, kMaxChips) }, (_, i): Word => {
      const chance = moments.probability(i);
      const share = chance === null ? '' : shortShare(chance);
      return { text: moments.name(i), gap: 'space', strength: chance ?? NaN, chosen: i === at, share };
    });
    const legend = legendOf(ctx, { max: 1, scale: 'linear', isShare: true });
    return {
      parts: [{ kind: 'words', title: ctx.t('timeline.label'), words, legend, bars: [] }],
      description: this.label.textContent ?? '',
      badge: 'exact',
    };
  }

  toggle(): void {
    if (this.playing) return this.stop();
    this.playing = true;
    this.showPlaying();
    const at = this.moments.at(this.ctx.store.now);
    const next = at + 1 < this.moments.count ? at + 1 : 0;
    this.go(next);
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.playing = false;
    this.showPlaying();
  }

  private go(moment: number): void {
    this.moments.go(moment);
    if (moment + 1 < this.moments.count) this.timer = setTimeout(() => this.go(moment + 1), kPause);
    else this.stop();
  }

  private choose(moment: number): void {
    this.stop();
    this.moments.go(moment);
  }

  private showPlaying(): void {
    const label = this.ctx.t(this.playing ? 'timeline.pause' : 'timeline.play');
    this.playButton.title = label;
    this.playButton.setAttribute('aria-label', label);
    replace(this.playButton, icon(this.playing ? 'pause' : 'run'));
  }

  private ticks(): HTMLElement {
    const last = this.moments.count - 1;
    const marks = Array.from({ length: this.moments.count }, (_, i) => h('i', { style: `left: ${(100 * i) / Math.max(1, last)}%` }));
    return h('div', { class: 'timeline-ticks', 'aria-hidden': 'true' }, ...marks);
  }

  private strip(): HTMLElement {
    const { moments } = this;
    for (let i = 0; i < Math.min(moments.count, kMaxChips); i++) {
      const chance = moments.probability(i) ?? 0;
      this.chips.push(
        h(
          'button',
          {
            type: 'button',
            class: 'moment',
            title: moments.label(i),
            'data-moment': i,
            style: `--chance: ${chance}`,
            onclick: () => this.choose(i),
          },
          h('span', { class: 'moment-token' }, moments.name(i)),
          h('span', { class: 'number' }, shortShare(chance)),
        ),
      );
    }
    return h('div', { class: 'strip', role: 'group', 'aria-label': this.ctx.t('timeline.tokens'), 'data-testid': 'strip' }, ...this.chips);
  }

  private toggleTable(): void {
    this.table.hidden = !this.table.hidden;
    this.tableButton.setAttribute('aria-pressed', String(!this.table.hidden));
    if (this.table.hidden) return;
    const { ctx, moments } = this;
    const rows = Array.from({ length: moments.count }, (_, i) => {
      const chance = moments.probability(i);
      const go = h('button', { type: 'button', class: 'quiet', onclick: () => this.choose(i) }, moments.name(i));
      return h(
        'tr',
        { 'data-moment': i },
        h('th', { scope: 'row' }, go),
        chance === null ? null : h('td', { class: 'number' }, share(chance)),
      );
    });
    replace(
      this.table,
      h(
        'table',
        {},
        h('caption', {}, ctx.t(`timeline.caption.${moments.kind}`)),
        h('thead', {}, h('tr', {}, ...moments.heads.map((key) => h('th', { scope: 'col' }, ctx.t(key))))),
        h('tbody', {}, ...rows),
      ),
    );
    this.update(ctx.store.now);
  }
}

/** Scrolls only the strip: scrollIntoView would scroll the page too. */
function scrollIntoStrip(chip: HTMLElement): void {
  const strip = chip.parentElement;
  if (strip) strip.scrollLeft = chip.offsetLeft - (strip.clientWidth - chip.clientWidth) / 2;
}
