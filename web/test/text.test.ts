import { describe, expect, it } from 'vitest';
import { boxesOf } from '../src/text/boxes';
import { languageOf } from '../src/text/language';
import { TextModel, decodeUtf8 } from '../src/text/model';
import { findHits, parseQuery } from '../src/text/search';
import type { Items, Segment } from '../src/source/source';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A text model whose tokens have the given lengths in bytes. */
function model(text: string | Uint8Array, lengths: number[], segments: Segment[] = [], items: Items[] = []): TextModel {
  const bytes = typeof text === 'string' ? encode(text) : text;
  let at = 0;
  const begin = Uint32Array.from(lengths, (n) => (at += n) - n);
  const end = Uint32Array.from(begin, (b, i) => b + lengths[i]);
  const flags = Uint8Array.from(lengths, (n) => (n === 0 ? 1 : 0));
  return new TextModel(
    {
      bytes,
      byteBegin: 0,
      begin,
      end,
      id: Int32Array.from(lengths, (_, i) => i),
      word: Int32Array.from(lengths, (_, i) => i),
      flags,
      items,
    },
    segments,
    { 0: '[CLS]' },
  );
}

const texts = (m: TextModel): string[] => boxesOf(m, { begin: 0, end: m.count }).map((b) => m.text.slice(b.from, b.to));

describe('bytes to UTF-16', () => {
  it('decodes what TextDecoder decodes', () => {
    for (const text of ['plain', 'é東👍🏽नमस्ते', '\u0000\u07ff\u0800\uffff\u{10000}\u{10ffff}'])
      expect(decodeUtf8(encode(text)).text).toBe(text);
  });
  it('replaces each invalid byte by one character', () => {
    for (const bytes of [[0xff], [0xc0, 0xaf], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe6, 0x9d]]) {
      expect(decodeUtf8(Uint8Array.from(bytes)).text).toBe('\ufffd'.repeat(bytes.length));
    }
  });
  it('moves a begin inside a character to its start and an end to its end', () => {
    const { index } = decodeUtf8(encode('a東b'));
    expect([0, 1, 2, 3, 4, 5].map((b) => index.floor(b))).toEqual([0, 1, 1, 1, 2, 3]);
    expect([0, 1, 2, 3, 4, 5].map((b) => index.ceil(b))).toEqual([0, 1, 2, 2, 2, 3]);
  });
});

describe('boxes', () => {
  it('join the tokens of one character', () => expect(texts(model('東京', [2, 1, 1, 2]))).toEqual(['東', '京']));
  it('join an emoji with its joiners', () => expect(texts(model('a👨‍👩‍👧b', [1, 4, 3, 4, 3, 4, 1]))).toEqual(['a', '👨‍👩‍👧', 'b']));
  it('join a letter and its combining mark', () => expect(texts(model('e\u0301x', [1, 2, 1]))).toEqual(['e\u0301', 'x']));
  it('keep empty tokens apart', () => expect(texts(model('ab', [0, 1, 1, 0]))).toEqual(['', 'a', 'b', '']));
  it('accept tokens that each cover the whole character', () => {
    const m = model('東x', [3, 1]);
    m.data.begin.set([0, 0]);
    m.data.end.set([3, 3]);
    const twice = new TextModel(
      {
        ...m.data,
        begin: Uint32Array.from([0, 0, 3]),
        end: Uint32Array.from([3, 3, 4]),
        id: new Int32Array(3),
        word: new Int32Array(3),
        flags: new Uint8Array(3),
      },
      [],
      {},
    );
    expect(texts(twice)).toEqual(['東', 'x']);
  });
});

describe('blocks', () => {
  const words = Array.from({ length: 3000 }, (_, i) => (i % 37 === 36 ? ' end.\n\n' : ' word'));
  const m = model(
    words.join(''),
    words.map((w) => w.length),
  );
  it('tile the text and the tokens', () => {
    expect(m.blocks.length).toBeGreaterThan(10);
    expect(m.blocks[0].begin).toBe(0);
    m.blocks.slice(1).forEach((b, i) => {
      expect(b.begin).toBe(m.blocks[i].end);
      expect(b.tokens.begin).toBe(m.blocks[i].tokens.end);
    });
    expect(m.blocks[m.blocks.length - 1].end).toBe(m.text.length);
  });
  it('have about 200 tokens and end at paragraphs', () => {
    for (const b of m.blocks.slice(0, -1)) {
      expect(b.tokens.end - b.tokens.begin).toBeGreaterThan(100);
      expect(b.tokens.end - b.tokens.begin).toBeLessThan(290);
      expect(m.text.slice(0, b.end).endsWith('\n\n ') || m.text.slice(0, b.end).endsWith('\n\n')).toBe(true);
    }
  });
  it('never split a character, even without spaces', () => {
    const solid = model('東'.repeat(1000), Array.from({ length: 1000 }, () => [2, 1]).flat());
    const boxes = solid.blocks.flatMap((b) => boxesOf(solid, b.tokens));
    expect(boxes.map((x) => x.to - x.from)).toEqual(Array<number>(1000).fill(1));
  });
  it('begin at segments', () => {
    const segment = { name: 'doc', role: null, lang: null, begin: 50, end: 90 };
    const cut = model(
      words.slice(0, 120).join(''),
      words.slice(0, 120).map((w) => w.length),
      [segment],
    );
    expect(cut.blocks.map((b) => b.tokens.begin)).toEqual([0, 50, 90]);
    expect(cut.blocks[1].opensSegment).toBe(true);
  });
  it('find the token of a position', () => {
    for (const t of [0, 5, 1234, 2999]) expect(m.tokenAt(m.begin[t])).toBe(t);
  });
});

