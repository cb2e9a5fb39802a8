// The offline page: it opens from a file, makes no requests, shows the data of its tier, and has no controls for other features, which the help explains.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { answers, assertPrinted, settled, stateOf, useBrowser } from './harness.mjs';
import { tokenize } from './text.mjs';
import { emptyPage, galleryOf, manifestsOf, pageOf, planted, plantedProse, plantedRun, serve, skip, traceOf } from './traces.mjs';

const { open } = useBrowser();
const shape = { layers: 2, heads: 3, causal: true };
const watched = [
  [20, 21],
  [40, 42],
  [60, 61],
];

/** Pages of each tier: the trace, options of the export, and what the page must then hold. */
const kinds = {
  exact: [() => plantedProse(120, shape), [], 'A', 'exact'],
  A: [() => plantedProse(120, shape), ['--page-size', String(emptyPage + 120_000)], 'A', 'weights'],
  // More than 1,024 tokens, because the last 1,024 rows are always watched.
  B: [() => plantedProse(1500, shape), ['--page-size', String(emptyPage + 2_000_000), '--state', 'h=0.2,1.1&q=40'], 'B', 'top8'],
  // Not all heads fit.
  few: [() => plantedProse(1500, shape), ['--page-size', String(emptyPage + 700_000), '--state', 'h=0.2'], 'B', 'overview'],
  // Without Q of all rows.
  C: [() => plantedProse(120, { ...shape, rows: watched }), ['--state', 'h=1.1,0.2&q=41'], 'C', 'qk'],
};
const pages = {};
let live; // the trace of the pages of tier A
let long; // that of tier B
before(async () => {
  if (skip) return;
  const traces = {};
  for (const [name, [plan, options, tier, held]] of Object.entries(kinds)) {
    traces[name] = traceOf(plan());
    pages[name] = pageOf(traces[name], ...options);
    const [manifest] = manifestsOf(pages[name]);
    assert.equal(manifest.tier, tier, name);
    assert.ok(manifest.holds.includes(held), `${name}: ${manifest.holds}`);
  }
  live = await serve(traces.exact);
  long = await serve(traces.B);
});

