// The sentence on which the gallery opens, and the guided tour: on shipped models, in the offline page of `clearhead demo`. The numbers are
// those of a live server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { axeSource } from './browser.mjs';
import { explained, settled, stateOf, useBrowser } from './harness.mjs';
import { binary, view, viewWith } from './program.mjs';
import { Viewer, folder, skip } from './traces.mjs';

const { open } = useBrowser();
const shipped = fileURLToPath(new URL('../../models/', import.meta.url));
let url;
let example;
let servers;
before(async () => {
  if (skip) return;
  const [models, out] = [join(folder, 'opening'), join(folder, 'opening-page')];
  mkdirSync(models, { recursive: true });
  for (const name of ['pronouns', 'dates', 'stories']) cpSync(join(shipped, name), join(models, name), { recursive: true });
  execFileSync(binary, ['demo', '--examples-only', '--models', models, '--out', out], { stdio: 'ignore' });
  url = pathToFileURL(join(out, 'index.html')).href;
  example = JSON.parse(readFileSync(join(shipped, 'pronouns/example.json'), 'utf8'));
  const texts = [example.input, example.input.replace(example.change.from, example.change.to)];
  servers = await Promise.all(texts.map(async (text) => new Viewer(await view(join(shipped, 'pronouns'), text))));
});

const state = () => new URLSearchParams(example.state);
/** The weights from the query of the example to each word, from the server of a version (0 or 1). */
async function weightsOf(version, head) {
  const words = await servers[version].words();
  const row = await servers[version].row(head, state().get('q'));
  const sums = new Map();
  row.forEach((weight, token) => sums.set(words[token], (sums.get(words[token]) ?? 0) + weight));
  return [...sums].filter(([word]) => word >= 0).sort((a, b) => b[1] - a[1]);
}
const percent = (value) => `${(100 * value).toFixed(2)}\u202f%`;
const small = (value) => `${Number((100 * value).toPrecision(3))}\u202f%`; // less than one percent
const caption = (page) => page.textContent('[data-testid=sentence-caption]');
const ready = (page) => page.waitForFunction(() => document.querySelectorAll('.sentence-heads button').length > 1);

test('the page opens on a sentence: the chosen word, a line to what it attends to, and the answer', { skip }, async () => {
  const page = await open(url);
  await ready(page);
  assert.equal(await page.textContent('.opening h1'), example.title.en);
  assert.match(await page.textContent('.sentence-answer'), /animal/);
  assert.equal(await page.textContent('.sentence-word[aria-pressed=true]'), 'it');
  const head = state().get('h').split('.').map(Number);
  const [[, weight]] = await weightsOf(0, head);
  assert.ok(weight > 0.5, weight);
  const name = `L${head.join('.H')}`;
  assert.equal(await caption(page), `“it” attends to “animal” with a weight of ${percent(weight)} in head ${name}.`);
  const lines = await page.$$eval('.sentence-lines path', (list) => list.map((p) => Number(p.getAttribute('stroke-width'))));
  assert.ok(Math.abs(Math.max(...lines) - (1 + 7 * weight)) < 1e-3, `${lines}`);
  assert.equal(await page.locator('.card').count(), 2, 'the sentence and its changed version have no card');
});

test('one button replaces the word; the line moves, and the change is stated', { skip }, async () => {
  const page = await open(url);
  await ready(page);
  await page.getByRole('button', { name: 'tired → wide' }).click();
  await page.waitForFunction(() => /street/.test(document.querySelector('[data-testid=sentence-caption]').textContent));
  const head = state().get('h').split('.').map(Number);
  const [was, is] = [await weightsOf(0, head), await weightsOf(1, head)];
  const animal = was[0][0];
  const [before, after] = [was[0][1], is.find(([word]) => word === animal)[1]];
  const says = `With “wide” instead of “tired”, “it” attends to “street” with a weight of ${percent(is[0][1])} in head L${head.join('.H')}. `;
  const points = percent(before - after).replace(/\s*%$/, '');
  const moves = `The weight of “animal” goes from ${percent(before)} to ${small(after)} (−${points} percentage points).`;
  assert.equal(await caption(page), says + moves);
  assert.match(await page.textContent('.sentence-answer'), /street/);
  await page.getByRole('button', { name: 'wide → tired' }).click();
  await page.waitForFunction(() => /animal/.test(document.querySelector('.sentence-answer').textContent));
});

test('another word and another head can be chosen, by pointer and by key, and the trace opens with them', { skip }, async () => {
  const page = await open(url);
  await ready(page);
  const layout = () =>
    page.$$eval('.sentence-word, .sentence-controls > *, .card', (list) => list.map((e) => Math.round(e.getBoundingClientRect().top)));
  const before = await layout();
  await page.locator('.sentence-word', { hasText: 'cross' }).click();
  assert.match(await caption(page), /^“cross” attends to/);
  await page.keyboard.press('ArrowLeft');
  assert.equal(await page.textContent('.sentence-word[aria-pressed=true]'), await page.evaluate(() => document.activeElement.textContent));
  const other = page.locator('.sentence-heads button').nth(1);
  const name = await other.locator('small').textContent();
  await other.click();
  await page.waitForFunction((head) => document.querySelector(`[data-head="${head}"]`).getAttribute('aria-pressed') === 'true', name);
  assert.deepEqual(await layout(), before, 'nothing moves');
  await page.getByRole('link', { name: 'See all heads and weights' }).click();
  await page.waitForSelector('[data-testid=text] .box.query');
  await settled(page);
  assert.equal(`L${stateOf(page).h.replace('.', '.H')}`, name);
  await page.goBack();
  await ready(page);
  assert.equal(await page.locator('.regions').count(), 0, 'Back returns to the sentence');
});

