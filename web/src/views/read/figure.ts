// The reading view as a figure: the visible words, pictures lit by their weights, items with their columns, and a table of the heaviest
// tokens.

import { type Context, isShare, printWeight, quoted } from '../../context';
import { areWritten, itemName, itemTokens, rowName } from '../../rows';
import type { Exported, Part, PicturePart, Word, Words } from '../../figure/figure';
import { head as headName, shortShare, weight as printNumber } from '../../format';
import { isOnPicture, type Items, type Pixels } from '../../source/source';
import { type Box, boxesOf } from '../../text/boxes';
import type { TextModel } from '../../text/model';
import { legendOf } from '../../ui/legend';
import { largest } from '../../weights';
import { captionOf } from './answers';
import type { Column } from './margin';
import type { Paint } from './painter';
import { isChosen, itemBox } from './itemPanel';
import { topOf } from './top';

const kMaxWords = 1200;
const kTop = 8;

/** `view`: the visible part of the text, in UTF-16 offsets. */
export async function figureOfRead(
  ctx: Context,
  view: { from: number; to: number },
  paint: Paint,
  columns: readonly Column[],
): Promise<Exported> {
  const { text, focus, t } = ctx;
  const parts: Part[] = [];
  for (const items of text.data.items) if (isOnPicture(items)) parts.push(await pictureOf(ctx, items, paint));
  const own = text.inMargin.length > 0 ? items(ctx, paint, columns) : null;
  if (own) parts.push(own);
  else if (text.text !== '') parts.push(words(ctx, view, paint));
  const { shown } = focus;
  if (shown) {
    const { direction } = shown.request;
    const rows = topOf(ctx, shown, kTop).map((item) => {
      const [name, tokens] = [itemName(ctx, direction, item), itemTokens(ctx, direction, item)];
      const weight = printWeight(ctx, item.weight, shown.line.badge, shown.line.error);
      if (!tokens) return [weight, name, ''];
      const label = text.itemsOf(tokens.begin) ? text.label(tokens.begin) : `#${tokens.begin} ${name}`;
      return [weight, label, contextAround(ctx, tokens.begin, tokens.end)];
    });
    if (rows.length > 0) parts.push({ kind: 'table', head: [t('weight'), t('token'), t('figure.place')], rows });
  }
  const isOut = ctx.store.now.direction === 'out';
  const spans = shown?.request.spans ?? [];
  const whom = spans.map((s) => (isOut ? rowName(ctx, s) : quoted(ctx, s))).join(t('list.quoted'));
  const key = !isOut ? 'figure.in' : areWritten(ctx, spans) ? 'figure.out.written' : 'figure.out';
  const says = shown ? `${t(key, { whom })} ${captionOf(ctx, shown)}` : '';
  return { parts, description: says, badge: shown?.line.badge ?? 'exact' };
}

/** The text around a range of tokens, on one line. */
function contextAround(ctx: Context, begin: number, end: number): string {
  const { text } = ctx;
  if (text.itemsOf(begin)) return text.excerpt(begin);
  const from = text.begin[Math.max(0, begin - 6)];
  const to = text.end[Math.min(text.tokens, end + 6) - 1];
  return text.text.slice(from, to).replace(/\s+/g, ' ').trim();
}

function words(ctx: Context, view: { from: number; to: number }, paint: Paint): Words {
  const shown = wordsInView(ctx.text, view, (box) => appearance(box, paint));
  const { heads } = ctx.store.now;
  const bars = paint.barScales.map((scale, i) => ({ head: headName(heads[i]), most: legendOf(ctx, scale)?.high ?? '0' }));
  return { ...shown, legend: legendOf(ctx, paint.scale), bars: bars.map((bar) => ctx.t('legend.bars', bar)) };
}

