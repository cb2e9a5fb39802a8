// Queries and keys that are not tokens: sentences, slots, patches, frames, nodes, people. Generated traces with known weights (tests/item_traces.h),
// in the real program and as offline pages.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { axeSource } from './browser.mjs';
import { assertPrinted, settled, skip as noBrowser, stateOf, useBrowser, eventually } from './harness.mjs';
import { binary, build, endAll, json, view } from './program.mjs';

const maker = join(build, 'clearhead-item-traces');
const skip = noBrowser || (existsSync(binary) && existsSync(maker) ? false : `no ${maker}`);
if (skip && process.env.CLEARHEAD_REQUIRE_BROWSER === '1') throw new Error(String(skip));

const kTraces = ['hierarchy', 'memory', 'patches', 'frames', 'scene', 'graph', 'plane'];
const { open } = useBrowser();
const servers = {};
let folder;

before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), 'clearhead-items-'));
  execFileSync(maker, [folder]);
  for (const name of kTraces) servers[name] = await view(join(folder, `${name}.trace`));
});
after(() => {
  endAll();
  if (folder) rmSync(folder, { recursive: true });
});

const openTrace = (name, state, options) => open(`${servers[name].url}#${state}`, options);

/** The exact weights of a row, by id. */
const row = async (name, family, layer, head, query) =>
  (await json(servers[name], `row?f=${family}&l=${layer}&h=${head}&q=${query}&values=all&format=json`)).arrays.values.data;

/** The list of answers, after its title names `whom`. */
async function listed(page, whom) {
  await page.waitForFunction(
    (name) =>
      document.querySelector('.answers-panel h2')?.textContent.includes(`“${name}”`) &&
      document.querySelector('[data-testid=answers] button') !== null,
    whom,
  );
  return page.$$eval('[data-testid=answers] button', (list) =>
    list.map((b) => ({
      id: Number(b.dataset.token),
      weight: b.querySelector('.answer-weight').textContent,
      text: b.textContent,
    })),
  );
}

const kWords = 10; // number of words in the scene's question
/** The share in a status line that also names the query. */
const sharePrinted = (status) => /weight from “.*”: (.*%)/.exec(status)?.[1] ?? status;
const patch = (r, c) => kWords + (r - 1) * 9 + (c - 1);

/** The centre of a patch on the page. */
async function placeOf(page, r, c, testid = 'picture-lit') {
  const box = await page.locator(`[data-testid=${testid}]`).boundingBox();
  const [wide, tall] = (await page.getAttribute(`[data-testid=${testid}]`, 'data-place')).split(',').map(Number);
  return [box.x + (c - 0.5) * wide, box.y + (r - 0.5) * tall];
}

const lit = (page, n) =>
  page.waitForFunction((count) => document.querySelector('[data-testid=picture-lit]')?.dataset.patches === count, String(n));

test('a word of a question lights the patches that it looks at', { skip }, async () => {
  const page = await openTrace('scene', 'h=1.0');
  await page.locator('.box[data-box="8"]').click();
  await page.mouse.move(5, 5);
  const shown = await listed(page, '7');
  const exact = await row('scene', 'cross', 1, 0, 8);
  assert.equal(shown[0].id, patch(5, 2));
  for (const { id, weight } of shown) assertPrinted(weight, exact[id]);
  await lit(page, 81);
  const bright = (r, c) =>
    page.$eval(
      '[data-testid=picture-lit]',
      (canvas, [y, x]) => {
        const [red, green, blue] = canvas
          .getContext('2d')
          .getImageData(((x - 0.9) * canvas.width) / 9, ((y - 0.9) * canvas.height) / 9, 1, 1).data;
        return { light: red + green, yellow: red - blue };
      },
      [r, c],
    );
  const [near, far] = [await bright(5, 2), await bright(1, 8)];
  assert.ok(near.yellow > 60 && far.yellow < 0, JSON.stringify({ near, far }));
});

test('a patch under the pointer says its weight, and a click on it says who looks there', { skip }, async () => {
  const page = await openTrace('scene', 'h=1.0&q=8');
  await lit(page, 81);
  const exact = await row('scene', 'cross', 1, 0, 8);
  await page.mouse.move(...(await placeOf(page, 4, 2)));
  await page.waitForFunction(() => document.querySelector('[data-testid=status]').textContent.includes('patch 4,2 of 9 × 9'));
  const status = await page.textContent('[data-testid=status]');
  assertPrinted(sharePrinted(status), exact[patch(4, 2)]);
  await page.mouse.click(...(await placeOf(page, 4, 2, 'picture-as-is')));
  await page.mouse.move(5, 5);
  const shown = await listed(page, 'patch 4,2');
  assert.ok(shown[0].id < kWords);
  await settled(page);
  assert.deepEqual([stateOf(page).d, stateOf(page).k], ['in', String(patch(4, 2))]);
});

