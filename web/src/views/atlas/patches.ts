// Thumbnails of heads whose keys are the patches of a picture: the picture itself, shaded by what the chosen rows attend to. A map of such a
// family has one stripe per patch, in which a picture cannot be seen.

import { type Context, rangeOf } from '../../context';
import { poolHead } from '../../source/matrix';
import type { HeadId, HeadPicture, Items, Line, Span } from '../../source/source';
import type { State } from '../../state';
import { kWholePageViews } from '../whole';

const kAtOnce = 3; // requests, so that a row of the text does not wait long
const kMostHeads = 400;

/** The patches of a picture, if they are at least half of the family's keys. */
function patchesOf({ family, text }: Context): Items | null {
  const keys = rangeOf(family, 'key');
  const isMost = ({ begin, end, rows }: Items): boolean =>
    rows > 0 && begin >= keys.begin && end <= keys.end && 2 * (end - begin) >= keys.end - keys.begin;
  return family.layers * family.heads <= kMostHeads ? (text.data.items.find(isMost) ?? null) : null;
}

export class PatchHeads {
  /** The rows whose attention is shown. */
  spans: readonly Span[];
  private readonly patches: Items | null;
  private key = '';
  private found = new Map<string, HeadPicture>();
  private abort = new AbortController();

  constructor(
    private readonly ctx: Context,
    private readonly changed: (at: HeadId) => void,
  ) {
    this.patches = patchesOf(ctx);
    this.spans = [rangeOf(ctx.family, 'query')];
    ctx.life.signal.addEventListener('abort', () => this.abort.abort());
  }

  /** True if there is such a thumbnail. Pages and traces that lack the rows have none. */
  get on(): boolean {
    return this.found.size > 0;
  }

  at({ layer, head }: HeadId): HeadPicture | null {
    return this.found.get(`${layer}.${head}`) ?? null;
  }

  load(state: State, again = false): void {
    const { ctx, patches } = this;
    if (!patches || state.view in kWholePageViews) return;
    const { weight, sink } = state;
    const spans = state.q.length > 0 ? state.q : [rangeOf(ctx.family, 'query')];
    const key = JSON.stringify([spans, weight, sink, ctx.source.step]);
    if (key === this.key && !again) return;
    this.key = key;
    this.spans = spans;
    this.found.clear();
    this.abort.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    const { layers, heads, summaries } = ctx.family;
    const waiting = Array.from({ length: layers * heads }, (_, i): HeadId => ({ layer: Math.floor(i / heads), head: i % heads }));
    const kept = waiting.filter(({ layer }) => summaries[layer] !== null);
    const common = { family: ctx.family.id, direction: 'out', reduce: 'mean', weight, sink, step: ctx.source.step } as const;
    const work = async (): Promise<void> => {
      for (let at = kept.shift(); at && !signal.aborted; at = kept.shift()) {
        const name = `${at.layer}.${at.head}`;
        const line = await ctx.source.line({ ...common, at, spans: [...spans] }, `patches-${name}`).catch(() => null);
        if (signal.aborted) return;
        if (line) this.found.set(name, this.pictureOf(at, line, patches)); // else the page lacks the row, and the head keeps its thumbnail
        this.changed(at);
      }
    };
    for (let i = 0; i < kAtOnce; i++) void work();
  }

  private pictureOf(at: HeadId, { badge, values }: Line, { begin, end, rows }: Items): HeadPicture {
    const columns = (end - begin) / rows;
    const { query_range: queries, key_range: keys } = this.ctx.family;
    const matrix = { queries: rows, keys: columns, codes: null, error: 0, at: (i: number): number => values?.[begin + i] ?? NaN };
    return { ...poolHead(matrix, at, []), badge, queries, keys };
  }
}
