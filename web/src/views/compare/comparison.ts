// An open comparison: the source and the text of the other side, and the alignment of both texts. Its methods follow the page's state.

import { type Context, quoted } from '../../context';
import { head as headName, whole } from '../../format';
import { type RowText, rowLabel, rowName } from '../../rows';
import type { CompareRequest, Family, HeadId, Info, Alignment, Source, Span, CompareTarget } from '../../source/source';
import { kMaxPins, sameHead } from '../../state';
import { TextModel } from '../../text/model';
import { parseEdits, whatIfRequest } from '../what-if/edits';
import type { PlaceNames } from './pairMap';
import { type Choice, type NamedHead, familiesFor, formatNamedHead, otherHead, othersOf } from './choice';

interface ComparisonData {
  choice: Choice;
  target: CompareTarget;
  source: Source;
  info: Info;
  text: TextModel;
  alignment: Alignment;
}

/** Opens a choice; for an edit the model runs first, and `onProgress` receives its progress. */
export async function openComparison(
  ctx: Context,
  choice: Choice,
  onProgress: (done: number, what: string) => void,
  signal: AbortSignal,
): Promise<Comparison> {
  const target: CompareTarget = { step: choice.kind === 'trace' ? choice.step : null, edited: null };
  if (choice.kind === 'edit')
    target.edited = (await ctx.source.whatIf(whatIfRequest(parseEdits(ctx.store.now.edit)), onProgress, signal)).id;
  const source = choice.kind === 'head' ? ctx.source : ctx.source.compareSource(target);
  const info = choice.kind === 'head' ? ctx.info : await source.info();
  const missing = info.missing.find((one) => one.feature === 'compare');
  if (missing) throw new Error([ctx.t.missing(missing.code), missing.detail].filter(Boolean).join(' '));
  const alignment = await ctx.source.alignment(target);
  const text =
    alignment.method === 'same' ? ctx.text : new TextModel(...(await Promise.all([source.text(0), source.segments(0)])), info.special);
  return new Comparison(ctx, { choice, target, source, info, text, alignment });
}

/** The front head. */
export const frontOf = (ctx: Context): NamedHead => ({ ...(ctx.store.now.heads[0] ?? { layer: 0, head: 0 }), family: ctx.family.id });

export class Comparison {
  readonly choice: Choice;
  readonly source: Source;
  readonly text: TextModel;
  readonly alignment: Alignment;
  readonly isWithin: boolean; // the other side is another head of the same trace
  readonly placeOf: { before: Int32Array; after: Int32Array }; // [id] → place

  constructor(
    private readonly ctx: Context,
    private readonly data: ComparisonData,
  ) {
    const { choice, source, text, alignment } = data;
    [this.choice, this.source, this.text, this.alignment] = [choice, source, text, alignment];
    this.isWithin = choice.kind === 'head';
    this.placeOf = { before: placesById(alignment.before, ctx.text.count), after: placesById(alignment.after, text.count) };
  }

  get isOneText(): boolean {
    return this.text === this.ctx.text;
  }

  get families(): Family[] {
    return familiesFor(this.ctx.family, this.data.info, this.isWithin);
  }

  get head(): NamedHead {
    return otherHead(this.ctx.store.now, frontOf(this.ctx), this.families, this.isWithin);
  }

  request(): CompareRequest {
    return { target: this.data.target, before: frontOf(this.ctx), after: this.head, rows: null, columns: null, exact: false };
  }

  /** The visible rectangle of the address, in places. */
  visibleSpans(): { rows: Span | null; columns: Span | null } {
    const { rect } = this.ctx.store.now;
    const count = this.alignment.before.length;
    const clip = (from: number, to: number): Span => ({
      begin: Math.min(count - 1, Math.floor(from)),
      end: Math.min(count, Math.ceil(to)),
    });
    const spans = rect ? { rows: clip(rect.q0, rect.q1), columns: clip(rect.k0, rect.k1) } : null;
    return spans && spans.rows.begin < spans.rows.end && spans.columns.begin < spans.columns.end ? spans : { rows: null, columns: null };
  }