describe('search', () => {
  it('parses its five kinds of queries', () => {
    expect(parseQuery('#1204')).toEqual({ kind: 'position', span: { begin: 1204, end: 1205 } });
    expect(parseQuery('#10-20')).toEqual({ kind: 'position', span: { begin: 10, end: 20 } });
    expect(parseQuery('l5.h3')).toEqual({ kind: 'head', at: { layer: 5, head: 3 } });
    expect(parseQuery('L5.mean')).toEqual({ kind: 'head', at: { layer: 5, head: -1 } });
    expect(parseQuery('mean.H3')).toEqual({ kind: 'head', at: { layer: -1, head: 3 } });
    for (const text of ['mean', '5.3', 'meaning', 'L12', 'mean2']) expect(parseQuery(text)).toEqual({ kind: 'text', text });
    expect(parseQuery('seg: doc 3')).toEqual({ kind: 'segment', name: 'doc 3' });
    expect(parseQuery('/a+b/')).toEqual({ kind: 'regex', source: 'a+b' });
    expect(parseQuery('/a(/').kind).toBe('bad');
    expect(parseQuery('a.b')).toEqual({ kind: 'text', text: 'a.b' });
    expect(parseQuery('  ')).toEqual({ kind: 'none' });
  });
  it('ignores case, matches across tokens and blocks, and returns each hit once', () => {
    const list = Array.from({ length: 900 }, (_, i) => (i % 3 === 0 ? ' needle' : ' hay'));
    const m = model(
      list.join(''),
      list.map((w) => w.length),
    );
    expect(findHits(m, parseQuery('NEEDLE')).hits).toHaveLength(300);
    expect(findHits(m, parseQuery('needle hay')).hits[1]).toEqual({ begin: 3, end: 5 });
    expect(findHits(m, parseQuery('/ne+dle/')).hits).toHaveLength(300);
    expect(findHits(m, parseQuery('a.b')).hits).toHaveLength(0);
    expect(findHits(m, parseQuery('#5000')).hits).toEqual([]);
  });
  it('finds items without text by their names', () => {
    const nodes = { kind: 'node', begin: 1, end: 4, rows: 0, picture: null, boxes: null, names: ['a1 (x)', 'b2 (x)', 'A11 (y)'] };
    const m = model('a1', [2, 0, 0, 0], [], [nodes]);
    expect(findHits(m, parseQuery('a1')).hits).toEqual([
      { begin: 0, end: 1 },
      { begin: 1, end: 2 },
      { begin: 3, end: 4 },
    ]);
    expect(findHits(m, parseQuery('/^b/')).hits).toEqual([{ begin: 2, end: 3 }]);
  });
});

describe('language', () => {
  it('follows the script', () => {
    expect(languageOf('动物没有过马路', null)).toBe('zh');
    expect(languageOf('動物は道を渡らなかった', null)).toBe('ja');
    expect(languageOf('لم يعبر الحيوان', null)).toBe('ar');
    expect(languageOf('The animal', null)).toBe(null);
    expect(languageOf('The animal', 'nl')).toBe('nl');
  });
});

/** Items after the tokens; their ids have their own offsets. */
function withItems(text: string, lengths: number[], kind: string, ranges: [number, number][]): TextModel {
  const base = model(text, lengths);
  const names = ranges.map((_, i) => `${kind} ${i + 1}`);
  const begin = Uint32Array.from([...base.data.begin, ...ranges.map(([from]) => from)]);
  const end = Uint32Array.from([...base.data.end, ...ranges.map(([, to]) => to)]);
  const of = (own: Int32Array): Int32Array => Int32Array.from([...own, ...ranges.map(() => -1)]);
  const items: Items[] = [{ kind, begin: lengths.length, end: begin.length, rows: 0, picture: null, boxes: null, names }];
  const data = { ...base.data, begin, end, id: of(base.data.id), word: of(base.data.word), flags: new Uint8Array(begin.length), items };
  return new TextModel(data, [], {});
}

describe('items after the tokens', () => {
  const story = 'Mary left.\nJohn came.';
  const lines: [number, number][] = [
    [0, 10],
    [11, 21],
  ];

  it('each begin a block where their text begins', () => {
    const m = withItems(story, [4, 5, 1, 5, 5, 1], 'slot', lines);
    expect(m.blocks.map((b) => [b.begin, b.end, b.tokens.begin, b.tokens.end, b.items])).toEqual([
      [0, 11, 0, 3, [6]],
      [11, 21, 3, 6, [7]],
    ]);
    expect([m.tokens, m.count, m.label(7), m.excerpt(7)]).toEqual([6, 8, 'slot 2', 'John came.']);
    expect([m.blockOf(2), m.blockOf(3), m.blockOf(6), m.blockOf(7)]).toEqual([0, 1, 0, 1]);
  });

  it('may accompany a text without tokens', () => {
    const m = withItems(story, [], 'slot', lines);
    expect(m.blocks.map((b) => [m.text.slice(b.begin, b.end), b.items])).toEqual([
      ['Mary left.\n', [0]],
      ['John came.', [1]],
    ]);
    expect(m.itemsOf(1)?.kind).toBe('slot');
  });

  it('that cover the whole text are not shown in the margin; a search finds tokens only', () => {
    const m = withItems(story, [4, 5, 1, 5, 5, 1], 'document', [[0, 21]]);
    expect([m.inMargin, m.blocks.length]).toEqual([[], 1]);
    expect(findHits(m, parseQuery('came')).hits).toEqual([{ begin: 4, end: 5 }]);
    expect(m.tokenAt(20)).toBe(5);
  });
});