test('the atlas of a picture shows the picture in every head, as the chosen row sees it', { skip }, async () => {
  const page = await openTrace('scene', 'v=atlas&h=1.0&q=8');
  const thumbnail = async (head) => {
    await page.waitForFunction((name) => {
      const canvas = document.querySelector(`[data-head="${name}"] canvas`);
      return canvas?.width === 9 && canvas.height === 9;
    }, head);
    return page.$eval(`[data-head="${head}"] canvas`, (canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, 9, 9);
      return Array.from({ length: 81 }, (_, i) => data[4 * i] + data[4 * i + 1] + data[4 * i + 2]);
    });
  };
  const darkest = (shades) => patch(1, 1) + shades.indexOf(Math.min(...shades));
  const heaviest = (weights) => patch(1, 1) + weights.slice(kWords).indexOf(Math.max(...weights.slice(kWords)));
  assert.equal(darkest(await thumbnail('1.0')), heaviest(await row('scene', 'cross', 1, 0, 8)));
  assert.match(await page.textContent('.atlas-panel > .caption'), /shaded by what .* attends to/);
  const before = await thumbnail('1.0');
  await page.evaluate(() => (location.hash = location.hash.replace('q=8', 'q=3')));
  await page.waitForFunction((shades) => {
    const { data } = document.querySelector('[data-head="1.0"] canvas').getContext('2d').getImageData(0, 0, 9, 9);
    return shades.some((shade, i) => shade !== data[4 * i] + data[4 * i + 1] + data[4 * i + 2]);
  }, before);
});

test('the axes of a map of patches have pictures on which the patch is marked', { skip }, async () => {
  const page = await openTrace('patches', 'v=map&h=0.0');
  // Counts pixels in the colour of the mark, left of the map and above it.
  const marks = () =>
    page.evaluate(() => {
      const canvas = document.querySelector('[data-testid=map]');
      const [, , left, top] = (canvas?.dataset.place ?? '').split(',').map(Number);
      if (!(left > 0)) return [0, 0];
      const ratio = canvas.width / canvas.clientWidth;
      const count = (...area) => {
        const { data } = canvas.getContext('2d').getImageData(...area.map((v) => Math.round(v * ratio)));
        return data.reduce((n, v, i) => n + (i % 4 === 0 && v > 190 && data[i + 1] < 60 && data[i + 2] < 110 ? 1 : 0), 0);
      };
      return [count(left - 45, top, 40, canvas.clientHeight - top), count(left, top - 45, canvas.clientWidth - left, 40)];
    });
  await eventually(async () => (await marks()).every((count) => count > 20), 'marks on both axes');
});

test('patches are walked by the arrow keys, along and across their rows', { skip }, async () => {
  const page = await openTrace('patches', 'h=1.0&q=10');
  await listed(page, 'patch 2,2');
  await page.keyboard.press('ArrowRight');
  await listed(page, 'patch 2,3');
  await page.keyboard.press('ArrowDown');
  const shown = await listed(page, 'patch 3,3');
  const exact = await row('patches', 'patches', 1, 0, 19);
  for (const { id, weight } of shown) assertPrinted(weight, exact[id]);
  await page.locator('[data-testid=chips] [data-box="0"]').click();
  await listed(page, 'class');
});

test('frames stand in time: bars of the chosen word, a line for each word', { skip }, async () => {
  const page = await openTrace('frames', 'h=0.0&q=1');
  await listed(page, 'seven');
  await page.waitForFunction(() => document.querySelector('[data-testid=strip]')?.dataset.bars === '40');
  const box = await page.locator('[data-testid=strip]').boundingBox();
  const [left, step, top, tall] = (await page.getAttribute('[data-testid=strip]', 'data-place')).split(',').map(Number);
  await page.mouse.click(box.x + left + 50, box.y + top + 4.5 * tall); // the fifth line
  await page.mouse.move(5, 5);
  const shown = await listed(page, 'four');
  const exact = await row('frames', 'cross', 0, 0, 4);
  for (const { id, weight } of shown) assertPrinted(weight, exact[id]);
  assert.match(shown[0].text, /0\.29 s/);
  await page.mouse.move(box.x + left + 29.5 * step, box.y + 20);
  await page.waitForFunction(() => document.querySelector('[data-testid=status]').textContent.startsWith('0.29 s'));
  assertPrinted(sharePrinted(await page.textContent('[data-testid=status]')), exact[6 + 29]);
});

