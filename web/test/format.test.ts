import { describe, expect, it } from 'vitest';
import { cell, head, power, score, share, shortShare, weight, whole } from '../src/format';

const plain = (text: string): string => text.replace(/[\u202f\u2009]/g, ' ');

describe('numbers', () => {
  it('prints shares with two decimals from one percent up and three digits below', () => {
    expect(plain(share(0.41324))).toBe('41.32 %');
    expect(plain(share(1))).toBe('100.00 %');
    expect(plain(share(0.01))).toBe('1.00 %');
    expect(plain(share(0.00099512))).toBe('0.0995 %');
    expect(plain(share(0.00001))).toBe('0.001 %');
    expect(plain(share(2.13e-9))).toBe('2.1·10⁻⁷ %');
    expect(plain(share(0))).toBe('0 %');
    expect(share(NaN)).toBe('–');
  });
  it('marks numbers that are not exact f32', () => {
    expect(plain(share(0.5, true))).toBe('≈ 50.00 %');
    expect(plain(weight(0.25, true))).toBe('≈ 0.25');
    expect(shortShare(0.5, true)).toContain('≈');
  });
  it('shortens labels in running text', () => {
    expect(plain(shortShare(0.4149))).toBe('41 %');
    expect(plain(shortShare(0.0997))).toBe('10 %');
    expect(plain(shortShare(0.0123))).toBe('1.2 %');
    expect(plain(shortShare(0.0001))).toBe('<0.1 %');
  });
  it('keeps a number in a cell to five characters', () => {
    for (const v of [0, 1, 0.999, 0.12345, 0.00012, 3.2e-7, 12.345, 123.4])
      expect(cell(v).length, `${v} → ${cell(v)}`).toBeLessThanOrEqual(5);
    expect(cell(0.409)).toBe('.409');
    expect(cell(3e-5)).toBe('3e-5');
    expect(cell(NaN)).toBe('');
  });
  it('groups digits of positions, names heads, and prints unknown values as a dash', () => {
    expect(plain(whole(1204567))).toBe('1 204 567');
    expect(head({ layer: 5, head: 3 })).toBe('L5.H3');
    expect(score(null)).toBe('–');
    expect(score(0.984)).toBe('0.98');
    expect(power(3.14e-8, 2)).toBe('3.1·10⁻⁸');
  });
});
