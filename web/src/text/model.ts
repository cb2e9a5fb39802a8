// The text of the queries or of the keys: one JavaScript string, tokens in UTF-16 offsets, and blocks of about 200 tokens. Items
// (sentences, slots, patches, frames) follow the tokens: ids with a name. If items have text, a block begins with each of them.
//
// Offsets in the protocol are bytes. A token boundary inside a character (a byte token) is moved outward: a begin to the character's start,
// an end to its end, so that tokens of one character overlap and `boxes` joins them. Each invalid byte becomes one U+FFFD.

import type { Items, Segment, Span, TextData } from '../source/source';

interface Block {
  tokens: Span;
  begin: number; // UTF-16 offset; the blocks tile the string
  end: number;
  segment: number; // index into segments; −1: none
  opensSegment: boolean;
  items: number[]; // margin items whose text begins here
}

const kBlock = 200;
const kWhole = ['document']; // kinds of items that cover the whole text

export class TextModel {
  private digested: string | undefined;
  readonly text: string;
  readonly begin: Uint32Array; // UTF-16 offsets
  readonly end: Uint32Array;
  readonly blocks: Block[];
  readonly count: number; // number of ids, including items
  readonly tokens: number; // number of tokens: the ids before the first item
  readonly inMargin: number[]; // items shown in the margin beside their text, in text order

  constructor(
    readonly data: TextData,
    readonly segments: readonly Segment[],
    readonly specials: Record<string, string>,
  ) {
    this.count = data.begin.length;
    const { text, index } = decodeUtf8(data.bytes);
    this.text = text;
    this.begin = new Uint32Array(this.count);
    this.end = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) {
      this.begin[i] = index.floor(data.begin[i] - data.byteBegin);
      this.end[i] = index.ceil(data.end[i] - data.byteBegin);
    }
    this.tokens = data.items[0]?.begin ?? this.count;
    this.inMargin = data.items.filter((range) => !kWhole.includes(range.kind)).flatMap((range) => this.withText(range));
    this.inMargin.sort((a, b) => this.begin[a] - this.begin[b] || this.end[b] - this.end[a]);
    this.blocks = splitAtItems(this, splitIntoBlocks(this));
  }

  private withText({ begin, end }: Span): number[] {
    return Array.from({ length: end - begin }, (_, i) => begin + i).filter((id) => this.end[id] > this.begin[id]);
  }

  isSpecial(token: number): boolean {
    return (this.data.flags[token] & 1) !== 0;
  }

  /** The range of items that contains an id; null for a token. */
  itemsOf(id: number): Items | null {
    return id < this.tokens ? null : (this.data.items.find((range) => range.begin <= id && id < range.end) ?? null);
  }

  /** The text that an item covers, on one line. */
  excerpt(id: number): string {
    return this.text
      .slice(this.begin[id], Math.min(this.end[id], this.begin[id] + 200))
      .replace(/\s+/g, ' ')
      .trim();
  }

  /** The label of a single id: the text of a token, the name of a special token or item. */
  label(token: number): string {
    if (token < 0 || token >= this.count) return '';
    const items = this.itemsOf(token);
    if (items) return items.names[token - items.begin];
    const name = this.specials[String(this.data.id[token])];
    if (this.isSpecial(token) && name) return name;
    return this.text.slice(this.begin[token], Math.min(this.end[token], this.begin[token] + 200));
  }

  /** A digest of the text and its tokens, independent of model and machine: FNV-1a in two lanes. */
  get digest(): string {
    this.digested ??= digestOf([
      this.data.bytes,
      this.data.id,
      this.data.begin,
      ...this.data.items.flatMap((i) => encode(i.names.join('\n'))),
    ]);
    return this.digested;
  }

  labelOf(span: Span): string {
    if (span.end === span.begin + 1) return this.label(span.begin);
    if (this.itemsOf(span.begin)) return `${this.label(span.begin)} … ${this.label(span.end - 1)}`;
    const first = this.begin[span.begin];
    const last = this.end[span.end - 1];
    const text = last > first ? this.text.slice(first, last) : this.label(span.begin);
    return text.length > 60 ? `${truncateAtCharacter(text, 40)} … ${text.slice(-12)}` : text;
  }

  /** The bytes of a token as pairs of hexadecimal digits (at most 16 bytes). */
  bytesOf(token: number): string {
    const { begin, end, byteBegin, bytes } = this.data;
    const slice = bytes.subarray(begin[token] - byteBegin, Math.min(end[token], begin[token] + 16) - byteBegin);
    return Array.from(slice, (b) => b.toString(16).padStart(2, '0')).join(' ') + (end[token] - begin[token] > 16 ? ' …' : '');
  }

  segmentOf(token: number): number {
    let low = 0;
    let high = this.segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.segments[middle].begin <= token) low = middle + 1;
      else high = middle;
    }
    return low > 0 && token < this.segments[low - 1].end ? low - 1 : -1;
  }

  /** The block that contains a token, or in which the text of an item begins. */
  blockOf(token: number): number {
    if (token < this.tokens) return lastAtMost(this.blocks.length, (b) => this.blocks[b].tokens.begin, token);
    return lastAtMost(this.blocks.length, (b) => this.blocks[b].begin, afterSpace(this, token));
  }

  /** The token at a UTF-16 position, else the one that follows it. */
  tokenAt(position: number): number {
    let at = lastAtMost(this.tokens, (t) => this.begin[t], position);
    while (at > 0 && this.begin[at - 1] === this.begin[at] && this.end[at - 1] > position) at--;
    if (this.end[at] <= position && at + 1 < this.tokens) at++;
    return at;
  }
}

