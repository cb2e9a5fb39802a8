// The model's answer, wherever the page states it: after a run, in What if (labels of tokens, a new translation), in Why (a label of one's
// choice), and the numbers of a view as CSV. Expected values come from the command line or from other requests.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, explained, settled, skip as noBrowser, stateOf, useBrowser } from './harness.mjs';
import { binary, endAll, json, view } from './program.mjs';

const skip = noBrowser || (existsSync(binary) ? false : `no ${binary}`);
const models = fileURLToPath(new URL('../../models/', import.meta.url));
const kTired = "The animal didn't cross the street because it was too tired.";
const kWide = "The animal didn't cross the street because it was too wide.";
const kRed = 'The red car stops in front of the old house.';
const { open } = useBrowser();
let pronouns, wide, translator;

/** What the program's command prints: the answer of a model. */
const said = (model, text) => execFileSync(binary, ['run', join(models, model), text], { stdio: ['ignore', 'pipe', 'ignore'] }).toString();
const percentOf = (text) => Number(/([\d.]+)\s*%/.exec(text)[1]);
const text = (page, id) => page.textContent(`[data-testid=${id}]`);

before(async () => {
  if (skip) return;
  pronouns = await view(join(models, 'pronouns'), kTired);
  wide = await view(join(models, 'pronouns'), kWide);
  translator = await view(join(models, 'en-fr'), kRed);
});
after(endAll);

test('the answer stands above the text, also after a run, which opens on the word that has it', { skip }, async () => {
  const page = await open(pronouns.url);
  await eventually(async () => /“it” → “animal” 100/.test(await text(page, 'answered')), 'the answer');
  assert.match(said('pronouns', kTired), /animal\s+it/);
  await page.click('[data-action=run]');
  const typed = 'The wolf did not climb the hill because it was too steep.';
  await page.fill('[data-testid=run-text]', '');
  await page.click('.dialog button.primary');
  await eventually(async () => /write at least one word/.test(await page.textContent('dialog')), 'the error');
  page.errors = page.errors.filter((one) => !/400/.test(one)); // the browser's own note on the refused text
  await page.fill('[data-testid=run-text]', typed);
  await page.click('.dialog button.primary');
  const [, label] = /%\s+(\S+)\s+it/.exec(said('pronouns', typed));
  await eventually(async () => (await text(page, 'answered')).includes(`“it” → “${label}”`), label);
  await settled(page);
  assert.equal(await page.textContent('.box.query'), 'it');
  await page.click('[data-action=run]');
  await page.fill('[data-testid=run-text]', kTired);
  await page.click('.dialog button.primary');
  await eventually(async () => (await text(page, 'answered')).includes('“animal”'), 'the first text again');
});

test('What if: the label of the selected word before and after, and without one all labels that changed', { skip }, async () => {
  const page = await open(`${pronouns.url}#v=what-if&h=1.2&q=8&edit=t~${encodeURIComponent(kWide)}`);
  const rows = () =>
    page.$$eval('[data-testid=if-answers] tbody tr', (list) => list.map((tr) => [...tr.children].map((cell) => cell.textContent)));
  await eventually(async () => (await rows()).length === 2, 'two labels');
  const [animal, street] = await rows();
  assert.deepEqual([animal[0], street[0]], ['it: animal', 'it: street']);
  assert.ok(Math.abs(percentOf(animal[1]) - percentOf(said('pronouns', kTired))) < 0.011, animal[1]);
  assert.ok(Math.abs(percentOf(street[2]) - percentOf(said('pronouns', kWide))) < 0.011, street[2]);
  await page.locator('.what-if-panel .box[data-box="1"]').click();
  await eventually(async () => (await rows())[0]?.[0] === 'animal: O', 'the label of another word');
  await page.evaluate(() => (location.hash = location.hash.replace(/&q=[^&]*/, '')));
  await eventually(async () => (await rows())[0]?.[0] === 'it: animal', 'the labels that changed');
});

test('What if: a hidden word is struck through, and the new translation is shown', { skip }, async () => {
  const page = await open(`${translator.url}#v=what-if&h=1.2&q=14&edit=c~1-2`);
  await page.waitForSelector('[data-testid=if-written]');
  const before = said('en-fr', kRed).trim().split('\n').pop().trim();
  assert.match(before, /rouge/);
  const lines = await page.$$eval('[data-testid=if-written] p', (list) => list.map((p) => p.textContent));
  assert.equal(lines[0], `before ${before}`);
  assert.match(lines[1], /^after La voiture /);
  assert.doesNotMatch(lines[1], /rouge/);
  assert.deepEqual(await page.$$eval('.what-if-panel .box.struck', (list) => list.map((box) => box.textContent)), ['red']);
});

test('Why: a typed label of the chosen token is explained; an unknown one leaves no table of another answer', { skip }, async () => {
  const page = await open(`${pronouns.url}#v=why&h=1.2&q=8`);
  await explained(page, '[data-testid=why-cut]');
  const shown = () => page.textContent('.why-answer, [data-testid=why-answer]');
  await eventually(async () => /tag “animal” of #8 “it”/.test(await shown()), 'the model’s answer');
  assert.match(await text(page, 'why-cut'), /Largest effect: hiding “animal” from every token/);
  const type = async (label) => {
    await page.fill('[data-testid=why-of]', label);
    await page.keyboard.press('Enter');
  };
  await type('street');
  await eventually(async () => /tag “street” of #8 “it”/.test(await shown()), 'the typed label');
  assert.equal(stateOf(page).target, '#8 street');
  await type('strat');
  await eventually(async () => /no class "strat"/.test(await page.textContent('.explain-progress')), 'the error');
  assert.equal(await page.$('[data-testid=why-cut]'), null);
  assert.equal(await shown(), '');
  page.errors = page.errors.filter((one) => !/400/.test(one));
});

test('Why: parts with almost the same effect are named', { skip }, async () => {
  const page = await open(`${wide.url}#v=why&h=1.2&q=8`);
  await explained(page, '[data-testid=why-cut]');
  assert.match(await text(page, 'why-cut'), /hiding “(wide|street)”.*Almost the same effect, each hidden alone: “(wide|street)”/s);
});

test('the numbers of a row can be saved as CSV, with the text of each token', { skip }, async () => {
  const page = await open(`${pronouns.url}#v=read&h=1.2&q=8&word=0`);
  await settled(page);
  await page.keyboard.press('p');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-export=csv]')]);
  const lines = readFileSync(await download.path(), 'utf8')
    .trim()
    .split('\n');
  const { data } = (await json(pronouns, 'row?l=1&h=2&q=8&values=all&format=json')).arrays.values;
  assert.equal(lines[0], 'item,text,0');
  assert.equal(lines.length, data.length + 1);
  assert.match(lines[2], /^1," animal",/);
  data.forEach((weight, id) => assert.ok(Math.abs(Number(lines[id + 1].split(',').pop()) - weight) < 1e-7, lines[id + 1]));
});
