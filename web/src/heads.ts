// Heads, and means over them: a layer or a head of kMean stands for all of them (docs/viewer-api.md, "Means").

import type { Context } from './context';
import type { Family, HeadId, Info, Remainder } from './source/source';

export const kMean = -1;

const indexOf = (text: string): number => (text === 'mean' ? kMean : Number(text));
const textOf = (index: number): string => (index === kMean ? 'mean' : String(index));

export const isMean = ({ layer, head }: HeadId): boolean => layer === kMean || head === kMean;

/** A layer and a head as in an address: “5.3”, “5.mean”. */
export const formatHead = ({ layer, head }: HeadId): string => `${textOf(layer)}.${textOf(head)}`;

/** The inverse of formatHead(); null for another text. */
export function parseHead(text: string): HeadId | null {
  const m = /^(\d{1,4}|mean)\.(\d{1,4}|mean)$/.exec(text.trim());
  return m && { layer: indexOf(m[1]), head: indexOf(m[2]) };
}

/** A layer and a head as in a request. */
export const headParams = ({ layer, head }: HeadId): { l: string; h: string } => ({ l: textOf(layer), h: textOf(head) });

/** “The mean over the heads of layer 5” */
export const meanName = ({ t }: Pick<Context, 't'>, { layer, head }: HeadId): string =>
  t(`mean.${head !== kMean ? 'layers' : layer === kMean ? 'all' : 'heads'}`, { layer, head });

const indices = (index: number, count: number): number[] => (index === kMean ? Array.from({ length: count }, (_, i) => i) : [index]);

/** The layers whose mean is shown; one, if it is not a mean over layers. */
export const layersOf = ({ layers }: Family, { layer }: Pick<HeadId, 'layer'>): number[] => indices(layer, layers);

/** The heads whose mean is shown; one, if it is not a mean. */
export function membersOf(family: Family, at: HeadId): HeadId[] {
  return layersOf(family, at).flatMap((layer) => indices(at.head, family.heads).map((head) => ({ layer, head })));
}

/** True if a family has the head, or the trace kept every head of the mean. */
export const hasHead = (family: Family, at: HeadId): boolean =>
  at.layer < family.layers &&
  at.head < family.heads &&
  (!isMean(at) || layersOf(family, at).every((layer) => family.summaries[layer] !== null));

/** True if the source can show the head, or the mean: an offline page has no means. */
export const canShow = (info: Info, family: Family, at: HeadId): boolean =>
  hasHead(family, at) && (!isMean(at) || !info.missing.some((one) => one.feature === 'mean'));

/** What may keep the rows of a head, or of one of a mean's heads, from adding up to one. */
export const remainderOf = (family: Family, at: HeadId): Remainder | null =>
  layersOf(family, at)
    .map((layer) => family.remainders[layer])
    .find(Boolean) ?? null;

/** How far back and ahead the queries of a layer see, or of any layer for kMean; null if one is not bounded. */
export function bandOf(family: Family, layer: number): [number, number] | null {
  const bands = layersOf(family, { layer }).map((one) => family.bands[one] ?? null);
  return bands.reduce((a, b) => a && b && [Math.max(a[0], b[0]), Math.max(a[1], b[1])]);
}
