// The page in a frame without a URL (srcdoc), in the output of a notebook cell: with its data, as trace.view() embeds it, and with a host that
// answers its requests, as trace.widget() does.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { assertPrinted, eventually, useBrowser } from './harness.mjs';
import { get } from './program.mjs';
import { galleryOf, pageOf, planted, plantedProse, serve, skip, traceOf } from './traces.mjs';

const { open } = useBrowser();
const look = (en, zh) => ({ en, zh });
const pages = {};
const escaped = (text) => text.replace(/&/g, '&amp;').replace(/"/g, '&quot;').replace(/</g, '&lt;');
let server;
let viewer; // answers the requests of the widget
before(async () => {
  if (skip) return;
  const [prose, cats, one] = [
    plantedProse(40, { layers: 2, heads: 3, causal: true }),
    planted('A cat saw a cat on the mat.', { name: 'cats' }),
    planted('One two one two.', { name: 'one', layers: 1, heads: 1 }),
  ].map((plan) => traceOf(plan));
  const states = ['v=lines&h=0.1&q=4', 'v=read&h=0.0&q=2'];
  pages['/one'] = readFileSync(pageOf(prose, '--state', 'v=read&h=1.2&q=20'), 'utf8');
  pages['/two'] = readFileSync(galleryOf([cats, one], states, [look('Cats.', '猫。'), look('Two.', '二。')]), 'utf8');
  viewer = await serve(prose);
  pages['/page'] = pages['/one'].replace(
    /<script type="application\/json"[^]*?(?=<script id="clearhead-app">)/,
    '<meta name="clearhead-framed">',
  );
  server = createServer((request, response) => {
    const { pathname, search } = new URL(request.url, 'http://any');
    if (pathname.startsWith('/api/')) return void answer(response, pathname.slice(5) + search);
    response.setHeader('Content-Type', `${pathname === '/widget.js' ? 'text/javascript' : 'text/html'}; charset=utf-8`);
    if (pathname === '/widget') return response.end(notebookWithWidget);
    if (pathname === '/widget.js') return response.end(readFileSync(new URL('../../python/clearhead/widget.js', import.meta.url)));
    if (pathname === '/page') return response.end(pages[pathname]);
    const page = pages[pathname];
    response.end(page ? `<!doctype html><div><iframe srcdoc="${escaped(page)}" width="100%" height="700"></iframe></div>` : '');
  });
  await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
});
after(() => server?.close());

async function answer(response, path) {
  const found = await get(viewer, path);
  response.writeHead(found.status);
  response.end(Buffer.from(await found.arrayBuffer()));
}

// A notebook's page with a widget's model, as anywidget passes it to widget.js. Answers arrive in two parts, the second of which ends them.
const notebookWithWidget = `<!doctype html><div id="cell"></div><script type="module">
import widget from '/widget.js';
const values = { state: 'v=read&q=20', height: 640, _page: await (await fetch('/page')).text() };
const handlers = new Map();
const call = (event, ...details) => handlers.get(event)?.forEach((handle) => handle(...details));
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const model = {
  get: (name) => values[name],
  set: (name, value) => {
    const changes = values[name] !== value;
    values[name] = value;
    if (changes) call('change:' + name);
  },
  save_changes() { window.saved = values.state; window.saves = (window.saves ?? 0) + 1; },
  on: (event, handle) => handlers.set(event, [...(handlers.get(event) ?? []), handle]),
  off: (event, handle) => handlers.set(event, handlers.get(event).filter((one) => one !== handle)),
  async send({ number, path, query }) {
    const response = await fetch('/api/' + path + '?' + query);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const half = response.ok ? bytes.length >> 1 : 0;
    if (half) call('msg:custom', { number, part: 'chunk' }, [view(bytes.subarray(0, half))]);
    call('msg:custom', { number, part: 'end', status: response.status, name: '' }, [view(bytes.subarray(half))]);
  },
};
window.model = model;
window.close = widget.render({ model, el: document.getElementById('cell') });
window.handlers = handlers;
</script>`;

/** A page with a notebook cell, and the frame in it. */
async function cell(path) {
  const notebook = await open(`http://127.0.0.1:${server.address().port}${path}`);
  const frame = notebook.frames().find((one) => one.url() === 'about:srcdoc');
  return { notebook, frame };
}

async function widget() {
  const notebook = await open(`http://127.0.0.1:${server.address().port}/widget`);
  const element = await notebook.waitForSelector('iframe');
  return { notebook, frame: await element.contentFrame() };
}

async function shows(frame, test, argument) {
  await eventually(() => frame.evaluate(test, argument), `${test}, ${JSON.stringify(argument)}`);
}

test('a page in a cell opens at its state, and a word, a head and a view are chosen by click', { skip }, async () => {
  const { notebook, frame } = await cell('/one');
  const at = (view, head) =>
    shows(
      frame,
      ([wanted, name]) =>
        document.querySelector('#app')?.dataset.view === wanted && document.querySelector('#app').innerText.includes(name),
      [view, head],
    );
  await at('read', 'L1.H2');
  await shows(frame, () => document.querySelector('.box.query')?.dataset.box === '20');
  await frame.click('[data-box="12"]');
  await shows(frame, () => document.querySelector('.box.query')?.dataset.box === '12');
  await frame.click('input[value=map]');
  await at('map', 'L1.H2');
  assert.equal(notebook.frames().length, 2);
});

test('of several traces in a cell the one that is clicked opens in the cell', { skip }, async () => {
  const { frame } = await cell('/two');
  await shows(frame, () => document.querySelectorAll('[data-testid=gallery] .card').length === 2);
  await frame.click('.card >> nth=1');
  await shows(frame, () => document.querySelector('#app')?.dataset.view === 'read');
  assert.equal(frame.url(), 'about:srcdoc');
});

test('a widget shows exact weights, tells Python the selection, and shows what Python selects', { skip }, async () => {
  const { notebook, frame } = await widget();
  await shows(
    frame,
    () => document.querySelector('.box.query')?.dataset.box === '20' && document.querySelector('[data-testid=answers] button'),
  );
  const printed = () =>
    frame.$$eval('[data-testid=answers] button', (all) => all.map((b) => [b.dataset.token, b.querySelector('.answer-weight').textContent]));
  const check = async (head, query) => {
    await eventually(async () => (await printed()).length > 0, 'answers');
    const row = await viewer.row(head, query);
    for (const [token, text] of await printed()) assertPrinted(text, row[token]);
  };
  await check([1, 0], 20);
  const saves = await notebook.evaluate(() => window.saves);
  await notebook.waitForTimeout(500);
  assert.equal(await notebook.evaluate(() => window.saves), saves, 'a page at rest tells no state');
  await frame.click('[data-box="12"]');
  await notebook.waitForFunction(() => /(^|&)q=12(&|$)/.test(window.saved));
  await notebook.mouse.move(1, 1); // a word under the pointer is previewed
  await notebook.evaluate(() => window.model.set('state', 'v=read&h=0.1&q=30'));
  await shows(
    frame,
    () => document.querySelector('.box.query')?.dataset.box === '30' && document.querySelector('#app').innerText.includes('L0.H1'),
  );
  await check([0, 1], 30);
  await frame.click('input[value=map]');
  await notebook.waitForFunction(() => /^v=map&h=0.1&q=30(&|$)/.test(window.saved));
  assert.equal(notebook.frames().length, 2);
  await notebook.evaluate(() => window.close());
  assert.deepEqual(await notebook.evaluate(() => [...window.handlers.values()].flat().length), 0);
});
