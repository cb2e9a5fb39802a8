// A page that computes: it contains the model and the engine as WebAssembly. The engine answers as the program does, and the page reads other
// texts, explains and tries changes without a request to anywhere.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { deflateSync, inflateSync } from 'node:zlib';
import { binary, endAll, view } from './program.mjs';
import { answers, assertPrinted, eventually, explained, stateOf, useBrowser } from './harness.mjs';
import { manifestsOf, skip } from './traces.mjs';

const { open } = useBrowser();
const root = fileURLToPath(new URL('../../', import.meta.url));
const models = {
  pronouns: 'The animal didn’t cross the street because it was too tired.',
  'en-fr': 'The red car is in front of the house.',
  book: 'It was a dark and stormy night; the rain',
};
const pathOf = (name) => join(root, 'models', name);
const files = {};
let folder;

before(() => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), 'clearhead-computing-'));
  for (const [name, text] of Object.entries(models)) {
    files[name] = join(folder, `${name}.html`);
    execFileSync(binary, ['view', pathOf(name), text, '--html', files[name], '--with-model'], { stdio: 'ignore' });
  }
});
after(() => {
  endAll();
  if (folder) rmSync(folder, { recursive: true });
});

const blobOf = (html, number) => inflateSync(Buffer.from(new RegExp(`id="clearhead-blob-${number}">([^<]*)<`).exec(html)[1], 'base64'));

/** Runs the engine of a page in Node.js. The returned function answers as a server does, with the text of a whole stream. */
async function engineOf(path) {
  const html = readFileSync(path, 'utf8');
  const script = /id="clearhead-engine-script">(.*?)<\/script>/s.exec(html)[1];
  const module = join(folder, 'engine.cjs');
  writeFileSync(module, script);
  const { wasm, files: contained, open: opening } = manifestsOf(path)[0].computes;
  let parts = [];
  let end = null;
  const engine = await createRequire(import.meta.url)(module)({
    wasmBinary: blobOf(html, wasm),
    onChunk: (bytes) => parts.push(bytes),
    onEnd: (status, _type, _name, bytes) => (end = { status, bytes }),
  });
  for (const { path: name, blob } of contained) {
    engine.FS.mkdirTree(name.slice(0, name.lastIndexOf('/')) || '/');
    engine.FS.writeFile(name, blobOf(html, blob));
  }
  const answer = (name, values) => {
    parts = [];
    const addresses = values.map((value) => {
      const bytes = Buffer.from(`${value}\0`);
      const address = engine._malloc(bytes.length);
      engine.HEAPU8.set(bytes, address);
      return address;
    });
    engine[`_${name}`](...addresses);
    return { status: end.status, text: Buffer.concat([...parts, end.bytes]).toString() };
  };
  assert.equal(answer('clearhead_open', [JSON.stringify(opening)]).status, 200);
  return (method, asked, query = '', body = '') => answer('clearhead_respond', [method, asked, query, body]);
}

async function programOf(name, text) {
  const server = await view(pathOf(name), text);
  return async (method, asked, query = '', body = '') => {
    const init = method === 'POST' ? { method, body, headers: { 'Content-Type': 'application/json' } } : {};
    init.headers = { ...init.headers, Authorization: `Bearer ${server.token}` };
    const response = await fetch(`${server.base}api/${asked}${query ? `?${query}` : ''}`, init);
    return { status: response.status, text: await response.text() };
  };
}

