// The gallery that an offline page of several traces opens with: cards with a caption, which open by click or key; leaving and
// returning.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { axeSource } from './browser.mjs';
import { answers, settled, stateOf, useBrowser } from './harness.mjs';
import { build } from './program.mjs';
import { folder, galleryOf, planted, plantedProse, skip, traceOf } from './traces.mjs';

const { open } = useBrowser();
const look = (en, zh) => ({ en, zh });
const cats = () => traceOf(planted('A cat saw a cat on the mat.', { name: 'cats' }));
const one = () => traceOf(planted('One two one two.', { name: 'one', layers: 1, heads: 1 }));
const novel = plantedProse(60, { name: 'novel', layers: 2, heads: 3 });
let url;
before(() => {
  if (skip) return;
  const sentences = [look('Cat looks at <cat>.', '猫看猫。'), look('The diagonal.', '对角线。'), look('Two after one.', '一之后是二。')];
  const states = ['v=lines&h=0.1&q=4', 'v=map&h=1.2&q=30', 'h=0.0&q=2'];
  url = pathToFileURL(galleryOf([cats(), traceOf(novel), one()], states, sentences)).href;
});

const cards = (page) => page.locator('[data-testid=gallery] .card');
const drawn = (page) => page.waitForFunction(() => document.querySelectorAll('.card canvas[data-drawn=true]').length === 3);
const opened = (page, view) => page.waitForFunction((wanted) => document.querySelector('#app').dataset.view === wanted, view);

test('the page opens on a card a trace, each with its question, answer, model and picture', { skip }, async () => {
  const page = await open(url);
  await drawn(page);
  const texts = (of) => cards(page).locator(of).allTextContents();
  assert.deepEqual(await texts('h2'), ['What does 0 show?', 'What does 1 show?', 'What does 2 show?']);
  assert.deepEqual(await texts('.card-answer'), ['→ answer 0', '→ answer 1', '→ answer 2']);
  assert.deepEqual(await texts('.card-model'), ['cats', 'novel', 'one']);
  const begins = await cards(page).nth(1).locator('.card-text').textContent();
  assert.ok(begins.length > 20 && novel.text.toString().replace(/\s/g, ' ').startsWith(begins.replace('…', '')), begins);
  await page.waitForTimeout(100);
  const colours = await page.$$eval('.card canvas', (list) =>
    list.map((c) => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size),
  );
  for (const n of colours) assert.ok(n > 20, `${colours}`);
  assert.equal(await page.locator('[data-testid=gallery] h1').textContent(), 'Choose a question');
  assert.deepEqual(
    page.requests.filter((r) => r !== url && !r.startsWith('data:') && !r.startsWith('blob:')),
    [],
  );
});

test('a click opens a trace in its state, which repeats the sentence; Back returns, and Forward opens it again', { skip }, async () => {
  const page = await open(url);
  await drawn(page);
  await cards(page).nth(1).click();
  await answers(page, 30);
  assert.equal(await page.getAttribute('#app', 'data-view'), 'map');
  assert.equal(await page.textContent('[data-testid=look-for] p'), 'What does 1 show? → answer 1What to look for: The diagonal.');
  await settled(page);
  assert.equal(stateOf(page).t, '1');
  await page.goBack();
  await drawn(page);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.trace), '1');
  assert.equal(await page.locator('.regions').count(), 0);
  await page.goForward();
  await answers(page, 30);
});

test('the button of the top bar returns, and then any other trace can be opened', { skip }, async () => {
  const page = await open(`${url}#t=2&h=0.0&q=2`);
  await answers(page, 2);
  await page.click('[data-action=gallery]');
  await drawn(page);
  await cards(page).first().click();
  await opened(page, 'lines');
  assert.match(await page.textContent('[data-testid=look-for]'), /Cat looks at <cat>/);
  assert.equal(await page.getByLabel('Choose a trace').inputValue(), '0');
});

test('the keyboard alone chooses, opens and returns', { skip }, async () => {
  const page = await open(url);
  await drawn(page);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  const focused = () => page.evaluate(() => document.activeElement.dataset.trace);
  assert.equal(await focused(), '0');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('End');
  assert.equal(await focused(), '2');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Enter');
  await answers(page, 30);
  await page.keyboard.press('g');
  await drawn(page);
  assert.equal(await focused(), '1');
});

