// The page in a frame of a notebook: its host (python/clearhead/widget.js) answers requests, and knows and sets the page's state. The messages
// are described in docs/viewer-api.md, "A page in a frame".

/** What `fetch` does, for the requests of a live source. */
export type Transport = (address: string, init: RequestInit) => Promise<Response>;

interface Answer {
  number: number;
  part: 'chunk' | 'end';
  bytes: ArrayBuffer;
  status?: number; // of the end
  name?: string; // of a file
}

interface Request {
  address: string;
  init: RequestInit;
  resolve(response: Response): void;
  reject(error: unknown): void;
  body: ReadableStreamDefaultController<Uint8Array> | null; // of a response that has begun
}

const kLast = ['atlas']; // paths of requests that take long and wait until no other request waits

/** Sends one request at a time, because its host answers in order; a request that is aborted while it waits is never sent. */
export class Host {
  private readonly waiting: Request[] = [];
  private current: (Request & { number: number }) | null = null;
  private sent = 0;
  private known: string | null = null; // the state of the page, as far as the host knows

  constructor(
    private readonly post: (message: unknown) => void,
    private readonly onState: (state: string) => void,
  ) {}

  /** The host of a page in a frame; null for any other page. */
  static find(page: Document, onState: (state: string) => void): Host | null {
    if (!page.querySelector('meta[name=clearhead-framed]')) return null;
    const host = new Host((message) => parent.postMessage({ clearhead: message }, '*'), onState);
    addEventListener('message', ({ source, data }: MessageEvent<{ clearhead?: { state?: string; answer?: Answer } } | null>) => {
      if (source === parent && data?.clearhead) host.receive(data.clearhead);
    });
    return host;
  }

  /** Tells the host the state of the page. */
  tell(state: string): void {
    if (state === this.known) return; // from the host itself; if it returned, two pages of one host could exchange states forever
    this.known = state;
    this.post({ state });
  }

  readonly transport: Transport = (address, init) =>
    new Promise((resolve, reject) => {
      const request: Request = { address, init, resolve, reject, body: null };
      const abort = (): void => {
        const at = this.waiting.indexOf(request);
        if (at >= 0) this.waiting.splice(at, 1);
        const error = new DOMException('aborted', 'AbortError');
        request.body?.error(error);
        reject(error);
      };
      if (init.signal?.aborted) return abort();
      init.signal?.addEventListener('abort', abort);
      this.waiting.push(request);
      setTimeout(() => this.next()); // after the other requests of this moment
    });

  receive({ state, answer }: { state?: string; answer?: Answer }): void {
    if (state !== undefined) this.onState((this.known = state));
    const request = this.current;
    if (!answer || !request || answer.number !== request.number) return;
    const isOpen = !request.init.signal?.aborted;
    const isEnd = answer.part === 'end';
    if (isEnd) {
      this.current = null;
      setTimeout(() => this.next());
    }
    if (isOpen && isEnd && !request.body) request.resolve(responseOf(answer));
    else if (isOpen) this.passOn(request, answer);
  }

  /** Adds the bytes of an answer to the body of a response, which begins with the first of them. */
  private passOn(request: Request, { part, bytes, status = 200 }: Answer): void {
    if (!request.body) request.resolve(new Response(new ReadableStream<Uint8Array>({ start: (body) => void (request.body = body) })));
    if (bytes.byteLength > 0) request.body?.enqueue(new Uint8Array(bytes));
    if (part !== 'end') return;
    if (status === 200) request.body?.close();
    else request.body?.error(new Error('the host stopped before it was done'));
  }

  private next(): void {
    if (this.current) return;
    const first = this.waiting.findIndex(({ address }) => !kLast.includes(pathOf(address)));
    const [request] = this.waiting.splice(Math.max(0, first), 1);
    if (!request) return;
    this.sent += 1;
    this.current = Object.assign(request, { number: this.sent });
    const query = request.address.split('?')[1] ?? '';
    const { method = 'GET', body = '' } = request.init;
    this.post({ request: { number: this.sent, method, path: pathOf(request.address), query, body } });
  }
}

const pathOf = (address: string): string => address.replace(/^\.\/api\//, '').split('?')[0];

function responseOf({ status = 200, bytes, name }: Answer): Response {
  return new Response(bytes, { status, headers: name ? { 'Content-Disposition': `attachment; filename="${name}"` } : {} });
}