/** What an answer says: JSON, lines of JSON, or the data of the last server-sent event. */
function contentOf(text) {
  const events = [...text.matchAll(/^event: (.*)\ndata: (.*)$/gm)];
  if (events.length > 0) return events.filter(([, name]) => name === 'done').map(([, , data]) => JSON.parse(data));
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

// Durations; the versions and commands; ids, which are made from rounded numbers; the kernels used.
const kOfARun = new Set(['seconds', 'clearhead', 'command', 'id', 'edited', 'notes', 'versions', 'missing', 'isa', 'cost', 'done']);

/** Asserts that two answers are equal but for rounding. */
function assertSame(found, wanted, where) {
  if (typeof wanted === 'number' && typeof found === 'number') {
    assert.ok(Math.abs(found - wanted) <= 2e-5 + 1e-4 * Math.abs(wanted), `${where}: ${found} is not ${wanted}`);
    return;
  }
  if (wanted === null || typeof wanted !== 'object') {
    assert.equal(found, wanted, where);
    return;
  }
  assert.deepEqual(Object.keys(found), Object.keys(wanted), where);
  for (const [name, value] of Object.entries(wanted)) if (!kOfARun.has(name)) assertSame(found[name], value, `${where}.${name}`);
}

const why = (methods, more = {}) => ['POST', 'why', '', JSON.stringify({ methods, ...more })];
const cut = (f) => ['POST', 'what-if', '', JSON.stringify({ knock_out: [{ layer: 0, head: 1, f }] })];
const run = (text) => ['POST', 'run', '', JSON.stringify({ text })];
const row = (f, q) => ['GET', 'row', `f=${f}&l=1&h=2&q=${q}&values=all&top=4&format=json`];
const kAsked = {
  pronouns: [
    ['GET', 'info'],
    ['GET', 'atlas', 'format=json'],
    row('enc', 8),
    why(['relevance', 'integrated-gradients'], { token: 8 }),
    cut('enc'),
  ],
  'en-fr': [
    ['GET', 'info'],
    ['GET', 'stats', 'f=cross&l=2&h=1&bins=16&format=json'],
    row('cross', 14),
    why(['attention', 'occlusion', 'output-weighted']),
    cut('cross'),
    run('A small dog runs on the beach.'),
    row('cross', 14),
    row('dec', 14),
  ],
  book: [
    row('dec', 4),
    why(['attention', 'gradient-input', 'relevance']),
    cut('dec'),
    run('It was the best of times, it was'),
    row('dec', 4),
  ],
};
for (const [name, asked] of Object.entries(kAsked)) {
  test(`the engine of a page answers as the program does: ${name}`, { skip }, async () => {
    const [engine, program] = [await engineOf(files[name]), await programOf(name, models[name])];
    for (const request of asked) {
      const wanted = await program(...request);
      const found = engine(...request);
      assert.equal(found.status, wanted.status, `${request.join(' ')}: ${found.text}`);
      assert.equal(wanted.status, 200, `${request.join(' ')}: ${wanted.text}`);
      assertSame(contentOf(found.text), contentOf(wanted.text), request.join(' '));
    }
    const [found, wanted] = [engine('GET', 'row', 'l=99&h=0&q=1'), await program('GET', 'row', 'l=99&h=0&q=1')];
    assert.deepEqual(found, wanted, 'a refusal');
    const pdf = engine('POST', 'pdf', '', '{"width": 100, "height": 100, "title": "", "description": "", "marks": []}');
    assert.match(pdf.text, /"kUnsupported","message":"PDF: /);
    assert.equal(engine('GET', 'info').status, 200, 'after a refusal');
  });
}

/** Opens a page from its file, and returns a check that it asked for nothing. */
async function openFile(path, hash = '') {
  const url = pathToFileURL(path).href;
  const page = await open(url + hash);
  return {
    page,
    quiet: () =>
      assert.deepEqual(
        page.requests.filter((asked) => !/^(data|blob):/.test(asked)),
        [url],
      ),
  };
}

/** Has the page read another text. */
async function read(page, text, word) {
  await page.click('[data-action=run]');
  await page.fill('[data-testid=run-text]', text);
  await page.click('.dialog button.primary');
  const shown = (wanted) => !document.querySelector('dialog[open]') && document.querySelector('.text-panel')?.textContent.includes(wanted);
  await page.waitForFunction(shown, word);
}

test('a page reads another text, with the weights of the program', { skip }, async () => {
  const { page, quiet } = await openFile(files['en-fr'], '#v=read&f=cross&h=1.0&q=14&word=0');
  await page.click('[data-action=run]');
  assert.equal(await page.inputValue('[data-testid=run-text]'), models['en-fr'], 'the source, without its translation');
  await page.click('.dialog button[aria-label=Close]');
  const text = 'A small dog runs on the beach.';
  await read(page, text, 'plage');
  const query = 16;
  await page.evaluate((q) => (location.hash = `v=read&f=cross&h=1.0&q=${q}&word=0`), query);
  await answers(page, query + 1); // the row is named by the token that it writes
  const program = await programOf('en-fr', text);
  const asked = ['GET', 'row', `f=cross&l=1&h=0&q=${query}&values=all&format=json`];
  const exact = JSON.parse((await program(...asked)).text).arrays.values.data;
  const lines = await page.$$eval('[data-testid=answers] button', (all) =>
    all.slice(0, 3).map((one) => [Number(one.dataset.token), one.querySelector('.answer-weight').textContent]),
  );
  assert.equal(lines.length, 3);
  for (const [token, weight] of lines) assertPrinted(weight, exact[token]);
  quiet();
});

test('a page explains an answer, and tries a change', { skip }, async () => {
  const { page, quiet } = await openFile(files.book, '#v=why');
  await explained(page, '[data-testid=why-trust]');
  const program = await programOf('book', models.book);
  const [{ probability }] = contentOf((await program(...why(['relevance']))).text);
  assert.ok((await page.textContent('[data-testid=why-answer]')).includes(`${(probability * 100).toFixed(2)}`), `${probability}`);
  await page.evaluate(() => (location.hash = 'v=what-if&h=1.2'));
  await page.click('[data-edit=head]');
  await page.waitForFunction(() => document.querySelector('[data-testid=if-answers] tbody tr') !== null);
  const [{ answers: wanted }] = contentOf(
    (await program('POST', 'what-if', '', '{"knock_out": [{"layer": 1, "head": 2, "f": "dec"}]}')).text,
  );
  const [, before, after] = await page.$$eval('[data-testid=if-answers] tbody tr:first-child > *', (all) =>
    all.map((one) => one.textContent),
  );
  assertPrinted(before, wanted[0].before);
  assertPrinted(after, wanted[0].after);
  quiet();
});

test('if the engine cannot start, the page shows its data and says why', { skip }, async () => {
  const path = join(folder, 'broken.html');
  const { wasm } = manifestsOf(files.pronouns)[0].computes;
  const element = new RegExp(`(id="clearhead-blob-${wasm}">)[^<]*`);
  writeFileSync(path, readFileSync(files.pronouns, 'utf8').replace(element, `$1${deflateSync(Buffer.from('no wasm')).toString('base64')}`));
  const { page } = await openFile(path, '#v=read&h=1.2&q=8&word=0');
  await eventually(async () => /the engine in this page stopped/.test(await page.textContent('.notices')), 'a notice');
  const program = await programOf('pronouns', models.pronouns);
  const exact = JSON.parse((await program('GET', 'row', 'l=1&h=2&q=8&values=all&format=json')).text).arrays.values.data;
  await page.waitForFunction(() => document.querySelector('[data-testid=answers] button') !== null);
  const [token, weight] = await page.$eval('[data-testid=answers] button', (one) => [
    Number(one.dataset.token),
    one.querySelector('.answer-weight').textContent,
  ]);
  assertPrinted(weight, exact[token]);
  page.errors.length = 0; // the browser also prints why
});

test('a long text is refused or read, and the page goes on', { skip }, async () => {
  const engine = await engineOf(files.pronouns);
  const refused = engine(...run('word '.repeat(600_000)));
  assert.match(refused.text, /kTooLong|kBudget/);
  assert.equal(engine('GET', 'info').status, 200);
});

test('in a gallery, a trace whose model is in the page computes, and what to look for belongs to its own text', { skip }, async () => {
  const made = join(folder, 'models');
  execFileSync('mkdir', ['-p', made]);
  for (const name of ['pronouns', 'stories']) execFileSync('cp', ['-r', pathOf(name), made]);
  execFileSync(binary, ['demo', '--examples-only', '--models', made, '--out', join(folder, 'demo')], { stdio: 'ignore' });
  const { page, quiet } = await openFile(join(folder, 'demo', 'index.html'), '#t=0&v=read');
  await page.waitForFunction(() => document.querySelector('[data-testid=look-for]') !== null);
  await read(page, 'The dog saw the cat because it was near.', 'near');
  await page.evaluate(() => (location.hash = 't=0&v=compare&to=1'));
  await eventually(async () => /only with the text that it was written with/.test(await page.textContent('body')), 'refused');
  await page.evaluate(() => (location.hash = 't=0&v=read'));
  assert.equal(await page.$('[data-testid=look-for]'), null);
  assert.equal(stateOf(page).t, '0');
  await page.click('[data-action=gallery]');
  await page.evaluate(() => (location.hash = 't=0&v=read'));
  await page.waitForFunction(() => document.querySelector('[data-testid=look-for]') !== null); // the page's own text again
  quiet();
});