test('in Chinese the cards and what they open are Chinese', { skip }, async () => {
  const page = await open(url);
  await drawn(page);
  await page.click('[data-action=language]');
  await page.waitForFunction(() => document.documentElement.lang === 'zh');
  await drawn(page);
  assert.equal(await cards(page).nth(2).locator('h2').textContent(), '2 显示什么？');
  await cards(page).nth(2).click();
  await page.waitForSelector('[data-testid=answers] button');
  assert.match(await page.textContent('[data-testid=look-for]'), /一之后是二。/);
  await page.goBack();
  await drawn(page);
  assert.equal(await cards(page).first().locator('h2').textContent(), '0 显示什么？');
});

test('traces without a sentence open on the first, with no choice to return to', { skip }, async () => {
  const plain = galleryOf([cats(), one()], ['h=0.1&q=4', 'h=0.0&q=2'], [null, look('Two.', '二。')]);
  const page = await open(pathToFileURL(plain).href);
  await answers(page, 4);
  assert.equal(await page.locator('[data-action=gallery]').count(), 0);
  assert.equal(await page.locator('[data-testid=look-for]').count(), 0);
});

const maker = join(build, 'clearhead-item-traces');

/** A page of generated traces of items, with captions; each trace is [name, state]. */
function pageOfItems(list) {
  execFileSync(maker, [folder]);
  const [names, states] = [list.map(([name]) => name), list.map(([, state]) => state)];
  const sentences = names.map((name) => look(name, name));
  return pathToFileURL(
    galleryOf(
      names.map((name) => join(folder, `${name}.trace`)),
      states,
      sentences,
    ),
  ).href;
}

test(
  'patches are lit over their picture, frames stand under their spectrogram, and a memory has a row a hop',
  { skip: skip || (existsSync(maker) ? false : `no ${maker}`) },
  async () => {
    const states = [
      ['scene', 'f=cross&h=1.0&q=8'],
      ['frames', 'f=cross&h=0.0&q=4'],
      ['memory', 'f=hop&h=0.0'],
    ];
    const page = await open(pageOfItems(states));
    await drawn(page);
    await page.waitForTimeout(100);
    const [scene, frames, memory] = await page.$$eval('.card canvas', (list) =>
      list.map((c) => ({ wide: c.width, tall: c.height, data: [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data] })),
    );
    const at = ({ wide, data }, x, y) =>
      data.slice(4 * (Math.round(y) * wide + Math.round(x)), 4 * (Math.round(y) * wide + Math.round(x)) + 3);
    const side = Math.min(scene.tall, (scene.wide - 8) / 2);
    const patch = (row, column) =>
      at(scene, scene.wide / 2 + 4 + ((column - 0.9) / 9) * side, (scene.tall - side) / 2 + ((row - 0.9) / 9) * side);
    const yellow = ([r, , b]) => r - b;
    assert.ok(yellow(patch(5, 2)) > 60 && yellow(patch(1, 8)) < 0, `${patch(5, 2)} and ${patch(1, 8)}`);
    const coloured = ({ wide, data }, from, to) => {
      let n = 0;
      for (let i = 4 * wide * Math.round(from); i < 4 * wide * Math.round(to); i += 4)
        n += data[i + 3] > 0 && Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60;
      return n;
    };
    assert.ok(coloured(frames, 0, 0.4 * frames.tall) > 0.2 * frames.wide * 0.4 * frames.tall, 'the spectrogram');
    assert.ok(coloured(frames, 0.4 * frames.tall, frames.tall) > 20, 'the map under it');
    const rows = new Set();
    for (let y = 0; y < memory.tall; y++) rows.add(coloured(memory, y, y + 1));
    assert.ok(rows.size > 2, 'hops differ');
  },
);

for (const [name, options] of Object.entries({
  wide: {},
  narrow: { viewport: { width: 390, height: 800 } },
  dark: { colorScheme: 'dark' },
  'forced colours': { forcedColors: 'active' },
})) {
  test(`axe finds nothing, and nothing is wider than the page, ${name}`, { skip }, async () => {
    const page = await open(url, options);
    await drawn(page);
    await page.evaluate(axeSource());
    const found = await page.evaluate(async () =>
      (await window.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes[0].html}`),
    );
    assert.deepEqual(found, []);
    assert.ok(await page.$eval('.gallery', (e) => e.scrollWidth <= e.clientWidth));
  });
}
