// Means over heads and layers: chosen with the names around the atlas, and shown by every view that shows heads.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { answers, assertPrinted, eventually, stateOf, useBrowser } from './harness.mjs';
import { pageOf, plantedProse, serveProse, skip, traceOf } from './traces.mjs';

const { open } = useBrowser();
const kSize = [60, { layers: 2, heads: 3, causal: true }];
const all = (count) => [...Array(count).keys()];

const meanRow = async (viewer, heads, query) => {
  const rows = await Promise.all(heads.map((head) => viewer.row(head, query)));
  return rows[0].map((_, key) => rows.reduce((sum, row) => sum + row[key], 0) / rows.length);
};

for (const [name, heads, label] of [
  ['L1', all(3).map((h) => [1, h]), 'L1.mean'],
  ['H2', all(2).map((l) => [l, 2]), 'mean.H2'],
  ['mean', all(2).flatMap((l) => all(3).map((h) => [l, h])), 'mean'],
]) {
  test(`the name ${name} in the atlas shows the mean of its heads, in the text and on the map`, { skip }, async () => {
    const viewer = await serveProse(...kSize);
    const page = await open(`${viewer.url}#h=0.0&q=30&v=map&x=20,25,40,35`);
    await answers(page, 30);
    await page.click(`.atlas-panel button.axis:text-is("${name}")`);
    await eventually(async () => (await page.textContent('.answers-panel .title-head')) === label, label);
    const expected = await meanRow(viewer, heads, 30);
    const shown = await answers(page, 30);
    const heaviest = all(expected.length).sort((a, b) => expected[b] - expected[a] || a - b);
    assert.deepEqual(
      shown.map((one) => one.token),
      heaviest.slice(0, shown.length),
    );
    for (const { token, weight } of shown) assertPrinted(weight, expected[token]);
    assert.match(await page.textContent('[data-testid=answer-caption]'), /this is the mean (over|of)/);
    await page.click('.map-panel [aria-label="Show as a table"]');
    await page.waitForFunction(() => /one weight/.test(document.querySelector('.map-panel table')?.caption.textContent ?? ''));
    const [rows, keys] = [
      [25, 26],
      [20, 21, 22],
    ];
    const cells = await page.$$eval('.map-panel table tbody tr', (list) =>
      list.map((row) => [...row.querySelectorAll('td')].map((td) => td.textContent)),
    );
    for (const [r, query] of rows.entries()) {
      const mean = await meanRow(viewer, heads, query);
      for (const [c, key] of keys.entries()) assertPrinted(cells[r][c], mean[key]);
    }
  });
}

test('a mean is verified through its heads, and has no neuron view', { skip }, async () => {
  const viewer = await serveProse(...kSize);
  const page = await open(`${viewer.url}#h=1.mean&q=30`);
  await answers(page, 30);
  await page.click('[data-action=verify]');
  await page.waitForSelector('[data-testid=verify].good');
  await page.keyboard.press('Escape');
  await page.keyboard.press('n');
  await page.waitForFunction(() => /choose one head/.test(document.querySelector('.neuron-panel .caption')?.textContent ?? ''));
});

test('the search box pins a mean, and the back button returns to the head', { skip }, async () => {
  const viewer = await serveProse(...kSize);
  const page = await open(`${viewer.url}#h=0.1&q=30`);
  await answers(page, 30);
  await page.fill('.search input', 'L1.mean');
  await page.keyboard.press('Enter');
  await eventually(async () => (await stateOf(page)).h === '1.mean,0.1', 'pinned');
  await page.goBack();
  await eventually(async () => (await stateOf(page)).h === '0.1', 'unpinned');
});

test('an offline page has names instead of buttons, and drops means of a link', { skip }, async () => {
  const html = pathToFileURL(pageOf([traceOf(plantedProse(...kSize))])).href;
  const page = await open(`${html}#h=1.mean,1.2&q=30`);
  await answers(page, 30);
  assert.equal(await page.locator('button.axis').count(), 0);
  assert.equal((await stateOf(page)).h, '1.2');
  await page.keyboard.press('?');
  assert.match(await page.textContent('dialog[open] .missing'), /means over heads/);
});
