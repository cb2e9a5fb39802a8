// A trace of an offline page that computes: the page contains the engine as WebAssembly (wasm/) and the model. A worker runs the engine, and is
// the host of requests (host.ts), so that it answers everything that a server would.

import type { OfflineTrace } from './offlineTrace';
import { Host } from './host';
import { LiveSource } from './live';
import {
  type Alignment,
  type CompareRequest,
  type CompareTarget,
  type HeadRanking,
  type Info,
  type MapComparison,
  type Source,
  SourceError,
} from './source';

/** The field `computes` of a trace's manifest. Numbers are blobs of the page. */
export interface Computes {
  wasm: number;
  files: { path: string; blob: number }[];
  open: object; // for clearhead_open
}

interface Opening {
  wasm: ArrayBuffer;
  files: { path: string; bytes: ArrayBuffer }[];
  open: object;
}

interface Failed {
  failed: string; // why the page's data cannot be read
}

interface AskedOf {
  request: { number: number; method: string; path: string; query: string; body: string };
}

const kBeginning = 80; // characters of a text, in a list of traces

/** Answers by the engine; other traces of the page, which the engine does not have, are compared by `others`. */
export class ComputingSource extends LiveSource {
  private replacedBy: string | null = null; // the beginning of another text that was run

  constructor(
    host: Host,
    private readonly of: Info,
    private readonly others: Source,
    readonly stop: () => void,
  ) {
    super('./', host.transport);
  }

  override async info(): Promise<Info> {
    const info = await super.info();
    const { step, traces, checkpoints } = this.of;
    this.step = step;
    const begins = this.replacedBy;
    const shown = begins === null ? traces : traces.map((one) => (one.number === step ? { ...one, begins } : one));
    return { ...info, step, traces: shown, checkpoints };
  }

  /** Cannot be stopped once it has begun, so it is not given up when its dialog is closed: the page then shows the text when it is read. */
  override async run(text: string, pair: string | null, onProgress: (done: number, what: string) => void): Promise<string> {
    const state = await super.run(text, pair, onProgress, new AbortController().signal);
    this.replacedBy = text.slice(0, kBeginning).replace(/\s/g, ' ');
    return state;
  }

  private isOther({ step }: CompareTarget): boolean {
    const isOther = step !== null && step !== this.of.step;
    if (isOther && this.replacedBy !== null)
      throw new SourceError('kUnsupported', 'The other traces of this page can be compared only with the text that it was written with.');
    return isOther;
  }

  override compareSource(target: CompareTarget): Source {
    return this.isOther(target) ? this.others.compareSource(target) : super.compareSource(target);
  }

  override async alignment(target: CompareTarget): Promise<Alignment> {
    return this.isOther(target) ? this.others.alignment(target) : super.alignment(target);
  }

  override async compare(request: CompareRequest, onComparison: (found: MapComparison) => void, signal: AbortSignal): Promise<void> {
    return this.isOther(request.target) ? this.others.compare(request, onComparison, signal) : super.compare(request, onComparison, signal);
  }

  override async compareHeads(request: CompareRequest, onRanking: (found: HeadRanking) => void, signal: AbortSignal): Promise<void> {
    return this.isOther(request.target)
      ? this.others.compareHeads(request, onRanking, signal)
      : super.compareHeads(request, onRanking, signal);
  }
}

/** The source that computes a trace; null if the page has no engine or not the trace's model. */
export function computingSource(trace: OfflineTrace, page: Document, others: Source): ComputingSource | null {
  const { computes } = trace.manifest;
  if (!computes) return null;
  const scripts = ['clearhead-engine-script', 'clearhead-app'].map((id) => page.getElementById(id)?.textContent ?? '');
  const address = URL.createObjectURL(new Blob(scripts, { type: 'text/javascript' }));
  const worker = new Worker(address);
  const host = new Host(
    (message) => worker.postMessage(message),
    () => undefined,
  );
  worker.onmessage = ({ data }: MessageEvent<Parameters<Host['receive']>[0]>) => host.receive(data);
  const { wasm, files, open } = computes;
  void Promise.all([wasm, ...files.map(({ blob }) => blob)].map((blob) => trace.bytes(blob)))
    .then(([first, ...rest]) => {
      const opening: Opening = { wasm: first, files: files.map(({ path }, at) => ({ path, bytes: rest[at] })), open };
      worker.postMessage(opening, [first, ...rest]);
    })
    .catch((error: unknown) => worker.postMessage({ failed: String(error) } satisfies Failed))
    .finally(() => URL.revokeObjectURL(address));
  return new ComputingSource(host, trace.info, others, () => worker.terminate());
}

