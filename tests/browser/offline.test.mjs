// The offline page: it opens from a file, makes no requests, shows the data of its tier, and explains why other features are disabled.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { answers, assertPrinted, settled, skip, stateOf, useBrowser } from './harness.mjs';
import { offlinePage } from './mock/offline.mjs';
import { Mock, proseMock, severalMock, watchedMock } from './mock/server.mjs';
import { tokenize } from './text.mjs';

const { open } = useBrowser();
const mock = proseMock(120, { layers: 2, heads: 3, causal: true });
let folder;
before(() => (folder = mkdtempSync(join(tmpdir(), 'clearhead-page-'))));
after(() => rmSync(folder, { recursive: true }));

async function page(tier, hash, from = mock, more = {}) {
  const path = join(folder, `${tier}.html`);
  writeFileSync(
    path,
    offlinePage(from, tier, {
      pinned: [
        [0, 2],
        [1, 1],
      ],
      watched: [20, 40, 41, 60],
      ...more,
    }),
  );
  const url = pathToFileURL(path).href;
  const opened = await open(`${url}#${hash}`);
  return {
    page: opened,
    quiet: () =>
      assert.deepEqual(
        opened.requests.filter((r) => r !== `${url}#${hash}` && r !== url && !r.startsWith('data:') && !r.startsWith('blob:')),
        [],
        'an offline page asks for nothing',
      ),
  };
}

const exact = (query, [l, h]) => mock.line({ l, h, q: String(query) }, true).values;

test('tier A holds every row of every head, quantised and marked ≈', { skip }, async () => {
  const { page: p, quiet } = await page('A', 'h=1.2&q=77');
  const shown = await answers(p, 77);
  assert.equal(await p.getAttribute('[data-testid=badge] .badge', 'data-badge'), 'quantised');
  const values = exact(77, [1, 2]);
  for (const s of shown) {
    assert.match(s.weight, /^≈/);
    assert.ok(
      Math.abs(parseFloat(s.weight.slice(1)) / 100 - values[s.token]) < 0.03 * values[s.token] + 1e-6,
      `${s.weight} of ${values[s.token]}`,
    );
  }
  await p.click('[data-control=direction] [data-value=in]');
  await p.waitForFunction(() => /column/i.test(document.querySelector('[data-testid=answer-caption]').textContent));
  quiet();
});

test('several rows and the sink rules give the numbers of a live server', { skip }, async () => {
  const live = (sink) => mock.line({ l: 1, h: 2, q: '70-80', reduce: 'mean', sink }, true);
  for (const sink of ['mark', 'hide', 'renorm']) {
    const { page: p } = await page('A', `h=1.2&q=70-80&sink=${sink}`, mock, { exact: true });
    const { values, total } = live(sink);
    (await answers(p, 70)).forEach((s) => assertPrinted(s.weight, values[s.token]));
    const caption = await p.textContent('[data-testid=answer-caption]');
    assertPrinted(/sum to (\S+)/.exec(caption)[1].replace(';', ''), total);
    const { page: column } = await page('A', `h=1.2&k=20&d=in&sink=${sink}`, mock, { exact: true });
    const received = mock.line({ l: 1, h: 2, k: '20', sink }, false).values;
    (await answers(column, 20)).forEach((s) => assertPrinted(s.weight, received[s.token]));
    const { page: map } = await page('A', `v=map&h=1.2&q=77&x=40,70,60,80&sink=${sink}`, mock, { exact: true });
    await map.click('.map-panel [aria-label="Show as a table"]');
    await map.waitForSelector('.map-panel td.number');
    const first = await map.textContent('.map-panel td.number');
    assertPrinted(first, mock.line({ l: 1, h: 2, q: '70', sink }, true).values[40]);
  }
});

