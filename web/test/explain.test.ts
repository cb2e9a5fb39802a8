import { describe, expect, it } from 'vitest';
import { diverge, inkOn, luminance, type Rgb } from '../src/paint/ramp';
import { formatState, kInitial, parseState } from '../src/state';
import { type Edit, formatEdits, idsBefore, isHiddenBy, parseEdits, whatIfRequest, withEdit } from '../src/views/what-if/edits';
import { largestOf, shaded } from '../src/views/why/shading';

const kEdits: Edit[] = [
  { kind: 'knock-out', family: 'dec', layer: 1, head: 3 },
  { kind: 'cut', ids: { begin: 4, end: 6 } },
  { kind: 'keep', ids: { begin: 0, end: 9 } },
];

describe('edits', () => {
  it('survive the round trip through the address, whatever characters a text contains', () => {
    const edits = [...kEdits, { kind: 'text', text: 'a;b~c & 100 % 猫\n“x”' } as const];
    const state = parseState(`#${formatState({ ...kInitial, view: 'what-if', edit: formatEdits(edits) })}`);
    expect(parseEdits(state.edit)).toEqual(edits);
  });
  it('that cannot be parsed are ignored', () => {
    expect(parseEdits('x~dec.1;c~6-4;t~%E0%A4%A;q~1;;c~2')).toEqual([{ kind: 'cut', ids: { begin: 2, end: 3 } }]);
  });
  it('of the text drop earlier cuts, whose positions refer to the old text', () => {
    expect(withEdit(kEdits, { kind: 'text', text: 'new' })).toEqual([kEdits[0], { kind: 'text', text: 'new' }]);
  });
  it('are sent in one request', () => {
    expect(whatIfRequest(kEdits)).toEqual({
      text: null,
      knock_out: [{ layer: 1, head: 3, f: 'dec' }],
      cut: [{ ids: [4, 6] }],
      keep_only: [{ ids: [0, 9] }],
    });
  });
});

describe('hidden tokens', () => {
  it('are those that are cut, and all others if some are kept', () => {
    const cut: Edit = { kind: 'cut', ids: { begin: 1, end: 2 } };
    const keep: Edit = { kind: 'keep', ids: { begin: 0, end: 3 } };
    const [source, target] = [{ key_range: [0, 4] as [number, number] }, { key_range: [4, 6] as [number, number] }];
    const hidden = (edits: Edit[]): number[] => [0, 1, 2, 3, 4, 5].filter((id) => isHiddenBy(edits, [source, target], id));
    expect([hidden([]), hidden([cut]), hidden([keep]), hidden([cut, keep])]).toEqual([[], [1], [3], [1, 3]]);
    expect(hidden([keep, { kind: 'keep', ids: { begin: 2, end: 4 } }])).toEqual([0, 1, 3]);
    expect(hidden([{ kind: 'keep', ids: { begin: 3, end: 5 } }])).toEqual([0, 1, 2, 5]);
  });
});

describe('two texts', () => {
  it('tokens after an edit are mapped to those before it', () => {
    const pieces: [number, number, number][] = [
      [0, 0, 2],
      [3, 4, 1],
    ];
    expect([...idsBefore(pieces, 5)]).toEqual([0, 1, -1, -1, 3]);
  });
});

describe('signed shading', () => {
  const light = { dark: false, paper: [253, 252, 249] as Rgb, ink: [28, 30, 34] as Rgb };
  const dark = { dark: true, paper: [25, 27, 32] as Rgb, ink: [233, 230, 223] as Rgb };
  it('has a contrast of 4.5 : 1 or better, and the signs differ in more than lightness', () => {
    for (const theme of [light, dark]) {
      for (let t = -1; t <= 1; t += 1 / 64) {
        const colour = diverge(t, theme);
        const l = luminance(colour);
        expect(inkOn(colour) === '#000' ? (l + 0.05) / 0.05 : 1.05 / (l + 0.05)).toBeGreaterThanOrEqual(4.5);
      }
      expect(diverge(0, theme)).toEqual(theme.paper);
      const [less, more] = [diverge(-1, theme), diverge(1, theme)];
      expect(less[2] - less[0]).toBeGreaterThan(100); // blue and yellow are distinguishable with every kind of colour vision
      expect(more[0] - more[2]).toBeGreaterThan(100);
    }
  });
  it('dashes negative values and hatches values that cannot be compared', () => {
    const style = (value: number | null): string =>
      shaded(
        { begin: 0, end: 1, from: 0, to: 1 },
        {
          value: () => value,
          label: () => '',
          max: 0.5,
          signed: true,
          scale: 'linear',
          special: () => false,
          marks: [],
          cursor: null,
          theme: light,
        },
      ).className;
    expect(style(0.5)).toBe('box w5');
    expect(style(-0.1)).toBe('box w1 less');
    expect(style(null)).toBe('box unscored');
    expect(style(NaN)).toBe('box');
  });
  it('finds the largest absolute values', () => expect(largestOf([0.1, -0.4, 0, 0.2, NaN], 2)).toEqual([1, 3]));
});
