// Guesses the language of a block from its script, so that the browser picks the right glyphs (Han differs between zh and ja) and voice.

const kScripts: [RegExp, string][] = [
  [/[\u3040-\u30ff]/g, 'ja'],
  [/[\uac00-\ud7af]/g, 'ko'],
  [/[\u4e00-\u9fff]/g, 'zh'],
  [/[\u0600-\u06ff]/g, 'ar'],
  [/[\u0590-\u05ff]/g, 'he'],
  [/[\u0900-\u097f]/g, 'hi'],
  [/[\u0e00-\u0e7f]/g, 'th'],
  [/[\u0370-\u03ff]/g, 'el'],
  [/[\u0400-\u04ff]/g, 'ru'],
];

/** A language tag, or null if the script does not determine it (Latin). */
export function languageOf(text: string, given: string | null): string | null {
  if (given) return given;
  const sample = text.slice(0, 600);
  if (!/[\u0370-\uffff]/.test(sample)) return null; // fast path for most blocks of most texts: a tenth of the cost
  const letters = sample.replace(/[^\p{L}]/gu, '').length;
  for (const [script, tag] of kScripts) if ((sample.match(script)?.length ?? 0) > letters * (tag === 'ja' ? 0.1 : 0.3)) return tag;
  return null;
}
