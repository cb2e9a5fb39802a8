// The view "Lines": two columns connected by curves; the selection is highlighted, numbers equal the map's, and long texts are shown in
// sections.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answers, assertPrinted, eventually, settled, stateOf, useBrowser } from './harness.mjs';
import { planted, plantedRun, serve, serveProse, skip } from './traces.mjs';

const { open } = useBrowser();

const drawn = (page) => page.waitForFunction(() => Number(document.querySelector('[data-testid=lines]')?.dataset.curves) > 0);
const count = (page) => page.$eval('[data-testid=lines]', (c) => Number(c.dataset.curves));
const token = (side, at) => `.lines-column.of-${side} [data-token="${at}"]`;
const pixels = (page) => page.$eval('[data-testid=lines]', (c) => c.toDataURL());

test('a token at the left shows what it gives, one at the right what it gets', { skip }, async () => {
  const server = await serveProse(60, { layers: 2, heads: 4 });
  const page = await open(`${server.url}#v=lines&h=0.1`);
  await drawn(page);
  assert.ok((await count(page)) <= 2000);
  await page.click(token('query', 20));
  await answers(page, 20);
  const row = await server.row([0, 1], 20);
  const parts = await page.$$eval('.lines-column.of-key [data-part]', (list) => list.map((e) => [Number(e.dataset.token), e.dataset.part]));
  assert.ok(parts.length >= 1);
  for (const [key, part] of parts) assertPrinted(part, row[key]);
  assert.equal(await page.locator('.line-token.chosen').count(), 1);
  await page.click(token('key', 7));
  await settled(page);
  const state = stateOf(page);
  assert.deepEqual([state.v, state.d, state.k], ['lines', 'in', '7']);
  const column = await server.column([0, 1], 7);
  const given = await page.$$eval('.lines-column.of-query [data-part]', (list) =>
    list.map((e) => [Number(e.dataset.token), e.dataset.part]),
  );
  assert.ok(given.length >= 1);
  for (const [query, part] of given) assertPrinted(part, column[query]);
});

test('words are joined by the sum over their keys and the mean over their rows', { skip }, async () => {
  const text = 'The internationalisation of interpretability engineering requires considerable understanding of representations.';
  const server = await serve(planted(text, { layers: 2, heads: 4 }));
  const index = await server.words();
  const begins = index.map((word, at) => at).filter((at) => at === 0 || index[at] < 0 || index[at] !== index[at - 1]);
  const spanOf = (at) => [at, begins.find((next) => next > at) ?? index.length];
  const long = begins.filter((at) => spanOf(at)[1] > at + 1);
  assert.ok(long.length > 1, 'some words have several tokens');
  const page = await open(`${server.url}#v=lines&h=0.1`);
  await drawn(page);
  const shown = await page.$$eval('.lines-column.of-query .line-token', (list) => list.map((e) => Number(e.dataset.token)));
  assert.deepEqual(shown, begins);
  const [begin, end] = spanOf(long[1]);
  await page.click(token('query', begin));
  await answers(page, begin);
  await settled(page);
  assert.equal(stateOf(page).q, `${begin}-${end}`);
  const row = await server.row([0, 1], `${begin}-${end}`, { reduce: 'mean' });
  const parts = await page.$$eval('.lines-column.of-key [data-part]', (list) => list.map((e) => [Number(e.dataset.token), e.dataset.part]));
  assert.ok(parts.length >= 1);
  for (const [key, part] of parts) {
    const [from, to] = spanOf(key);
    assertPrinted(
      part,
      row.slice(from, to).reduce((a, b) => a + b, 0),
    );
  }
  await page.click('[data-testid=words]');
  assert.equal(await page.locator('.lines-column.of-query .line-token').count(), index.length);
});

test('what scrolls under a pointer that rests is not pointed at', { skip }, async () => {
  const server = await serveProse(120, { layers: 1, heads: 2 });
  const page = await open(`${server.url}#v=lines&h=0.1`);
  await drawn(page);
  await page.click(token('query', 4));
  await answers(page, 4);
  const chosen = () => page.$$eval('.line-token.chosen', (list) => list.map((e) => e.dataset.token).join());
  await page.evaluate(() => (document.querySelector('.lines-frame').scrollTop = 300));
  await settled(page);
  assert.equal(await chosen(), '4');
  const { x, y } = await page.locator(token('query', 20)).boundingBox();
  await page.mouse.move(x + 9, y + 9);
  await eventually(async () => (await chosen()) === '20', 'token 20 stands out');
});