// The part of Emscripten's module that is used here. Strings are addresses of bytes that end in 0.
interface Module {
  FS: { mkdirTree(path: string): void; writeFile(path: string, bytes: Uint8Array, options: { canOwn: boolean }): void };
  HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(address: number): void;
  _clearhead_open(json: number): void;
  _clearhead_respond(method: number, path: number, query: number, body: number): void;
}

/** Calls a function with strings on the heap: ccall() would put them on the stack, which a long text overflows. */
function withStrings(module: Module, strings: string[], call: (...addresses: number[]) => void): void {
  const addresses = strings.map((string) => {
    const bytes = new TextEncoder().encode(`${string}\0`);
    const address = module._malloc(bytes.length);
    module.HEAPU8.set(bytes, address);
    return address;
  });
  try {
    call(...addresses);
  } finally {
    addresses.forEach((address) => module._free(address));
  }
}
declare const clearheadEngine: ((options: object) => Promise<Module>) | undefined;

export const isEngine = (): boolean => typeof clearheadEngine === 'function';

/** The worker: opens what a message contains, and answers requests in order, also those that arrive before it is open. */
export function serveEngine(): void {
  let current = 0; // number of the request that is being answered; 0: opening
  let refused: { status: number; bytes: Uint8Array } | null = null; // the answer to every request, if opening failed
  const send = (part: 'chunk' | 'end', bytes: Uint8Array, more: object = {}): void => {
    const answer = { number: current, part, bytes: bytes.buffer, ...more };
    (self as unknown as { postMessage(message: object, transfer: Transferable[]): void }).postMessage({ answer }, [bytes.buffer]);
  };
  const onChunk = (bytes: Uint8Array): void => send('chunk', bytes);
  const onEnd = (status: number, _type: string, name: string, bytes: Uint8Array): void => {
    if (current > 0) send('end', bytes, { status, ...(name ? { name } : {}) });
    else if (status !== 200) refused = { status, bytes };
  };
  let open: (message: Opening | Failed) => void = () => undefined;
  const opened = new Promise<Opening | Failed>((done) => (open = done)).then(async (message) => {
    if ('failed' in message) throw new Error(message.failed);
    const { wasm, files, open: asked } = message;
    const module = await clearheadEngine?.({ wasmBinary: wasm, onChunk, onEnd });
    if (!module) throw new Error('the page has no engine');
    for (const { path, bytes } of files) {
      module.FS.mkdirTree(path.slice(0, path.lastIndexOf('/')) || '/');
      module.FS.writeFile(path, new Uint8Array(bytes), { canOwn: true });
    }
    withStrings(module, [JSON.stringify(asked)], (json) => module._clearhead_open(json));
    return module;
  });
  const answer = async ({ request: { number, method, path, query, body } }: AskedOf): Promise<void> => {
    try {
      const module = await opened;
      current = number;
      if (refused) send('end', refused.bytes.slice(), { status: refused.status });
      else withStrings(module, [method, path, query, body], (...all) => module._clearhead_respond(all[0], all[1], all[2], all[3]));
    } catch (error) {
      current = number; // the engine could not be compiled, or stopped: memory is exhausted
      const message = `the engine in this page stopped: ${String(error)}`;
      send('end', new TextEncoder().encode(JSON.stringify({ error: { code: 'kIo', message } })), { status: 500 });
    }
  };
  self.onmessage = ({ data }: MessageEvent<Opening | Failed | AskedOf>): void => {
    if ('request' in data) void answer(data);
    else open(data);
  };
}
