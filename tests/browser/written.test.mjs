// Rows of a model that writes are named by the word being written: a translation by models/en-fr, and a prompt that was continued.
// Every view names a row alike, and a click on a word selects the row that wrote it.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { answers, assertPrinted, eventually, settled, stateOf, useBrowser } from './harness.mjs';
import { json, view } from './program.mjs';
import { Viewer, serve, plantedProse, skip } from './traces.mjs';

const { open } = useBrowser();
const kHead = [2, 3]; // in models/en-fr, it attends to the word that is translated
const kGenerated = 4;
let translator;
let generator;
const tokenOf = {}; // [word] → its token
before(async () => {
  if (skip) return;
  const models = fileURLToPath(new URL('../../models/', import.meta.url));
  translator = new Viewer(await view(`${models}en-fr`, 'The red car is in front of the white house.'));
  const { arrays } = await json(translator, 'text?format=json');
  const text = Buffer.from(arrays.text.data);
  arrays.begin.data.forEach((begin, id) => {
    const word = text.subarray(begin, arrays.end.data[id]).toString().trim();
    if (word) tokenOf[word] ??= id;
  });
  tokenOf.start = (await translator.info()).families[0].query_range[0];
  generator = await serve(plantedProse(60, { layers: 2, heads: 4, causal: true, generated: [0.25, 0.9, 0.5, 0.1] }));
});

const title = (page) => page.textContent('.answers-panel h2');
const cross = (more) => `${translator.url}#f=cross&h=${kHead.join('.')}&${more}`;

test('a click on a translated word selects the row that wrote it', { skip }, async () => {
  const page = await open(cross('v=read&word=0'));
  await page.locator(`.box[data-box="${tokenOf.rouge}"]`).click();
  await page.mouse.move(5, 5);
  const given = await answers(page, tokenOf.rouge);
  await settled(page);
  const row = tokenOf.rouge - 1;
  assert.equal(stateOf(page).q, String(row));
  const exact = await translator.row(kHead, row, { f: 'cross' });
  for (const { token, weight } of given) assertPrinted(weight, exact[token]);
  assert.equal(given[0].token, tokenOf.red); // no other row of this head translates “red”
  assert.match(await title(page), /^L2\.H3 When writing “rouge”, it attends to$/);
});

test('every view names the row by the word that it wrote', { skip }, async () => {
  const row = tokenOf.rouge - 1;
  const lines = await open(cross(`v=lines&q=${row}`));
  await lines.waitForFunction(() => document.querySelector('.of-query .chosen') !== null);
  assert.equal(await lines.textContent('.of-query .chosen'), 'rouge');
  assert.equal(await lines.getAttribute('.of-query .chosen', 'data-token'), String(row));
  assert.match(await lines.textContent('[data-testid=lines-caption]'), /named by that token/);
  const map = await open(cross(`v=map&q=${row}&k=${tokenOf.red}`));
  const status = `#${tokenOf.rouge} rouge → #${tokenOf.red} red`;
  await map.waitForFunction((wanted) => document.querySelector('[data-testid=map-status]')?.textContent.startsWith(wanted), status);
  await map.click('.map-panel [aria-label="Show as a table"]');
  await map.waitForSelector('.map-panel th[scope=row]');
  const names = await map.$$eval('.map-panel th[scope=row]', (list) => list.map((e) => e.textContent));
  assert.ok(names.includes(`#${tokenOf.rouge} rouge`), names.join());
  assert.equal(names.at(-1), '(after the end)');
  const atlas = await open(cross(`v=atlas&q=${row}&k=${tokenOf.red}`));
  await atlas.waitForFunction(() => document.querySelector('[data-testid=mass] .caption')?.textContent.includes('rouge'));
  assert.match(await atlas.textContent('[data-testid=mass] .caption'), /to “red” when writing “rouge”/);
  const compare = await open(cross(`v=compare&q=${row}&with=head&to=1.0`));
  await compare.waitForFunction(() => document.querySelector('[data-testid=compare-caption]')?.textContent.includes('writing “rouge”'));
  const chinese = await open(cross(`v=read&q=${row}&lang=zh`));
  await answers(chinese, tokenOf.rouge);
  assert.match(await title(chinese), /写“rouge”时关注/);
});

test('a column is shown on the words that were written', { skip }, async () => {
  const page = await open(cross(`v=read&d=in&k=${tokenOf.red}`));
  const given = await answers(page, tokenOf.red);
  const column = await translator.column(kHead, tokenOf.red, { f: 'cross' });
  assert.equal(given[0].token, tokenOf.rouge);
  for (const { token, weight } of given.slice(0, 4)) assertPrinted(weight, column[token - 1]);
  const shaded = await page.$$eval('.box.w5', (list) => list.map((e) => Number(e.dataset.box)));
  assert.deepEqual(shaded, [tokenOf.rouge]);
});

test('the start token selects the row of the first word, and arrows pass it by', { skip }, async () => {
  const first = tokenOf.start + 1;
  const page = await open(cross(`v=read&q=${first + 1}`));
  await answers(page, first + 2);
  for (const token of [first + 1, first]) {
    await page.keyboard.press('ArrowLeft');
    await answers(page, token);
  }
  await page.locator(`.box[data-box="${tokenOf.start}"]`).click();
  await page.mouse.move(5, 5);
  await settled(page);
  assert.equal(stateOf(page).q, String(tokenOf.start));
  await answers(page, first);
});

test('the row after the end can be reached and left with arrows', { skip }, async () => {
  const [, end] = (await translator.info()).families[0].query_range;
  const page = await open(cross(`v=read&q=${end - 2}`));
  await answers(page, end - 1);
  await page.keyboard.press('ArrowRight');
  await eventually(async () => (await title(page)).includes('(after the end)'), 'the last row');
  await page.keyboard.press('ArrowLeft');
  await answers(page, end - 1);
});

test('in a continued prompt, the rows of the prompt read and the others write', { skip }, async () => {
  const { n } = generator;
  const head = [1, 1];
  const page = await open(`${generator.url}#v=read&h=1.1&q=5`);
  const choose = async (token, row, named) => {
    await page.locator(`.box[data-box="${token}"]`).click();
    await page.mouse.move(5, 5);
    const given = await answers(page, named);
    await settled(page);
    assert.equal(stateOf(page).q, String(row));
    const exact = await generator.row(head, row);
    for (const { token: key, weight } of given) assertPrinted(weight, exact[key]);
    return title(page);
  };
  const first = n - kGenerated;
  assert.doesNotMatch(await choose(20, 20, 20), /writing/);
  const name = (await page.textContent(`.box[data-box="${first + 1}"]`)).trim();
  assert.match(await choose(first + 1, first, first + 1), /When writing “/);
  await choose(first - 1, first - 1, first); // the end of the prompt: its row wrote the first token
  const lines = await open(`${generator.url}#v=lines&h=1.1&q=${first}`);
  await lines.waitForFunction(() => document.querySelector('.of-query .chosen') !== null);
  assert.equal(await lines.textContent('.of-query .chosen'), name);
  const map = await open(`${generator.url}#v=map&h=1.1&q=${first}&k=3`);
  await map.waitForFunction(
    (wanted) => document.querySelector('[data-testid=map-status]')?.textContent.startsWith(wanted),
    `#${first + 1} ${name} → #3 `,
  );
});
