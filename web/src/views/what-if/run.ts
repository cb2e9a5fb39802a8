// The run that What if shows (the edited one, or without edits the original), and its descriptions.

import { type Context, type Numbers, visibleSpace } from '../../context';
import type { Table } from '../../figure/figure';
import { change, head as headName, share, shortShare } from '../../format';
import type { AnswerPair, Progress, WhatIfResult } from '../../source/explain';
import type { Alignment, Family, Source, Span, CompareTarget } from '../../source/source';
import { TextModel } from '../../text/model';
import { type Pair, type PlaceNames, numbersOfPair } from '../compare/pairMap';
import { type Edit, idsBefore, whatIfRequest } from './edits';
import { divergences, shownAnswers } from './panels';

export interface Run {
  edits: readonly Edit[];
  families: readonly Family[];
  source: Source;
  text: TextModel;
  family: Family; // the family shown, in this run
  result: WhatIfResult | null;
  toBefore: Int32Array;
  target: CompareTarget;
  alignment: Alignment;
}

/** The numbers of an edited run, for export. */
export function numbersOfRun(run: Run, pair: Pair, edit: string, places: PlaceNames): Numbers {
  const { json, rows } = numbersOfPair(pair, places);
  const { answers = [], written = null, kl = null, families = [] } = run.result ?? {};
  return { json: { edit, answers, written, kl, families, map: json }, rows };
}

export function originalRun(ctx: Context): Run {
  const same = Int32Array.from({ length: ctx.text.count }, (_, i) => i);
  const target = { step: null, edited: null };
  const alignment: Alignment = { method: 'same', whole: true, before: same, after: same };
  return {
    edits: [],
    families: ctx.info.families,
    source: ctx.source,
    text: ctx.text,
    family: ctx.family,
    result: null,
    toBefore: same,
    target,
    alignment,
  };
}

export async function runEdited(ctx: Context, edits: readonly Edit[], onProgress: Progress, signal: AbortSignal): Promise<Run> {
  const result = await ctx.source.whatIf(whatIfRequest(edits), onProgress, signal);
  const target = { step: null, edited: result.id };
  const source = ctx.source.compareSource(target);
  const info = await source.info();
  const [data, segments, alignment] = await Promise.all([source.text(0), source.segments(0), ctx.source.alignment(target)]);
  const isSame = result.aligned.length === 1 && result.aligned[0][2] === ctx.text.count && data.begin.length === ctx.text.count;
  const text = isSame ? ctx.text : new TextModel(data, segments, info.special);
  const toBefore = idsBefore(result.aligned, text.count);
  const family = info.families.find(({ id }) => id === ctx.family.id) ?? ctx.family;
  return { edits, families: info.families, source, text, family, result, toBefore, target, alignment };
}

/**
 * The range of the family's rows in the shown text: if a segment of the original text is that range, the segment of the same name, else the
 * whole text.
 */
export function queryRangeOf(ctx: Context, run: Run): [number, number] {
  const [begin, end] = ctx.family.query_range;
  if (run.text === ctx.text) return [begin, end];
  const part = ctx.segments.find((s) => s.begin === begin && s.end === end);
  const moved = part ? run.text.segments.find((s) => s.name === part.name) : null;
  return moved ? [moved.begin, moved.end] : [0, run.text.count];
}

/** The sentence that announces the effect of an edit. */
export function effectSentence(ctx: Context, run: Run, result: WhatIfResult): string {
  const { t } = ctx;
  const answers = shownAnswers(result, run.text, null)
    .filter((a) => a.before !== null && a.after !== null)
    .sort((a, b) => Math.abs((b.after ?? 0) - (b.before ?? 0)) - Math.abs((a.after ?? 0) - (a.before ?? 0)))
    .slice(0, 2)
    .map((a) =>
      t('if.said.answer', {
        name: a.name.trim() || visibleSpace(a.name),
        before: shortShare(a.before ?? NaN),
        after: shortShare(a.after ?? NaN),
      }),
    );
  const max = divergences(ctx, result)[0];
  return t('if.said', { answers: answers.join(t('list.comma')) || '–', head: max ? headName(max.at) : '–' });
}

export const answersOf = ({ result, text }: Run, selected: Span | null): AnswerPair[] =>
  result ? shownAnswers(result, text, selected) : [];

/** The answer before and after, as a table of a figure; empty if the model gives no answer. */
export function answersTable({ t }: Context, shown: readonly AnswerPair[]): Table[] {
  if (shown.length === 0) return [];
  const rows = shown.map((a) => [
    a.name,
    share(a.before ?? NaN),
    share(a.after ?? NaN),
    a.before === null || a.after === null ? '–' : change(a.after - a.before),
  ]);
  return [{ kind: 'table', head: [t('if.answers'), t('if.before'), t('if.after'), t('if.change')], rows }];
}
