// Decodes the frames of the engine, from a server's answers and from an offline page's blobs alike.

import { type Codes, type Frame, requireArray } from './frame';
import type { AtlasHead, Badge, HeadPicture, Items, Band, Picture, Pixels, ScoreName, TextData, WeightedHead } from './source';

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

export function decodeText(frame: Frame<TextHeader>): TextData {
  return {
    bytes: requireArray(frame, 'text', Uint8Array),
    byteBegin: frame.header.byte_begin,
    begin: requireArray(frame, 'begin', Uint32Array),
    end: requireArray(frame, 'end', Uint32Array),
    id: requireArray(frame, 'id', Int32Array),
    word: requireArray(frame, 'word', Int32Array),
    flags: requireArray(frame, 'flags', Uint8Array),
    items: frame.header.items ?? [],
  };
}

export function decodePixels(frame: Frame<object>): Pixels {
  const [height, width] = frame.shapes['pixels'];
  return { height, width, rgb: requireArray(frame, 'pixels', Uint8Array) };
}

export function decodePicture(frame: Frame<PictureHeader>, band: Band | null = null): Picture {
  const head = frame.header;
  return {
    badge: head.badge,
    sampledRows: head.sampled_rows,
    z: head.z,
    ...(band ? { columnZ: head.column_z ?? 0 } : {}),
    rows: head.rows,
    columns: head.columns,
    queryBegin: head.queries[0],
    keyBegin: head.keys[0] + (band?.back ?? 0),
    max: requireArray(frame, 'max', Uint8Array),
    mean: requireArray(frame, 'mean', Uint8Array),
    maxCodes: head.codes.max,
    meanCodes: head.codes.mean,
  };
}

export function decodeHeads(frame: Frame<HeadsHeader>): AtlasHead[] {
  return decodeHeadPictures(frame).map((head, i) => {
    const { scores, strongest } = frame.header.heads[i];
    return { ...head, scores, strongest };
  });
}

function decodeHeadPictures(frame: Frame<HeadsHeader>): HeadPicture[] {
  const [, rows, columns] = frame.shapes['thumbnails'];
  const all = requireArray(frame, 'thumbnails', Uint8Array);
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

export function decodeWeightedHeads(frame: Frame<HeadsHeader>): WeightedHead[] {
  return decodeHeadPictures(frame).map((head, i) => ({ ...head, sum: frame.header.heads[i].sum }));
}
