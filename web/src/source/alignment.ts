// Aligns two texts when there is no server to ask; src/viewer/questions/alignment.cc does the same. Two tokenizations of one text are
// aligned by the characters that the ids cover, without whitespace at their ends; two different texts by a diff of their tokens (Myers
// 1986); ids without characters by name. An id without a counterpart stays unaligned.

import type { Info, Alignment, TextData } from './source';

const kMaxDifferences = 4000;

/** A text with its ids, as stored in a page. */
export interface TokenizedText {
  data: TextData;
  special: Info['special'];
}

/** Index pairs of a longest common subsequence, ascending; null if there are more than kMaxDifferences differences. */
export function longestCommonSubsequence(before: readonly string[], after: readonly string[]): [number, number][] | null {
  const [n, m] = [before.length, after.length];
  const furthest: Int32Array[] = []; // [d][(k + d) / 2]: the furthest x on diagonal k = x − y with d differences
  const reached = (d: number, k: number): number => (k < -d || k > d ? -1 : furthest[d][(k + d) / 2]);
  const step = (d: number, k: number): { x: number; down: boolean } => {
    if (d === 0) return { x: 0, down: false };
    const [above, left] = [reached(d - 1, k + 1), reached(d - 1, k - 1)];
    const down = above >= 0 && above - k <= m ? above : -1;
    return left >= 0 && left + 1 <= n && left + 1 > down ? { x: left + 1, down: false } : { x: down, down: true };
  };
  for (let d = 0; d <= kMaxDifferences; d++) {
    furthest.push(new Int32Array(d + 1).fill(-1));
    for (let k = -d; k <= d; k += 2) {
      let { x } = step(d, k);
      if (x < 0) continue;
      while (x < n && x - k < m && before[x] === after[x - k]) x++;
      furthest[d][(k + d) / 2] = x;
      if (x === n && x - k === m) return backtrack(n, m, d, step);
    }
  }
  return null;
}

function backtrack(n: number, m: number, count: number, step: (d: number, k: number) => { x: number; down: boolean }): [number, number][] {
  const out: [number, number][] = [];
  for (let x = n, y = m, d = count; d >= 0; d--) {
    const taken = step(d, x - y);
    for (; x > taken.x; x--, y--) out.push([x - 1, y - 1]);
    if (taken.down) y--;
    else x--;
  }
  return out.reverse();
}

const isPlain = ({ data }: TokenizedText, id: number): boolean =>
  (data.flags[id] & 1) === 0 && !data.items.some((r) => r.begin <= id && id < r.end);

const decode = (bytes: Uint8Array): string => Array.from(bytes, (b) => String.fromCharCode(b)).join('');

/** The identity of an id without its position: the kind and name of an item, the name of a special token, or the text of a token. */
function identity(text: TokenizedText, id: number): string {
  const { data, special } = text;
  const items = data.items.find((r) => r.begin <= id && id < r.end);
  if (items) return `i ${items.kind} ${items.names[id - items.begin]}`;
  if (data.flags[id] & 1) return `s ${special[String(data.id[id])] ?? data.id[id]}`;
  return `t ${decode(data.bytes.subarray(data.begin[id] - data.byteBegin, data.end[id] - data.byteBegin))}`;
}

function characters(text: TokenizedText, id: number): [number, number] {
  const { data } = text;
  if (!isPlain(text, id)) return [0, 0];
  let [begin, end] = [data.begin[id], data.end[id]];
  const blank = (at: number): boolean => [32, 9, 10, 13].includes(data.bytes[at - data.byteBegin]);
  while (begin < end && blank(begin)) begin++;
  while (begin < end && blank(end - 1)) end--;
  return begin < end ? [begin, end] : [data.begin[id], data.end[id]];
}

function byCharacters(
  before: TokenizedText,
  after: TokenizedText,
  namesBefore: readonly string[],
  namesAfter: readonly string[],
): [number, number][] {
  const out: [number, number][] = [];
  let last = { i: 0, j: 0 };
  const named = (toI: number, toJ: number): void => {
    for (let { i, j } = last; i < toI; i++) {
      if (namesBefore[i].startsWith('t')) continue;
      const found = namesAfter.slice(j, toJ).indexOf(namesBefore[i]);
      if (found < 0) continue;
      out.push([i, j + found]);
      j += found + 1;
    }
  };
  for (let i = 0, j = 0; i < namesBefore.length && j < namesAfter.length; ) {
    const [b, a] = [characters(before, i), characters(after, j)];
    if (b[1] <= b[0]) i++;
    else if (a[1] <= a[0]) j++;
    else if (b[0] === a[0] && b[1] === a[1]) {
      named(i, j);
      out.push([i, j]);
      last = { i: ++i, j: ++j };
    } else if (b[0] < a[0] || (b[0] === a[0] && b[1] < a[1])) i++;
    else j++;
  }
  named(namesBefore.length, namesAfter.length);
  return out;
}

/** The ids of both texts merged into one order; −1 where one text has no counterpart. */
export function mergedOrder(pairs: readonly [number, number][], n: number, m: number): Pick<Alignment, 'before' | 'after'> {
  const [before, after]: [number[], number[]] = [[], []];
  let [i, j] = [0, 0];
  const add = (b: number, a: number): void => {
    before.push(b);
    after.push(a);
  };
  for (const [b, a] of [...pairs, [n, m]]) {
    while (i < b) add(i++, -1);
    while (j < a) add(-1, j++);
    if (b < n) add(i++, j++);
  }
  return { before: Int32Array.from(before), after: Int32Array.from(after) };
}

export function alignTexts(before: TokenizedText, after: TokenizedText): Alignment {
  const spelled = (text: TokenizedText): string[] => Array.from(text.data.begin, (_, id) => identity(text, id));
  const [namesBefore, namesAfter] = [spelled(before), spelled(after)];
  const same = namesBefore.length === namesAfter.length && namesBefore.every((one, i) => one === namesAfter[i]);
  if (same)
    return {
      method: 'same',
      whole: true,
      ...mergedOrder(
        namesBefore.map((_, i): [number, number] => [i, i]),
        namesBefore.length,
        namesAfter.length,
      ),
    };
  if (decode(before.data.bytes) === decode(after.data.bytes))
    return {
      method: 'offsets',
      whole: true,
      ...mergedOrder(byCharacters(before, after, namesBefore, namesAfter), namesBefore.length, namesAfter.length),
    };
  const ends = { head: 0, tail: 0 };
  const max = Math.min(namesBefore.length, namesAfter.length);
  while (ends.head < max && namesBefore[ends.head] === namesAfter[ends.head]) ends.head++;
  while (ends.tail < max - ends.head && namesBefore[namesBefore.length - 1 - ends.tail] === namesAfter[namesAfter.length - 1 - ends.tail])
    ends.tail++;
  const { head, tail } = ends;
  const found = longestCommonSubsequence(
    namesBefore.slice(head, namesBefore.length - tail),
    namesAfter.slice(head, namesAfter.length - tail),
  );
  const pairs: [number, number][] = [
    ...Array.from({ length: head }, (_, i): [number, number] => [i, i]),
    ...(found ?? []).map(([b, a]): [number, number] => [b + head, a + head]),
    ...Array.from({ length: tail }, (_, i): [number, number] => [namesBefore.length - tail + i, namesAfter.length - tail + i]),
  ];
  return { method: 'texts', whole: found !== null, ...mergedOrder(pairs, namesBefore.length, namesAfter.length) };
}
