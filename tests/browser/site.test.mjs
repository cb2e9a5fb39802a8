// A site: `clearhead view … --site FOLDER`, served by a web server that knows nothing of clearhead.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { binary, build } from './program.mjs';
import { answers, skip as noBrowser, useBrowser } from './harness.mjs';

const maker = join(build, 'clearhead-known-models');
const skip = noBrowser || (existsSync(binary) && existsSync(maker) ? false : `no ${binary}`);
if (skip && process.env.CLEARHEAD_REQUIRE_BROWSER === '1') throw new Error(String(skip));

const { open } = useBrowser();
let folder;
let site;
let server;
let base;
let asked = []; // paths that the page requested
let fails = () => false; // paths that the server does not find

before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), 'clearhead-site-'));
  const model = join(folder, 'model');
  const text = join(folder, 'text.txt');
  site = join(folder, 'site');
  execFileSync(maker, ['causal', model]);
  execFileSync(maker, ['text', text, '--bytes', '30000']);
  execFileSync(binary, ['view', model, '--file', text, '--site', site, '--head', 'L0.H0', '--query', '1200']);
  server = createServer((request, response) => {
    const path = new URL(request.url, 'http://any').pathname;
    asked.push(path);
    const file = join(site, path === '/' ? 'index.html' : path);
    if (fails(path) || !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': path === '/' ? 'text/html' : 'application/octet-stream' }).end(readFileSync(file));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  base = `http://127.0.0.1:${server.address().port}/`;
});
after(() => {
  server?.close();
  if (folder) rmSync(folder, { recursive: true });
});

const state = (rest) => `${base}#v=read&${rest}`;
const choose = (page, from, to) => page.evaluate(([a, b]) => (location.hash = location.hash.replace(a, b)), [from, to]);
const firstAnswer = (page, token) =>
  page.waitForFunction((wanted) => document.querySelector('[data-testid=answers] button')?.dataset.token === String(wanted), token);

test('a site says what it contains, and a link to what it shows can be copied', { skip }, async () => {
  const page = await open(state('h=0.0&q=1200'), { permissions: ['clipboard-read', 'clipboard-write'] });
  await answers(page, 1200);
  assert.match(await page.textContent('[data-testid=banner]'), /^This page contains the text/);
  await page.click('[aria-label^="Copy"]');
  await page.waitForFunction(() => document.querySelector('.notices')?.textContent !== '');
  assert.ok((await page.evaluate(() => navigator.clipboard.readText())).startsWith(`${base}#v=read`));
});

test('a site opens with the data that it shows, and loads a head when it is chosen', { skip }, async () => {
  asked = [];
  const page = await open(state('h=0.0&q=1200'));
  assert.equal((await answers(page, 1200))[0].token, 1199, 'L0.H0 looks one token back');
  const files = (paths) => new Set(paths.filter((path) => path.startsWith('/data/')));
  const first = files(asked);
  const all = readdirSync(join(site, 'data'));
  assert.ok(first.size > 0 && first.size < all.length, `${first.size} of ${all.length} files`);
  const heads = JSON.parse(/id="clearhead-manifest">(.*?)<\/script>/s.exec(readFileSync(join(site, 'index.html'), 'utf8'))[1])[0].blobs;
  const other = Object.entries(heads).filter(([name]) => /^(top|top8|qk|exact|weights)\/dec\/1\//.test(name));
  assert.ok(
    other.length > 0 && other.every(([, number]) => !first.has(`/data/${number}.deflate`)),
    'heads of the other layer are not loaded',
  );
  await choose(page, 'h=0.0', 'h=1.1');
  await firstAnswer(page, 0); // L1.H1 looks at the first token
  assert.ok(files(asked).size > first.size);
  assert.equal(new Set(asked).size, asked.length, 'no file is loaded twice');
  await page.close();
});

test('a file that a site lacks is named, and found once it is there', { skip }, async () => {
  const page = await open(state('h=0.0&q=1200'));
  await answers(page, 1200);
  fails = (path) => path.startsWith('/data/');
  await choose(page, 'h=0.0', 'h=1.1');
  await page
    .getByText(/data\/\d+\.deflate: the server answered 404/)
    .first()
    .waitFor();
  fails = () => false;
  await choose(page, 'h=1.1', 'h=0.0');
  await firstAnswer(page, 1199);
  await choose(page, 'h=0.0', 'h=1.1');
  await firstAnswer(page, 0);
  await page.close();
});

test('a site that is opened as a file says that it needs a web server', { skip }, async () => {
  const page = await open(String(pathToFileURL(join(site, 'index.html'))));
  await page
    .getByText(/must come from a web server: run "python3 -m http.server"/)
    .first()
    .waitFor();
  assert.ok(page.errors.length > 0 && page.errors.every((error) => /data\/\d+\.deflate|ERR_FAILED/.test(error)), page.errors.join('\n'));
  page.errors = [];
  await page.close();
});