/** Parses an NPY file: shape and numbers of its array. */
function readNpy(path) {
  const bytes = readFileSync(path);
  const size = bytes.readUInt16LE(8);
  const header = bytes.toString('latin1', 10, 10 + size);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(',').map(Number);
  const count = shape.reduce((a, b) => a * b);
  return { shape, values: Array.from({ length: count }, (_, i) => bytes.readFloatLE(10 + size + 4 * i)) };
}

test('files of an offline page hold what is shown: the map, the atlas', { skip }, async () => {
  const saved = async (p, kind) => {
    await p.keyboard.press('p');
    const [download] = await Promise.all([p.waitForEvent('download'), p.click(`[data-export=${kind}]`)]);
    await p.keyboard.press('Escape');
    return download.path();
  };
  const { page: map } = await page('A', 'v=map&h=1.2&q=77&x=10,30,20,44', mock, { exact: true });
  await map.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  const { shape, values } = readNpy(await saved(map, 'npy'));
  assert.deepEqual(shape, [2, 14, 10]);
  for (let r = 0; r < 14; r++)
    for (let c = 0; c < 10; c++) assert.ok(Math.abs(values[r * 10 + c] - exact(30 + r, [1, 2])[10 + c]) < 1e-6, `${r} ${c}`);
  const json = JSON.parse(readFileSync(await saved(map, 'json')));
  assert.deepEqual([json.heads[0].rectangle, json.heads[0].cells.max.length], [[30, 44, 10, 20], 140]);
  const { page: atlas } = await page('A', 'v=atlas&h=1.2&q=77', mock, { exact: true });
  await atlas.waitForSelector('[data-testid=atlas-badge] .badge');
  const scores = readNpy(await saved(atlas, 'npy'));
  assert.deepEqual(scores.shape, [2, 3, 10]);
  assert.ok(Math.abs(scores.values[0] - mock.survey(0, 0, 64).scores.previous) < 1e-6);
});

test('where they fit, all weights are exact: rows, columns, masses and the numbers in the map', { skip }, async () => {
  const { page: p, quiet } = await page('A', 'h=1.2&q=77', mock, { exact: true });
  const badge = (where) => p.getAttribute(`${where} .badge`, 'data-badge');
  const shown = await answers(p, 77);
  assert.equal(await badge('[data-testid=badge]'), 'exact');
  shown.forEach((s) => assertPrinted(s.weight, exact(77, [1, 2])[s.token]));
  assert.match(await p.textContent('[data-testid=banner]'), /all weights, exactly \(f32\)/);
  await p.click('[data-control=direction] [data-value=in]');
  await p.locator('.box[data-box="20"]').click();
  await p.mouse.move(3, 3);
  const column = mock.line({ l: 1, h: 2, k: '20' }, false).values;
  (await answers(p, 20)).forEach((s) => assertPrinted(s.weight, column[s.token]));
  const { page: atlas } = await page('A', 'v=atlas&h=1.2&q=70-75&k=10-14', mock, { exact: true });
  await atlas.waitForSelector('[data-testid=mass] .ranked li');
  assert.equal(await atlas.getAttribute('[data-testid=atlas-badge] .badge', 'data-badge'), 'exact');
  const { page: map } = await page('A', 'v=map&h=1.2&q=77', mock, { exact: true });
  await map.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  quiet();
});

test('an exact map is painted as a coded one is', { skip }, async () => {
  const pixels = async (exact) => {
    const { page: p } = await page('A', 'v=map&h=0.1&q=77', mock, { exact });
    await p.waitForSelector('[data-testid=map-badge] .badge');
    await answers(p, 77);
    await p.waitForTimeout(300);
    return p.$eval('[data-testid=map]', (c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]);
  };
  const [plain, coded] = [await pixels(true), await pixels(false)];
  assert.equal(plain.length, coded.length);
  const different = plain.filter((v, i) => Math.abs(v - coded[i]) > 12).length;
  assert.ok(different < 0.002 * plain.length, `${different} of ${plain.length}`);
  assert.ok(new Set(plain).size > 30);
});

