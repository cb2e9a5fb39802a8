// Texts for the browser tests: with any number of tokens, in any script, and malicious ones. Tokens are words with their leading
// space, or bytes for characters outside the small alphabet (as in byte-level BPE). Offsets are bytes, as docs/viewer-api.md specifies.

const kSubjects = [
  'The old engineer',
  'A quiet neighbour',
  'The animal',
  'My sister',
  'The lighthouse keeper',
  'Nobody in the village',
  'The youngest student',
  'A tired postman',
];
const kVerbs = [
  'did not cross the street',
  'kept a record of every storm',
  'never spoke about the war',
  'found the letter under the stairs',
  'walked to the harbour',
  'read the same page twice',
  'counted the boats',
  'left before the rain',
];
const kReasons = [
  'because it was too tired',
  'although the bridge had been closed',
  'while the others slept',
  'until the lamp went out',
  'and told no one',
  'for reasons of his own',
  'as if nothing had happened',
  'when the bells began',
];

function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** About `count` tokens of plain sentences, in chapters. */
export function prose(count, seed = 7) {
  const next = random(seed);
  const pick = (list) => list[Math.floor(next() * list.length)];
  let text = '';
  let words = 0;
  const chapters = [];
  for (let sentence = 0; words < count; sentence++) {
    if (sentence % 60 === 0 && count > 400) chapters.push(Buffer.byteLength(text));
    const line = `${pick(kSubjects)} ${pick(kVerbs)}, ${pick(kReasons)}.`;
    text += line + (sentence % 5 === 4 ? '\n\n' : ' ');
    words += line.split(' ').length + 2;
  }
  return { text: text.trimEnd(), chapters };
}

/** Splits text into tokens: [CLS], words with their leading space, punctuation; non-ASCII text in tokens of up to `bytes` bytes. */
export function tokenize(text, { specials = true, bytes = 2 } = {}) {
  const tokens = []; // {begin, end, id, word, flags}
  const ids = new Map();
  const idOf = (piece) => ids.get(piece) ?? (ids.set(piece, ids.size + 1000), ids.get(piece));
  const encoder = new TextEncoder();
  let at = 0;
  let word = -1;
  if (specials) tokens.push({ begin: 0, end: 0, id: 101, word: -1, flags: 1 });
  for (const match of text.matchAll(/\s*[A-Za-z0-9]+|\s*[^\sA-Za-z0-9]+?(?=\s|$|[A-Za-z0-9]|.)|\s+/gsu)) {
    const piece = match[0];
    const raw = encoder.encode(piece);
    word++;
    const parts = raw.length === piece.length /* ASCII */ ? split(raw) : chunks(raw, bytes);
    for (const part of parts) {
      tokens.push({
        begin: at,
        end: at + part.length,
        id: idOf(Buffer.from(part).toString('latin1')),
        word,
        flags: 0,
      });
      at += part.length;
    }
  }
  if (specials) tokens.push({ begin: at, end: at, id: 102, word: -1, flags: 1 });
  return tokens;
}

/** Splits long ASCII words into pieces of six letters, so that some words have several tokens. */
const split = (raw) => (raw.length > 9 && raw.length < 200 ? chunks(raw, 6) : [raw]);

function chunks(raw, size) {
  const parts = [];
  for (let i = 0; i < raw.length; i += size) parts.push(raw.subarray(i, Math.min(raw.length, i + size)));
  return parts;
}

export const scripts = {
  chinese: '动物没有过马路,因为它太累了。东京的天气很好。',
  japanese: '動物は道を渡らなかった。なぜなら疲れていたからだ。東京タワー。',
  emoji: 'A family 👨‍👩‍👧‍👦 and a flag 🏳️‍🌈, thumbs 👍🏽 up, é and नमस्ते.',
  arabic: 'لم يعبر الحيوان الشارع لأنه كان متعبا جدا.',
};

export const hostile = `</script><script>window.owned = 1</script> <img src=x onerror="window.owned=1"> {{x}} \${y} & "quotes" ${'w'.repeat(1 << 20)} end.`;
