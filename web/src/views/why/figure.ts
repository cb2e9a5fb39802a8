// Figures of explanations: text shaded by signed numbers, as words; and the explanation of an answer, as these words with tables of the
// shares by method and of how far to trust each method.

import type { Context } from '../../context';
import type { Exported, Part, Words } from '../../figure/figure';
import { share } from '../../format';
import type { WhyResult } from '../../source/explain';
import type { TextModel } from '../../text/model';
import { legendOf } from '../../ui/legend';
import { intensity } from '../../weights';
import { wordsInView } from '../read/figure';
import { partColumns } from './parts';
import type { Shading } from './shading';
import { largestOf } from './shading';
import { type SupportedMethod, printAnswer, supportedMethods } from './tables';

const kRows = 12;

/** `view`: the visible part of the text, in UTF-16 offsets. */
export function shadedWords(ctx: Context, text: TextModel, view: { from: number; to: number }, shading: Shading, title = ''): Words {
  const appearanceOf = (box: Parameters<Shading['value']>[0]): Omit<Words['words'][number], 'text' | 'gap'> => {
    const value = shading.value(box);
    const size = value === null ? NaN : intensity(Math.abs(value), shading.max, shading.scale);
    return {
      strength: value !== null && value < 0 ? -size : size,
      signed: shading.signed,
      alone: value === null,
      chosen: shading.marks.some((s) => s.begin < box.end && box.begin < s.end),
      share: shading.label(box),
    };
  };
  return { ...wordsInView(text, view, appearanceOf, title), legend: legendOf(ctx, { ...shading, isShare: true }) };
}

const printed = (value: number): string => share(value).replace('-', '−');

export function figureOfWhy(
  ctx: Context,
  result: WhyResult,
  front: SupportedMethod,
  shown: { words: Words; description: string; label(item: number): string },
): Exported {
  const { t } = ctx;
  const methods = supportedMethods(result);
  const columns = partColumns(ctx, result, front);
  const shares: Part = {
    kind: 'table',
    head: [t('why.part'), ...methods.map((m) => t.method(m.name)), ...columns.map((c) => c.head)],
    rows: largestOf(front.shares, kRows, columns.length > 0).map((item) => [
      shown.label(item),
      ...methods.map((m) => printed(m.shares[item])),
      ...columns.map((c) => c.cells[item]),
    ]),
  };
  const ranked = [...methods].sort((a, b) => b.comprehensiveness - a.comprehensiveness);
  const trust: Part = {
    kind: 'table',
    head: [t('why.trust.method'), t('why.trust.loses'), t('why.trust.beats')],
    rows: [
      ...ranked.map((m) => [
        t.method(m.name),
        printAnswer(result, m.comprehensiveness),
        t('why.trust.of', { n: m.beats, of: result.random.rankings }),
      ]),
      [t('why.random'), printAnswer(result, result.random.comprehensiveness), ''],
    ],
  };
  return { parts: [shown.words, shares, trust], description: shown.description, badge: 'exact', rules: [t.description(front)] };
}
