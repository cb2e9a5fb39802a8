// Reading a text of any size: the page opens, previews the row under the pointer, pins it on a click, and prints the numbers that the
// source computes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answers, assertPrinted, settled, stateOf, useBrowser } from './harness.mjs';
import { asked, serveProse, skip, slow } from './traces.mjs';

const { open } = useBrowser();

/** The keys of a row with the largest weights, from the source's own numbers. */
async function exactTop(server, query, head, count = 8) {
  const values = await server.row(head, query);
  return [...values.keys()]
    .sort((a, b) => values[b] - values[a] || a - b)
    .slice(0, count)
    .map((k) => ({ key: k, weight: values[k] }));
}

for (const [tokens, options] of [
  [10, {}],
  [300, {}],
  [5000, { layers: 2, heads: 4 }],
  [100_000, { layers: 1, heads: 1, causal: true, backs: [2000] }],
]) {
  test(`at ${tokens} tokens a click pins a token and the list prints its row to the digit`, { skip }, async () => {
    const server = await serveProse(tokens, options);
    const page = await open(`${server.url}#h=0.0`);
    const box = page.locator('.box').nth(Math.min(7, server.n - 2));
    await box.waitFor({ timeout: 90_000 });
    const token = Number(await box.getAttribute('data-box'));
    await box.click();
    await page.mouse.move(5, 5);
    const shown = await answers(page, token);
    const exact = await exactTop(server, token, [0, 0], shown.length);
    assert.deepEqual(
      shown.map((s) => s.token),
      exact.map((e) => e.key),
    );
    shown.forEach((s, i) => assertPrinted(s.weight, exact[i].weight));
    await settled(page);
    assert.equal(stateOf(page).q, String(token));
    assert.ok(
      page.requests.every((r) => r.startsWith(server.base) || r.startsWith('data:')),
      'only loopback is asked',
    );
  });
}

