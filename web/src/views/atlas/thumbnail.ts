// A head's thumbnail: the cells that belong to the family's own part of the text, and their values.

import { type MapAxis, rangeOf } from '../../context';
import { codeTable, kUnscored } from '../../source/frame';
import type { Family, HeadPicture } from '../../source/source';

/** The cells of a thumbnail that belong to the family's own part of the text. */
export function ownCells(head: HeadPicture, family: Family): { left: number; top: number; width: number; height: number } {
  const part = (side: MapAxis, cells: number, shown: [number, number]): [number, number] => {
    const { begin, end } = rangeOf(family, side);
    const of = shown[1] - shown[0];
    const first = Math.floor(((begin - shown[0]) * cells) / of);
    return [first, Math.max(1, Math.ceil(((end - shown[0]) * cells) / of) - first)];
  };
  const [left, width] = head.offsets ? [0, head.columns] : part('key', head.columns, head.keys ?? [0, family.keys]);
  const [top, height] = part('query', head.rows, head.queries ?? [0, family.queries]);
  return { left, top, width, height };
}

export function thumbnailOf(head: HeadPicture | null, family: Family): { rows: number; columns: number; values: number[] } {
  if (!head) return { rows: 0, columns: 0, values: [] };
  const { left, top, width, height } = ownCells(head, family);
  const table = codeTable(head.codes);
  table[kUnscored] = -1;
  const values = Array.from({ length: width * height }, (_, i) => {
    const [r, c] = [top + Math.floor(i / width), left + (i % width)];
    return table[head.thumbnail[r * head.columns + c]];
  });
  return { rows: height, columns: width, values };
}
