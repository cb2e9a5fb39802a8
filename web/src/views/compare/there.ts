// The open other side of a comparison: its source, its text, and the places that both texts share. Its answers follow the state.

import { type Context, quoted } from '../../context';
import { head as headName, whole } from '../../format';
import type { CompareRequest, Family, Info, Places, Source, Span, Versus } from '../../source/source';
import { TextModel } from '../../text/model';
import { parseEdits, requestOf } from '../what-if/edits';
import { type Choice, type NamedHead, familiesFor, otherHead, othersOf } from './choice';

interface Opened {
  choice: Choice;
  versus: Versus;
  source: Source;
  info: Info;
  text: TextModel;
  places: Places;
}

/** Opens a choice; for an edit the model runs first, and `tell` receives the progress. */
export async function openThere(
  ctx: Context,
  choice: Choice,
  tell: (done: number, what: string) => void,
  signal: AbortSignal,
): Promise<There> {
  const versus: Versus = { step: choice.kind === 'trace' ? choice.step : null, edited: null };
  if (choice.kind === 'edit') versus.edited = (await ctx.source.whatIf(requestOf(parseEdits(ctx.store.now.edit)), tell, signal)).id;
  const source = choice.kind === 'head' ? ctx.source : ctx.source.beside(versus);
  const info = choice.kind === 'head' ? ctx.info : await source.info();
  const gone = info.missing.find((one) => one.feature === 'compare');
  if (gone) throw new Error([ctx.t.missing(gone.code), gone.detail].filter(Boolean).join(' '));
  const places = await ctx.source.places(versus);
  const text = places.by === 'same' ? ctx.text : new TextModel(...(await Promise.all([source.text(0), source.segments(0)])), info.special);
  return new There(ctx, { choice, versus, source, info, text, places });
}

/** The front head. */
export const frontOf = (ctx: Context): NamedHead => ({ ...(ctx.store.now.heads[0] ?? { layer: 0, head: 0 }), family: ctx.family.id });

export class There {
  readonly choice: Choice;
  readonly source: Source;
  readonly text: TextModel;
  readonly places: Places;
  readonly isWithin: boolean; // the other side is another head of the same trace
  readonly placeOf: { before: Int32Array; after: Int32Array }; // [id] → place

  constructor(
    private readonly ctx: Context,
    private readonly opened: Opened,
  ) {
    const { choice, source, text, places } = opened;
    [this.choice, this.source, this.text, this.places] = [choice, source, text, places];
    this.isWithin = choice.kind === 'head';
    this.placeOf = { before: placesById(places.before, ctx.text.count), after: placesById(places.after, text.count) };
  }

  get isOneText(): boolean {
    return this.text === this.ctx.text;
  }

  get families(): Family[] {
    return familiesFor(this.ctx.family, this.opened.info, this.isWithin);
  }

  get head(): NamedHead {
    return otherHead(this.ctx.store.now, frontOf(this.ctx), this.families, this.isWithin);
  }

  request(): CompareRequest {
    return { versus: this.opened.versus, before: frontOf(this.ctx), after: this.head, rows: null, columns: null, exact: false };
  }

  /** The visible rectangle of the address, in places. */
  part(): { rows: Span | null; columns: Span | null } {
    const { rect } = this.ctx.store.now;
    const count = this.places.before.length;
    const clip = (from: number, to: number): Span => ({
      begin: Math.min(count - 1, Math.floor(from)),
      end: Math.min(count, Math.ceil(to)),
    });
    const spans = rect ? { rows: clip(rect.q0, rect.q1), columns: clip(rect.k0, rect.k1) } : null;
    return spans && spans.rows.begin < spans.rows.end && spans.columns.begin < spans.columns.end ? spans : { rows: null, columns: null };
  }

  /** The selected ids that both texts share, one span per id, in each text. */
  selection(): { before: Span[]; after: Span[] } {
    const { ctx, places, placeOf } = this;
    const out: { before: Span[]; after: Span[] } = { before: [], after: [] };
    const [q0, q1] = ctx.family.query_range;
    for (const span of ctx.store.now.q) {
      for (let id = Math.max(span.begin, q0); id < Math.min(span.end, q1); id++) {
        const other = places.after[placeOf.before[id]];
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
    return (this.places.before[place] ?? -1) >= 0 && (this.places.after[place] ?? -1) >= 0;
  }

  /** The names of the two sides: heads, or traces. */
  names(): [string, string] {
    const { ctx, choice } = this;
    const { t } = ctx;
    if (choice.kind === 'head') return [headName(frontOf(ctx)), headName(this.head)];
    if (choice.kind === 'edit') return [t('if.before'), t('if.after')];
    const isRun = ctx.info.checkpoints.length > 0;
    const own = isRun ? t('compare.step', { step: ctx.info.step ?? 0 }) : ctx.info.name;
    const name = isRun ? (othersOf(ctx).find((one) => one.step === choice.step)?.name ?? '') : this.opened.info.name;
    return name === own ? [t('compare.first'), t('compare.second')] : [own, name];
  }

  /** The same names, followed by the heads if the sides are two traces. */
  namesOfMaps(): [string, string] {
    const [was, is] = this.names();
    return this.isWithin ? [was, is] : [`${was} ${headName(frontOf(this.ctx))}`, `${is} ${headName(this.head)}`];
  }

  placeName(place: number, numbered = false): string {
    const b = this.places.before[place] ?? -1;
    const [id, text] = b >= 0 ? [b, this.ctx.text] : [this.places.after[place] ?? -1, this.text];
    if (id < 0) return '';
    const name = quoted({ text }, { begin: id, end: id + 1 }, text);
    return numbered ? `#${whole(id)} ${name}` : name;
  }
}

function placesById(ids: Int32Array, count: number): Int32Array {
  const out = new Int32Array(count).fill(-1);
  ids.forEach((id, place) => {
    if (id >= 0) out[id] = place;
  });
  return out;
}
