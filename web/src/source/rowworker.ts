// The page's side of the worker. The worker is started from the page's own script (nothing is fetched); if a browser refuses workers in
// local files, rows are computed on this thread.

import { type Frame, halfToFloat, need } from './frame';
import { type HeadQk, type QkSpec, rowOf } from './qk';
import type { FromWorker, ToWorker } from './worker';

export class RowWorker {
  private readonly worker: Worker | null;
  private readonly opened = new Map<string, HeadQk | null>();
  private readonly waiting = new Map<number, (values: Float32Array) => void>();
  private asked = 0;

  constructor(page: Document) {
    this.worker = start(page);
    if (this.worker) {
      this.worker.onmessage = (event: MessageEvent<FromWorker>) => {
        this.waiting.get(event.data.ask)?.(event.data.values);
        this.waiting.delete(event.data.ask);
      };
    }
  }

  row(name: string, frame: Frame<{ spec: QkSpec }>, at: number, d: number, keys: number): Promise<Float32Array> {
    if (!this.opened.has(name)) this.open(name, frame, d, keys);
    const here = this.opened.get(name);
    if (!this.worker) return here ? Promise.resolve(rowOf(here, at)) : Promise.reject(new Error(`offline page: ${name} is not open`));
    const ask = ++this.asked;
    return new Promise((resolve) => {
      this.waiting.set(ask, resolve);
      this.send({ kind: 'row', name, at, ask });
    });
  }

  private open(name: string, frame: Frame<{ spec: QkSpec }>, d: number, keys: number): void {
    const optional = (array: string): Uint32Array | null =>
      frame.arrays[array] instanceof Uint32Array ? (frame.arrays[array] as Uint32Array) : null;
    const q = need(frame, 'q', Uint16Array);
    const k = need(frame, 'k', Uint16Array);
    const rest = {
      spec: frame.header.spec,
      d,
      keys,
      rows: need(frame, 'rows', Uint32Array),
      shift: need(frame, 'shift', Float32Array),
      norm: need(frame, 'scale', Float32Array),
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
