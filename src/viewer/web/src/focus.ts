// What is being looked at: from the state and the pointer to the lines of weights that the views paint.
//
// The front head has one line (a row when looking out, a column when looking in); every other pinned head has its own for the underbars.
// A pointer over a token or a thumbnail previews: it changes the line shown, not the state. A line is delivered only while its request
// is still the wanted one, so that fast scrubbing never leaves a stale row.

import { askedSide, rangeOf } from './context';
import type { Family, HeadId, Line, LineRequest, Source, Span } from './source/source';
import { isAbort } from './source/source';
import { sameHead, type State, type Store } from './state';
import { wordAround } from './weights';
import type { TextModel } from './text/model';

export interface Shown {
  request: LineRequest;
  line: Line;
  preview: boolean;
}

export interface FocusEvents {
  front(shown: Shown | null): void;
  pins(lines: readonly (Line | null)[]): void; // one per pinned head
  fail(error: Error): void;
}

interface Preview {
  token: number | null;
  head: HeadId | null;
}

export class Focus {
  shown: Shown | null = null;
  pinLines: (Line | null)[] = [];
  private preview: Preview = { token: null, head: null };
  private wanted = '';
  private wantedPins = '';
  private readonly listeners: Partial<FocusEvents>[] = [];

  constructor(
    private readonly source: Source,
    private readonly store: Store,
    private readonly text: TextModel,
    private readonly family: Family,
    life: AbortSignal,
  ) {
    store.listen(() => this.refresh(), life);
  }

  listen(events: Partial<FocusEvents>): void {
    this.listeners.push(events);
  }

  /** What has no line of its own in this direction leaves the line in place. */
  previewToken(wanted: number | null): void {
    const range = rangeOf(this.family, askedSide(this.store.now));
    const token = wanted !== null && range.begin <= wanted && wanted < range.end ? wanted : null;
    if (token === this.preview.token) return;
    this.preview = { ...this.preview, token };
    this.refresh();
  }

  previewHead(head: HeadId | null): void {
    if (sameHead(head ?? undefined, this.preview.head ?? undefined)) return;
    this.preview = { ...this.preview, head };
    this.refresh();
  }

  get previewed(): Preview {
    return this.preview;
  }

  private get isPreview(): boolean {
    return this.preview.token !== null || this.preview.head !== null;
  }

  refresh(): void {
    const state = this.store.now;
    this.refreshFront(state);
    this.refreshPins(state);
  }

  /** The request for a head in the present state; null when no token is chosen or its line cannot be had. */
  requestFor(state: State, at: HeadId, token: number | null): LineRequest | null {
    const chosen = token === null ? (state.direction === 'out' ? state.q : state.k) : [this.around(token, state)];
    const range = rangeOf(this.family, askedSide(state));
    const clipped = chosen.map((s) => ({ begin: Math.max(s.begin, range.begin), end: Math.min(s.end, range.end) }));
    const spans = clipped.filter((s) => s.begin < s.end);
    if (spans.length === 0 || at.layer >= this.family.layers || at.head >= this.family.heads) return null;
    const reduce = state.words && state.direction === 'out' ? 'mean' : 'sum';
    return {
      family: this.family.id,
      at,
      direction: state.direction,
      spans,
      reduce,
      weight: state.weight,
      sink: state.sink,
      step: this.source.step,
    };
  }

  private around(token: number, state: State): Span {
    return state.words ? wordAround(this.text.data.word, token) : { begin: token, end: token + 1 };
  }

  private refreshFront(state: State): void {
    const at = this.preview.head ?? state.heads[0];
    const request = at ? this.requestFor(state, at, this.preview.token) : null;
    const key = JSON.stringify(request);
    if (key === this.wanted) {
      const { shown, isPreview } = this; // what was previewed may be chosen now
      if (shown && shown.preview !== isPreview && JSON.stringify(shown.request) === key) this.deliver({ ...shown, preview: isPreview });
      return;
    }
    this.wanted = key;
    if (!request) {
      this.deliver(null);
      return;
    }
    this.source.line(request, 'front').then(
      (line) => {
        if (this.wanted === key) this.deliver({ request, line, preview: this.isPreview });
      },
      (error: unknown) => {
        if (this.wanted !== key || isAbort(error)) return;
        this.deliver(null);
        for (const l of this.listeners) l.fail?.(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  private refreshPins(state: State): void {
    const requests = state.heads.length < 2 ? [] : state.heads.map((at) => this.requestFor(state, at, null));
    const key = JSON.stringify(requests);
    if (key === this.wantedPins) return;
    this.wantedPins = key;
    const lines: (Line | null)[] = requests.map(() => null);
    if (!requests.length) this.deliverPins([]);
    requests.forEach((request, i) => {
      if (!request) return;
      this.source.line(request, `pin-${i}`).then(
        (line) => {
          if (this.wantedPins !== key) return;
          lines[i] = line;
          this.deliverPins([...lines]);
        },
        (error: unknown) => {
          if (!isAbort(error) && this.wantedPins === key) this.deliverPins([...lines]);
        },
      );
    });
  }

  private deliver(shown: Shown | null): void {
    this.shown = shown;
    for (const l of this.listeners) l.front?.(shown);
  }

  private deliverPins(lines: (Line | null)[]): void {
    this.pinLines = lines;
    for (const l of this.listeners) l.pins?.(lines);
  }
}
