// The caption of a row explains its sum. There is one test for each reason why a row may not sum to one.

import { describe, expect, it } from 'vitest';
import type { Context } from '../src/context';
import type { ShownLine } from '../src/focus';
import type { Remainder, SinkRule } from '../src/source/source';
import { strings } from '../src/strings';
import { captionOf } from '../src/views/read/answers';

const of = (remainder: Remainder | null, total: number, sink: SinkRule = 'mark', language: 'en' | 'zh' = 'en', sinks = [0]): string => {
  const ctx = {
    t: strings(language),
    family: { remainders: [null, remainder], sinks },
    info: { gradients_of: null },
    store: { now: { words: false, weight: 'raw' } },
  } as unknown as Context;
  const request = { direction: 'out', weight: 'raw', sink, at: { layer: 1, head: 0 }, spans: [{ begin: 4, end: 5 }] };
  const line = { badge: 'exact', error: 0, total, sinkMass: 0.25 };
  return captionOf(ctx, { request, line, preview: false } as unknown as ShownLine);
};

describe('the caption of a row', () => {
  it('names a sink logit only if the layer has one', () => {
    expect(of('sink-logit', 0.7)).toMatch(/sum to 70.00.%; attention sinks receive 25.00.%; the remaining weight goes to a sink logit/);
    for (const remainder of [null, 'independent', 'after'] as const) {
      for (const total of [0.4, 1, 3]) {
        expect(of(remainder, total)).not.toContain('logit');
        expect(of(remainder, total, 'mark', 'zh')).not.toContain('logit');
      }
    }
  });
  it('says that no token receives the difference from one of independent weights, whether they sum to less or more than one', () => {
    for (const total of [0.4, 3]) {
      expect(of('independent', total)).toMatch(
        /each weight is computed independently.*the difference from one is not given to any token\.$/,
      );
      expect(of('independent', total, 'mark', 'zh')).toMatch(/每个权重独立计算.*不分给任何词元。$/);
    }
    expect(of('after', 0.5)).toMatch(/scaled after normalisation.*the difference from one is not given to any token\.$/);
  });
  it('says how much hidden sinks receive, and nothing else if the row sums to one with them', () => {
    expect(of(null, 0.75, 'hide')).toMatch(
      /^The weights of this row sum to 75.00.%; attention sinks are hidden and receive another 25.00.%\.$/,
    );
    expect(of('sink-logit', 0.5, 'hide')).toMatch(/another 25.00.%; the remaining weight goes to a sink logit/);
  });
  it('does not say that a row is scaled to one if it is not', () => {
    expect(of(null, 1, 'renorm')).toContain('scaled to one');
    for (const remainder of ['sink-logit', 'independent', 'after'] as const)
      expect(of(remainder, 0.9, 'renorm')).not.toContain('scaled to one');
  });
});
