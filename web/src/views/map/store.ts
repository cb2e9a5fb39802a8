// The pictures of one map: the overview as it streams in, and a cache of tiles by level that drops the least recently used ones.

import { isAbort, type Cells, type MapRequest, type Picture, type Source } from '../../source/source';

const kTiles = 96;
const kMaxRequests = 4;
export const kTile = 256;

/** What a map reads from a source. */
export type MapSource = Pick<Source, 'overview' | 'tile' | 'cells'>;

/** A tile of a level; `columnZ` is the level of its columns. */
export interface TileAt {
  z: number;
  columnZ: number;
  x: number;
  y: number;
}

/** The tiles of a level that cover a part. `isLower`: tiles above the diagonal are empty and left out. */
export function tilesIn(part: { k0: number; q0: number; k1: number; q1: number }, z: number, columnZ: number, isLower: boolean): TileAt[] {
  const [side, wide] = [kTile * 2 ** z, kTile * 2 ** columnZ];
  const wanted: TileAt[] = [];
  for (let y = Math.floor(part.q0 / side); y * side < part.q1; y++)
    for (let x = Math.floor(part.k0 / wide); x * wide < part.k1; x++) if (!isLower || x <= y) wanted.push({ z, columnZ, x, y });
  return wanted;
}

export class MapStore {
  overview: Picture | null = null;
  failure: Error | null = null;
  streaming = false;
  private readonly tiles = new Map<string, Picture>();
  private readonly numbers = new Map<string, Cells>();
  private readonly requested = new Map<string, AbortController>();
  private readonly stream = new AbortController();

  constructor(
    private readonly source: MapSource,
    readonly request: MapRequest,
    readonly key: string, // the request and how it is shown
    private readonly changed: () => void,
  ) {}

  start(): void {
    this.streaming = true;
    const onPicture = (picture: Picture): void => {
      this.overview = picture;
      this.changed();
    };
    this.source.overview(this.request, onPicture, this.stream.signal).then(
      () => this.onFailure(null),
      (error: unknown) => this.onFailure(error),
    );
  }

  stop(): void {
    this.stream.abort();
    for (const abort of this.requested.values()) abort.abort();
    this.requested.clear();
  }

  tile({ z, x, y, columnZ }: TileAt): Picture | null {
    const key = `${z}/${columnZ}/${x}/${y}`;
    const found = this.tiles.get(key) ?? null;
    if (found) {
      this.tiles.delete(key); // mark as most recently used
      this.tiles.set(key, found);
    }
    return found;
  }

  cells(x: number, y: number): Cells | null {
    return this.numbers.get(`n/${x}/${y}`) ?? null;
  }

  /** Requests the missing tiles and cancels requests that are no longer wanted. */
  requestMissing(tiles: readonly TileAt[], numbers: readonly { x: number; y: number }[]): void {
    const keys = new Map<string, () => Promise<void>>();
    for (const { x, y } of numbers) {
      if (!this.cells(x, y))
        keys.set(`n/${x}/${y}`, () => this.load(`n/${x}/${y}`, (s) => this.source.cells(this.request, x, y, s), this.numbers));
    }
    for (const { z, x, y, columnZ } of tiles) {
      const key = `${z}/${columnZ}/${x}/${y}`;
      if (!this.tiles.has(key)) keys.set(key, () => this.load(key, (s) => this.source.tile(this.request, z, x, y, s, columnZ), this.tiles));
    }
    for (const [key, abort] of this.requested) {
      if (keys.has(key)) continue;
      abort.abort();
      this.requested.delete(key);
    }
    for (const [key, start] of keys) if (!this.requested.has(key) && this.requested.size < kMaxRequests) void start();
  }

  private async load<T>(key: string, fetchItem: (signal: AbortSignal) => Promise<T>, into: Map<string, T>): Promise<void> {
    const abort = new AbortController();
    this.requested.set(key, abort);
    try {
      into.set(key, await fetchItem(abort.signal));
      this.failure = null; // a later answer shows that the source answers again
      const oldest = into.keys().next().value;
      if (into.size > kTiles && oldest !== undefined) into.delete(oldest);
    } catch (error) {
      if (!isAbort(error)) this.failure = error instanceof Error ? error : new Error(String(error));
    } finally {
      if (this.requested.get(key) === abort) this.requested.delete(key);
    }
    this.changed();
  }

  private onFailure(error: unknown): void {
    this.streaming = false;
    if (error && !isAbort(error)) this.failure = error instanceof Error ? error : new Error(String(error));
    this.changed();
  }
}