/** The last index whose (ascending) key is at most `wanted`; 0 if there is none. */
function lastAtMost(count: number, key: (i: number) => number, wanted: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(middle) <= wanted) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

function digestOf(parts: readonly (Uint8Array | Int32Array | Uint32Array)[]): string {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) {
      a = Math.imul(a ^ part[i], 0x01000193);
      b = Math.imul(b ^ part[i] ^ (a >>> 15), 0x01000193);
    }
    a = Math.imul(a ^ part.length, 0x01000193);
  }
  return [a, b].map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('');
}

export function truncateAtCharacter(text: string, length: number): string {
  if (text.length <= length) return text;
  const code = text.charCodeAt(length - 1);
  return text.slice(0, code >= 0xd800 && code < 0xdc00 ? length - 1 : length);
}

interface ByteIndex {
  floor(byte: number): number; // UTF-16 index of the character the byte is in
  ceil(byte: number): number; // UTF-16 index after that character, or of the boundary itself
}

/** Decodes UTF-8 (each invalid byte to U+FFFD) and records the position of each byte. */
export function decodeUtf8(bytes: Uint8Array): { text: string; index: ByteIndex } {
  const units = new Uint16Array(bytes.length + 1);
  const starts = new Uint32Array(bytes.length + 1); // start of the character that contains each byte
  const ends = new Uint32Array(bytes.length + 1);
  let n = 0;
  for (let i = 0; i < bytes.length; ) {
    const length = sequenceLength(bytes, i);
    const start = n;
    if (length === 1) units[n++] = bytes[i] < 0x80 ? bytes[i] : 0xfffd;
    else if (length === 2) units[n++] = ((bytes[i] & 31) << 6) | (bytes[i + 1] & 63);
    else if (length === 3) units[n++] = ((bytes[i] & 15) << 12) | ((bytes[i + 1] & 63) << 6) | (bytes[i + 2] & 63);
    else {
      const code = ((bytes[i] & 7) << 18) | ((bytes[i + 1] & 63) << 12) | ((bytes[i + 2] & 63) << 6) | (bytes[i + 3] & 63);
      units[n++] = 0xd800 + ((code - 0x10000) >> 10);
      units[n++] = 0xdc00 + ((code - 0x10000) & 1023);
    }
    for (let b = 0; b < length; b++) {
      starts[i + b] = start;
      ends[i + b] = b === 0 ? start : n;
    }
    i += length;
  }
  starts[bytes.length] = ends[bytes.length] = n;
  let text = '';
  for (let i = 0; i < n; i += 8192)
    text += String.fromCharCode.apply(null, units.subarray(i, Math.min(n, i + 8192)) as unknown as number[]);
  const clamp = (b: number): number => Math.max(0, Math.min(bytes.length, b));
  return { text, index: { floor: (b) => starts[clamp(b)], ceil: (b) => ends[clamp(b)] } };
}

