// A translation: source and target form one text, and each family of maps covers sections of it. The rows of the cross map are the
// words that are written, the columns the source's tokens.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { axeSource } from './browser.mjs';
import { answers, assertPrinted, settled, stateOf, useBrowser } from './harness.mjs';
import { asked, plantedTranslation, serve, skip } from './traces.mjs';

const kSource = 'The agreement on the European Economic Area was signed in August 1992.';
const kTarget = "L'accord sur la zone économique européenne a été signé en août 1992.";
const { open } = useBrowser();
const translation = plantedTranslation(kSource, kTarget, { layers: 2, heads: 4 });
const middle = translation.segments[1].begin;
const sur = () => middle + 4;
let server;
before(async () => (server = skip ? null : await serve(translation)));

const wroteSur = () => sur() - 1; // the row that wrote this word
const row = (q) => server.row([0, 2], q, { f: 'cross' });

test('a word of the target shows what it looks at in the source, and the other way round', { skip }, async () => {
  const page = await open(`${server.url}#h=0.2&q=${wroteSur()}&word=0`);
  const given = await answers(page, sur());
  assert.ok(given.length >= 5);
  const exact = await row(wroteSur());
  for (const { token, weight } of given) {
    assert.ok(token < middle);
    assertPrinted(weight, exact[token]);
  }
  await page.keyboard.press('x');
  await page.locator('.box[data-box="6"]').click();
  await page.mouse.move(5, 5);
  const column = await server.column([0, 2], 6, { f: 'cross' });
  for (const { token, weight } of await answers(page, 6)) assertPrinted(weight, column[token - 1]);
  await settled(page);
  assert.deepEqual([stateOf(page).d, stateOf(page).k], ['in', '6']);
});

test('the page opens on a word of the target, whatever was chosen before', { skip }, async () => {
  for (const hash of ['#h=0.2', '#h=0.2&q=3']) {
    const page = await open(`${server.url}${hash}`);
    await page.waitForSelector('[data-testid=answers] button');
    await settled(page);
    assert.ok(Number.parseInt(stateOf(page).q, 10) >= middle); // the rows of a word
  }
});

test('a word of the source gives nothing: it has no row here', { skip }, async () => {
  const page = await open(`${server.url}#h=0.2&q=${wroteSur()}&word=0`);
  await answers(page, sur());
  const before = asked(page, 'row').length;
  await page.locator('.box[data-box="3"]').hover();
  await page.waitForTimeout(200);
  assert.deepEqual(asked(page, 'row').slice(before), []);
});

test('the lines name the target at the left, the source at the right', { skip }, async () => {
  const page = await open(`${server.url}#v=lines&h=0.2&q=${wroteSur()}&word=0`);
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=lines]')?.dataset.curves) > 0);
  const names = (side) =>
    page.$$eval(`.lines-column.of-${side} button`, (list) => list.map((b) => [Number(b.dataset.token), b.textContent]));
  const [left, right] = [await names('query'), await names('key')];
  assert.deepEqual(left[3], [wroteSur(), 'sur']);
  assert.equal(left.at(-1)[1], '(after the end)');
  assert.deepEqual(right[6], [6, 'European']);
  assert.deepEqual([left.length, right.length], [server.n - middle, middle]);
  const parts = await page.$$eval('.lines-column.of-key [data-part]', (list) => list.map((e) => [Number(e.dataset.token), e.dataset.part]));
  assert.ok(parts.length > 1);
  const exact = await row(wroteSur());
  for (const [key, part] of parts) assertPrinted(part, exact[key]);
});

test('the map is the part that there is', { skip }, async () => {
  const page = await open(`${server.url}#v=map&h=0.2&q=${wroteSur()}&word=0`);
  await page.waitForSelector('[data-testid=map-badge] .badge');
  await page.waitForTimeout(200);
  assert.match(await page.textContent('[data-testid=map-caption]'), /queries down \(27\), keys across \(16\)/);
  const [k0, q0, left, top, zoom] = (await page.getAttribute('[data-testid=map]', 'data-place')).split(',').map(Number);
  assert.deepEqual([k0, q0], [0, middle]);
  const place = await page.locator('[data-testid=map]').boundingBox();
  await page.mouse.move(place.x + left + 6.5 * zoom, place.y + top + 3.5 * zoom);
  await page.waitForFunction(() => document.querySelector('[data-testid=map-status]').textContent.includes('%'));
  const status = await page.textContent('[data-testid=map-status]');
  assert.match(status, new RegExp(`#${sur()} sur → #6 European`));
  assertPrinted(status.split('   ')[1], (await row(wroteSur()))[6]);
  await page.focus('[data-testid=map]');
  for (let i = 0; i < 20; i++) await page.keyboard.press('ArrowUp');
  for (let i = 0; i < 20; i++) await page.keyboard.press('ArrowRight');
  await page.waitForFunction((corner) => location.hash.includes(corner), `q=${middle}&k=${middle - 1}`);
  await page.click('.map-panel [aria-label="Show as a table"]');
  await page.waitForSelector('.map-panel td.number');
  const cells = await page.$$eval('.map-panel td.number', (list) => list.map((e) => e.textContent));
  assert.ok(cells.length === 12 * 16 && cells.every((c) => /\d/.test(c)), cells.join(' '));
  const rows = await server.rows([0, 2], middle, server.n, { f: 'cross' });
  for (let r = 0; r < 12; r++)
    for (let c = 0; c < 16; c++)
      assertPrinted(
        cells[r * 16 + c],
        Math.max(...rows.slice(Math.floor((r * 27) / 12), Math.floor(((r + 1) * 27) / 12)).map((v) => v[c])),
      );
});

test('each family opens on its own part', { skip }, async () => {
  const page = await open(`${server.url}#h=0.2&q=${wroteSur()}&word=0`);
  await answers(page, sur());
  await page.selectOption('.model select', 'enc');
  await page.waitForFunction((n) => Number(document.querySelector('.box.query')?.dataset.box) < n, middle);
  await page.selectOption('.model select', 'dec');
  await page.waitForFunction((n) => Number(document.querySelector('.box.query')?.dataset.box) >= n, middle);
});

for (const [name, options] of Object.entries({
  wide: {},
  narrow: { viewport: { width: 420, height: 860 } },
  dark: { colorScheme: 'dark' },
})) {
  test(`axe finds nothing, ${name}`, { skip }, async () => {
    for (const view of ['read', 'lines', 'map']) {
      const page = await open(`${server.url}#v=${view}&h=0.2&q=${wroteSur()}`, options);
      await answers(page, sur());
      await page.evaluate(axeSource());
      const found = await page.evaluate(async () =>
        (await window.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => v.id),
      );
      assert.deepEqual(found, []);
    }
  });
}