test('Why explains the answer for the selected word', { skip }, async () => {
  const page = await open(`${url}#t=0&v=why&q=${state().get('q')}`);
  await explained(page, '[data-testid=why-trust]');
  assert.match(await page.textContent('[data-testid=why-answer]'), /“it”: \d/);
});

test('the tour has seven steps, each about a part that is in view, and the glossary explains its terms', { skip }, async () => {
  const page = await open(url);
  await ready(page);
  await page.click('[data-testid=tour-start]');
  const seen = new Set();
  for (let step = 1; step <= 7; step++) {
    await page.waitForFunction((n) => document.querySelector('.tour-count')?.textContent === `Step ${n} of 7`, step);
    await page.waitForSelector('.tour-about:visible');
    seen.add(await page.textContent('[data-testid=tour-sentence]'));
    await page.click('[data-testid=tour-next]');
  }
  assert.equal(seen.size, 7);
  assert.equal(await page.locator('[data-testid=tour]').isVisible(), false);
  await page.keyboard.press('t');
  await page.waitForSelector('[data-testid=tour]:visible');
  assert.match(await page.getAttribute('[data-testid=tour-sentence] dfn', 'title'), /model reads as a unit/);
});

test('the model view draws every head, exports the weights of the trace, and opens a head among the lines', { skip }, async () => {
  const page = await open(`${url}#${example.state.replace('v=read', 'v=model')}&t=0`);
  await page.waitForSelector('.model-panel[data-heads="8"]');
  const inked = await page.$$eval('.model-head canvas', (list) =>
    list.map((c) => new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer).filter((p) => p !== 0).length),
  );
  assert.ok(inked.length === 8 && Math.min(...inked) > 500, `${inked}`);
  await page.keyboard.press('p');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-export=json]')]);
  const { heads } = JSON.parse(readFileSync(await download.path(), 'utf8'));
  // The page contains the model, so its engine computes the weights, from the trace that the program recorded and with the backend ref.
  const trace = join(folder, 'sentence.trace');
  execFileSync(binary, ['trace', join(shipped, 'pronouns'), example.input, '-o', trace], { stdio: 'ignore' });
  const server = new Viewer(await viewWith({ CLEARHEAD_BACKEND: 'ref' }, trace));
  for (const { layer, head, weights } of heads) {
    const exact = await server.row([layer, head], 8);
    weights[8].forEach((weight, key) => assert.ok(Math.abs(weight - exact[key]) < 1e-6, `${layer}.${head} ${key}`));
  }
  await page.keyboard.press('Escape');
  await page.click('.model-head[data-head="1.2"]');
  await page.waitForFunction(() => document.querySelector('#app').dataset.view === 'lines');
  await settled(page);
  assert.equal(stateOf(page).h, '1.2');
});

test('presentation mode has large type and turns to the next question by key', { skip }, async () => {
  const page = await open(`${url}#t=2&v=read`);
  await page.waitForSelector('[data-testid=look-for]');
  const size = () => page.$eval('.caption', (e) => parseFloat(getComputedStyle(e).fontSize));
  const small = await size();
  await page.keyboard.press('f');
  await page.waitForFunction(() => document.querySelector('#app').dataset.present === 'true');
  assert.ok((await size()) > 1.4 * small);
  const first = await page.textContent('[data-testid=look-for] strong');
  await page.keyboard.press('PageDown');
  await page.waitForFunction(
    (title) => ![title, undefined].includes(document.querySelector('[data-testid=look-for] strong')?.textContent),
    first,
  );
  assert.equal(await page.getAttribute('#app', 'data-present'), 'true');
});

for (const [name, options] of [
  ['light', {}],
  ['dark, Chinese, on a phone', { colorScheme: 'dark', locale: 'zh-CN', viewport: { width: 390, height: 844 }, hasTouch: true }],
]) {
  test(`axe finds nothing in the opening sentence and the tour, and nothing is wider than the page, ${name}`, { skip }, async () => {
    const page = await open(url, options);
    await ready(page);
    for (const part of ['.opening', '[data-testid=tour]']) {
      await page.evaluate(axeSource());
      const violations = await page.evaluate(
        async (selector) =>
          (await window.axe.run(selector, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes[0].html}`),
        part,
      );
      assert.deepEqual(violations, [], part);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), part);
      if (part === '.opening') {
        await page.click('[data-testid=tour-start]');
        await page.waitForSelector('.tour-about');
      }
    }
  });
}
