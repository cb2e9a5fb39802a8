// The timeline: a slider over the checkpoints of a training run, or over generated tokens; Space plays; the page always shows the data
// of the step that it names.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { answers, assertPrinted, eventually, settled, stateOf, useBrowser } from './harness.mjs';
import { view } from './program.mjs';
import { folder, plantedRun, serve, serveProse, skip, slow } from './traces.mjs';

const { open } = useBrowser();
const kSteps = [0, 10, 40, 90];
const kShape = { layers: 2, heads: 4 };
let run;
before(async () => (run = skip ? null : await serve(plantedRun(60, kSteps, kShape))));
const label = (page) => page.textContent('[data-testid=timeline-label]');

/** Waits until every answer is the exact weight of this checkpoint; with `within` 0, this must hold immediately. */
async function showsStep(page, step, query, within = 5000) {
  const values = await run.row([1, 1], query, { t: step });
  await page.waitForFunction(
    (wanted) => document.querySelector('h1')?.textContent === wanted && document.querySelector('.box.query') !== null,
    `known after ${step}`,
  );
  const until = Date.now() + within;
  for (;;) {
    const shown = await answers(page, query);
    try {
      assert.ok(shown.length >= 3);
      for (const { token, weight } of shown) assertPrinted(weight, values[token]);
      return;
    } catch (error) {
      if (Date.now() >= until) throw error;
    }
    await page.waitForTimeout(50);
  }
}

test('the slider goes through the checkpoints, by hand, by keyboard and by link', { skip }, async () => {
  const page = await open(`${run.url}#h=1.1&q=20`);
  assert.equal(await label(page), 'after 90 of 90 steps');
  await showsStep(page, 90, 20);
  await page.focus('[data-testid=timeline]');
  await page.keyboard.press('Home');
  await showsStep(page, 0, 20);
  await page.keyboard.press('ArrowRight');
  await showsStep(page, 10, 20);
  assert.equal(await label(page), 'after 10 of 90 steps');
  assert.equal(await page.getAttribute('[data-testid=timeline]', 'aria-valuetext'), 'after 10 of 90 steps');
  await settled(page);
  assert.equal(stateOf(page).t, '10');
  const again = await open(`${run.url}${new URL(page.url()).hash.replace('t=10', 't=40')}`);
  await showsStep(again, 40, 20);
  const unknown = await open(`${run.url}${new URL(page.url()).hash.replace('t=10', 't=41')}`);
  await showsStep(unknown, 90, 20);
  assert.equal(await label(unknown), 'after 90 of 90 steps');
});

test('the map and the atlas turn with it', { skip }, async () => {
  const page = await open(`${run.url}#v=map&h=1.1&q=20`);
  await answers(page, 20);
  const pixels = () => page.$eval('[data-testid=map]', (c) => c.toDataURL());
  const thumbnail = () => page.$eval('[data-head="1.1"] canvas', (c) => c.toDataURL());
  await page.waitForSelector('[data-testid=map-badge] .badge');
  await page.waitForTimeout(300);
  const [map, head] = [await pixels(), await thumbnail()];
  await page.focus('[data-testid=timeline]');
  await page.keyboard.press('Home');
  await eventually(async () => (await pixels()) !== map && (await thumbnail()) !== head, 'the first checkpoint is another picture');
  await page.keyboard.press('End');
  await eventually(async () => (await pixels()) === map && (await thumbnail()) === head, 'the last checkpoint is as it was');
});

test('Space plays from the beginning to the end, and pauses', { skip }, async () => {
  const page = await open(`${run.url}#h=1.1&q=20`);
  await answers(page, 20);
  await page.keyboard.press('Space');
  for (const step of kSteps)
    await page.waitForFunction((wanted) => document.querySelector('h1').textContent === wanted, `known after ${step}`);
  await page.waitForFunction(() => document.querySelector('[data-testid=timeline-play]').title === 'Play (Space)');
  await showsStep(page, 90, 20);
  await page.keyboard.press('Space');
  await page.waitForFunction(() => document.querySelector('[data-testid=timeline-label]').textContent.startsWith('after 10 '));
  await page.keyboard.press('Space');
  await page.waitForTimeout(1000);
  assert.equal(await label(page), 'after 10 of 90 steps');
});

