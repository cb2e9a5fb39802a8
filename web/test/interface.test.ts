import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { csv, npy } from '../src/export';
import { luminance, cividis, inkOn, shade, type Rgb } from '../src/paint/ramp';
import { marginsOf, tick, zoomOf } from '../src/paint/mapRenderer';
import { paintView } from '../src/paint/strip';
import { crc32, withComment } from '../src/png';
import { stringTable, strings } from '../src/strings';

describe('strings', () => {
  it('exist in both languages with the same placeholders', () => {
    const placeholders = (s: string): string[] => (s.match(/\{\w+\}/g) ?? []).sort();
    for (const [key, [en, zh]] of Object.entries(stringTable)) {
      expect(zh, key).not.toBe('');
      expect(placeholders(zh), key).toEqual(placeholders(en));
    }
  });
  it('exist for every key that the page uses', () => {
    const files = (readdirSync('src', { recursive: true }) as string[]).filter((f) => f.endsWith('.ts'));
    const used = files.flatMap((f) => [...readFileSync(`src/${f}`, 'utf8').matchAll(/\bt\('([\w.-]+)'/g)].map((m) => m[1]));
    expect(used.length).toBeGreaterThan(60);
    for (const key of used) expect(Object.keys(stringTable), key).toContain(key);
  });
  it('use Chinese punctuation in Chinese', () => {
    for (const [key, [, zh]] of Object.entries(stringTable))
      expect(zh, key).not.toMatch(/[\u4e00-\u9fff][,;:] ?[\u4e00-\u9fff]|[\u4e00-\u9fff][()]/);
  });
  it('fill in their placeholders', () =>
    expect(strings('en')('answers.out', { whom: 'it', more: ' and 1 more' })).toBe('“it” and 1 more attends to'));
});

describe('colours', () => {
  const light = { dark: false, paper: [253, 252, 249] as Rgb, ink: [28, 30, 34] as Rgb };
  const dark = { dark: true, paper: [25, 27, 32] as Rgb, ink: [233, 230, 223] as Rgb };
  it('give every text a contrast of 4.5 : 1 or better', () => {
    for (const theme of [light, dark]) {
      for (let t = 0; t <= 1; t += 1 / 256) {
        const colour = shade(t, theme);
        const l = luminance(colour);
        const contrast = inkOn(colour) === '#000' ? (l + 0.05) / 0.05 : 1.05 / (l + 0.05);
        expect(contrast).toBeGreaterThanOrEqual(4.5);
      }
    }
  });
  it('change monotonically in lightness', () => {
    for (let t = 0.02; t <= 1; t += 0.02) {
      expect(luminance(cividis(t))).toBeGreaterThan(luminance(cividis(t - 0.02)) - 1e-4);
      expect(luminance(shade(t, light))).toBeLessThan(luminance(shade(t - 0.02, light)) + 1e-4);
    }
  });
  it('are the paper colour at zero', () => expect(shade(0, light)).toEqual([253, 252, 249]));
});

describe('the map', () => {
  it('keeps its aspect ratio and is centred', () => {
    const rect = { k0: 0, q0: 0, k1: 1000, q1: 1000 };
    const size = { width: 900, height: 500 };
    const zoom = zoomOf(rect, size);
    const { left, top } = marginsOf(rect, size);
    expect(top + 1000 * zoom).toBeLessThanOrEqual(500);
    expect(left).toBeGreaterThan(200);
  });
  it('ticks at round numbers', () => expect([0.3, 7, 64, 130, 4000].map(tick)).toEqual([1, 10, 100, 200, 5000]));
});

describe('the minimap', () => {
  it('keeps the mark of the visible part inside the strip, also at the end of a long text', () => {
    const drawn: number[][] = [];
    const context = { fillRect: () => undefined, strokeRect: (...at: number[]) => drawn.push(at) } as unknown as CanvasRenderingContext2D;
    const theme = { dark: false, paper: [253, 252, 249] as Rgb, ink: [28, 30, 34] as Rgb };
    for (const from of [0, 50_000, 99_990]) paintView(context, 58, 700, { from, to: from + 10 }, 100_000, theme);
    expect(drawn).toHaveLength(3);
    for (const [, top, , tall] of drawn) expect(top >= 0 && tall >= 4 && top + tall <= 700).toBe(true);
  });
});

describe('files', () => {
  it('PNG: the comment is a chunk before the end, with a correct checksum', () => {
    const tiny = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=', 'base64');
    const out = Buffer.from(withComment(new Uint8Array(tiny), 'clearhead view x'));
    const at = out.indexOf('tEXt');
    const length = out.readUInt32BE(at - 4);
    expect(out.subarray(at + 4, at + 4 + length).toString()).toBe('Comment\0clearhead view x');
    expect(out.readUInt32BE(at + 4 + length)).toBe(crc32(new Uint8Array(out.subarray(at, at + 4 + length))));
    expect(out.subarray(-8, -4).toString()).toBe('IEND');
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  });
  it('NPY: version 1, header aligned to 64 bytes, the command after the data', () => {
    const file = Buffer.from(npy([Float32Array.from([1, 2, 3]), Float32Array.from([4, 5, 6])], 'clearhead view x'));
    const header = file.readUInt16LE(8);
    expect((10 + header) % 64).toBe(0);
    expect(file.subarray(10, 10 + header).toString()).toMatch(/'shape': \(2, 3\)/);
    expect(file.readFloatLE(10 + header + 12)).toBe(4);
    expect(file.subarray(10 + header + 24).toString()).toBe('\n# clearhead view x\n');
  });
  it('CSV: a line for each token with its text, a column for each row', () => {
    const file = (rows: Float32Array[], shape?: number[]): ArrayBuffer => npy(rows, 'clearhead view x', shape).buffer as ArrayBuffer;
    const [a, b] = [Float32Array.from([0.5, NaN]), Float32Array.from([0.25, 1])];
    expect(csv(file([a, b]), ['say', '"hi", x'])).toBe('item,text,0,1\n0,"say",0.5,0.25\n1,"""hi"", x",,1\n');
    expect(csv(file([a, b]), [])).toBe('item,0,1\n0,0.5,0.25\n1,,1\n');
    expect(csv(file([a, b], [2, 2, 1]), [])).toBe('item,0 0,0 1,1 0,1 1\n0,0.5,,0.25,1\n');
  });
});
