// Queries of the search box: text, /regex/, #1204 (a position), L5.H3 (a head), L5.mean, seg:name. Hits are ranges of ids: of tokens, or single items
// without text, which are found by their names.

import { kMean } from '../heads';
import type { HeadId, Span } from '../source/source';
import type { TextModel } from './model';

type Query =
  | { kind: 'none' }
  | { kind: 'text'; text: string }
  | { kind: 'regex'; source: string }
  | { kind: 'position'; span: Span }
  | { kind: 'head'; at: HeadId }
  | { kind: 'segment'; name: string }
  | { kind: 'bad'; reason: string };

const kMaxHits = 5000;
const kMaxMilliseconds = 400;

export function parseQuery(input: string): Query {
  const text = input.trim();
  if (text === '') return { kind: 'none' };
  const position = /^#(\d+)(?:-(\d+))?$/.exec(text.replace(/[\u202f, ]/g, ''));
  if (position) {
    const begin = Number(position[1]);
    const end = position[2] ? Number(position[2]) : begin + 1;
    return end > begin ? { kind: 'position', span: { begin, end } } : { kind: 'bad', reason: text };
  }
  const head = /^(?:L(\d+)|mean)(?:\.?H(\d+)|\.mean)$/i.exec(text);
  if (head) return { kind: 'head', at: { layer: Number(head[1] ?? kMean), head: Number(head[2] ?? kMean) } };
  if (/^seg:/i.test(text)) return { kind: 'segment', name: text.slice(4).trim() };
  const regex = /^\/(.+)\/$/s.exec(text);
  if (regex) {
    try {
      new RegExp(regex[1], 'giu');
      return { kind: 'regex', source: regex[1] };
    } catch (error) {
      return { kind: 'bad', reason: error instanceof Error ? error.message : text };
    }
  }
  return { kind: 'text', text: input.replace(/^\s+|\s+$/g, '') };
}

/** Token ranges of the hits, in order; `more` is true if the search stopped early. */
export function findHits(model: TextModel, query: Query): { hits: Span[]; more: boolean } {
  if (query.kind === 'position') {
    const end = Math.min(query.span.end, model.count);
    return { hits: query.span.begin < end ? [{ begin: query.span.begin, end }] : [], more: false };
  }
  if (query.kind === 'segment') {
    const wanted = query.name.toLowerCase();
    const found = model.segments.filter((s) => s.name.toLowerCase().includes(wanted));
    return { hits: found.map(({ begin, end }) => ({ begin, end })), more: false };
  }
  if (query.kind === 'text') return matches(model, new RegExp(query.text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'giu'));
  if (query.kind === 'regex') return matches(model, new RegExp(query.source, 'giu'));
  return { hits: [], more: false };
}

/** Runs a pattern block by block, so that a slow expression can be stopped after a time limit. A match may reach into the next block. */
function matches(model: TextModel, pattern: RegExp): { hits: Span[]; more: boolean } {
  const hits: Span[] = [];
  const started = performance.now();
  let resumeAt = 0;
  for (const block of model.blocks) {
    const window = model.text.slice(block.begin, Math.min(model.text.length, block.end + 400));
    pattern.lastIndex = Math.max(0, resumeAt - block.begin);
    for (let m = pattern.exec(window); m; m = pattern.exec(window)) {
      if (block.begin + m.index >= block.end) break;
      if (m[0].length === 0) {
        pattern.lastIndex++;
        continue;
      }
      const last = block.begin + m.index + m[0].length;
      hits.push(tokensOf(model, block.begin + m.index, last));
      resumeAt = last;
      if (hits.length >= kMaxHits) return { hits, more: true };
    }
    if (performance.now() - started > kMaxMilliseconds) return { hits, more: true };
  }
  return { hits: [...hits, ...named(model, pattern)], more: false };
}

/** The items without text whose names match. */
function named(model: TextModel, pattern: RegExp): Span[] {
  const found: Span[] = [];
  for (let id = model.tokens; id < model.count; id++) {
    pattern.lastIndex = 0;
    if (model.end[id] === model.begin[id] && pattern.test(model.label(id))) found.push({ begin: id, end: id + 1 });
  }
  return found;
}

function tokensOf(model: TextModel, from: number, to: number): Span {
  const begin = model.tokenAt(from);
  let end = begin + 1;
  while (end < model.tokens && model.begin[end] < to) end++;
  return { begin, end };
}
