// From u8 codes to a bitmap: one lookup table per picture, one write per cell. Pairs that were never scored are hatched.

import { type Codes, codeTable, kHidden, kUnscored } from '../source/frame';
import type { Picture, Scale } from '../source/source';
import { intensity } from '../weights';
import { type Theme, mix, shade } from './ramp';

export type Pool = 'max' | 'mean';

/** Colours of the 256 codes as little-endian RGBA. */
export function colourTable(codes: Codes, max: number, scale: Scale, theme: Theme): Uint32Array {
  const values = codeTable(codes);
  const table = new Uint32Array(256);
  const rgba = ([r, g, b]: readonly [number, number, number] | readonly number[]): number => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  for (let c = 0; c < 256; c++) table[c] = rgba(shade(intensity(values[c], max, scale), theme));
  table[kHidden] = rgba(mix(theme.paper, theme.ink, theme.dark ? 0.09 : 0.06));
  table[kUnscored] = rgba(mix(theme.paper, theme.ink, 0.2));
  return table;
}

/** Paints a picture into a bitmap of the same size. Cells that were never scored alternate between two colours along diagonals. */
export function bitmapOf(codes: Uint8Array, rows: number, columns: number, colours: Uint32Array): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  if (!context) return canvas;
  const image = context.createImageData(columns, rows);
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < rows * columns; i++) {
    const code = codes[i];
    const hatched = code === kUnscored && ((i % columns) + Math.floor(i / columns)) % 4 < 2;
    out[i] = colours[hatched ? kHidden : code];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Largest weight of a picture outside the columns that contain sinks; it sets the colour scale. */
export function maxOf(picture: Picture, pool: Pool, sinks: readonly number[]): number {
  const values = codeTable(pool === 'max' ? picture.maxCodes : picture.meanCodes);
  const codes = pool === 'max' ? picture.max : picture.mean;
  const cell = 2 ** picture.z;
  const skip = new Set(sinks.map((s) => Math.floor((s - picture.keyBegin) / cell)));
  let max = 0;
  let code = 0;
  for (let r = 0; r < picture.rows; r++) {
    for (let c = 0; c < picture.columns; c++) {
      const here = codes[r * picture.columns + c];
      if (here > code && !skip.has(c)) code = here;
    }
  }
  max = code > kUnscored ? values[code] : 0;
  return max > 0 ? max : values[255];
}

export const codesOf = (picture: Picture, pool: Pool): Uint8Array => (pool === 'max' ? picture.max : picture.mean);
