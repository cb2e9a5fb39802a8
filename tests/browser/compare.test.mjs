// The view "Compare": its numbers for two heads, two texts, two tokenizers and an edit equal the server's answers. Also tests its URL
// state, the keyboard, offline pages, and the figures of Why, What if and Compare.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { binary, build, endAll, get, json, view } from './program.mjs';
import { eventually, explained, settled, skip as noBrowser, stateOf, useBrowser } from './harness.mjs';

const maker = join(build, 'clearhead-known-models');
const skip = noBrowser || (existsSync(binary) && existsSync(maker) ? false : `no ${binary}`);
const book = fileURLToPath(new URL('../../models/book/', import.meta.url));
const { open } = useBrowser();
let folder;

const kStory = 'It was a dark and stormy night; the rain fell in';
const kOther = 'It was a bright and quiet night when the rain fell in';
const traced = (name, ...args) => {
  const path = join(folder, `${name}.trace`);
  execFileSync(binary, ['trace', ...args, '-o', path], { stdio: 'ignore' });
  return path;
};

/** A text of about 380 tokens. */
function longer() {
  const path = join(folder, 'longer.txt');
  writeFileSync(path, readFileSync(join(book, 'held-out.txt'), 'utf8').slice(0, 950));
  return path;
}

before(() => {
  if (!skip) folder = mkdtempSync(join(tmpdir(), 'clearhead-compare-'));
});
after(() => {
  endAll();
  if (folder) rmSync(folder, { recursive: true });
});

/** The events of a server stream, parsed as JSON, without those that report progress on a busy machine. */
async function frames(server, path) {
  const text = await (await get(server, `${path}&format=json`)).text();
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
    .filter((frame) => frame.event !== 'progress');
}

const waited = (page) => page.waitForSelector('[data-testid=compare-heads] tbody tr');
const printed = (value) => (value > 0 && value < 0.0005 ? '<0.001' : value.toFixed(3));

/** The weights of one row of a head, by token. */
async function rowOf(server, head, query, more = '') {
  const [layer, number] = head.split('.');
  const frame = await json(server, `row?l=${layer}&h=${number}&q=${query}&values=all&format=json${more}`);
  return frame.arrays.values.data;
}

test('two heads: map, rows, ranking and words say what the server says; a click chooses a head', { skip }, async () => {
  const server = await view(book, kStory);
  const page = await open(`${server.url}#v=compare&h=4.4,2.1&q=8`);
  await waited(page);
  assert.equal(await page.inputValue('[data-testid=compare-with]'), 'head');
  assert.equal(await page.inputValue('[data-testid=compare-to]'), '2.1');
  const [picture] = await frames(server, 'compare?l=4&h=4&with_l=2&with_h=1');
  assert.match(
    await page.textContent('[data-testid=compare-map-note]'),
    new RegExp(`: ${printed(picture.mean)} nats on average \\(15 of 15 rows\\)`),
  );
  const [ranks] = await frames(server, 'compare-heads?l=4&h=4');
  const heads = ranks.arrays.divergence.data.map((value, i) => ({ name: `L${Math.floor(i / 6)}.H${i % 6}`, value }));
  heads.sort((a, b) => b.value - a.value);
  const shown = await page.$$eval('[data-testid=compare-heads] tbody tr', (list) =>
    list.map((row) => [...row.children].map((c) => c.textContent)),
  );
  assert.deepEqual(
    shown,
    heads.slice(0, 12).map(({ name, value }, i) => [String(i + 1), name, printed(value)]),
  );
  const [was, is] = [await rowOf(server, '4.4', 8), await rowOf(server, '2.1', 8)];
  await page.hover('.compare-panel .box[data-box="1"]');
  const status = await page.textContent('[data-testid=compare-status]');
  const change = (is[1] - was[1]) * 100;
  assert.ok(status.includes(`${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(2)}`), `${status} has not ${change}`);
  await page.click('[data-testid=compare-heads] [data-head="5.0"]');
  await settled(page);
  assert.equal(stateOf(page).to, '5.0');
  await eventually(async () => /L5\.H0 minus L4\.H4/.test(await page.textContent('.compare-title h3')), 'the other head is shown');
});

