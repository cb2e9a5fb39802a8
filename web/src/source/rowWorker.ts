// The page's side of the worker. The worker is started from the page's own script (nothing is fetched); if a browser refuses workers in
// local files, rows are computed on this thread.

import { type Frame, halfToFloat, requireArray } from './frame';
import { type HeadQk, type QkSpec, computeRow } from './qk';
import type { FromWorker, ToWorker } from './worker';

export class RowWorker {
  private readonly worker: Worker | null;
  private readonly opened = new Map<string, HeadQk | null>();
  private readonly pending = new Map<number, (values: Float32Array) => void>();
  private lastRequestId = 0;

  constructor(page: Document) {
    this.worker = start(page);
    if (this.worker) {
      this.worker.onmessage = (event: MessageEvent<FromWorker>) => {
        this.pending.get(event.data.requestId)?.(event.data.values);
        this.pending.delete(event.data.requestId);
      };
    }
  }

  row(name: string, frame: Frame<{ spec: QkSpec }>, at: number, d: number, keys: number): Promise<Float32Array> {
    if (!this.opened.has(name)) this.open(name, frame, d, keys);
    const head = this.opened.get(name);
    if (!this.worker) return head ? Promise.resolve(computeRow(head, at)) : Promise.reject(new Error(`offline page: ${name} is not open`));
    const requestId = ++this.lastRequestId;
    return new Promise((resolve) => {
      this.pending.set(requestId, resolve);
      this.send({ kind: 'row', name, at, requestId });
    });
  }

  private open(name: string, frame: Frame<{ spec: QkSpec }>, d: number, keys: number): void {
    const optional = (array: string): Uint32Array | null =>
      frame.arrays[array] instanceof Uint32Array ? (frame.arrays[array] as Uint32Array) : null;
    const q = requireArray(frame, 'q', Uint16Array);
    const k = requireArray(frame, 'k', Uint16Array);
    const rest = {
      spec: frame.header.spec,
      d,
      keys,
      rows: requireArray(frame, 'rows', Uint32Array),
      shift: requireArray(frame, 'shift', Float32Array),
      norm: requireArray(frame, 'scale', Float32Array),
      segmentsQ: optional('segments_q'),
      segmentsK: optional('segments_k'),
    };
    if (this.worker) this.send({ kind: 'open', name, head: { ...rest, q, k } });
    this.opened.set(name, this.worker ? null : { ...rest, q: halfToFloat(q), k: halfToFloat(k) });
  }

  private send(message: ToWorker): void {
    this.worker?.postMessage(message);
  }
}

function start(page: Document): Worker | null {
  const script = page.getElementById('clearhead-app')?.textContent;
  if (!script) return null;
  try {
    return new Worker(URL.createObjectURL(new Blob([script], { type: 'text/javascript' })));
  } catch {
    return null;
  }
}
