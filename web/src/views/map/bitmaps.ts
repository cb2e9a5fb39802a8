// Bitmaps of a map's pictures in the colours of a scale and a theme, cached per picture.

import { type Layer } from '../../paint/mapRenderer';
import { type Pool, bitmapOf, codesOf, colourTable } from '../../paint/picture';
import type { Theme } from '../../paint/ramp';
import type { Scale } from '../../source/source';
import type { Picture } from '../../source/source';

export class Bitmaps {
  private readonly made = new WeakMap<Picture, { key: string; bitmap: HTMLCanvasElement }>();

  layerOf(picture: Picture, pool: Pool, max: number, scale: Scale, theme: Theme): Layer {
    const key = `${pool}|${max}|${scale}|${theme.dark}|${theme.paper}`;
    let made = this.made.get(picture);
    if (made?.key !== key) {
      const colours = colourTable(pool === 'max' ? picture.maxCodes : picture.meanCodes, max, scale, theme);
      made = { key, bitmap: bitmapOf(codesOf(picture, pool), picture.rows, picture.columns, colours) };
      this.made.set(picture, made);
    }
    return {
      bitmap: made.bitmap,
      keyBegin: picture.keyBegin,
      queryBegin: picture.queryBegin,
      cell: 2 ** picture.z,
      cellAcross: 2 ** (picture.columnZ ?? picture.z),
    };
  }
}
