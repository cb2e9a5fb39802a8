// The page in a frame without a URL (srcdoc), as trace.view() embeds it in the output of a notebook cell.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { useBrowser } from './harness.mjs';
import { galleryOf, pageOf, planted, plantedProse, skip, traceOf } from './traces.mjs';

const { open } = useBrowser();
const look = (en, zh) => ({ en, zh });
const pages = {};
const escaped = (text) => text.replace(/&/g, '&amp;').replace(/"/g, '&quot;').replace(/</g, '&lt;');
let server;
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
  server = createServer((request, response) => {
    const page = pages[request.url];
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(page ? `<!doctype html><div><iframe srcdoc="${escaped(page)}" width="100%" height="700"></iframe></div>` : '');
  });
  await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
});
after(() => server?.close());

/** A page with a notebook cell, and the frame in it. */
async function cell(path) {
  const notebook = await open(`http://127.0.0.1:${server.address().port}${path}`);
  const frame = notebook.frames().find((one) => one.url() === 'about:srcdoc');
  return { notebook, frame };
}

async function shows(frame, test, argument) {
  for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((go) => setTimeout(go, 50)))
    if (await frame.evaluate(test, argument)) return;
  throw new Error(`not within 20 s: ${test}`);
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
