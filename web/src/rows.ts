// Names of rows: the twin of src/observe/written_rows.h. A row that writes is named by the token that it writes, which follows the token
// that it read; other rows are named by their own token. No row is named by the token `writes_from`. The state and all requests identify
// rows by the tokens that they read.

import type { Context } from './context';
import * as format from './format';
import type { Direction, Family, Span } from './source/source';
import type { State } from './state';
import type { TextModel } from './text/model';
import { quoted } from './text/quoted';

/** The parts of a Context that determine the names of rows: a family of maps, and the text of its queries. */
export interface RowText {
  family: Family;
  text: TextModel;
}

/** The end of the ids that rows may write. */
const endOf = ({ family, text }: RowText): number => text.itemsOf(family.writes_from ?? 0)?.end ?? text.tokens;

/** The id that a row is named by; null if the text does not contain what the row wrote. */
export function tokenOfRow(of: RowText, row: number): number | null {
  const from = of.family.writes_from;
  if (from === null || row < from) return row;
  return row + 1 < endOf(of) ? row + 1 : null;
}

/** The ids that the rows of each span are named by. Rows whose token the text does not contain are left out. */
export function tokensOfRows(of: RowText, spans: readonly Span[]): readonly Span[] {
  const from = of.family.writes_from;
  if (from === null) return spans;
  const end = endOf(of);
  const named = spans.map(
    (s): Span => (s.end <= from ? s : { begin: s.begin < from ? s.begin : s.begin + 1, end: Math.min(s.end + 1, end) }),
  );
  return named.filter((s) => s.begin < s.end);
}

/** The rows that are named by a span of ids; an empty span if there are none. */
export function rowsNamedBy(of: RowText, span: Span): Span {
  const from = of.family.writes_from;
  if (from === null || span.begin >= endOf(of)) return span;
  const before = (boundary: number): number => (boundary > from ? boundary - 1 : boundary);
  return { begin: before(span.begin), end: before(span.end) };
}

/** The same for a span that is selected: for the token `writes_from` alone, the row that reads it, which writes the first token. */
export function rowsOfTokens(of: RowText, span: Span): Span {
  const rows = rowsNamedBy(of, span);
  return rows.begin < rows.end ? rows : { begin: rows.begin, end: rows.begin + 1 };
}

export const rowOfToken = (of: RowText, token: number): number => rowsOfTokens(of, { begin: token, end: token + 1 }).begin;

/** The token before another, in the order of rows: no row is named by `writes_from`. */
export const tokenBefore = ({ family }: RowText, token: number): number => (token - 1 === family.writes_from ? token - 2 : token - 1);

/** The ids that the selection is named by: chosen keys, or the tokens of chosen rows. */
export const selectedTokens = (of: RowText, { direction, q, k }: State): readonly Span[] => (direction === 'out' ? tokensOfRows(of, q) : k);

/** Returns the id at which a row is shown in the text: the id that it is named by, else its own. */
export const placeOfRow = (of: RowText, row: number): number => tokenOfRow(of, row) ?? row;

/** Returns the id at which the first selected row or key is shown in the text; null if there is none. */
export function selectedPlace(of: RowText, { direction, q, k }: State): number | null {
  const [first] = direction === 'out' ? q : k;
  return first ? (direction === 'out' ? placeOfRow(of, first.begin) : first.begin) : null;
}

/** True if every row of these spans writes a token of the text. The patches of a picture are drawn, not written. */
export const areWritten = (of: RowText, rows: readonly Span[]): boolean =>
  rows.length > 0 &&
  rows.every((s) => s.begin >= (of.family.writes_from ?? Infinity) && tokenOfRow(of, s.begin) !== null && !of.text.itemsOf(s.begin));

/** The name of rows, as it is quoted in a sentence. */
export function rowName(ctx: RowText & Pick<Context, 't'>, rows: Span): string {
  const [named] = tokensOfRows(ctx, [rows]);
  if (named) return quoted(ctx, named);
  const { text } = ctx;
  const isEnd = rows.begin > (ctx.family.writes_from ?? Infinity) && (text.itemsOf(rows.begin) !== null || text.isSpecial(rows.begin));
  return ctx.t(isEnd ? 'row.end' : 'row.next');
}

/** The position of the token that a row is named by, and its name: “#12 word”. */
export function rowLabel(ctx: RowText & Pick<Context, 't'>, row: number): string {
  const token = tokenOfRow(ctx, row);
  const name = rowName(ctx, { begin: row, end: row + 1 });
  return token === null || ctx.text.itemsOf(token) ? name : `#${format.whole(token)} ${name}`;
}

/** A span of a line's other axis by name: keys, or rows in direction `in`. */
export const itemName = (ctx: Context, direction: Direction, item: Span): string =>
  direction === 'out' ? quoted(ctx, item) : rowName(ctx, item);

/** The ids that such a span is named by; null if the text does not contain them. */
export const itemTokens = (ctx: Context, direction: Direction, item: Span): Span | null =>
  direction === 'out' ? item : (tokensOfRows(ctx, [item])[0] ?? null);

/** Segments of the text as ranges of the rows that are named by their tokens. The last row of all belongs to the last segment. */
export function rowsOfSegments<T extends Span>(of: RowText, segments: readonly T[]): readonly T[] {
  if (of.family.writes_from === null) return segments;
  const end = endOf(of);
  return segments.map((s) => ({ ...s, ...rowsNamedBy(of, s), ...(s.end === end ? { end: of.family.query_range[1] } : {}) }));
}

/** Moves the values of a column from its rows to the ids that the rows are named by. */
export function movedToTokens(of: RowText, values: Float32Array): Float32Array {
  const from = of.family.writes_from;
  if (from === null) return values;
  const end = endOf(of);
  const out = new Float32Array(Math.max(values.length, end));
  out.set(values);
  out.set(values.subarray(from, end - 1), from + 1);
  out[from] = 0;
  return out;
}

/** The sentence that states by what rows are named; empty if all rows only read. */
export function conventionOf({ family, text, t }: RowText & Pick<Context, 't'>): string {
  const from = family.writes_from;
  return from === null ? '' : ` ${t(text.itemsOf(from) ? 'row.drawn' : 'row.named')}`;
}
