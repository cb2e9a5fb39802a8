// Keyboard only: load, select a head, pin a token, extend a span, copy the link; the link restores the same state.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { answers, settled, stateOf, useBrowser } from './harness.mjs';
import { serveProse, skip } from './traces.mjs';

const { open } = useBrowser();
let server;
before(async () => (server = skip ? null : await serveProse(300)));

test('head, token, span, copied link, reload: the same state', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2`, {
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  await page.locator('.box').first().waitFor();
  const keys = async (...list) => {
    for (const key of list) await page.keyboard.press(key);
  };
  await keys('Alt+ArrowRight', 'Alt+ArrowDown', 'Alt+ArrowDown'); // L2.H2 → L4.H3
  await keys('ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowDown', 'Enter');
  await keys('Shift+ArrowRight', 'Shift+ArrowRight', 's', 'c');
  await settled(page);
  const link = await page.evaluate(() => navigator.clipboard.readText());
  const wanted = stateOf(page);
  assert.equal(wanted.h, '4.3');
  assert.match(wanted.q, /^\d+-\d+$/);
  const [begin, end] = wanted.q.split('-').map(Number);
  assert.ok(end - begin >= 3 && begin > 3, `a line down and a span of three: ${wanted.q}`);
  assert.equal(wanted.sink, 'hide');
  assert.ok(link.startsWith(`${server.base}#`), link);
  const again = await open(`${server.url}${new URL(link).hash}`);
  await answers(again, begin);
  const found = stateOf(again);
  assert.deepEqual({ ...found, id: undefined }, { ...wanted, id: undefined });
  assert.equal(await again.locator('.box.query').count(), await page.locator('.box.query').count());
});

test('what moves replaces the URL, what is pinned can be gone back from', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2&q=10`);
  await answers(page, 10);
  const length = () => page.evaluate(() => history.length);
  const before = await length();
  for (let i = 0; i < 5; i++) await page.keyboard.press('ArrowRight');
  await settled(page);
  assert.equal(await length(), before);
  await page.locator('.box[data-box="40"]').click();
  await page.mouse.move(5, 5);
  await answers(page, 40);
  assert.equal(await length(), before + 1);
  await page.goBack();
  await answers(page, 15);
});

test('keys this version does not know stay in the URL', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2&q=10&future=1,2`);
  await answers(page, 10);
  await page.keyboard.press('ArrowRight');
  await settled(page);
  assert.equal(stateOf(page).future, '1,2');
});

test('a link made on another trace warns, and its positions, targets and edits are left out', { skip }, async () => {
  const page = await open(`${server.url}#v=map&h=9.9,2.2&q=10&k=3&x=2,2,40,40&edit=c~3-5&target=%2312&contrast=x&id=somethingelse`);
  await page.waitForSelector('.banner.warn');
  await settled(page);
  const { q, ...state } = stateOf(page);
  assert.notEqual(q, '10');
  assert.deepEqual({ ...state, id: '' }, { v: 'map', h: '2.2', id: '' });
  assert.notEqual(state.id, 'somethingelse');
});

test('going back to an address of another text leaves its positions and edits out', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2&q=10`);
  await answers(page, 10);
  await page.evaluate(() => (location.hash = 'h=1.1&q=30&edit=c~3-5&target=%2312&id=somethingelse'));
  await page.waitForSelector('.notice');
  await page.waitForFunction(() => document.querySelector('[data-pin="1.1"]') !== null);
  assert.equal(await page.locator('.box.query').count(), 0);
});

test('the status is spoken: head, token and the heaviest keys', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2&q=10`);
  await page.waitForFunction(() => /^L2\.H2: .+ → .+%/.test(document.querySelector('[data-testid=live]')?.textContent ?? ''));
});

test('r, m and a change the view, ? opens help, Escape closes it', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2&q=10`);
  await answers(page, 10);
  for (const [key, view] of [
    ['m', 'map'],
    ['a', 'atlas'],
    ['r', 'read'],
  ]) {
    await page.keyboard.press(key);
    await page.waitForFunction((v) => document.getElementById('app').dataset.view === v, view);
  }
  await page.keyboard.press('?');
  await page.waitForSelector('dialog[open]');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('dialog[open]'));
});
