// Accessibility: axe finds no violation with light, dark and forced colours, in wide and narrow windows; every panel has a table; no
// information depends on colour alone.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { axeSource } from './browser.mjs';
import { answers, explained, useBrowser } from './harness.mjs';
import { view } from './program.mjs';
import { prose } from './text.mjs';
import { book, plantedRun, serve, serveProse, skip } from './traces.mjs';

const { open } = useBrowser();
let server; // a trace
let model; // a model, for explanations and edits
const timed = [];
before(async () => {
  if (skip) return;
  server = await serveProse(300, { layers: 3, heads: 4 });
  model = await view(book, prose(40).text);
  const shape = { layers: 2, heads: 4 };
  timed.push(await serve(plantedRun(60, [0, 10, 90], shape)));
  timed.push(await serveProse(60, { ...shape, causal: true, generated: [0.2, 0.9, 0.01] }));
});

async function violations(page) {
  await page.evaluate(axeSource());
  return page.evaluate(async () => {
    const { violations: found } = await window.axe.run(document, {
      resultTypes: ['violations'],
    });
    return found.map(
      (v) =>
        `${v.id}: ${v.nodes
          .slice(0, 3)
          .map((n) => `${n.target.join(' ')} ${n.failureSummary.replace(/\s+/g, ' ').slice(0, 200)}`)
          .join(' | ')}`,
    );
  });
}

const looks = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  forced: { forcedColors: 'active' },
  narrow: { viewport: { width: 420, height: 860 } },
};
for (const [name, options] of Object.entries(looks)) {
  for (const view of ['read', 'lines', 'map', 'atlas']) {
    test(`axe finds nothing in ${view}, ${name}`, { skip }, async () => {
      const page = await open(`${server.url}#v=${view}&h=2.2,0.1&q=20-24&k=10-12`, options);
      await page.waitForSelector('[data-testid=atlas-badge] .badge', {
        state: 'attached',
      });
      await page.waitForFunction(() => document.querySelector('[data-testid=answers] button') !== null);
      assert.deepEqual(await violations(page), []);
    });
  }
}

for (const [name, options] of Object.entries(looks)) {
  test(`axe finds nothing in why and what if, ${name}`, { skip }, async () => {
    const why = await open(`${model.url}#v=why`, options);
    await explained(why, '[data-testid=why-agreement] td');
    assert.deepEqual(await violations(why), []);
    const edited = await open(`${model.url}#v=what-if&edit=c~4-6;x~dec.1.2&q=20&h=1.1`, options);
    await edited.waitForSelector('[data-testid=if-answers] td');
    await edited.waitForSelector('[data-testid=if-map]');
    assert.deepEqual(await violations(edited), []);
  });
}

for (const [name, options] of Object.entries(looks)) {
  test(`axe finds nothing in compare, ${name}`, { skip }, async () => {
    for (const show of ['difference', 'sides']) {
      const page = await open(`${model.url}#v=compare&h=1.1,2.2&q=20&show=${show}`, options);
      await page.waitForSelector('[data-testid=compare-heads] td');
      await page.waitForSelector('[data-testid=compare-badge] .badge');
      assert.deepEqual(await violations(page), []);
    }
  });
}

for (const [name, options] of Object.entries(looks)) {
  test(`axe finds nothing in the neuron view, ${name}`, { skip }, async () => {
    const page = await open(`${server.url}#v=neuron&h=2.2&q=20`, options);
    await page.waitForSelector('.neuron-table tbody tr');
    assert.deepEqual(await violations(page), []);
  });
}

for (const [name, options] of Object.entries(looks)) {
  test(`axe finds nothing in the timelines, ${name}`, { skip }, async () => {
    for (const { url } of timed) {
      const page = await open(`${url}#h=1.1&q=58`, options); // of the generated text, a row that writes
      await page.waitForSelector('[data-testid=answers] button');
      await page.click('.timeline-panel [aria-label="Show as a table"]');
      assert.deepEqual(await violations(page), []);
    }
  });
}

test('axe finds nothing in the dialogs', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2&q=20`);
  await answers(page, 20);
  for (const key of ['?', 'p']) {
    await page.keyboard.press(key);
    await page.waitForSelector('dialog[open]');
    assert.deepEqual(await violations(page), []);
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => !document.querySelector('dialog[open]'));
  }
});

test('each panel can be read as a table', { skip }, async () => {
  const page = await open(`${server.url}#v=map&h=2.2&q=20`);
  await answers(page, 20);
  await page.waitForSelector('[data-testid=map-badge] .badge');
  for (const panel of ['.answers-panel', '.map-panel', '.atlas-panel']) {
    await page.click(`${panel} [aria-label="Show as a table"]`);
    await page.waitForSelector(`${panel} table`);
    assert.ok((await page.locator(`${panel} td`).count()) > 8);
  }
});

test('forced colours say weight by the thickness of a line', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2&q=20`, {
    forcedColors: 'active',
  });
  const shown = await answers(page, 20);
  const thickness = (t) => page.$eval(`.box[data-box="${t}"]`, (e) => parseFloat(getComputedStyle(e).textDecorationThickness));
  const faint = await page.$$eval('.box', (list) => Number(list.find((b) => !/\bw[2-5]\b/.test(b.className))?.dataset.box ?? -1));
  assert.ok((await thickness(shown[0].token)) >= 6);
  assert.ok(faint >= 0, 'the fixture has a faint token');
  assert.ok(!((await thickness(faint)) >= 6));
});
