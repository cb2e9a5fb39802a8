// The edits of a run as one string, for the address: “x~dec.1.3” a head knocked out, “c~4-6” tokens cut, “k~0-9” only these kept,
// “t~The%20cat” another text; in the order in which they were made, separated by “;”. Undo removes the last one first.

import type { WhatIfRequest } from '../../source/explain';
import type { HeadId, Span } from '../../source/source';
import { parseSpans } from '../../state';

export type Edit = (HeadId & { kind: 'knock-out'; family: string }) | { kind: 'cut' | 'keep'; ids: Span } | { kind: 'text'; text: string };

export function parseEdits(text: string): Edit[] {
  return text.split(';').flatMap((part): Edit[] => {
    const [, kind, rest] = /^([xckt])~([^]*)$/.exec(part) ?? [];
    if (kind === 'x') {
      const m = /^(.+)\.(\d{1,4})\.(\d{1,4})$/.exec(rest);
      return m ? [{ kind: 'knock-out', family: m[1], layer: Number(m[2]), head: Number(m[3]) }] : [];
    }
    if (kind === 'c' || kind === 'k') return parseSpans(rest).map((ids) => ({ kind: kind === 'c' ? 'cut' : 'keep', ids }));
    if (kind !== 't') return [];
    try {
      return [{ kind: 'text', text: decodeURIComponent(rest) }];
    } catch {
      return []; // a truncated address
    }
  });
}

export function formatEdits(edits: readonly Edit[]): string {
  return edits
    .map((edit) => {
      if (edit.kind === 'knock-out') return `x~${edit.family}.${edit.layer}.${edit.head}`;
      if (edit.kind === 'text') return `t~${encodeURIComponent(edit.text)}`;
      return `${edit.kind === 'cut' ? 'c' : 'k'}~${edit.ids.begin}-${edit.ids.end}`;
    })
    .join(';');
}

/** Adds an edit. Another text drops earlier cut and keep edits, whose positions refer to the old text. */
export function withEdit(edits: readonly Edit[], edit: Edit): Edit[] {
  if (edit.kind !== 'text') return [...edits, edit];
  return [...edits.filter((e) => e.kind === 'knock-out'), edit];
}

export function whatIfRequest(edits: readonly Edit[]): WhatIfRequest {
  const spans = (kind: 'cut' | 'keep'): { ids: [number, number] }[] =>
    edits.flatMap((e) => (e.kind === kind ? [{ ids: [e.ids.begin, e.ids.end] as [number, number] }] : []));
  return {
    text: edits.flatMap((e) => (e.kind === 'text' ? [e.text] : [])).pop() ?? null,
    knock_out: edits.flatMap((e) => (e.kind === 'knock-out' ? [{ layer: e.layer, head: e.head, f: e.family }] : [])),
    cut: spans('cut'),
    keep_only: spans('keep'),
  };
}

/**
 * True for a token that the edits hide from every token. A cut hides its tokens; a token is also hidden by each span that alone is kept and
 * does not contain it, in the families whose keys include both. Positions always refer to the shown text.
 */
export function isHiddenBy(edits: readonly Edit[], families: readonly { key_range: [number, number] }[], id: number): boolean {
  return edits.some((edit) => {
    if (edit.kind !== 'cut' && edit.kind !== 'keep') return false;
    const { begin, end } = edit.ids;
    const isInside = begin <= id && id < end;
    if (edit.kind === 'cut') return isInside;
    return !isInside && families.some(({ key_range: [first, last] }) => begin < last && first < end && first <= id && id < last);
  });
}

/** Maps each id after an edit to the id before; −1 if there is none. */
export function idsBefore(pieces: readonly [number, number, number][], count: number): Int32Array {
  const out = new Int32Array(count).fill(-1);
  for (const [before, after, length] of pieces) for (let i = 0; i < length; i++) out[after + i] = before + i;
  return out;
}