/** The visible words of a text; `appearanceOf` returns the appearance of each. */
export function wordsInView(
  text: TextModel,
  view: { from: number; to: number },
  appearanceOf: (box: Box) => Omit<Word, 'text' | 'gap'>,
  title = '',
): Words {
  const first = text.blocks[text.blockOf(text.tokenAt(Math.floor(view.from)))].tokens.begin;
  const last = text.blocks[text.blockOf(text.tokenAt(Math.ceil(view.to)))].tokens.end;
  const boxes = boxesOf(text, { begin: first, end: last }).filter((b) => b.to >= view.from - 40 && b.from <= view.to + 40);
  let reached = boxes[0]?.from ?? 0;
  const shown = boxes.slice(0, kMaxWords).map((box): Word => {
    const between = text.text.slice(reached, box.to);
    const blank = /^\s*/.exec(between)?.[0] ?? '';
    const special = text.isSpecial(box.begin);
    if (box.to > box.from) reached = box.to;
    return {
      text: quoted({ text }, box, text),
      gap: blank.includes('\n') ? 'line' : blank || special ? 'space' : 'none',
      ...appearanceOf(box),
      special,
    };
  });
  return { kind: 'words', title, words: shown, legend: null, bars: [] };
}

function appearance(box: Box, paint: Paint): Omit<Word, 'text' | 'gap'> {
  const item = paint.top.find((i) => i.begin < box.end && box.begin < i.end);
  const sink = [...paint.sinks].some((s) => box.begin <= s && s < box.end);
  const strength = paint.intensity(box);
  return {
    strength: sink && paint.hideSinks ? NaN : strength,
    chosen: isChosen(paint.anchors, box.begin),
    sink: sink && Number.isFinite(strength),
    hidden: paint.visibility(box) !== 'visible',
    share: item && item.begin >= box.begin ? item.label : '',
    bars: paint.bars(box),
  };
}

/** Items beside their text: one row per item, one column per head or layer shown. */
function items(ctx: Context, paint: Paint, columns: readonly Column[]): Part | null {
  const { text } = ctx;
  const ids = text.inMargin.filter((id) => paint.canHaveWeight(itemBox(id)));
  if (ids.length === 0) return null;
  const shown =
    columns.length > 0 ? columns.map((c) => (id: number) => c.values?.[id] ?? NaN) : [(id: number) => paint.weight(itemBox(id))];
  const values = ids.flatMap((id) => shown.map((of) => of(id)));
  const print = isShare(ctx) ? shortShare : printNumber;
  const { family } = ctx;
  return {
    kind: 'matrix',
    rows: { name: '', count: ids.length, labels: ids.map((id) => text.excerpt(id) || text.label(id)), begin: 0, step: 1 },
    columns: { name: family.id, count: shown.length, labels: columns.map((c) => c.name), begin: 0, step: 1 },
    values,
    max: largest(values, []),
    scale: ctx.store.now.scale,
    texts: values.map((v) => (v >= 0 ? print(v) : '')),
    square: false,
    sinks: [],
    chosenRows: ids.flatMap((id, i) => (isChosen(paint.anchors, id) ? [{ begin: i, end: i + 1 }] : [])),
    chosenColumns: [],
    legend: legendOf(ctx, { ...paint.scale, max: largest(values, []), largest: 0 }),
  };
}

async function pictureOf(ctx: Context, range: Items, paint: Paint): Promise<PicturePart> {
  const none: Pixels = { width: 0, height: 0, rgb: new Uint8Array(0) };
  const pixels = range.picture ? await ctx.source.picture(ctx.text.data.items.indexOf(range)) : none;
  const count = range.end - range.begin;
  const rows = range.rows || 1;
  const strengths = Array.from({ length: count }, (_, i) => {
    const box = itemBox(range.begin + i);
    const seen = paint.visibility(box);
    if (!paint.canHaveWeight(box) || seen === 'unscored') return NaN;
    return seen === 'hidden' ? 0 : paint.intensity(box);
  });
  const chosen = Array.from({ length: count }, (_, i) => i).filter((i) => isChosen(paint.anchors, range.begin + i));
  return {
    kind: 'picture',
    ...pixels,
    rows,
    columns: count / rows,
    strengths: strengths.some((v) => Number.isFinite(v)) ? strengths : [],
    chosen,
    labels: paint.top
      .filter((i) => range.begin <= i.begin && i.begin < range.end)
      .map((i) => ({ at: i.begin - range.begin, text: i.label })),
    legend: legendOf(ctx, paint.scale),
    aspect: range.rows > 0 ? (pixels.width || count / rows) / (pixels.height || rows) : 4,
  };
}
