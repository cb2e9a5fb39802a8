// The focus: from the state and the pointer to the lines of weights that the views paint.
//
// The front head has one line (a row in direction out, a column in direction in); if several heads are pinned, each has its own line for
// the bars under the words. A pointer that moves over a token or a thumbnail previews: it changes the line shown, not the state. Views
// listen to pointermove, because pointerenter also comes when a page appears under a pointer at rest. A line is delivered only while its
// request is still the wanted one, so that fast scrubbing never leaves a stale row.

import { selectedAxis, rangeOf } from './context';
import { hasHead } from './heads';
import { rowsOfTokens } from './rows';
import type { Family, HeadId, Line, LineRequest, Source, Span } from './source/source';
import { isAbort } from './source/source';
import { sameHead, type State, type Store } from './state';
import { wordAround } from './weights';
import type { TextModel } from './text/model';

export interface ShownLine {
  request: LineRequest;
  line: Line;
  preview: boolean; // the line of what is under the pointer, not of the state
}

interface FocusEvents {
  front(shown: ShownLine | null): void;
  pins(lines: readonly (Line | null)[]): void; // one line per pinned head
  fail(error: Error): void;
}

interface Preview {
  span: Span | null;
  head: HeadId | null;
}

export class Focus {
  shown: ShownLine | null = null;
  pinned: ShownLine | null = null; // the line of the state, also during a preview
  pinLines: (Line | null)[] = [];
  private preview: Preview = { span: null, head: null };
  private isPreview = false;
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

  /** Previews a span of tokens, or the rows that are named by it. Tokens without a line in this direction leave the current line in place. */
  previewTokens(wanted: Span | null): void {
    const range = rangeOf(this.family, selectedAxis(this.store.now));
    const begin = wanted === null ? -1 : this.lineOf(wanted).begin;
    const span = range.begin <= begin && begin < range.end ? wanted : null;
    if (span?.begin === this.preview.span?.begin && span?.end === this.preview.span?.end) return;
    this.preview = { ...this.preview, span };
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

  refresh(): void {
    const state = this.store.now;
    this.refreshFront(state);
    this.refreshPins(state);
  }

  /** The line request for a head in the current state; null if no token is selected or the head has no line for it. */
  requestFor(state: State, at: HeadId, preview: Span | null): LineRequest | null {
    const chosen = preview === null ? (state.direction === 'out' ? state.q : state.k) : [this.lineOf(this.around(preview, state))];
    const range = rangeOf(this.family, selectedAxis(state));
    const clipped = chosen.map((s) => ({ begin: Math.max(s.begin, range.begin), end: Math.min(s.end, range.end) }));
    const spans = clipped.filter((s) => s.begin < s.end);
    if (spans.length === 0 || !hasHead(this.family, at)) return null;
    const reduce = state.direction === 'out' ? 'mean' : 'sum'; // the mean of rows is again a row of shares; the keys of a span count as one key
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

  /** The keys or rows that a span of tokens selects. */
  private lineOf(span: Span): Span {
    const { family, text } = this;
    return this.store.now.direction === 'out' ? rowsOfTokens({ family, text }, span) : span;
  }

  private around(span: Span, state: State): Span {
    return state.words ? wordAround(this.text.data.word, span.begin) : span;
  }

  private refreshFront(state: State): void {
    const front = state.heads[0];
    const at = this.preview.head ?? front;
    const request = at ? this.requestFor(state, at, this.preview.span) : null;
    const key = JSON.stringify(request);
    const chosen = JSON.stringify(front ? this.requestFor(state, front, null) : null);
    this.isPreview = key !== chosen;
    if (this.pinned && JSON.stringify(this.pinned.request) !== chosen) this.pinned = null;
    if (key === this.wanted) {
      const { shown, isPreview } = this; // what was previewed may now be selected
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

  private deliver(shown: ShownLine | null): void {
    this.shown = shown;
    if (shown && !shown.preview) this.pinned = shown;
    for (const l of this.listeners) l.front?.(shown);
  }

  private deliverPins(lines: (Line | null)[]): void {
    this.pinLines = lines;
    for (const l of this.listeners) l.pins?.(lines);
  }
}