test('tier A: masses between spans carry ≈ and their badge', { skip }, async () => {
  const { page: p } = await page('A', 'v=atlas&h=1.2&q=70-75&k=10-14');
  await p.waitForSelector('[data-testid=mass] .ranked li');
  assert.equal(await p.getAttribute('[data-testid=atlas-badge] .badge', 'data-badge'), 'quantised');
  assert.match(await p.getAttribute('[data-testid=atlas-badge] .badge', 'title'), /Largest error/);
  for (const where of ['[data-testid=mass] .number', '.head .note']) {
    const texts = await p.$$eval(where, (list) => list.map((e) => e.textContent));
    assert.equal(texts.length, 6, where);
    for (const text of texts) assert.match(text, /^≈/);
  }
});

test('tier B holds the heaviest keys exactly: 32 of watched rows, 8 of the others', { skip }, async () => {
  const { page: p, quiet } = await page('B', 'h=0.2&q=40');
  const shown = await answers(p, 40);
  assert.equal(await p.getAttribute('[data-testid=badge] .badge', 'data-badge'), 'top-k');
  shown.forEach((s) => assertPrinted(s.weight, exact(40, [0, 2])[s.token]));
  await p.locator('.box[data-box="70"]').click();
  await p.mouse.move(3, 3);
  const eight = await answers(p, 70);
  eight.forEach((s) => assertPrinted(s.weight, exact(70, [0, 2])[s.token]));
  assert.ok(eight.length <= 8);
  quiet();
});

test('tier C recomputes watched rows from K and Q in a worker', { skip }, async () => {
  const { page: p, quiet } = await page('C', 'h=1.1&q=41');
  const shown = await answers(p, 41);
  const values = exact(41, [1, 1]);
  for (const s of shown) assert.ok(Math.abs(parseFloat(s.weight.slice(1)) / 100 - values[s.token]) < 0.02 * values[s.token] + 1e-4);
  assert.equal(p.workers().length, 1);
  await p.locator('.box[data-box="50"]').click();
  await p.mouse.move(3, 3);
  await p.waitForFunction(() => /Not available/.test(document.querySelector('.answers-panel h2').textContent));
  assert.match(await p.textContent('[data-testid=answer-caption]'), /does not contain.* To get it: clearhead view known-answers/);
  quiet();
});

test('it opens by saying what it lacks, and what is off says why and how to get it', { skip }, async () => {
  const { page: p } = await page('B', 'h=0.2&q=40');
  await answers(p, 40);
  const banner = await p.textContent('[data-testid=banner]');
  assert.match(banner, /offline page\. It contains .*thumbnails of every head.*top eight keys of all rows.*Not included: .*verification/i);
  assert.match(banner, /For the rest: clearhead view known-answers --html page\.html --page-size 60MB/);
  const verify = p.locator('[data-action=verify]');
  assert.ok(await verify.isDisabled());
  assert.match(await verify.getAttribute('title'), /clearhead view .*--page-size/);
  for (const value of ['value', 'output']) assert.ok(await p.locator(`[data-control=weight] input[value=${value}]`).isDisabled());
  assert.match(await p.getAttribute('[data-control=direction] [data-value=in]', 'title'), /does not contain/);
  await p.keyboard.press('?');
  assert.match(await p.textContent('dialog[open] .missing'), /--html page\.html --page-size 60MB/);
});

test('without the weights of a head the map falls back to its thumbnail, badged', { skip }, async () => {
  const { page: p } = await page('C', 'v=map&h=0.0');
  await p.waitForSelector('[data-testid=map-badge] [data-badge=quantised]');
  await p.waitForSelector('[data-testid=atlas-badge] .badge');
});

