// Recomputes rows from K and Q in half precision, off the page's thread. One message opens a head; each later message requests a row.

import { halfToFloat } from './frame';
import { type HeadQk, computeRow } from './qk';

export type ToWorker =
  | { kind: 'open'; name: string; head: Omit<HeadQk, 'q' | 'k'> & { q: Uint16Array; k: Uint16Array } }
  | { kind: 'row'; name: string; at: number; requestId: number };
export interface FromWorker {
  requestId: number;
  values: Float32Array;
}

export function serveRows(): void {
  const heads = new Map<string, HeadQk>();
  self.onmessage = (event: MessageEvent<ToWorker>): void => {
    const message = event.data;
    if (message.kind === 'open') {
      heads.set(message.name, { ...message.head, q: halfToFloat(message.head.q), k: halfToFloat(message.head.k) });
      return;
    }
    const head = heads.get(message.name);
    if (!head) return;
    const answer: FromWorker = { requestId: message.requestId, values: computeRow(head, message.at) };
    (self as unknown as { postMessage(m: FromWorker, transfer: Transferable[]): void }).postMessage(answer, [answer.values.buffer]);
  };
}