/** Opens a file, and returns a check that it asked for nothing. */
async function openFile(path, hash) {
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
const page = (kind, hash) => openFile(pages[kind], hash);

test('tier A holds every row of every head, quantised and marked ≈', { skip }, async () => {
  const { page: p, quiet } = await page('A', 'h=1.2&q=77');
  const shown = await answers(p, 77);
  assert.equal(await p.getAttribute('[data-testid=badge] .badge', 'data-badge'), 'quantised');
  const values = await live.row([1, 2], 77);
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
  for (const sink of ['mark', 'hide', 'renorm']) {
    const { page: p } = await page('exact', `h=1.2&q=70-80&sink=${sink}`);
    const { values, total } = await live.line('row', [1, 2], '70-80', { reduce: 'mean', sink });
    (await answers(p, 70)).forEach((s) => assertPrinted(s.weight, values[s.token]));
    const caption = await p.textContent('[data-testid=answer-caption]');
    assertPrinted(/sum to (\S+)/.exec(caption)[1].replace(';', ''), total);
    const { page: column } = await page('exact', `h=1.2&k=20&d=in&sink=${sink}`);
    const received = await live.column([1, 2], 20, { sink });
    (await answers(column, 20)).forEach((s) => assertPrinted(s.weight, received[s.token]));
    const { page: map } = await page('exact', `v=map&h=1.2&q=77&x=40,70,60,80&sink=${sink}`);
    await map.click('.map-panel [aria-label="Show as a table"]');
    await map.waitForSelector('.map-panel td.number');
    const first = await map.textContent('.map-panel td.number');
    assertPrinted(first, (await live.row([1, 2], 70, { sink }))[40]);
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
  const { page: map } = await page('exact', 'v=map&h=1.2&q=77&x=10,30,20,44');
  await map.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  const { shape, values } = readNpy(await saved(map, 'npy'));
  assert.deepEqual(shape, [2, 14, 10]);
  const rows = await live.rows([1, 2], 30, 44);
  for (let r = 0; r < 14; r++) for (let c = 0; c < 10; c++) assert.ok(Math.abs(values[r * 10 + c] - rows[r][10 + c]) < 1e-6, `${r} ${c}`);
  const json = JSON.parse(readFileSync(await saved(map, 'json')));
  assert.deepEqual([json.heads[0].rectangle, json.heads[0].cells.max.length], [[30, 44, 10, 20], 140]);
  const { page: atlas } = await page('exact', 'v=atlas&h=1.2&q=77');
  await atlas.waitForSelector('[data-testid=atlas-badge] .badge');
  const scores = readNpy(await saved(atlas, 'npy'));
  assert.deepEqual(scores.shape, [2, 3, 10]);
  assert.ok(Math.abs(scores.values[0] - (await live.atlas()).get('0.0').scores.previous) < 1e-6);
});

test('where they fit, all weights are exact: rows, columns, masses and the numbers in the map', { skip }, async () => {
  const { page: p, quiet } = await page('exact', 'h=1.2&q=77');
  const badge = (where) => p.getAttribute(`${where} .badge`, 'data-badge');
  const shown = await answers(p, 77);
  assert.equal(await badge('[data-testid=badge]'), 'exact');
  const row = await live.row([1, 2], 77);
  shown.forEach((s) => assertPrinted(s.weight, row[s.token]));
  assert.match(await p.textContent('[data-testid=banner]'), /all weights, exactly \(f32\)/);
  await p.click('[data-control=direction] [data-value=in]');
  await p.locator('.box[data-box="20"]').click();
  await p.mouse.move(3, 3);
  const column = await live.column([1, 2], 20);
  (await answers(p, 20)).forEach((s) => assertPrinted(s.weight, column[s.token]));
  const { page: atlas } = await page('exact', 'v=atlas&h=1.2&q=70-75&k=10-14');
  await atlas.waitForSelector('[data-testid=mass] .ranked li');
  assert.equal(await atlas.getAttribute('[data-testid=atlas-badge] .badge', 'data-badge'), 'exact');
  const { page: map } = await page('exact', 'v=map&h=1.2&q=77');
  await map.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  quiet();
});

test('an exact map is painted as a coded one is', { skip }, async () => {
  const pixels = async (kind) => {
    const { page: p } = await page(kind, 'v=map&h=0.1&q=77');
    await p.waitForSelector('[data-testid=map-badge] .badge');
    await answers(p, 77);
    await p.click('.banner button:last-child'); // the banners differ in length, and so in height
    await p.waitForTimeout(300);
    return p.$eval('[data-testid=map]', (c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]);
  };
  const [plain, coded] = [await pixels('exact'), await pixels('A')];
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
  const row = await long.row([0, 2], 40);
  shown.forEach((s) => assertPrinted(s.weight, row[s.token]));
  await p.locator('.box[data-box="70"]').click();
  await p.mouse.move(3, 3);
  const eight = await answers(p, 70);
  const other = await long.row([0, 2], 70);
  eight.forEach((s) => assertPrinted(s.weight, other[s.token]));
  assert.ok(eight.length <= 8);
  quiet();
});

test('tier C recomputes watched rows from K and Q in a worker', { skip }, async () => {
  const { page: p, quiet } = await page('C', 'h=1.1&q=41');
  const shown = await answers(p, 41);
  const values = await live.row([1, 1], 41);
  for (const s of shown) assert.ok(Math.abs(parseFloat(s.weight.slice(1)) / 100 - values[s.token]) < 0.02 * values[s.token] + 1e-4);
  assert.equal(p.workers().length, 1);
  await p.locator('.box[data-box="50"]').click();
  await p.mouse.move(3, 3);
  await p.waitForFunction(() => /Not available/.test(document.querySelector('.answers-panel h2').textContent));
  assert.match(
    await p.textContent('[data-testid=answer-caption]'),
    /The page has rows of 6 heads\. To get it, run: clearhead view .*--page-size \d+MB/,
  );
  quiet();
});

test('it opens by saying what it lacks, which has no controls, and the help says why and how to get it', { skip }, async () => {
  const { page: p } = await page('B', 'h=0.2&q=40');
  await answers(p, 40);
  const banner = await p.textContent('[data-testid=banner]');
  assert.match(banner, /This page contains .*thumbnails of every head.*top eight keys of all rows.*Not included: .*verification/i);
  assert.match(banner, /To include everything, run: clearhead view \S+\.trace --html \S+\.html --page-size \d+MB/);
  for (const absent of ['[data-action=verify]', '[data-control=weight]', '[data-control=direction]', '.views input[value=why]'])
    assert.equal(await p.locator(absent).count(), 0, absent);
  await p.keyboard.press('?');
  const missing = (await p.locator('dialog[open] .missing li').allTextContents()).join('\n');
  assert.match(missing, /verification[^\n]*does not contain/i); // no page can verify
  assert.match(missing, /Left out to keep the page within its size limit/);
  assert.match(missing, /--html \S+\.html --page-size \d+MB/);
});

test('without the weights of a head the map falls back to its thumbnail, badged', { skip }, async () => {
  const names = Object.keys(manifestsOf(pages.few)[0].blobs);
  const head = [0, 1].flatMap((l) => [0, 1, 2].map((h) => [l, h])).find(([l, h]) => !names.includes(`overview/dec/${l}/${h}`));
  assert.ok(head && names.includes('overview/dec/0/2'), `the page has pictures of some heads: ${names}`);
  const { page: p } = await page('few', `v=map&h=${head.join('.')}`);
  await p.waitForSelector('[data-testid=map-badge] [data-badge=quantised]');
  await p.waitForSelector('[data-testid=atlas-badge] .badge');
});

test('a page of several traces shows the one that is chosen, in the state it opens with', { skip }, async () => {
  const cat = 'A cat saw a cat on the mat.';
  const [long, short] = [plantedProse(60, { name: 'long', layers: 2, heads: 3 }), planted(cat, { name: 'short', layers: 1, heads: 2 })];
  const traces = [traceOf(long), traceOf(short)];
  const server = await serve(...traces);
  const { page: p, quiet } = await openFile(galleryOf(traces, ['v=map&h=1.2&q=30', 'v=read&h=0.1&q=4']), '');
  const equal = async (token, head, t) => {
    const values = await server.row(head, token, { t });
    for (const s of await answers(p, token)) assertPrinted(s.weight, values[s.token]);
  };
  await equal(30, [1, 2], 0);
  assert.equal(await p.getAttribute('#app', 'data-view'), 'map');
  const choice = p.getByLabel('Choose a trace');
  const [first, second] = await choice.locator('option').allTextContents();
  assert.ok(first.startsWith(`long: ${long.text.toString().slice(0, 20)}`), first);
  assert.equal(second, `short: ${cat}`);
  await choice.selectOption(second);
  await equal(4, [0, 1], 1);
  assert.equal(await p.getAttribute('#app', 'data-view'), 'read');
  assert.match(await p.textContent('.prose'), /A cat saw a cat on the mat\./);
  assert.equal(await p.locator('.head').count(), 2);
  await settled(p);
  assert.equal(stateOf(p).t, '1');
  await p.goBack();
  await equal(30, [1, 2], 0);
  assert.equal(await choice.inputValue(), '0');
  quiet();
});

test('a page of a training run turns through its steps', { skip }, async () => {
  const run = plantedRun(60, [0, 40, 90], { layers: 2, heads: 3 });
  const server = await serve(run);
  const { page: p, quiet } = await openFile(pageOf(run), 'h=1.1&q=20');
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
    const values = await server.row([1, 1], 20, { t: step });
    for (const s of await answers(p, 20)) assertPrinted(s.weight, values[s.token]);
    seen.push(values[19]);
  }
  assert.equal(new Set(seen).size, 3);
  quiet();
});

test('hostile text in an offline page is inert', { skip }, async () => {
  const text = '</script><script>window.owned=1</script><!--<script> \u2028 ]]> end';
  const tokens = tokenize(text);
  const bad = planted(text, {
    tokens,
    layers: 1,
    heads: 1,
    name: '</title><script><img src=x onerror=window.owned=2>', // one slash: of a path, only what follows the last is shown
    segments: [{ name: '</script><script>window.owned=3</script>', begin: 0, end: tokens.length }],
  });
  const { page: p } = await openFile(pageOf(traceOf(bad)), 'h=0.0&q=2');
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
