import { describe, expect, it } from 'vitest';
import { Host } from '../src/source/host';

interface Sent {
  request?: { number: number; method: string; path: string; query: string; body: string };
  state?: string;
}

function hosted(): { host: Host; sent: Sent[]; states: string[] } {
  const sent: Sent[] = [];
  const states: string[] = [];
  return {
    host: new Host(
      (message) => sent.push(message as Sent),
      (state) => states.push(state),
    ),
    sent,
    states,
  };
}

const bytes = (text: string): ArrayBuffer => new TextEncoder().encode(text).buffer as ArrayBuffer;
const aborted = (): [AbortController, Promise<unknown>, (p: Promise<Response>) => void] => {
  const abort = new AbortController();
  let take: (p: unknown) => void = () => undefined;
  const failed = new Promise((done) => (take = done));
  return [abort, failed, (p) => void p.catch((error: unknown) => take(error))];
};

/** Requests are sent after the current task. */
const soon = (): Promise<void> => new Promise((done) => setTimeout(done));
const end = (number: number, status = 200, text = ''): Parameters<Host['receive']>[0] => ({
  answer: { number, part: 'end', status, bytes: bytes(text) },
});

describe('a page in a frame', () => {
  it('sends its requests and reads complete answers', async () => {
    const { host, sent } = hosted();
    const answer = host.transport('./api/row?f=enc&q=3', {});
    await soon();
    expect(sent[0].request).toEqual({ number: 1, method: 'GET', path: 'row', query: 'f=enc&q=3', body: '' });
    host.receive({ answer: { number: 1, part: 'end', status: 404, name: 'a.npy', bytes: bytes('none') } });
    const response = await answer;
    expect([response.status, await response.text()]).toEqual([404, 'none']);
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="a.npy"');
  });
  it('reads a stream while it arrives', async () => {
    const { host } = hosted();
    const answer = host.transport('./api/atlas', {});
    await soon();
    host.receive({ answer: { number: 1, part: 'chunk', bytes: bytes('ab') } });
    const reader = (await answer).body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('ab');
    host.receive({ answer: { number: 1, part: 'chunk', bytes: bytes('c') } });
    host.receive({ answer: { number: 1, part: 'end', status: 200, bytes: bytes('d') } });
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('c');
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('d');
    expect((await reader.read()).done).toBe(true);
  });
  it('sends one request at a time, and none that was aborted before', async () => {
    const { host, sent } = hosted();
    void host.transport('./api/info', {});
    const [abort, failed, watch] = aborted();
    watch(host.transport('./api/row?q=1', { signal: abort.signal }));
    void host.transport('./api/row?q=2', { method: 'POST', body: '{}' });
    await soon();
    expect(sent.length).toBe(1);
    abort.abort();
    expect(((await failed) as DOMException).name).toBe('AbortError');
    host.receive(end(1, 200, '{}'));
    await soon();
    expect(sent.map(({ request }) => request!.query)).toEqual(['', 'q=2']);
    expect(sent[1].request).toMatchObject({ method: 'POST', body: '{}' });
  });
  it('drops the rest of an answer that is no longer wanted, and goes on', async () => {
    const { host, sent } = hosted();
    const [abort, failed, watch] = aborted();
    watch(host.transport('./api/overview', { signal: abort.signal }));
    void host.transport('./api/info', {});
    await soon();
    abort.abort();
    await failed;
    host.receive({ answer: { number: 1, part: 'chunk', bytes: bytes('a') } });
    expect(sent.length).toBe(1);
    host.receive(end(1));
    await soon();
    expect(sent.length).toBe(2);
  });
  it('reports a stream that ends with an error', async () => {
    const { host } = hosted();
    const answer = host.transport('./api/overview', {});
    await soon();
    host.receive({ answer: { number: 1, part: 'chunk', bytes: bytes('ab') } });
    const reader = (await answer).body!.getReader();
    await reader.read();
    host.receive(end(1, 503));
    await expect(reader.read()).rejects.toThrow('stopped');
  });
  it('sends an atlas after the other requests that wait', async () => {
    const { host, sent } = hosted();
    for (const path of ['atlas', 'stats', 'row?q=1']) void host.transport(`./api/${path}`, {});
    for (let number = 1; number <= 3; number++) {
      await soon();
      host.receive(end(number));
    }
    expect(sent.map(({ request }) => request!.path)).toEqual(['stats', 'row', 'atlas']);
  });
  it('takes over a state, and does not return it', () => {
    const { host, sent, states } = hosted();
    host.receive({ state: 'v=map' });
    expect(states).toEqual(['v=map']);
    host.tell('v=map');
    expect(sent).toEqual([]);
    host.tell('v=map&q=3');
    expect(sent).toEqual([{ state: 'v=map&q=3' }]);
  });
});
