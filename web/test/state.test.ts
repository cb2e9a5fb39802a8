import { describe, expect, it, vi } from 'vitest';
import { type Context, commandOf } from '../src/context';
import { head } from '../src/format';
import { Store, formatState, kInitial, parseHeads, parseSpans, parseState } from '../src/state';

describe('the URL', () => {
  const full = 'v=map&f=dec&h=5.3,8.11&q=1204&k=300-340&d=in&w=value&s=log&sink=renorm&word=0&x=0,10,4096,4106&lang=zh&id=9f2c';
  it('survives the round trip through parse and format', () => {
    expect(formatState(parseState(`#${full}`))).toBe(full);
  });
  it('keeps keys of later versions, in order and escaped', () => {
    expect(formatState(parseState('#v=read&t=17&note=a%26b'))).toBe('v=read&t=17&note=a%26b');
  });
  it('has units of segments only, and keeps others of later versions', () => {
    expect(formatState(parseState('#v=why&methods=flow&units=segment&edit=c~2-4'))).toBe('v=why&methods=flow&units=segment&edit=c~2-4');
    expect(parseState('#v=why&units=line')).toEqual({ ...kInitial, view: 'why', unknown: [['units', 'line']] });
  });
  it('falls back to the default for invalid values', () => {
    const state = parseState('#v=fly&h=x,5,1.2&q=9-3,7,a&s=cube&x=5,5,1,1&sink=');
    expect(state).toEqual({ ...kInitial, heads: [{ layer: 1, head: 2 }], q: [{ begin: 7, end: 8 }] });
  });
  it('takes at most six different heads', () => {
    expect(parseHeads('0.1,0.1,0.2,0.3,0.4,0.5,0.6,0.7')).toHaveLength(6);
  });
  it('names means over heads and layers', () => {
    const heads = parseHeads('5.mean,mean.3,mean.mean,mean,5.x');
    expect(heads.map(head)).toEqual(['L5.mean', 'mean.H3', 'mean']);
    expect(formatState({ ...kInitial, heads })).toBe('v=read&h=5.mean,mean.3,mean.mean');
  });
  it('reads ranges as [begin, end)', () => {
    expect(parseSpans('1204,1210-1220')).toEqual([
      { begin: 1204, end: 1205 },
      { begin: 1210, end: 1220 },
    ]);
  });
});

describe('the store', () => {
  it('replaces the URL on continuous changes and pushes on pins', () => {
    vi.useFakeTimers();
    const history = { pushState: vi.fn(), replaceState: vi.fn() };
    const store = new Store(kInitial, history);
    for (let q = 0; q < 20; q++) store.set({ q: [{ begin: q, end: q + 1 }] });
    vi.runAllTimers();
    expect(history.replaceState).toHaveBeenCalledTimes(1);
    expect(history.replaceState).toHaveBeenCalledWith(null, '', '#v=read&q=19');
    store.set({ view: 'map' }, 'push');
    expect(history.pushState).toHaveBeenCalledWith(null, '', '#v=map&q=19');
    store.set({ view: 'map' }, 'push');
    expect(history.pushState).toHaveBeenCalledTimes(1);
    vi.useRealTimers();
  });
  it('passes the previous state to listeners', () => {
    const store = new Store(kInitial, null);
    const heard: string[] = [];
    store.listen((now, before) => heard.push(`${before.scale}→${now.scale}`));
    store.set({ scale: 'log' });
    expect(heard).toEqual(['sqrt→log']);
  });
});

describe('the command that reproduces a state', () => {
  const of = (command: string): string => commandOf({ info: { command }, store: { now: parseState('v=map&h=5.3') } } as unknown as Context);
  it('is the view command with the state', () => {
    expect(of('clearhead view models/book --file TEXT')).toBe("clearhead view models/book --file TEXT --state 'v=map&h=5.3'");
  });
  it('views the trace file that another command writes', () => {
    expect(of('clearhead run translate models/en-fr --trace FILE')).toBe(
      "clearhead run translate models/en-fr --trace FILE && clearhead view FILE --state 'v=map&h=5.3'",
    );
  });
  it('adds no option to a command that does not accept it', () => {
    expect(of('make demo')).toBe('make demo');
  });
});