test('a head against itself: no difference, no divergence, and it says so', { skip }, async () => {
  const server = await view(book, kStory);
  const page = await open(`${server.url}#v=compare&h=3.3&to=3.3&q=8`);
  await waited(page);
  assert.match(await page.textContent('[data-testid=compare-map-note]'), /: 0\.000 nats .*The maps are the same\./);
  assert.equal(await page.locator('[data-testid=compare-changes], [data-testid=compare-rows]').count(), 0);
  assert.equal(await page.locator('.compare-panel .box.w1, .compare-panel .box.w5').count(), 0);
  const blue = await colours(page);
  assert.equal(blue.signed, 0, 'no cell is coloured');
});

/** The number of clearly blue pixels in the map. One colour is enough: if one weight is lower, another is higher. Red also marks the selection. */
async function colours(page) {
  return page.$eval('[data-testid=compare-map]', (canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let signed = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 2] > data[i] + 40) signed++;
    return { signed };
  });
}

test('two texts: aligned by their tokens, what stands in one only is hatched and has no row', { skip }, async () => {
  const server = await view(traced('one', book, kStory), traced('two', book, kOther));
  const page = await open(`${server.url}#v=compare&t=0&h=4.4&q=4`);
  await waited(page);
  assert.match(await page.textContent('[data-testid=compare-note]'), /diff of their tokens/);
  const hatched = await page.$$eval('.compare-panel .box.unscored', (list) => list.map((b) => b.textContent.trim()));
  assert.deepEqual(hatched.join(''), 'darkstormy;brightquietwhen');
  const [was, is] = [await rowOf(server, '4.4', 4, '&t=0'), await rowOf(server, '4.4', 5, '&t=1')]; // in the second text, “and” is one token later
  await page.hover('.compare-panel .text-frame:nth-child(2) .box[data-box="2"]');
  const status = await page.textContent('[data-testid=compare-status]');
  const change = (is[2] - was[2]) * 100;
  assert.ok(status.includes(`${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(2)}`), `${status} has not ${change}`);
  await page.click('.compare-panel .text-frame:nth-child(2) .box[data-box="3"]'); // “bright”
  await eventually(async () => /“bright” occurs in only one of the two/.test(await page.textContent('.notices')), 'why there is no row');
  await page.click('.compare-panel .text-frame:nth-child(2) .box:has-text("fell")');
  await settled(page);
  assert.match(stateOf(page).q, /^13$/); // the query in the first text
  assert.ok((await colours(page)).signed > 100, 'the map has colours');
  await page.click('[data-testid=compare-heads] tbody tr:first-child button');
  await settled(page);
  const chosen = await page.textContent('[data-testid=compare-heads] [aria-pressed=true]');
  assert.equal(`L${stateOf(page).h.split(',')[0].replace('.', '.H')}`, chosen);
});

test('entered from another view, it opens on the head and the row that differ most, unless its link names them', { skip }, async () => {
  const server = await view(traced('first', book, kStory), traced('second', book, kOther));
  const [{ arrays }] = (await frames(server, 'compare-heads?t=0&with=1&l=0&h=0')).slice(-2);
  const [layers, heads] = arrays.divergence.shape;
  const largest = (list) => list.reduce((best, value, i) => (value > (list[best] ?? 0) ? i : best), 0);
  const best = largest(arrays.divergence.data);
  const [layer, head] = [Math.floor(best / heads), best % heads];
  assert.ok(layer < layers && best > 0, 'not the head that is selected before');
  const [map] = await frames(server, `compare?t=0&with=1&l=${layer}&h=${head}`);
  const places = await json(server, 'aligned?t=0&with=1&format=json');
  const row = places.arrays.before.data[largest(map.arrays.divergence.data)];

  const page = await open(`${server.url}#v=read&t=0&h=0.0&q=1`);
  await page.waitForSelector('[data-testid=answers] button');
  await page.keyboard.press('d');
  await eventually(
    () => stateOf(page).h.split(',')[0] === `${layer}.${head}` && stateOf(page).q === String(row),
    `L${layer}.H${head}, row ${row}`,
  );
  await page.goBack();
  await eventually(() => stateOf(page).v === 'read' && stateOf(page).h === '0.0' && stateOf(page).q === '1', 'what was read before');

  const linked = await open(`${server.url}#v=compare&t=0&h=0.1&q=2`);
  await waited(linked);
  await settled(linked);
  assert.deepEqual([stateOf(linked).h, stateOf(linked).q], ['0.1', '2']);
});