test('the caption says how much the curves carry, the table what each is', { skip }, async () => {
  const server = await serveProse(40, { layers: 1, heads: 2 });
  const page = await open(`${server.url}#v=lines&h=0.1&s=linear`);
  await drawn(page);
  const { n } = server;
  const rows = await server.rows([0, 1], 0, n);
  const { sinks } = (await server.info()).families[0];
  const most = Math.max(...rows.map((r) => Math.max(...r.filter((_, k) => !sinks.includes(k))))); // sinks do not determine the scale
  const kept = rows.flatMap((r) => [...r]).filter((w) => Math.min(1, w / most) >= 0.05);
  assert.equal(await count(page), kept.length);
  const caption = await page.textContent('[data-testid=lines-caption]');
  assertPrinted(/carry ([^%]*%)/.exec(caption)[1], kept.reduce((a, b) => a + b, 0) / n);
  await page.click('.lines-panel [aria-label="Show as a table"]');
  const table = await page.$$eval('.lines-panel tbody tr', (list) => list.map((tr) => [...tr.children].map((e) => e.textContent)));
  assert.equal(table.length, 40);
  for (const [head, query, key, weight] of table) {
    assert.equal(head, 'L0.H1');
    const [q, k] = [query, key].map((s) => Number(/#(\d+)/.exec(s)[1]));
    assertPrinted(weight, rows[q][k]);
  }
});

test('pointing at a token leaves its curves alone', { skip }, async () => {
  const server = await serveProse(60, { layers: 2, heads: 4 });
  const page = await open(`${server.url}#v=lines&h=0.1&q=5`);
  await drawn(page);
  await page.waitForTimeout(200);
  const before = await pixels(page);
  await page.hover(token('key', 12));
  await eventually(async () => (await pixels(page)) !== before, 'the token under the pointer is marked');
  assert.equal(await page.locator(`${token('key', 12)}.chosen`).count(), 1);
  await page.mouse.move(5, 5);
  await eventually(async () => (await pixels(page)) === before, 'the picture is as it was');
});

test('l opens them, every pinned head has its colour, sinks can be left out', { skip }, async () => {
  const server = await serveProse(60, { layers: 2, heads: 4 });
  const page = await open(`${server.url}#h=0.1,0.3&q=20&s=linear`);
  await answers(page, 20);
  await page.keyboard.press('l');
  await drawn(page);
  const both = await count(page);
  await page.evaluate((hash) => (location.hash = hash), '#v=lines&h=0.1&q=20&s=linear');
  await page.waitForFunction((n) => Number(document.querySelector('[data-testid=lines]').dataset.curves) < n, both);
  const marked = await count(page);
  await page.evaluate((hash) => (location.hash = hash), '#v=lines&h=0.1&q=20&s=linear&sink=hide');
  await page.waitForFunction((n) => Number(document.querySelector('[data-testid=lines]').dataset.curves) < n, marked);
});

test('long texts go by stretches that follow the chosen token', { skip }, async () => {
  const server = await serveProse(900, { layers: 1, heads: 2 });
  const page = await open(`${server.url}#v=lines&h=0.1&q=420&word=0`);
  await drawn(page);
  for (const side of ['query', 'key']) assert.equal(await page.locator(`.lines-column.of-${side} button`).count(), 256);
  const [box, view] = await page.evaluate(
    (of) => [document.querySelector(of), document.querySelector('.lines-frame')].map((e) => e.getBoundingClientRect().toJSON()),
    token('query', 420),
  );
  assert.ok(box.top >= view.top && box.bottom <= view.bottom, JSON.stringify([box, view]));
  await page.click('.lines-panel [aria-label="Later tokens"]');
  await page.locator(token('query', 512)).waitFor();
  assert.match(await page.textContent('.lines-where'), /#512–767/);
  for (let i = 0; i < 5; i++) await page.click('.lines-panel [aria-label="Later tokens"]');
  await page.locator(token('key', server.n - 1)).waitFor();
});

test('they turn with the checkpoints of a run', { skip }, async () => {
  const server = await serve(plantedRun(40, [0, 10, 90], { layers: 1, heads: 2 }));
  const page = await open(`${server.url}#v=lines&h=0.1&q=20`);
  await drawn(page);
  await page.waitForTimeout(200);
  const last = await pixels(page);
  await page.focus('[data-testid=timeline]');
  await page.keyboard.press('Home');
  await eventually(async () => (await pixels(page)) !== last, 'the first checkpoint is another picture');
  await page.keyboard.press('End');
  await eventually(async () => (await pixels(page)) === last, 'the last checkpoint is as it was');
});
