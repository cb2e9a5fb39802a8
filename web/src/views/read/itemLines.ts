// Additional lines for texts whose items have text: the weights of the words inside the items, from the family whose rows are these items;
// and the lines of the pinned heads or of the other layers, shown as columns.
//
//   word t of item s    w_t = P_st · √(p_s / max p)      √ keeps words of light items visible (Yang et al. 2016, §3.3)

import type { Context } from '../../context';
import { rangeOf } from '../../context';
import type { ShownLine } from '../../focus';
import { head as headName } from '../../format';
import { type Family, type HeadId, type LineRequest, isAbort } from '../../source/source';
import { largest } from '../../weights';
import type { Column } from './margin';

const kMaxLayers = 8; // layers shown as columns

export class ItemLines {
  words: { values: Float32Array; max: number } | null = null;
  columns: Column[] = [];
  private wanted = '';
  private readonly inside: Int32Array; // token → the margin item that covers it; −1: none

  constructor(
    private readonly ctx: Context,
    private readonly changed: () => void,
  ) {
    const { text } = ctx;
    this.inside = new Int32Array(text.tokens).fill(-1);
    for (const id of text.inMargin)
      for (let t = text.tokenAt(text.begin[id]); t < text.tokens && text.begin[t] < text.end[id]; t++) this.inside[t] = id;
  }

  follow(shown: ShownLine | null): void {
    const { ctx } = this;
    const keys = rangeOf(ctx.family, 'key');
    const inMargin = ctx.text.inMargin.some((id) => keys.begin <= id && id < keys.end);
    if (!shown || shown.request.direction !== 'out' || !inMargin) {
      this.wanted = '';
      this.words = null;
      this.columns = [];
      return;
    }
    const { heads } = ctx.store.now;
    const key = JSON.stringify([shown.request, heads]);
    if (key === this.wanted) return;
    this.wanted = key;
    this.loadWords(shown, key);
    this.loadColumns(shown.request, heads, key);
  }

  /** The family whose rows are these items and whose keys are the words inside them. */
  private get inner(): Family | null {
    const { family, info, text } = this.ctx;
    const [begin, end] = family.key_range;
    const fits = (f: Family): boolean =>
      f.id !== family.id && f.query_range[0] <= begin && end <= f.query_range[1] && f.key_range[1] <= text.tokens;
    return info.families.find(fits) ?? null;
  }

  private loadWords(shown: ShownLine, key: string): void {
    const { inner, ctx } = this;
    if (!inner) return;
    const at = { layer: inner.layers - 1, head: Math.min(shown.request.at.head, inner.heads - 1) };
    const [begin, end] = ctx.family.key_range;
    const shares = shown.line.values;
    const request: LineRequest = {
      ...shown.request,
      family: inner.id,
      at,
      spans: [{ begin, end }],
      reduce: 'sum',
      weight: 'raw',
      sink: 'mark',
    };
    ctx.source.line(request, 'words').then(
      (line) => {
        if (this.wanted !== key) return;
        const highest = shares ? largest(shares, []) : 1;
        const values = (line.values ?? new Float32Array(0)).slice(0, ctx.text.tokens);
        for (let t = 0; t < values.length; t++) values[t] *= Math.sqrt(Math.max(0, shares?.[this.inside[t]] ?? 0) / (highest || 1));
        this.words = { values, max: largest(values, []) };
        this.changed();
      },
      (error: unknown) => {
        if (isAbort(error) || this.wanted !== key) return;
        this.words = null; // without weights of words, whole lines are shaded
        this.changed();
      },
    );
  }

  private loadColumns(request: LineRequest, heads: readonly HeadId[], key: string): void {
    const { ctx } = this;
    const { layers } = ctx.family;
    const front = request.at;
    const pinned = heads.length > 1;
    const wanted = pinned ? [...heads] : Array.from({ length: layers }, (_, layer) => ({ layer, head: front.head }));
    if (!pinned && (layers < 2 || layers > kMaxLayers)) {
      this.columns = [];
      return;
    }
    Promise.all(wanted.map((at) => ctx.source.line({ ...request, at }, `column-${at.layer}.${at.head}`))).then(
      (lines) => {
        if (this.wanted !== key) return;
        this.columns = wanted.map((at, i) => ({ at, name: pinned ? headName(at) : `L${at.layer}`, values: lines[i].values }));
        this.changed();
      },
      (error: unknown) => {
        if (isAbort(error) || this.wanted !== key) return;
        this.columns = [];
        this.changed();
      },
    );
  }
}