/** Length of the well-formed sequence at `i`; 1 for ASCII and for an invalid byte. */
function sequenceLength(bytes: Uint8Array, i: number): number {
  const lead = bytes[i];
  const length = lead >= 0xf0 && lead < 0xf5 ? 4 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xc2 && lead < 0xe0 ? 2 : 1;
  for (let b = 1; b < length; b++) if ((bytes[i + b] & 0xc0) !== 0x80) return 1;
  const second = bytes[i + 1];
  if (lead === 0xe0 && second < 0xa0) return 1; // overlong
  if (lead === 0xed && second > 0x9f) return 1; // surrogates
  if (lead === 0xf0 && second < 0x90) return 1;
  if (lead === 0xf4 && second > 0x8f) return 1;
  return length;
}

/** Splits the tokens into blocks: always at segments, else near 200 tokens, at the end of a line, sentence or word. */
function splitIntoBlocks(model: TextModel): Block[] {
  const blocks: Block[] = [];
  const starts = new Map(model.segments.map((s, i) => [s.begin, i]));
  const cuts = new Set<number>(model.segments.flatMap((s) => [s.begin, s.end]));
  let from = 0;
  const close = (to: number): void => {
    const opens = starts.get(from);
    blocks.push({
      tokens: { begin: from, end: to },
      begin: blocks.length ? blocks[blocks.length - 1].end : 0,
      end: to < model.tokens ? afterSpace(model, to) : model.text.length,
      segment: model.segmentOf(from),
      opensSegment: opens !== undefined,
      items: [],
    });
    from = to;
  };
  while (from < model.tokens) {
    let to = Math.min(model.tokens, from + kBlock * 2);
    for (let t = from + 1; t < to; t++) if (cuts.has(t)) to = t;
    if (to - from > kBlock * 1.4) to = bestSplit(model, from);
    close(to);
  }
  if (blocks.length === 0) close(model.tokens);
  return blocks;
}

/** Splits the blocks further where the text of an item begins. */
function splitAtItems(model: TextModel, blocks: readonly Block[]): Block[] {
  const out: Block[] = [];
  let next = 0;
  for (const block of blocks) {
    let rest = block;
    for (; next < model.inMargin.length && afterSpace(model, model.inMargin[next]) < block.end; next++) {
      const item = model.inMargin[next];
      const at = afterSpace(model, item);
      if (at > rest.begin) {
        let token = rest.tokens.begin;
        while (token < rest.tokens.end && afterSpace(model, token) < at) token++;
        out.push({ ...rest, end: at, tokens: { begin: rest.tokens.begin, end: token } });
        rest = { ...rest, begin: at, tokens: { begin: token, end: rest.tokens.end }, opensSegment: false, items: [] };
      }
      rest = { ...rest, items: [...rest.items, item] };
    }
    out.push(rest);
  }
  return out;
}

/** The offset of an id's first non-space character: the space before a word stays in the previous block. */
function afterSpace(model: TextModel, token: number): number {
  const own = model.text.slice(model.begin[token], model.end[token]).search(/\S/);
  return model.begin[token] + Math.max(0, own);
}

function bestSplit(model: TextModel, from: number): number {
  let best = from + kBlock;
  let bestRank = 0;
  for (let t = from + Math.floor(kBlock * 0.6); t < Math.min(model.tokens, from + Math.floor(kBlock * 1.4)); t++) {
    const rank = splitRank(model, t);
    if (rank > bestRank || (rank === bestRank && rank > 0 && Math.abs(t - from - kBlock) < Math.abs(best - from - kBlock))) {
      best = t;
      bestRank = rank;
    }
  }
  while (bestRank === 0 && best < model.tokens && model.begin[best] < model.end[best - 1]) best++; // never inside a character
  return best;
}

function splitRank(model: TextModel, token: number): number {
  if (model.begin[token] < model.end[token - 1]) return 0;
  const around = model.text.slice(Math.max(0, model.end[token - 1] - 2), model.begin[token] + 1);
  if (/\n\s*\n/.test(around)) return 4;
  if (around.includes('\n')) return 3;
  if (/[.!?。！？…]["”’』」)]?\s?/.test(around.slice(0, 3))) return 2;
  return /\s/.test(around) ? 1 : 0;
}