  /** The selected ids that both texts share, one span per id, in each text. */
  selection(): { before: Span[]; after: Span[] } {
    const { ctx, alignment, placeOf } = this;
    const out: { before: Span[]; after: Span[] } = { before: [], after: [] };
    const [q0, q1] = ctx.family.query_range;
    for (const span of ctx.store.now.q) {
      for (let id = Math.max(span.begin, q0); id < Math.min(span.end, q1); id++) {
        const other = alignment.after[placeOf.before[id]];
        if (other === undefined || other < 0) continue;
        out.before.push({ begin: id, end: id + 1 });
        out.after.push({ begin: other, end: other + 1 });
      }
    }
    return out;
  }

  chosenPlaces(): number[] {
    return this.selection().before.map(({ begin }) => this.placeOf.before[begin]);
  }

  isShared(place: number): boolean {
    return (this.alignment.before[place] ?? -1) >= 0 && (this.alignment.after[place] ?? -1) >= 0;
  }

  /** The names of what is compared: two heads, or two traces. */
  names(): [string, string] {
    const { ctx, choice } = this;
    const { t } = ctx;
    if (choice.kind === 'head') return [headName(frontOf(ctx)), headName(this.head)];
    if (choice.kind === 'edit') return [t('if.before'), t('if.after')];
    const isRun = ctx.info.checkpoints.length > 0;
    const own = isRun ? t('compare.step', { step: ctx.info.step ?? 0 }) : ctx.info.name;
    const name = isRun ? (othersOf(ctx).find((one) => one.step === choice.step)?.name ?? '') : this.data.info.name;
    return name === own ? [t('compare.first'), t('compare.second')] : [own, name];
  }

  /** The same names, followed by the heads if two traces are compared. */
  namesOfMaps(): [string, string] {
    const [before, after] = this.names();
    return this.isWithin ? [before, after] : [`${before} ${headName(frontOf(this.ctx))}`, `${after} ${headName(this.head)}`];
  }

  /** The name of the key at a place. */
  placeName(place: number, numbered = false): string {
    const { id, text } = this.idAt(place);
    if (id < 0) return '';
    const name = quoted({ text }, { begin: id, end: id + 1 }, text);
    return numbered ? `#${whole(id)} ${name}` : name;
  }

  /** The name of the row at a place. */
  rowName(place: number, numbered = false): string {
    const { id, text, family } = this.idAt(place);
    if (id < 0) return '';
    const of = { text, family, t: this.ctx.t };
    return numbered ? rowLabel(of, id) : rowName(of, { begin: id, end: id + 1 });
  }

  placeNames(numbered = false): PlaceNames {
    return { row: (place) => this.rowName(place, numbered), key: (place) => this.placeName(place, numbered) };
  }

  /** The id at a place, in the text before, or after for a place of that text only. */
  private idAt(place: number): RowText & { id: number } {
    const before = this.alignment.before[place] ?? -1;
    if (before >= 0) return { ...this.ownRows, id: before };
    return { ...this.otherRows, id: this.alignment.after[place] ?? -1 };
  }

  /** The text and the family by which the rows of a side are named. */
  get ownRows(): RowText {
    return { text: this.ctx.text, family: this.ctx.family };
  }

  get otherRows(): RowText {
    const { id } = this.ctx.family;
    const { families } = this.data.info;
    return {
      text: this.text,
      family: families.find((f) => f.id === this.head.family) ?? families.find((f) => f.id === id) ?? this.ctx.family,
    };
  }
}

function placesById(ids: Int32Array, count: number): Int32Array {
  const out = new Int32Array(count).fill(-1);
  ids.forEach((id, place) => {
    if (id >= 0) out[id] = place;
  });
  return out;
}

/** Selects a head on the other side: within one trace the other head, else the same head on both sides. */
export function chooseHead(ctx: Context, comparison: Comparison, at: HeadId, how: 'push' | 'replace'): void {
  const { store } = ctx;
  const front = frontOf(ctx);
  const { family } = comparison.head;
  if (comparison.isWithin) return store.set({ compareHead: formatNamedHead({ ...at, family }, front.family) }, how);
  if (sameHead(front, at)) return;
  const others = store.now.heads.filter((other) => !sameHead(other, at));
  store.set({ compareHead: '', heads: [at, ...others].slice(0, kMaxPins) }, how);
}