test('a node is drawn with its neighbours and theirs, as a picture and as a table', { skip }, async () => {
  const page = await openTrace('graph', 'h=0.0&q=0');
  await listed(page, 'n0 (even)');
  const drawn = () =>
    page.$$eval('[data-testid=graph] .node', (list) => list.map((node) => Number(node.dataset.node)).sort((a, b) => a - b));
  const shown = (n) => page.waitForFunction((count) => document.querySelectorAll('[data-testid=graph] .node').length === count, n);
  const hub = [0, 1, 39, ...Array.from({ length: 9 }, (_, i) => 4 * i + 4)];
  await shown(32); // the hub, eleven neighbours, and 20 others beside them on the ring
  const all = await drawn();
  assert.ok(
    hub.every((id) => all.includes(id)),
    all.join(' '),
  );
  const caption = await page.textContent('[data-testid=graph-caption]');
  assert.match(caption, /n0 \(even\) and the 11 other nodes that it attends to/);
  assert.match(caption, /The outer 20 nodes/);
  const thickness = (id) => page.$eval(`[data-testid=graph] [data-edge="0-${id}"]`, (line) => Number(line.getAttribute('stroke-width')));
  assert.ok((await thickness(39)) > (await thickness(36)) && (await thickness(36)) > (await thickness(4)), 'larger weights are thicker');
  const exact = await row('graph', 'nodes', 0, 0, 0);
  await page.click('.side-figure summary');
  const table = await page.$$eval('[data-testid=graph-table] tbody tr', (rows) =>
    rows.map((r) => [...r.cells].map((cell) => cell.textContent)),
  );
  assert.deepEqual([table.length, table[0][0]], [12, 'n39 (odd)']);
  for (const [name, weight] of table) assertPrinted(weight, exact[Number(/n(\d+)/.exec(name)[1])]);
  await page.hover('[data-testid=graph] [data-node="4"]');
  await page.waitForFunction(() => document.querySelector('[data-testid=status]').textContent.startsWith('n4 (even)'));
  assert.equal((await drawn()).length, 32, 'nothing moves under the pointer');
  await page.click('[data-testid=graph] [data-node="4"]');
  await page.mouse.move(5, 5);
  await listed(page, 'n4 (even)');
  await page.waitForFunction(() => document.querySelector('[data-testid=graph] .centre')?.dataset.node === '4');
  await page.fill('[type=search]', 'n17');
  await page.keyboard.press('Enter');
  await listed(page, 'n17 (odd)');
  await shown(6); // with the hub, a neighbour of n16
  assert.deepEqual(await drawn(), [0, 15, 16, 17, 18, 19]);
});

test('people stand at their places on the plane, coloured by weight, and are selected there', { skip }, async () => {
  const page = await openTrace('plane', 'h=0.0&q=0');
  const first = await listed(page, 'person 1');
  assert.match(first[0].text, /person 4/);
  await page.waitForFunction(() => document.querySelector('[data-testid=boxes]')?.dataset.boxes === '5');
  const box = await page.locator('[data-testid=boxes]').boundingBox();
  // The centres of the boxes that tests/item_traces.h gives the five people, in a picture of 200 × 100 pixels.
  const places = Array.from({ length: 5 }, (_, i) => [((20 + 40 * i) / 200) * box.width, ((18 + 60 * (i % 2)) / 100) * box.height]);
  const brightness = () =>
    page.$eval(
      '[data-testid=boxes]',
      (canvas, at) => {
        const scale = canvas.width / canvas.clientWidth;
        return at.map(([x, y]) => {
          const [red, green, blue] = canvas.getContext('2d').getImageData(x * scale, y * scale, 1, 1).data;
          return red + green + blue;
        });
      },
      places,
    );
  const before = await brightness();
  assert.ok(
    before.every((light, i) => i === 3 || light > before[3]),
    before.join(' '),
  );
  await page.mouse.move(box.x + places[3][0], box.y + places[3][1]);
  await page.waitForFunction(() => document.querySelector('[data-testid=status]').textContent.startsWith('person 4'));
  await page.mouse.click(box.x + places[3][0], box.y + places[3][1]);
  await page.mouse.move(5, 5);
  const shown = await listed(page, 'person 4');
  const exact = await row('plane', 'people', 0, 0, 3);
  for (const { id, weight } of shown) assertPrinted(weight, exact[id]);
  assert.match(shown[0].text, /person 2/);
});