test('two models on one text: tokens over the same characters are aligned, others are hatched', { skip }, async () => {
  const other = join(folder, 'bytes');
  execFileSync(maker, ['causal', other], { stdio: 'ignore' });
  const server = await view(traced('a', book, kStory), traced('b', other, kStory));
  const page = await open(`${server.url}#v=compare&t=0&h=0.1&q=8`);
  await waited(page);
  const note = await page.textContent('[data-testid=compare-note]');
  const places = await json(server, 'aligned?t=0&with=1&format=json');
  assert.equal(places.by, 'offsets');
  assert.match(note, /One text, tokenized in two ways/);
  const alone = places.arrays.before.data.filter((b, i) => b < 0 || places.arrays.after.data[i] < 0).length;
  const [first] = await frames(server, 'compare?t=0&with=1&l=0&h=1');
  const [rows, across] = first.arrays.before.shape;
  const hatched = first.arrays.before.data.filter((v) => v === -1).length;
  assert.equal(hatched, rows * across - (rows - alone) * (across - alone), 'every pair of what is in one only');
});

test('the run of an edit: before and after, from What if', { skip }, async () => {
  const server = await view(book, kStory);
  const page = await open(`${server.url}#v=compare&h=2.1&q=8&with=edit&edit=c~2-4`);
  await waited(page);
  assert.match(await page.textContent('.compare-title h3'), /after L2\.H1 minus before L2\.H1/);
  await page.hover('.compare-panel .box[data-box="3"]');
  assert.match(await page.textContent('[data-testid=compare-status]'), /→ 0/);
  const none = await open(`${server.url}#v=compare&h=2.1`);
  await waited(none);
  assert.equal(await none.$eval('[data-testid=compare-with] option[value=edit]', (option) => option.disabled), true);
});

