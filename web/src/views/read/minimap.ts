// The strip beside the text: an overview of the whole text; dragging on it scrolls.

import type { Context } from '../../context';
import { surface, oncePerFrame, type Surface } from '../../paint/canvas';
import type { Theme } from '../../paint/ramp';
import { paintStrip, paintView } from '../../paint/strip';
import type { Span } from '../../source/source';
import { h } from '../../ui/dom';
import { intensity } from '../../weights';

export class Minimap {
  readonly element: HTMLCanvasElement;
  readonly draw: () => void;
  private readonly canvas: Surface;
  private strip: HTMLCanvasElement | null = null; // everything except the visible part, cached
  private profile: Float32Array | null = null;
  private received: Float32Array | null = null;
  private hits: readonly number[] = [];
  private marks: readonly number[] = [];

  constructor(
    private readonly ctx: Context,
    private readonly view: () => { from: number; to: number },
    scrollTo: (token: number) => void,
  ) {
    this.element = h('canvas', { class: 'minimap', role: 'img', 'aria-label': ctx.t('minimap.label'), 'data-testid': 'minimap' });
    this.draw = oncePerFrame(() => this.paint());
    this.canvas = surface(this.element, this.draw);
    const go = (event: PointerEvent): void => {
      const rect = this.element.getBoundingClientRect();
      const t = Math.max(0, Math.min(1, (event.clientY - rect.top) / rect.height));
      scrollTo(ctx.text.tokenAt(Math.min(ctx.text.text.length - 1, Math.floor(t * ctx.text.text.length))));
    };
    this.element.addEventListener('pointerdown', (event) => {
      this.element.setPointerCapture(event.pointerId);
      go(event);
    });
    this.element.addEventListener('pointermove', (event) => {
      if (event.buttons & 1) go(event);
    });
  }

  /** Sets the line of weights over the tokens; each row of pixels shows its largest weight. */
  setProfile(values: ArrayLike<number> | null, max: number): void {
    this.profile = values ? this.binned((t) => values[t], values.length, max) : null;
    this.changed();
  }

  /** Sets the column mass, in equal bins of tokens. */
  setReceived(bins: Float32Array | null): void {
    if (!bins || bins.length === 0) this.received = null;
    else {
      const { count } = this.ctx.text;
      const max = [...bins].sort((a, b) => a - b)[Math.floor(bins.length * 0.99)] || Math.max(...bins);
      this.received = this.binned((t) => bins[Math.min(bins.length - 1, Math.floor((t * bins.length) / count))], count, max);
    }
    this.changed();
  }

  setHits(hits: readonly Span[]): void {
    this.hits = hits.map((s) => this.ctx.text.begin[s.begin]);
    this.changed();
  }

  setMarks(spans: readonly Span[]): void {
    this.marks = spans.map((s) => this.ctx.text.begin[s.begin]);
    this.changed();
  }

  /** Called when anything other than the visible part has changed. */
  changed(): void {
    this.strip = null;
    this.draw();
  }

  /** Bins the values of tokens and of margin items by the position of their text. */
  private binned(valueOf: (id: number) => number, count: number, max: number): Float32Array {
    const { text } = this.ctx;
    const bins = new Float32Array(Math.max(1, Math.min(1024, Math.round(this.canvas.height) || 400)));
    const scale = this.ctx.store.now.scale;
    const binOf = (position: number): number =>
      Math.min(bins.length - 1, Math.floor((position / Math.max(1, text.text.length)) * bins.length));
    const put = (id: number, to: number): void => {
      const v = valueOf(id);
      for (let b = binOf(text.begin[id]); b <= to; b++) if (v > bins[b]) bins[b] = v;
    };
    for (let t = 0; t < Math.min(count, text.tokens); t++) put(t, binOf(text.begin[t]));
    for (const id of text.inMargin) if (id < count) put(id, binOf(text.end[id] - 1));
    return bins.map((v) => intensity(v, max, scale));
  }

  private paint(): void {
    const { context, width, height, ratio } = this.canvas;
    const theme = this.ctx.theme();
    if (!this.strip || this.strip.width !== this.canvas.element.width || this.strip.height !== this.canvas.element.height) {
      this.strip = this.paintedStrip(theme);
    }
    context.clearRect(0, 0, width, height);
    context.drawImage(this.strip, 0, 0, this.strip.width / ratio, this.strip.height / ratio);
    paintView(context, width, height, this.view(), this.ctx.text.text.length, theme);
  }

  private paintedStrip(theme: Theme): HTMLCanvasElement {
    const { element, width, height, ratio } = this.canvas;
    const { text, segments } = this.ctx;
    const bands = segments.map((s) => ({ from: text.begin[s.begin] ?? 0, to: text.end[Math.min(text.tokens, s.end) - 1] ?? 0 }));
    const strip = { length: text.text.length, bands, profile: this.profile, received: this.received, hits: this.hits, marks: this.marks };
    const canvas = h('canvas', { width: element.width, height: element.height });
    const context = canvas.getContext('2d');
    context?.scale(ratio, ratio);
    if (context) paintStrip(context, width, height, strip, theme);
    return canvas;
  }
}