test('slots stand beside their lines, with a column for each hop', { skip }, async () => {
  const page = await openTrace('memory', 'h=0.0');
  await listed(page, 'question');
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=hops] button').length === 3);
  const columns = await page.$$eval('.margin-item[data-box="70"] .margin-weight', (list) => list.map((e) => e.textContent));
  for (let hop = 0; hop < 3; hop++) assertPrinted(columns[hop], (await row('memory', 'hop', hop, 0, 75))[70]);
  const tinted = await page.$$eval('.tinted', (list) => list.map((e) => e.textContent.trim()));
  assert.ok(tinted.includes('Mary dropped the football .') && !tinted.includes('John went to the hallway .'));
  await page.click('[data-testid=hops] button:nth-of-type(2)');
  await settled(page);
  assert.equal(stateOf(page).h, '1.0');
  assert.match((await listed(page, 'question'))[0].text, /line 6 Mary went to the kitchen/);
});

test('sentences have their weight in the margin, their words by the family of words', { skip }, async () => {
  const page = await openTrace('hierarchy', 'h=0.0');
  const shown = await listed(page, 'document');
  assert.match(shown[0].text, /sentence 3 The lamb was/);
  await page.waitForFunction(() => document.querySelector('.box[data-box="27"]')?.className.includes('w5'));
  const exact = await row('hierarchy', 'sentences', 0, 0, 77);
  for (let i = 0; i < 6; i++) assertPrinted(await page.textContent(`.margin-item[data-box="${71 + i}"] .margin-weight`), exact[71 + i]);
  const strength = async (id) => Number(/ w(\d)/.exec(await page.getAttribute(`.box[data-box="${id}"]`, 'class'))?.[1] ?? 0);
  assert.ok((await strength(27)) > (await strength(23)), '“delicious” is shaded more than “The”');
  await page.locator('.box[data-box="27"]').click();
  assert.match(await page.textContent('.notices'), /“delicious” is neither a row nor a column/);
  await page.selectOption('.model select', 'words');
  await page.locator('.margin-item[data-box="73"]').click();
  await page.mouse.move(5, 5);
  const words = await listed(page, 'sentence 3');
  const inside = await row('hierarchy', 'words', 0, 0, 73);
  for (const { id, weight } of words) assertPrinted(weight, inside[id]);
  assert.equal(words[0].id, 27);
});

test('a click while another family is on its way waits for it', { skip }, async () => {
  const page = await openTrace('hierarchy', 'h=0.0');
  await listed(page, 'document');
  await page.route('**/text*', async (route) => {
    await new Promise((go) => setTimeout(go, 700)); // a slow server: the page keeps showing the sentences
    await route.continue();
  });
  await page.selectOption('.model select', 'words');
  await page.locator('.margin-item[data-box="73"]').click();
  await page.mouse.move(5, 5);
  await listed(page, 'sentence 3');
  assert.deepEqual([stateOf(page).q, stateOf(page).k, stateOf(page).d], ['73', undefined, undefined]);
});

test('the back button returns to the family of maps that was shown before', { skip }, async () => {
  const page = await openTrace('hierarchy', 'h=0.0');
  await listed(page, 'document');
  const rebuilt = () => page.waitForFunction(() => document.querySelector('main:not([data-old])') !== null);
  const markOld = () => page.$eval('main', (main) => (main.dataset.old = ''));
  await markOld();
  await page.selectOption('.model select', 'words');
  await rebuilt();
  await markOld();
  await page.goBack();
  await rebuilt();
  assert.equal(await page.inputValue('.model select'), 'sentences');
  await listed(page, 'document');
});

test('the back button wins over a change that was still waiting to be written to the address', { skip }, async () => {
  const page = await openTrace('hierarchy', 'h=0.0');
  await listed(page, 'document');
  await page.$eval('main', (main) => (main.dataset.old = ''));
  await page.evaluate(() => {
    // Continuous changes are written after 150 ms. On a busy machine that timer can fire between the events "popstate" and "hashchange".
    const [set, clear, waiting] = [setTimeout, clearTimeout, new Map()];
    window.setTimeout = (call, ms) => {
      const id = set(call, ms);
      if (ms === 150) waiting.set(id, call);
      return id;
    };
    window.clearTimeout = (id) => {
      waiting.delete(id);
      clear(id);
    };
    addEventListener('popstate', () => waiting.forEach((call) => call()));
    const back = () => (document.querySelector('main:not([data-old])') ? history.back() : requestAnimationFrame(back));
    requestAnimationFrame(back);
  });
  await page.selectOption('.model select', 'words');
  await page.waitForFunction(() => document.querySelector('main:not([data-old])') !== null);
  await page.waitForFunction(() => document.querySelector('.model select')?.value === 'sentences');
  await listed(page, 'document');
  assert.notEqual(stateOf(page).f, 'words');
});

