// The drawing on a gallery card, which depends on the keys: patches over their picture, a map under its spectrogram, else the map of the
// head that the trace opens with. A family with one query and several layers, such as a memory network, is drawn as one map with one row
// per layer.

import { quoted } from '../../context';
import { head as headName } from '../../format';
import { familyOf, firstSelection, firstHead } from '../../opening';
import { drawPicture, lightPatches, loadPicture } from '../../paint/pixels';
import { bitmapOf, colourTable, maxOf } from '../../paint/picture';
import type { Theme } from '../../paint/ramp';
import { type Size, type Layer, type MapScene, drawMap, kSquare, marginsOf, stretched, zoomOf } from '../../paint/mapRenderer';
import type { Family, HeadId, Items, MapRequest, Picture, Scale, Source, Span, TraceChoice } from '../../source/source';
import { rowName, rowOfToken } from '../../rows';
import { type Rect, parseState } from '../../state';
import type { Strings } from '../../strings';
import { TextModel } from '../../text/model';
import { intensity, largest } from '../../weights';

export type Drawing = (c: CanvasRenderingContext2D, size: Size, theme: Theme) => void;

const kGap = 8; // CSS pixels
const kSpectrogram = 0.4; // fraction of the height

/** The parts of a trace that a card needs. */
interface CardData {
  source: Source;
  text: TextModel;
  family: Family;
  at: HeadId;
  q: readonly Span[];
  k: readonly Span[];
  scale: Scale;
  signal: AbortSignal;
  t: Strings;
}

/** Switches the source to the trace and reads the data to draw. */
export async function drawingOf(source: Source, one: TraceChoice, signal: AbortSignal, t: Strings): Promise<Drawing> {
  const info = await source.switchTo(one.number);
  const [data, segments] = await Promise.all([source.text(0), source.segments(0)]);
  const text = new TextModel(data, segments, info.special);
  const state = parseState(one.state);
  const family = familyOf(info, state.family);
  const at = state.heads[0] ?? firstHead(family);
  const opened: CardData = { source, text, family, at, q: state.q, k: state.k, scale: state.scale, signal, t };
  const items = text.itemsOf(family.key_range[0]);
  const picture = items ? await loadPicture(opened, items) : null;
  if (items && items.rows > 0) return patches(opened, items, picture);
  const map = await mapOf(opened);
  return picture ? underPicture(opened, map, picture) : (c, size, theme) => drawMap(c, size, map(size, theme));
}

/** The original picture, and the picture lit by the weights of the selected row. */
async function patches(opened: CardData, items: Items, picture: HTMLCanvasElement | null): Promise<Drawing> {
  const { source, text, family, at } = opened;
  const spans = opened.q.length > 0 ? [...opened.q] : firstSelection(text, family, true);
  const request = {
    family: family.id,
    at,
    direction: 'out',
    spans,
    reduce: 'sum',
    weight: 'raw',
    sink: 'mark',
    step: source.step,
  } as const;
  const { values } = await source.line(request, 'card');
  const max = values ? largest(values, family.sinks) : 0;
  const [tall, wide] = items.picture ?? [items.rows, (items.end - items.begin) / items.rows];
  return (c, size) => {
    const count = picture ? 2 : 1;
    const height = Math.min(size.height, ((size.width - (count - 1) * kGap) / count / wide) * tall);
    const width = (height / tall) * wide;
    const begin = (size.width - count * width - (count - 1) * kGap) / 2;
    const area = (place: number) => ({ left: begin + place * (width + kGap), top: (size.height - height) / 2, width, height });
    c.clearRect(0, 0, size.width, size.height);
    if (picture) for (const place of [0, 1]) drawPicture(c, picture, area(place));
    lightPatches(c, items, area(count - 1), picture !== null, (id) => (values ? intensity(values[id], max, opened.scale) : null));
  };
}

type Map = (size: Size, theme: Theme) => MapScene;

async function mapOf(opened: CardData): Promise<Map> {
  const { source, text, family, at, t } = opened;
  const [[k0, k1], [q0, q1]] = [family.key_range, family.query_range];
  const isHops = q1 - q0 === 1 && family.layers > 1;
  const heads = isHops ? Array.from({ length: family.layers }, (_, layer) => ({ layer, head: at.head })) : [at];
  const pictures: Picture[] = [];
  for (const head of heads)
    pictures.push(await overviewOf(opened, { family: family.id, at: head, weight: 'raw', sink: 'mark', step: source.step }));
  const max = Math.max(...pictures.map((picture) => maxOf(picture, 'max', family.sinks)));
  const rows = isHops ? { q0: text.count, q1: text.count + heads.length } : { q0, q1 }; // hops have no ids; give them ids after all others
  const rect: Rect = { k0, k1, ...rows };
  const isText = Math.max(q1, k1) <= text.tokens;
  return (size, theme) => {
    const layers = pictures.map((picture, row) => {
      const bitmap = bitmapOf(picture.max, picture.rows, picture.columns, colourTable(picture.maxCodes, max, opened.scale, theme));
      const layer: Layer = {
        bitmap,
        keyBegin: picture.keyBegin,
        queryBegin: picture.queryBegin,
        cell: 2 ** picture.z,
        cellAcross: 2 ** picture.z,
      };
      return isHops ? { ...layer, bitmap: rowOf(layer, q0), queryBegin: rows.q0 + row } : layer;
    });
    return {
      queries: rect.q1,
      keys: rect.k1,
      rect,
      cell: isText ? kSquare : stretched(rect, size),
      layers,
      cells: [],
      max,
      scale: opened.scale,
      q: isHops ? [] : opened.q,
      k: opened.k,
      hover: null,
      sinks: family.sinks,
      keySegments: [],
      querySegments: [],
      label: (key) => quoted({ text }, { begin: key, end: key + 1 }),
      rowToken: () => null,
      rowLabel: (row) =>
        row < text.count ? rowName({ family, text, t }, { begin: row, end: row + 1 }) : headName(heads[row - text.count]),
      rowOfTick: (token) => rowOfToken({ family, text }, token),
      tick: (id) => (text.itemsOf(id) ? text.label(id) : String(id)),
      select: null,
      theme,
    };
  };
}

/** One row of a layer's bitmap. */
function rowOf({ bitmap, queryBegin, cell }: Layer, query: number): HTMLCanvasElement {
  const row = document.createElement('canvas');
  row.width = bitmap.width;
  row.height = 1;
  row.getContext('2d')?.drawImage(bitmap, 0, -Math.floor((query - queryBegin) / cell));
  return row;
}

async function overviewOf({ source, signal }: CardData, request: MapRequest): Promise<Picture> {
  let found: Picture | null = null;
  await source.overview(request, (picture) => (found = picture), signal);
  if (!found) throw new Error('there is no overview');
  return found;
}

/** Draws a map whose columns align with the picture above it, such as a spectrogram. */
function underPicture({ family }: CardData, map: Map, picture: HTMLCanvasElement): Drawing {
  return (c, size, theme) => {
    const above = Math.round(size.height * kSpectrogram);
    const below = { width: size.width, height: size.height - above };
    const scene = map(below, theme);
    const { left } = marginsOf(scene.rect, below, scene.cell);
    const width = zoomOf(scene.rect, below, scene.cell) * scene.cell.wide * (family.key_range[1] - family.key_range[0]);
    c.clearRect(0, 0, size.width, size.height);
    drawPicture(c, picture, { left, top: 0, width, height: above });
    c.save();
    c.translate(0, above);
    drawMap(c, below, scene);
    c.restore();
  };
}
