// The neuron view: how the scores of a row are made, channel by channel.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertPrinted, eventually, stateOf, useBrowser } from './harness.mjs';
import { pageOf, plantedProse, serveProse, skip, traceOf } from './traces.mjs';

const { open } = useBrowser();
const kSize = [60, { layers: 2, heads: 3, causal: true }];

async function openNeurons(rest) {
  const viewer = await serveProse(...kSize);
  const page = await open(`${viewer.url}#v=neuron&${rest}`);
  return { viewer, page };
}

const ready = (page, name) => page.waitForFunction((wanted) => document.querySelector('.neuron-panel')?.dataset.query === wanted, name);

test('the neuron view shows the heaviest keys of the row, with exact sums and weights', { skip }, async () => {
  const { viewer, page } = await openNeurons('h=1.2&q=30');
  await ready(page, 'L1.H2 30');
  const row = await viewer.row([1, 2], 30);
  const { arrays, scale } = await viewer.ask('neurons', { l: 1, h: 2, q: 30 });
  const heaviest = [...row.keys()].sort((a, b) => row[b] - row[a] || a - b).slice(0, 16);
  assert.deepEqual(arrays.keys.data, heaviest);
  const lines = await page.$$eval('.neuron-table tbody tr', (all) =>
    all.slice(1).map((tr) => [...tr.children].map((cell) => cell.textContent)),
  );
  assert.equal(lines.length, 16);
  const d = arrays.q.data.length;
  for (const [i, cells] of lines.entries()) {
    const products = Array.from({ length: d }, (_, c) => scale * arrays.q.data[c] * arrays.k.data[i * d + c]);
    const sum = products.reduce((all, one) => all + one, 0);
    assert.ok(Math.abs(Number(cells[4].replace('−', '-')) - sum) < 0.0051, `${cells[4]} is not ${sum}`);
    assertPrinted(cells[5], row[heaviest[i]]);
    const strongest = products.map(Math.abs).indexOf(Math.max(...products.map(Math.abs)));
    assert.ok(cells[3].startsWith(`${strongest}: `), `${cells[3]}, not channel ${strongest}`);
  }
});

test('the status line says q, k and their product for the cell under the pointer', { skip }, async () => {
  const { viewer, page } = await openNeurons('h=0.1&q=12');
  await ready(page, 'L0.H1 12');
  const { arrays } = await viewer.ask('neurons', { l: 0, h: 1, q: 12 });
  const d = arrays.q.data.length;
  const box = await page.locator('[data-place="p 2"]').boundingBox();
  await page.mouse.move(box.x + (box.width * 5.5) / d, box.y + box.height / 2);
  const says = /^channel 5: q (\S+), k of “.*” (\S+), product (\S+)$/;
  await eventually(async () => says.test(await page.textContent('[data-testid=neuron-status]')), says.source);
  const printed = says.exec(await page.textContent('[data-testid=neuron-status]')).slice(1);
  const exact = [arrays.q.data[5], arrays.k.data[2 * d + 5], arrays.products.data[2 * d + 5]];
  for (const [i, text] of printed.entries()) {
    const value = Number(text.replace('−', '-'));
    assert.ok(Math.abs(value - exact[i]) <= 0.0051 * Math.abs(exact[i]), `${text} is not ${exact[i]}`);
  }
});

test('a word above the table chooses the row, and the back button returns', { skip }, async () => {
  const { page } = await openNeurons('h=1.0&q=20');
  await ready(page, 'L1.H0 20');
  await page.click('.neuron-words [data-token="24"]');
  await ready(page, 'L1.H0 24');
  assert.equal(stateOf(page).q, '24');
  await page.goBack();
  await ready(page, 'L1.H0 20');
  await page.keyboard.press('l');
  await page.waitForFunction(() => document.querySelector('#app')?.dataset.view === 'lines');
  await page.keyboard.press('Alt+ArrowRight');
  await page.keyboard.press('n');
  await ready(page, 'L1.H1 20');
});

test('an offline page has no neuron view, and says so', { skip }, async () => {
  const page = await open(`file://${pageOf(traceOf(plantedProse(...kSize)))}#v=read`);
  await page.waitForFunction(() => document.querySelector('[data-testid=banner]') !== null);
  assert.match(await page.textContent('[data-testid=banner]'), /scores by channel/);
  assert.equal(await page.$('input[value=neuron]'), null);
});