test('a pointer over a word previews its row without changing the state', { skip }, async () => {
  const server = await serveProse(300);
  const page = await open(`${server.url}#h=2.2&q=20`);
  await answers(page, 20);
  const other = page.locator('.box[data-box="30"]');
  await other.hover();
  const shown = await answers(page, 30);
  assertPrinted(shown[0].weight, (await exactTop(server, 30, [2, 2]))[0].weight);
  assert.match(await page.textContent('[data-testid=status]'), /#30 · id \d+ · ([0-9a-f]{2} ?)+/);
  assert.equal(stateOf(page).q, '20');
  await page.mouse.move(5, 5);
  await answers(page, 20);
});

/** The first share that a live region or a status line prints. */
const firstShare = (text) => /(\d[\d.]*\u202f%)/.exec(text)[1];

test('the status line, the live region and the list are about the row that was clicked', { skip }, async () => {
  const server = await serveProse(300);
  const page = await open(`${server.url}#h=2.2&q=20`);
  await answers(page, 20);
  const row = (query) => server.row([2, 2], query);
  const word = (token) => page.textContent(`.box[data-box="${token}"]`).then((text) => text.trim());
  const status = () => page.textContent('[data-testid=status]');
  await page.locator('.box[data-box="30"]').hover();
  await answers(page, 30);
  assert.ok((await status()).includes(`weight from “${await word(20)}”`), await status());
  assertPrinted(firstShare(await status()), (await row(20))[30]);
  await page.locator('.box[data-box="30"]').click(); // the pointer stays there
  await page.waitForFunction(
    (w) => document.querySelector('[data-testid=status]').textContent.includes(`weight from “${w}”`),
    await word(30),
  );
  assertPrinted(firstShare(await status()), (await row(30))[30]);
  await page.waitForFunction((w) => document.querySelector('[data-testid=live]').textContent.startsWith(`L2.H2: ${w} →`), await word(30));
  const live = await page.textContent('[data-testid=live]');
  assertPrinted(firstShare(live), Math.max(...(await row(30))));
  assert.equal(firstShare(live), (await answers(page, 30))[0].weight);
});

test('several rows are shown as their mean, whose weights sum to one', { skip }, async () => {
  const server = await serveProse(300);
  const page = await open(`${server.url}#h=2.2&q=20-39`);
  const shown = await answers(page, 20);
  assert.match(await page.textContent('[data-testid=answer-caption]'), /^This is the mean of 19 rows; its weights sum to 100\.00\u202f%/);
  const values = await server.row([2, 2], '20-39', { reduce: 'mean' });
  assertPrinted(shown[0].weight, Math.max(...values));
  shown.forEach((s) => assertPrinted(s.weight, values[s.token]));
});

test('a word that the mask hides from the pinned one is called hidden, not 0 %', { skip }, async () => {
  const server = await serveProse(300, { causal: true });
  const page = await open(`${server.url}#h=2.2&q=20`);
  await answers(page, 20);
  await page.locator('.box[data-box="30"]').hover();
  assert.match(await page.textContent('[data-testid=status]'), /#30 · .*hidden by the mask$/);
  await page.mouse.move(5, 5);
  await answers(page, 20);
  await page.locator('.box[data-box="10"]').hover();
  assert.match(await page.textContent('[data-testid=status]'), /#10 · .* weight from .*%$/);
});

test('keys in the memory of a model that reads in segments are marked', { skip }, async () => {
  const families = [{ name: 'dec', kind: 'causal', segment_length: 64 }];
  const server = await serveProse(300, { causal: true, families });
  const page = await open(`${server.url}#h=1.2&q=140`);
  const marked = async () => {
    const lines = await page.locator('[data-testid=answers] button').all();
    return Promise.all(
      lines.map(async (line) => [Number(await line.getAttribute('data-token')), / · memory$/.test(await line.innerText())]),
    );
  };
  await answers(page, 140);
  const listed = await marked();
  assert.deepEqual(new Set(listed.map(([, memory]) => memory)), new Set([true, false]), 'keys of both kinds are listed');
  for (const [token, memory] of listed) assert.equal(memory, token < 128, `#${token}`);
  await page.locator('.box[data-box="20"]').hover();
  assert.match(await page.textContent('[data-testid=status]'), /%.* · memory$/);
  await page.locator('.box[data-box="130"]').hover();
  assert.match(await page.textContent('[data-testid=status]'), /%$/);
  const reverse = await open(`${server.url}#h=1.2&k=60&d=in`);
  await reverse.waitForSelector('[data-testid=answers] button');
  await reverse.locator('.box[data-box="140"]').hover();
  assert.match(await reverse.textContent('[data-testid=status]'), /%.* · memory$/);
  await reverse.locator('.box[data-box="62"]').hover();
  assert.match(await reverse.textContent('[data-testid=status]'), /%$/);
});

test('fast scrubbing ends on the row of the last word under the pointer', { skip }, async () => {
  const server = await serveProse(300);
  const page = await open(`${server.url}#h=2.2&q=5`);
  await answers(page, 5);
  await slow(page, 30);
  for (let t = 10; t < 60; t++) await page.locator(`.box[data-box="${t}"]`).dispatchEvent('pointermove', { buttons: 0 });
  const shown = await answers(page, 59);
  assertPrinted(shown[0].weight, (await exactTop(server, 59, [2, 2]))[0].weight);
  // A busy machine may report requests in another order than the page sent them, so they are put in order by their numbers.
  const rows = asked(page, 'row').filter((p) => /-front$/.test(p.slot));
  const queries = rows.sort((a, b) => a.seq - b.seq).map((p) => Number(p.q));
  assert.equal(new Set(rows.map((p) => p.seq)).size, rows.length, 'no two requests have the same number');
  assert.ok(queries.length > 1);
  assert.deepEqual(
    queries,
    [...queries].sort((a, b) => a - b),
    'each request supersedes the one before',
  );
  assert.equal(queries.at(-1), 59);
});

test('two tabs of one server ask in slots of their own', { skip }, async () => {
  const server = await serveProse(300);
  const slots = [];
  for (let tab = 0; tab < 2; tab++) {
    const page = await open(`${server.url}#h=2.2&q=${20 + tab}`);
    await answers(page, 20 + tab);
    slots.push(new Set(asked(page).flatMap((p) => p.slot ?? [])));
  }
  assert.ok(slots[0].size > 0 && slots[1].size > 0);
  assert.deepEqual(
    [...slots[0]].filter((slot) => slots[1].has(slot)),
    [],
  );
});

test('attended-by shows a column and says that it does not sum to one', { skip }, async () => {
  const server = await serveProse(300);
  const page = await open(`${server.url}#h=2.2&q=20`);
  await answers(page, 20);
  await page.keyboard.press('x');
  await page.waitForFunction(() => /need not sum to one/.test(document.querySelector('[data-testid=answer-caption]').textContent));
  const shown = await answers(page, 20);
  const values = await server.column([2, 2], 20);
  shown.forEach((s) => assertPrinted(s.weight, values[s.token]));
  assert.equal(stateOf(page).d, 'in');
});

test('the sink rules mark, hide with the share still printed, and renormalise', { skip }, async () => {
  const server = await serveProse(300);
  const page = await open(`${server.url}#h=0.3&q=20`);
  await answers(page, 20);
  const raw = await server.line('row', [0, 3], 20);
  const caption = () => page.textContent('[data-testid=answer-caption]');
  assertPrinted(/receive ([^ ;]+%)/.exec(await caption())[1], raw.sink_mass);
  await page.click('[data-control=sink] [data-value=hide]');
  await page.waitForFunction(() => /are hidden/.test(document.querySelector('[data-testid=answer-caption]').textContent));
  assert.ok((await answers(page, 20)).every((s) => s.token !== 0));
  await page.click('[data-control=sink] [data-value=renorm]');
  await page.waitForFunction(() => /are removed/.test(document.querySelector('[data-testid=answer-caption]').textContent));
  const shown = await answers(page, 20);
  assertPrinted(shown[0].weight, raw.values[shown[0].token] / (1 - raw.sink_mass));
});

test('word mode adds the pieces of a word and averages query rows', { skip }, async () => {
  const server = await serveProse(300);
  const words = await server.words();
  const word = words.findIndex((w, i) => w >= 0 && words[i + 1] === w);
  const page = await open(`${server.url}#h=2.3&q=${word}-${word + 2}`);
  const shown = await answers(page, word);
  const values = await server.row([2, 3], `${word}-${word + 2}`, { reduce: 'mean' });
  const sums = new Map();
  words.forEach((w, i) => sums.set(w < 0 ? `s${i}` : w, (sums.get(w < 0 ? `s${i}` : w) ?? 0) + values[i]));
  assertPrinted(shown[0].weight, Math.max(...sums.values()));
  assert.match(await page.textContent('[data-testid=answer-caption]'), /tokens of a word are summed/);
});

test('six heads can be pinned as underbars, a double-click leaves one', { skip }, async () => {
  const server = await serveProse(300);
  const page = await open(`${server.url}#h=2.2&q=20`);
  await answers(page, 20);
  for (const head of ['0.1', '1.1', '3.1', '4.1', '5.1', '5.5']) {
    await page.click(`[data-head="${head}"]`);
    await page.waitForTimeout(550); // otherwise the next click, on another head, would count as a double click
  }
  assert.equal(await page.locator('[data-pin]').count(), 6);
  await page.mouse.move(5, 5);
  await page.waitForFunction(() =>
    [...document.querySelectorAll('.box')].some((b) => (b.style.backgroundImage.match(/linear-gradient/g) ?? []).length >= 2),
  );
  await page.dblclick('[data-head="2.2"]');
  await page.waitForFunction(() => document.querySelectorAll('[data-pin]').length === 1);
  assert.equal(stateOf(page).h, '2.2');
});

test('context lines scroll to their key, and back returns', { skip }, async () => {
  const server = await serveProse(5000, { layers: 2, heads: 4 });
  const page = await open(`${server.url}#h=0.1&q=2500`);
  const shown = await answers(page, 2500);
  const far = shown.findIndex((s) => Math.abs(s.token - 2500) > 600);
  assert.ok(far >= 0, 'the fixture has a far key');
  const top = () => page.$eval('.prose', (e) => e.scrollTop);
  const start0 = await top();
  await page.click(`[data-testid=answers] button[data-rank="${far}"]`);
  await page.waitForFunction((t) => {
    const box = document.querySelector(`.box[data-box="${t}"]`)?.getBoundingClientRect();
    const view = document.querySelector('.prose').getBoundingClientRect();
    return box && box.top >= view.top && box.bottom <= view.bottom;
  }, shown[far].token);
  assert.notEqual(await top(), start0);
  await page.keyboard.press('Escape');
  await page.waitForFunction((t) => Math.abs(document.querySelector('.prose').scrollTop - t) < 900, start0);
});

test('the parts of a text are listed with their share, and the share by their length', { skip }, async () => {
  const row = 1800;
  const server = await serveProse(2000, { causal: true, layers: 2, heads: 4 });
  const page = await open(`${server.url}#v=read&h=1.2&q=${row}`);
  await answers(page, row);
  const shown = await page.$$eval('[data-testid=parts] tbody tr', (list) =>
    list.map((line) => [...line.children].map((cell) => cell.textContent)),
  );
  const weights = await server.row([1, 2], row);
  const total = weights.reduce((sum, v) => (v > 0 ? sum + v : sum), 0);
  const expected = server.plan.segments
    .map(({ name, begin, end }) => {
      const seen = weights.slice(begin, Math.min(end, row + 1)); // a row sees the tokens before it and itself
      return { name, share: seen.reduce((sum, v) => (v > 0 ? sum + v : sum), 0) / total, chance: seen.length / (row + 1) };
    })
    .filter(({ chance }) => chance > 0)
    .sort((a, b) => b.share - a.share);
  assert.ok(expected.length > 1, 'the text has chapters');
  assert.deepEqual(
    shown.map(([name]) => name),
    expected.slice(0, 6).map(({ name }) => name),
  );
  shown.forEach(([, share, chance, ratio], i) => {
    assertPrinted(share, expected[i].share);
    assertPrinted(chance, expected[i].chance);
    assert.equal(ratio, `${(expected[i].share / expected[i].chance).toFixed(1)} ×`);
  });
  await page.click(`[data-testid=parts] tbody tr:nth-child(${shown.length}) button`);
  await page.waitForSelector('.answers-panel .panel-head button.quiet:not([hidden])'); // the way back
});

test('search finds text, expressions, positions, heads and segments', { skip }, async () => {
  const server = await serveProse(1500, { layers: 3, heads: 4 });
  const page = await open(`${server.url}#h=0.0`);
  const box = page.locator('.search input');
  await box.waitFor();
  const count = async (query) => {
    await box.fill(query);
    return page.textContent('[data-testid=search-count]');
  };
  const text = server.plan.text.toString();
  assert.equal(await count('harbour'), String(text.match(/harbour/g).length));
  assert.equal(await count('/b(ells|oats)/'), String(text.match(/b(ells|oats)/g).length));
  assert.equal(await count('seg:chapter'), String(server.plan.segments.length));
  await count('#1204');
  await box.press('Enter');
  await answers(page, 1204);
  await box.fill('L2.H3');
  await box.press('Enter');
  await page.waitForSelector('[data-pin="2.3"]');
  await box.fill('harbour');
  await box.press('Enter');
  await page.waitForSelector('.box.hit.now');
});