test('a page of several traces shows the one that is chosen, in the state it opens with', { skip }, async () => {
  const several = severalMock([
    { name: 'long', begins: 'prose', state: 'v=map&h=1.2&q=30', count: 60, layers: 2, heads: 3 },
    { name: 'short', begins: 'a cat', state: 'v=read&h=0.1&q=4', text: 'A cat saw a cat on the mat.', layers: 1, heads: 2 },
  ]);
  const [long, short] = several.steps;
  const { page: p, quiet } = await page('A', '', several);
  const near = async (token, at, of) => {
    const { values } = of.line({ l: at[0], h: at[1], q: String(token) }, true);
    for (const s of await answers(p, token))
      assert.ok(Math.abs(parseFloat(s.weight.slice(1)) / 100 - values[s.token]) < 0.03 * values[s.token] + 1e-6);
  };
  await near(30, [1, 2], long);
  assert.equal(await p.getAttribute('#app', 'data-view'), 'map');
  const choice = p.getByLabel('Choose a trace');
  assert.deepEqual(await choice.locator('option').allTextContents(), ['long: prose', 'short: a cat']);
  await choice.selectOption('short: a cat');
  await near(4, [0, 1], short);
  assert.equal(await p.getAttribute('#app', 'data-view'), 'read');
  assert.match(await p.textContent('.prose'), /A cat saw a cat on the mat\./);
  assert.equal(await p.locator('.head').count(), 2);
  await settled(p);
  assert.equal(stateOf(p).t, '1');
  await p.goBack();
  await near(30, [1, 2], long);
  assert.equal(await choice.inputValue(), '0');
  quiet();
});

test('a page of a training run turns through its steps', { skip }, async () => {
  const run = watchedMock(60, [0, 40, 90], { layers: 2, heads: 3 });
  const { page: p, quiet } = await page('A', 'h=1.1&q=20', run);
  const seen = [];
  for (const [key, step] of [
    ['End', 90],
    ['Home', 0],
    ['ArrowRight', 40],
  ]) {
    await p.focus('[data-testid=timeline]');
    await p.keyboard.press(key);
    await p.waitForFunction((wanted) => document.querySelector('h1').textContent === wanted, `known after ${step}`);
    await p.waitForTimeout(200);
    const { values } = run.steps.find((one) => one.step === step).line({ l: 1, h: 1, q: '20' }, true);
    for (const s of await answers(p, 20))
      assert.ok(Math.abs(parseFloat(s.weight.slice(1)) / 100 - values[s.token]) < 0.03 * values[s.token] + 1e-6);
    seen.push(values[19]);
  }
  assert.equal(new Set(seen).size, 3);
  quiet();
});

test('hostile text in an offline page is inert', { skip }, async () => {
  const text = '</script><script>window.owned=1</script><!--<script> \u2028 ]]> end';
  const bad = new Mock({
    text,
    tokens: tokenize(text),
    layers: 1,
    heads: 1,
    name: '</title><script>window.owned=2</script>',
  });
  const { page: p } = await page(
    'A',
    'h=0.0&q=2',
    Object.assign(bad, {
      segments: [
        {
          name: '</script><script>window.owned=3</script>',
          role: null,
          begin: 0,
          end: bad.model.n,
          lang: null,
        },
      ],
    }),
  );
  await answers(p, 2);
  assert.equal(await p.evaluate(() => window.owned), undefined);
});

test('the policy forbids connections and any other script', { skip }, async () => {
  const { page: p } = await page('A', 'h=0.0&q=2');
  await answers(p, 2);
  const policy = await p.getAttribute('meta[http-equiv]', 'content');
  assert.match(policy, /connect-src 'none'/);
  const blocked = await p.evaluate(async () => {
    const asked = await fetch('http://127.0.0.1:9/').then(
      () => 'sent',
      () => 'blocked',
    );
    const script = document.createElement('script');
    script.textContent = 'window.owned = 4';
    document.body.append(script);
    return { asked, owned: window.owned ?? null };
  });
  assert.deepEqual(blocked, { asked: 'blocked', owned: null });
  p.errors.length = 0; // the browser reports requests that the content security policy blocked
});