test('fast scrubbing leaves no stale row', { skip }, async () => {
  const page = await open(`${run.url}#h=1.1&q=20`);
  await answers(page, 20);
  await slow(page, 60);
  await page.focus('[data-testid=timeline]');
  for (const key of ['Home', 'ArrowRight', 'End', 'Home', 'ArrowRight', 'ArrowRight']) await page.keyboard.press(key);
  await showsStep(page, 40, 20);
  await page.waitForTimeout(400);
  await showsStep(page, 40, 20, 0);
});

test('the table names every step and goes there', { skip }, async () => {
  const page = await open(`${run.url}#h=1.1&q=20&lang=zh`);
  await answers(page, 20);
  await page.click('.timeline-panel [aria-label="以表格显示"]');
  assert.deepEqual(await page.$$eval('.timeline-table tbody button', (list) => list.map((b) => b.textContent)), ['0', '10', '40', '90']);
  await page.click('.timeline-table tbody tr:nth-child(2) button');
  await showsStep(page, 10, 20);
  assert.equal(await label(page), '训练 10 / 90 步后');
  assert.equal(await page.locator('.timeline-table .now').count(), 1);
});

test('a generated token shows its probability and the row that wrote it', { skip }, async () => {
  const generated = [0.25, 0.98766, 0.5, 0.0004];
  const server = await serveProse(60, { ...kShape, causal: true, generated });
  const { n } = server;
  const page = await open(`${server.url}#h=1.1&q=5`);
  await answers(page, 5);
  assert.equal(await label(page), 'no generated token chosen');
  const strip = await page.$$eval('[data-testid=strip] button', (list) =>
    list.map((b) => b.querySelector('.number').textContent.replace(/\s/g, '')),
  );
  assert.deepEqual(strip, ['25%', '99%', '50%', '<0.1%']);
  await page.click('[data-testid=strip] button:nth-child(2)');
  await answers(page, n - 3);
  assert.match(await label(page), /, 98\.77\u202f%, token 2 of 4$/);
  assert.equal(await page.locator('[data-testid=strip] [aria-current]').getAttribute('data-moment'), '1');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('Space');
  await answers(page, n - 2);
  await answers(page, n - 1);
  await settled(page);
  assert.equal(stateOf(page).q, String(n - 2)); // the row that wrote the last token
  await page.click('.timeline-panel [aria-label="Show as a table"]');
  assert.equal(await page.locator('.timeline-table td').count(), 4);
});

test('an episode plays step by step over the tiles of its observations', { skip }, async () => {
  const file = join(folder, 'episode.txt');
  writeFileSync(file, ['sign right', ...Array(5).fill('corridor ahead'), 'junction ahead'].join('\n'));
  const { url } = await view(fileURLToPath(new URL('../../models/corridor/', import.meta.url)), '--file', file);
  const page = await open(`${url}#f=memory&h=0.7`);
  await page.waitForSelector('[data-testid=timeline]');
  await page.focus('[data-testid=timeline]');
  await page.keyboard.press('End');
  assert.equal(await label(page), 'step 7 of 7');
  const first = Number(stateOf(page).q) - 6;
  await eventually(
    async () => (await page.locator('[data-testid=answers] button').first().getAttribute('data-token')) === String(first),
    'at the junction, the head attends to the sign',
  );
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('Space'); // from the beginning
  for (const step of [1, 4, 7])
    await page.waitForFunction((n) => document.querySelector('[data-testid=timeline-label]').textContent === `step ${n} of 7`, step);
  await eventually(() => stateOf(page).q === String(first + 6), 'the link names the step');
  await page.waitForSelector('[data-testid=boxes]');
});

test('without steps there is no timeline, and Space does nothing', { skip }, async () => {
  const server = await serveProse(60, kShape);
  const page = await open(`${server.url}#h=1.1&q=20`);
  await answers(page, 20);
  assert.equal(await page.locator('.timeline-panel').count(), 0);
  await page.keyboard.press('Space');
});
