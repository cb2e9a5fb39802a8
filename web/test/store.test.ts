import { describe, expect, it } from 'vitest';
import type { Cells, MapRequest, Source } from '../src/source/source';
import { MapStore } from '../src/views/map/store';

const cells: Cells = { badge: 'exact', error: 0, queryBegin: 0, keyBegin: 0, rows: 1, columns: 1, values: Float32Array.of(1) };
const settled = (): Promise<void> => new Promise((done) => setTimeout(done));

describe('the pictures of a map', () => {
  it('clear a failure once the source answers again', async () => {
    let fails = true;
    const answer = (): Promise<Cells> => (fails ? Promise.reject(new Error('offline')) : Promise.resolve(cells));
    const store = new MapStore({ cells: answer } as unknown as Source, {} as MapRequest, '', () => {});
    store.requestMissing([], [{ x: 0, y: 0 }]);
    await settled();
    expect(store.failure?.message).toBe('offline');
    fails = false;
    store.requestMissing([], [{ x: 0, y: 0 }]);
    await settled();
    expect(store.cells(0, 0)).toBe(cells);
    expect(store.failure).toBeNull();
  });
});
