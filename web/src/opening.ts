// Selects the first view of a page: one of several traces or the gallery, and the family, head and rows if the state names none.

import { wordAround } from './weights';
import { type Family, type HeadId, type Info, type Span, type TraceChoice, isOnPicture } from './source/source';
import { rowsOfTokens } from './rows';
import { type Language, type State, parseState } from './state';
import type { TextModel } from './text/model';

/** True if the page opens on the gallery: at least two traces have a card. */
export const hasGallery = (info: Info): boolean => info.traces.filter((one) => one.card !== null).length > 1;

/** The name of a trace in a list, on one line. */
export const traceName = ({ model, begins }: TraceChoice): string => (begins ? `${model}: ${begins}` : model);

/** The state in which a trace opens. */
export const openingOf = (one: TraceChoice, lang: Language | null): State => ({ ...parseState(one.state), lang, step: one.number });

export const readableFamilies = (info: Info): Family[] => info.families.filter((f) => f.query_side === 0 && f.key_side === 0);

/** The family with that id, else the first one. */
export function familyOf(info: Info, id: string | null): Family {
  const readable = readableFamilies(info);
  const family = readable.find((f) => f.id === id) ?? readable[0];
  if (!family) throw new Error('the source has no attention map');
  return family;
}

export const firstHead = (family: Family): HeadId => ({ layer: Math.floor(family.layers / 2), head: 0 });

/**
 * The rows selected when a page opens: the first token whose label the model answers with, else the last word of the text's first block, or
 * of the family's rows, so that there is something to see.
 */
export function firstSelection(text: TextModel, family: Family, byWords: boolean, answered: Info['answered'] = []): Span[] {
  const { causal } = family;
  const [begin, end] = family.query_range;
  const items = text.itemsOf(begin);
  if (items) {
    const inOrder = causal ? end - 1 : begin; // the last of an episode has the most to look at
    const at = isOnPicture(items) ? (begin + end) >> 1 : inOrder;
    return [{ begin: at, end: at + 1 }];
  }
  const rows = (t: number): Span[] => [rowsOfTokens({ family, text }, byWords ? wordAround(text.data.word, t) : { begin: t, end: t + 1 })];
  const labelled = answered[0]?.token ?? -1;
  if (begin <= labelled && labelled < end) return rows(labelled);
  const last = begin > 0 ? end : Math.min(end, text.blocks[0].tokens.end);
  for (let t = last - 1; t >= begin; t--) {
    if (!text.isSpecial(t) && /\p{L}{2}/u.test(text.label(t))) return rows(t);
  }
  return [];
}