test('maps and lines name rows and columns by their items, and so do their tables', { skip }, async () => {
  const page = await openTrace('scene', 'v=map&h=1.0&q=8');
  await page.waitForSelector('[data-testid=map-badge] .badge');
  await page.waitForTimeout(200);
  const [, , left, top, across, down] = (await page.getAttribute('[data-testid=map]', 'data-place')).split(',').map(Number);
  assert.ok(down > 2 * across, 'few words over many patches have tall cells');
  const place = await page.locator('[data-testid=map]').boundingBox();
  await page.mouse.move(place.x + left + 37.5 * across, place.y + top + 8.5 * down);
  await page.waitForFunction(() => document.querySelector('[data-testid=map-status]').textContent.includes('%'));
  const status = await page.textContent('[data-testid=map-status]');
  assert.match(status, /#8 7 → patch 5,2/);
  assertPrinted(status.split('   ')[1], (await row('scene', 'cross', 1, 0, 8))[patch(5, 2)]);
  await page.click('.map-panel [aria-label="Show as a table"]');
  await page.waitForSelector('.map-panel th');
  const heads = await page.$$eval('.map-panel th', (list) => list.map((e) => e.textContent));
  assert.ok(heads.includes('#8 7') && heads.includes('patch 1,1 … patch 1,6'), heads.join(' ')); // words one by one, patches as ranges
  await page.keyboard.press('l');
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=lines]')?.dataset.curves) > 0);
  const right = await page.$$eval('.lines-column.of-key button', (list) => list.map((b) => b.textContent));
  assert.deepEqual([right.length, right[1]], [81, 'patch 1,2']);
  assert.equal(await page.locator('.lines-column.of-key .swatch').count(), 81);
  await page.click('.lines-panel [aria-label="Show as a table"]');
  assert.match(await page.textContent('.lines-panel tbody'), /#8 7patch 5,2/);
});

test('the answers of a picture can be read as a table', { skip }, async () => {
  const page = await openTrace('patches', 'h=1.0&q=0');
  await listed(page, 'class');
  await page.click('.answers-panel [aria-label="Show as a table"]');
  assert.match(await page.textContent('.answers-panel tbody'), /patch 2,5/);
  assert.doesNotMatch(await page.textContent('.answers-panel tbody'), /#/);
});

for (const name of kTraces) {
  test(`${name}: an offline page shows what the live one does, and asks for nothing`, { skip }, async () => {
    const html = join(folder, `${name}.html`);
    execFileSync(binary, ['view', join(folder, `${name}.trace`), '--html', html]);
    const lists = [];
    for (const url of [servers[name].url, `${pathToFileURL(html).href}`]) {
      const page = await open(url);
      await page.waitForSelector('[data-testid=answers] button');
      const hasPicture = ['patches', 'scene'].includes(name);
      if (hasPicture) {
        await page.waitForFunction(() => Number(document.querySelector('[data-testid=picture-lit]')?.dataset.patches) > 0);
        await page.waitForFunction(() => {
          const canvas = document.querySelector('[data-testid=picture-as-is]'); // drawn in a frame of its own
          return canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 8, 1, 1).data[3] > 0;
        });
      }
      const pixels = await page.$$eval('[data-testid=picture-as-is]', (list) =>
        list.map((canvas) => [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 8, 1, 1).data].join()),
      );
      lists.push([await page.$$eval('[data-testid=answers] button', (list) => list.map((b) => b.textContent)), pixels]);
      if (url.startsWith('file:'))
        assert.deepEqual(
          page.requests.filter((r) => !/^(file|data|blob):/.test(r)),
          [],
        );
    }
    assert.deepEqual(lists[1], lists[0]);
  });

  for (const [look, options] of Object.entries({
    light: {},
    dark: { colorScheme: 'dark' },
    narrow: { viewport: { width: 420, height: 860 } },
  })) {
    test(`${name}: axe finds nothing, ${look}`, { skip }, async () => {
      for (const shown of ['read', 'lines', 'map']) {
        const page = await openTrace(name, `v=${shown}`, options);
        await page.waitForSelector('[data-testid=answers] button');
        await page.waitForTimeout(300);
        await page.evaluate(axeSource());
        const found = await page.evaluate(async () =>
          (await window.axe.run(document, { resultTypes: ['violations'] })).violations.map((v) => `${v.id}: ${v.nodes[0].html}`),
        );
        assert.deepEqual(found, [], shown);
      }
    });
  }
}
