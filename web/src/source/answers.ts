// Decodes the frames of the engine, from a server's answers and from an offline page's blobs alike.

import { type Codes, type Frame, need } from './frame';
import type { AtlasHead, Badge, HeadPicture, Items, Near, Picture, Pixels, ScoreName, TextData, WeightedHead } from './source';

export interface PictureHeader {
  event?: string;
  badge: Badge;
  sampled_rows: number | null;
  z: number;
  column_z?: number;
  rows: number;
  columns: number;
  queries: [number, number];
  keys: [number, number];
  codes: { max: Codes; mean: Codes };
  done?: number;
  error?: { code: string; message: string };
}

export interface HeadsHeader {
  event: string;
  badge: Badge;
  queries?: [number, number];
  keys?: [number, number];
  heads: {
    layer: number;
    head: number;
    scores: Record<ScoreName, number | null>; // only for raw weights
    strongest: ScoreName[];
    sum: number; // only for other kinds of weights
    codes: Codes;
    offsets?: [number, number];
  }[];
  done?: number;
  error?: { code: string; message: string };
}

export interface TextHeader {
  byte_begin: number;
  items?: Items[];
}

export function textOf(frame: Frame<TextHeader>): TextData {
  return {
    bytes: need(frame, 'text', Uint8Array),
    byteBegin: frame.header.byte_begin,
    begin: need(frame, 'begin', Uint32Array),
    end: need(frame, 'end', Uint32Array),
    id: need(frame, 'id', Int32Array),
    word: need(frame, 'word', Int32Array),
    flags: need(frame, 'flags', Uint8Array),
    items: frame.header.items ?? [],
  };
}

export function pixelsOf(frame: Frame<object>): Pixels {
  const [height, width] = frame.shapes['pixels'];
  return { height, width, rgb: need(frame, 'pixels', Uint8Array) };
}

export function pictureOf(frame: Frame<PictureHeader>, near: Near | null = null): Picture {
  const head = frame.header;
  return {
    badge: head.badge,
    sampledRows: head.sampled_rows,
    z: head.z,
    ...(near ? { columnZ: head.column_z ?? 0 } : {}),
    rows: head.rows,
    columns: head.columns,
    queryBegin: head.queries[0],
    keyBegin: head.keys[0] + (near?.back ?? 0),
    max: need(frame, 'max', Uint8Array),
    mean: need(frame, 'mean', Uint8Array),
    maxCodes: head.codes.max,
    meanCodes: head.codes.mean,
  };
}

export function headsOf(frame: Frame<HeadsHeader>): AtlasHead[] {
  return picturesOf(frame).map((head, i) => {
    const { scores, strongest } = frame.header.heads[i];
    return { ...head, scores, strongest };
  });
}

function picturesOf(frame: Frame<HeadsHeader>): HeadPicture[] {
  const [, rows, columns] = frame.shapes['thumbnails'];
  const all = need(frame, 'thumbnails', Uint8Array);
  return frame.header.heads.map((head, i) => ({
    layer: head.layer,
    head: head.head,
    badge: frame.header.badge,
    queries: frame.header.queries ?? null,
    keys: frame.header.keys ?? null,
    rows,
    columns,
    codes: head.codes,
    offsets: head.offsets ?? null,
    thumbnail: all.subarray(i * rows * columns, (i + 1) * rows * columns),
  }));
}

export function weightedOf(frame: Frame<HeadsHeader>): WeightedHead[] {
  return picturesOf(frame).map((head, i) => ({ ...head, sum: frame.header.heads[i].sum }));
}
