// Thumbnails and sums of heads under a kind of weight other than raw. The atlas shows them instead of its own while that kind is selected.

import { messageOf } from '../../format';
import type { Context } from '../../context';
import { type HeadId, type WeightedHead, isAbort } from '../../source/source';
import type { State } from '../../state';

export class WeightedHeads {
  private key = '';
  private visible = false;
  private found = new Map<string, WeightedHead>();
  private abort = new AbortController();

  constructor(
    private readonly ctx: Context,
    private readonly changed: () => void,
    private readonly failed: (message: string) => void,
  ) {}

  /** True if a kind of weight other than raw is shown. */
  get on(): boolean {
    return this.visible && this.key !== '';
  }

  at({ layer, head }: HeadId): WeightedHead | null {
    return (this.on && this.found.get(`${layer}.${head}`)) || null;
  }

  get badges(): WeightedHead['badge'][] {
    return [...this.found.values()].map((head) => head.badge);
  }

  load(state: State, again = false): void {
    const { ctx } = this;
    const { weight, sink } = state;
    const wanted = weight !== 'raw' && ctx.family.weights.includes(weight);
    const key = wanted ? `${weight} ${sink}` : '';
    const [wasOn, isSame] = [this.on, key === this.key && !again];
    this.visible = state.view === 'atlas';
    if (!this.visible || isSame) {
      if (!isSame && (!wanted || again)) this.forget();
      if (wasOn !== this.on) this.changed();
      return; // keep the results for when the atlas is opened again
    }
    this.forget();
    this.key = key;
    this.changed();
    if (!wanted) return;
    const onHeads = (heads: WeightedHead[]): void => {
      for (const head of heads) this.found.set(`${head.layer}.${head.head}`, head);
      if (heads.length) this.changed();
    };
    ctx.source.weightedHeads(ctx.family.id, weight, sink, onHeads, this.abort.signal).catch((error: unknown) => {
      if (!isAbort(error)) this.failed(messageOf(error));
    });
  }

  private forget(): void {
    this.key = '';
    this.found = new Map();
    this.abort.abort();
    this.abort = new AbortController();
  }
}