test('side by side, its link and the keyboard', { skip }, async () => {
  const server = await view(book, kStory);
  const page = await open(`${server.url}#v=read&h=4.4&q=8`);
  await page.waitForSelector('[data-testid=answers] button');
  await page.keyboard.press('d');
  await waited(page);
  await page.click('.compare-panel [data-value=sides]');
  await page.waitForSelector('[data-testid=compare-map-after]');
  await settled(page);
  assert.deepEqual([stateOf(page).v, stateOf(page).show], ['compare', 'sides']);
  await page.focus('[data-testid=compare-map]');
  for (const key of ['ArrowRight', 'ArrowDown', 'ArrowDown', 'ArrowDown']) await page.keyboard.press(key);
  await eventually(async () => /#3 dark → #0 It: .* nats\./.test(await page.textContent('[data-testid=compare-cell]')), 'the cell is read');
  await eventually(async () => /#3 dark/.test(await page.textContent('[data-testid=live]')), 'said to screen readers');
  await page.keyboard.press('Enter');
  await settled(page);
  assert.equal(stateOf(page).q, '3');
  await page.reload();
  await page.waitForSelector('[data-testid=compare-map-after]');
  assert.equal(await page.locator('.compare-panel input[value=sides]').isChecked(), true);
});

test('a long text is pooled, and is zoomed into', { skip }, async () => {
  const server = await view(book, '--file', longer());
  const page = await open(`${server.url}#v=compare&h=4.4&q=8`);
  await waited(page);
  assert.match(await page.textContent('[data-testid=compare-map-note]'), /One cell is the mean of 2 × 2 weights/);
  await page.click('.compare-panel button:has-text("Zoom in")');
  await eventually(async () => !/One cell/.test(await page.textContent('[data-testid=compare-map-note]')), 'cell by cell');
  await settled(page);
  assert.match(stateOf(page).x, /^\d+,\d+,\d+,\d+$/);
  await page.click('.compare-panel button:has-text("The whole map")');
  await eventually(async () => /One cell/.test(await page.textContent('[data-testid=compare-map-note]')), 'the whole again');
});

test('an offline page compares what it holds whole, with the numbers of the server', { skip }, async () => {
  const [one, two, path] = [traced('one', book, kStory), traced('two', book, kOther), join(folder, 'both.html')];
  execFileSync(binary, ['view', one, two, '--html', path], { stdio: 'ignore' });
  const server = await view(one, two);
  const [picture] = await frames(server, 'compare?t=0&with=1&l=4&h=4');
  const page = await open(`${pathToFileURL(path).href}#v=compare&t=0&h=4.4&q=4`);
  await waited(page);
  assert.match(
    await page.textContent('[data-testid=compare-map-note]'),
    new RegExp(`: ${printed(picture.mean)} nats on average \\(10 of 10 rows\\)`),
  );
  const hatched = await page.$$eval('.compare-panel .box.unscored', (list) => list.map((b) => b.textContent.trim()));
  assert.deepEqual(hatched.join(''), 'darkstormy;brightquietwhen');
  const [ranks] = await frames(server, 'compare-heads?t=0&with=1&l=4&h=4');
  const top = Math.max(...ranks.arrays.divergence.data);
  assert.equal(await page.textContent('[data-testid=compare-heads] tbody tr:first-child td:last-child'), printed(top));
  const small = join(folder, 'small.html');
  execFileSync(binary, ['view', book, '--file', longer(), '--html', small, '--page-size', '900KB'], {
    stdio: 'ignore',
  });
  const without = await open(`${pathToFileURL(small).href}#v=compare`);
  await without.waitForSelector('.compare-panel .caption');
  assert.match(await without.textContent('.compare-panel .caption'), /do not fit/);
  assert.equal(await without.locator('.views input[value=compare]').count(), 0);
});

for (const [name, hash, wanted] of [
  ['why', 'v=why&methods=relevance', [/^Method$/, /^random ranking, mean$/, /^dark$/]],
  ['what-if', 'v=what-if&h=2.1&q=8&edit=c~2-4', [/^before$/, /^JS \(nats\)$/, /^dark$/, /^−\.\d+$/]],
  ['compare', 'v=compare&h=4.4,2.1&q=8', [/^JS \(nats\)$/, /^dark$/, /^\+\.\d+$/, /^L\d\.H\d$/]],
]) {
  test(`${name} becomes SVG, PDF and TikZ with its text as text, and its numbers JSON and NPY`, { skip }, async () => {
    const server = await view(book, kStory);
    const page = await open(`${server.url}#${hash}`);
    await explained(
      page,
      { why: '[data-testid=why-trust] td', 'what-if': '[data-testid=if-changes]', compare: '[data-testid=compare-heads] td' }[name],
    );
    await settled(page);
    const files = {};
    for (const kind of ['svg', 'pdf', 'tikz', 'json', 'npy']) {
      await page.keyboard.press('p');
      const [download] = await Promise.all([page.waitForEvent('download'), page.click(`[data-export=${kind}]`)]);
      files[kind] = readFileSync(await download.path());
      if (kind === 'json') assert.equal(download.suggestedFilename(), `clearhead-${name}.json`);
      await page.keyboard.press('Escape');
    }
    const svg = files.svg.toString();
    const texts = [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((m) => m[1]);
    for (const pattern of wanted)
      assert.ok(
        texts.some((text) => pattern.test(text)),
        `${pattern} in ${texts.join('|').slice(0, 600)}`,
      );
    assert.match(svg, new RegExp(`clearhead view .*--state 'v=${name}`, 's'));
    assert.equal(files.pdf.subarray(0, 5).toString(), '%PDF-');
    assert.match(files.tikz.toString(), /\\begin\{tikzpicture\}[\s\S]*\\end\{tikzpicture\}/);
    const numbers = JSON.parse(files.json.toString());
    assert.match(numbers.command, new RegExp(`clearhead view .*--state 'v=${name}`));
    assert.equal(numbers.view, name);
    const rows = name === 'why' ? numbers.methods.map((m) => m.shares) : [numbers.map.difference];
    const [count, length] = name === 'why' ? [rows.length, numbers.items.length] : numbers.map.shape;
    const header = 10 + files.npy.readUInt16LE(8);
    assert.match(files.npy.subarray(0, header).toString('latin1'), new RegExp(`'shape': \\(${count}, ${length}\\)`));
    rows.flat().forEach((value, i) => {
      const of = files.npy.readFloatLE(header + 4 * i);
      assert.ok(value === null ? Number.isNaN(of) : Math.abs(of - value) <= 1e-6, `number ${i}: ${value} and ${of}`);
    });
    if (name === 'why') assert.ok(Math.abs(rows[0].reduce((sum, v) => sum + Math.abs(v), 0) - 1) < 1e-5);
    else assert.ok(rows[0].some((value) => Math.abs(value) > 0.01));
  });
}
