// The glossary: terms in running sentences are explained when the pointer rests on them, and the help dialog lists all of them.

import type { Strings } from '../strings';
import { h, replace } from './dom';

const kTerms = ['token', 'query', 'key', 'head', 'layer', 'sink', 'entropy', 'logit'] as const;

const kEnglish: Record<string, (typeof kTerms)[number]> = { queries: 'query', entropies: 'entropy' };

/** The parts of a sentence; the first mention of each term is an element with its definition as tooltip. */
function glossed(t: Strings, sentence: string): (string | HTMLElement)[] {
  const names = kTerms.map((term) => t(`glossary.${term}`));
  const pattern =
    t.language === 'en' ? new RegExp(`\\b(${names.join('|')}|queries|entropies)(s?)\\b`, 'gi') : new RegExp(`(${names.join('|')})`, 'g');
  const seen = new Set<string>();
  const out: (string | HTMLElement)[] = [];
  let from = 0;
  for (const match of sentence.matchAll(pattern)) {
    const word = match[1].toLowerCase();
    const term = kEnglish[word] ?? kTerms[names.indexOf(word)];
    if (!term || seen.has(term)) continue;
    seen.add(term);
    out.push(sentence.slice(from, match.index), h('dfn', { title: t(`glossary.${term}.is`) }, match[0]));
    from = match.index + match[0].length;
  }
  return [...out, sentence.slice(from)].filter((part) => part !== '');
}

export const setSentence = (element: HTMLElement, t: Strings, sentence: string): void => replace(element, ...glossed(t, sentence));

/** All terms with their definitions. */
export const glossaryList = (t: Strings): HTMLElement =>
  h('dl', { class: 'glossary' }, ...kTerms.flatMap((term) => [h('dt', {}, t(`glossary.${term}`)), h('dd', {}, t(`glossary.${term}.is`))]));
