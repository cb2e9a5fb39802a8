// The map and the atlas: selection by click, the numbers, finding heads by spans, and exported files.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { answers, assertPrinted, settled, stateOf, useBrowser } from './harness.mjs';
import { asked, planted, serve, serveProse, skip } from './traces.mjs';

const { open } = useBrowser();
let server;
before(async () => (server = skip ? null : await serveProse(300, { layers: 3, heads: 4 })));

/** The position of a pair on the page, computed from the rectangle that the canvas reports. */
async function placeOf(page, query, key) {
  return page.evaluate(
    ([q, k]) => {
      const canvas = document.querySelector('[data-testid=map]');
      const box = canvas.getBoundingClientRect();
      const [k0, q0, left, top, zoom] = canvas.dataset.place.split(',').map(Number);
      return {
        x: box.left + left + (k + 0.5 - k0) * zoom,
        y: box.top + top + (q + 0.5 - q0) * zoom,
      };
    },
    [query, key],
  );
}

test('a click on the map chooses query and key, and the text follows', { skip }, async () => {
  const page = await open(`${server.url}#v=map&h=2.2`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  const { x, y } = await placeOf(page, 120, 60);
  await page.mouse.click(x, y);
  await settled(page);
  const { q, k } = stateOf(page);
  assert.ok(Math.abs(Number(q) - 120) <= 1 && Math.abs(Number(k) - 60) <= 1, `${q} ${k}`);
  await answers(page, Number(q));
  await page.waitForFunction((t) => document.querySelector(`.box[data-box="${t}"]`) !== null, Number(q));
});

test('the pair under the pointer is read out from its exact row', { skip }, async () => {
  const page = await open(`${server.url}#v=map&h=2.2&x=50,50,70,70`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  const { x, y } = await placeOf(page, 55, 54);
  await page.mouse.move(x, y);
  await page.waitForFunction(() => /#55 .+ → #54 .+%/.test(document.querySelector('[data-testid=map-status]').textContent));
  const printed = /([\d.]+\u202f%)$/.exec(await page.textContent('[data-testid=map-status]'))[1];
  assertPrinted(printed, (await server.row([2, 2], 55))[54]);
});

test('the status line of a map follows head, zoom and keyboard under a resting pointer', { skip }, async () => {
  const page = await open(`${server.url}#v=map&h=2.2&x=50,50,70,70`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  const { x, y } = await placeOf(page, 55, 54);
  await page.mouse.move(x, y);
  const said = async (pattern) => {
    await page.waitForFunction(
      ([source]) => new RegExp(source).test(document.querySelector('[data-testid=map-status]').textContent),
      [pattern.source],
    );
    const [, query, key, printed] = /#(\d+) .*→ #(\d+) .*?([\d.]+\u202f%)$/.exec(await page.textContent('[data-testid=map-status]'));
    return { query: Number(query), key: Number(key), printed };
  };
  const weight = async (h, { query, key }) => (await server.row([2, h], query))[key];
  const before = await said(/#55 .+→ #54 .+%/);
  assertPrinted(before.printed, await weight(2, before));
  await page.keyboard.press('Alt+ArrowRight');
  await page.waitForFunction((old) => !document.querySelector('[data-testid=map-status]').textContent.endsWith(old), before.printed);
  assertPrinted((await said(/#55 .+→ #54 .+%/)).printed, await weight(3, before));
  await page.locator('[data-testid=map]').focus();
  await page.keyboard.press('0');
  const zoomed = await said(/^#(?!55 ).+→ #\d+ .+%/);
  assertPrinted(zoomed.printed, await weight(3, zoomed));
  await page.keyboard.press('ArrowDown');
  await settled(page);
  const state = stateOf(page);
  const chosen = await said(new RegExp(`^#${state.q} .+→ #${state.k} .+%`));
  assertPrinted(chosen.printed, await weight(3, chosen));
});

test('zooming in asks for the tiles in view only, zooming out shows all again', { skip }, async () => {
  const big = await serveProse(3000, { layers: 1, heads: 1 });
  const page = await open(`${big.url}#v=map&h=0.0`);
  await page.waitForSelector('[data-testid=map-badge] .badge');
  const { x, y } = await placeOf(page, 1500, 1500);
  const before = asked(page, 'tile').length;
  await page.mouse.move(x, y);
  for (let i = 0; i < 6; i++) await page.mouse.wheel(0, -400);
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=map]').dataset.place.split(',')[4]) > 2);
  await page.waitForTimeout(700);
  const finest = asked(page, 'tile')
    .slice(before)
    .filter((p) => Number(p.z) === 0);
  assert.ok(finest.length > 0 && finest.every(({ x, y }) => [x, y].every((v) => Number(v) >= 2 && Number(v) <= 9)), JSON.stringify(finest));
  assert.match(await page.getAttribute('[data-testid=map]', 'data-tiles'), /^exact( exact)*$/);
  await page.locator('[data-testid=map]').focus();
  await page.keyboard.press('0');
  await settled(page);
  assert.equal(stateOf(page).x, undefined);
});

test('a map whose description is a band opens about the chosen query, and shows all when asked', { skip }, async () => {
  const long = await serveProse(3000, { layers: 1, heads: 1, causal: true, backs: [63] });
  const seen = async (page) => {
    await page.waitForSelector('[data-testid=map-badge] .badge');
    await settled(page);
    return (stateOf(page).x ?? 'all').split(',').map(Number);
  };
  const { n } = long;
  const page = await open(`${long.url}#v=map&h=0.0&q=2000&axes=key`);
  const [k0, q0, k1, q1] = await seen(page);
  assert.deepEqual([k1 - k0, q1 - q0], [256, 256], 'four times what a query sees');
  assert.ok(Math.abs((q0 + q1) / 2 - 2000) <= 1 && k0 <= 2000 - 63 && k1 > 2000, `${[k0, q0, k1, q1]}`);
  await page.locator('[data-testid=map]').focus();
  await page.keyboard.press('0');
  await settled(page);
  assert.equal(stateOf(page).x, `0,0,${n},${n}`);
  await page.reload();
  assert.deepEqual(await seen(page), [0, 0, n, n], 'a link to all of it shows all of it');
  const last = await open(`${long.url}#v=map&h=0.0&q=${n - 1}&axes=key`);
  assert.deepEqual((await seen(last)).slice(2), [n, n], 'at the end of the text, the end of the map');
  const short = await serveProse(200, { layers: 1, heads: 1, causal: true, backs: [63] });
  assert.ok(Number.isNaN((await seen(await open(`${short.url}#v=map&h=0.0&q=100`)))[0]), 'a short map is seen whole');
});

/** The position of a pair with the offset axis (key − query). */
async function nearPlace(page, query, offset, back) {
  return page.evaluate(
    ([q, column]) => {
      const canvas = document.querySelector('[data-testid=map]');
      const box = canvas.getBoundingClientRect();
      const [k0, q0, left, top, across, down] = canvas.dataset.place.split(',').map(Number);
      return { x: box.left + left + (column + 0.5 - k0) * across, y: box.top + top + (q + 0.5 - q0) * down };
    },
    [query, offset + back],
  );
}

test('a long text under a band is shown by key − query, and leads back to the text', { skip }, async () => {
  const long = await serveProse(3000, { layers: 2, heads: 1, causal: true, backs: [63, 63] });
  const page = await open(`${long.url}#v=map&h=0.0&q=2000`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  assert.ok(await page.isChecked('[data-control=axes] [value=offset]'));
  assert.match(await page.textContent('[data-testid=map-caption]'), /63 before to 0 after/);
  const overviews = asked(page, 'overview');
  assert.ok(overviews.length > 0 && overviews.every((p) => p.axes === 'offset' && Number(p.back) === 63), JSON.stringify(overviews));
  await page.locator('[data-testid=map]').focus();
  for (let i = 0; i < 9; i++) await page.keyboard.press('+');
  await settled(page);
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=map]').dataset.place.split(',')[5]) >= 4);
  const [k0, q0] = (await page.getAttribute('[data-testid=map]', 'data-place')).split(',').map(Number);
  const query = Math.ceil(q0) + 3;
  const key = query + Math.ceil(k0) + 2 - 63;
  const { x, y } = await nearPlace(page, query, key - query, 63);
  await page.mouse.move(x, y);
  await page.waitForFunction(
    ([q, k]) =>
      new RegExp(`#${q} .+ → #${k} .+%`).test(document.querySelector('[data-testid=map-status]').textContent.replace(/\u202f(?=\d)/g, '')),
    [query, key],
  );
  const printed = /(\S+\u202f%)$/.exec(await page.textContent('[data-testid=map-status]'))[1];
  assertPrinted(printed, (await long.row([0, 0], query))[key]);
  await page.mouse.click(x, y);
  await settled(page);
  const state = stateOf(page);
  assert.deepEqual([Number(state.q), Number(state.k)], [query, key]);
  await page.reload();
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  assert.equal(stateOf(page).x, state.x, 'a link shows the same part');
  await page.click('[data-control=axes] [data-value=key]');
  await settled(page);
  assert.equal(stateOf(page).axes, 'key');
  assert.notEqual(stateOf(page).x, state.x);
  await page.waitForFunction(
    () =>
      /queries down/.test(document.querySelector('[data-testid=map-caption]').textContent) &&
      !/before to/.test(document.querySelector('[data-testid=map-caption]').textContent),
  );
});

test('maps of other layers have keys across, and can be asked for what is near', { skip }, async () => {
  const page = await open(`${server.url}#v=map&h=1.1&q=40`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  assert.ok(await page.isChecked('[data-control=axes] [value=key]'));
  await page.click('[data-control=axes] [data-value=offset]');
  await page.waitForFunction(() => /256 before to 256 after/.test(document.querySelector('[data-testid=map-caption]').textContent));
  assert.equal(stateOf(page).axes, 'offset');
  await page.click('.map-panel [aria-label="Show as a table"]');
  await page.waitForSelector('.map-panel table');
  assert.match(await page.textContent('.map-panel thead th'), /^−256 … −\d+$/);
});

/** The table's headings as token ranges [begin, end), and its printed numbers. */
const readTable = (page) =>
  page.$eval('.map-panel table', (table) => {
    const range = (th) => {
      const [, first, last] = /^#(\d+)(?:–(\d+))? \S/.exec(th.textContent.replace(/\u202f/g, ''));
      return [Number(first), Number(last ?? first) + 1];
    };
    return {
      caption: table.caption.textContent,
      columns: [...table.querySelectorAll('thead th')].map(range),
      rows: [...table.querySelectorAll('tbody tr')].map((tr) => ({
        range: range(tr.querySelector('th')),
        cells: [...tr.querySelectorAll('td')].map((td) => td.textContent),
      })),
    };
  });

async function assertTable(table, head) {
  for (const { range, cells } of table.rows) {
    const rows = await server.rows(head, ...range);
    cells.forEach((text, c) => {
      const [begin, end] = table.columns[c];
      assertPrinted(text, Math.max(...rows.flatMap((row) => [...row.slice(begin, end)])));
      assert.doesNotMatch(text, /≈/, 'the badge says exact');
    });
  }
}

test('the map of a short text is by words, and by tokens without them', { skip }, async () => {
  const text = 'The internationalisation of interpretability engineering requires considerable understanding of representations.';
  const viewer = await serve(planted(text, { layers: 2, heads: 4 }));
  const index = await viewer.words();
  const begins = index.map((word, at) => at).filter((at) => at === 0 || index[at] < 0 || index[at] !== index[at - 1]);
  const spans = begins.map((at, i) => [at, begins[i + 1] ?? index.length]);
  const page = await open(`${viewer.url}#v=map&h=0.1&q=1`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
  const long = spans.findIndex(([begin, end]) => end > begin + 1);
  const { x, y } = await placeOf(page, spans[long][0], spans[long][1] - 1); // the word's first token, and its last
  await page.mouse.move(x, y);
  await page.waitForFunction(() => /→/.test(document.querySelector('[data-testid=map-status]').textContent));
  const status = await page.textContent('[data-testid=map-status]');
  const own = await viewer.row([0, 1], spans[long].join('-'), { reduce: 'mean' });
  assertPrinted(
    status.split('   ')[1],
    own.slice(...spans[long]).reduce((a, b) => a + b, 0),
  );
  await page.click('.map-panel [aria-label="Show as a table"]');
  await page.waitForFunction(() => /between two words/.test(document.querySelector('.map-panel table')?.caption.textContent ?? ''));
  assert.match(await page.textContent('[data-testid=map-caption]'), /between two words/);
  const table = await readTable(page);
  assert.deepEqual(
    table.rows.map((row) => row.range),
    spans,
  );
  assert.deepEqual(table.columns, spans);
  for (const { range, cells } of table.rows) {
    const mean = await viewer.row([0, 1], range.join('-'), { reduce: 'mean' });
    cells.forEach((shown, c) =>
      assertPrinted(
        shown,
        mean.slice(...spans[c]).reduce((a, b) => a + b, 0),
      ),
    );
  }
  await page.click('[data-testid=words]');
  await page.waitForFunction(() => !/between two words/.test(document.querySelector('.map-panel table')?.caption.textContent ?? ''));
  assert.match(await page.textContent('[data-testid=map-caption]'), /each cell is one weight/);
  assert.equal(stateOf(page).word, '0');
});

test('the table of a map names the tokens of each cell and prints exact weights', { skip }, async () => {
  const page = await open(`${server.url}#v=map&h=2.2`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]:not(.busy)');
  await page.click('.map-panel [aria-label="Show as a table"]');
  await page.waitForSelector('.map-panel table');
  const whole = await readTable(page);
  assert.deepEqual([whole.columns[0][0], whole.columns.at(-1)[1]], [0, server.n], 'all tokens are named');
  assert.match(whole.caption, /largest of up to 2\d × 2\d weights/);
  await assertTable(whole, [2, 2]);
  assert.equal(await page.getAttribute('[data-testid=map-badge] .badge', 'data-badge'), 'exact');
  await page.goto(`${server.base}#v=map&h=2.2&x=50,40,66,52`); // the same page: only the state changes
  await page.waitForFunction(() => /one weight/.test(document.querySelector('.map-panel table')?.caption.textContent ?? ''));
  const part = await readTable(page);
  assert.deepEqual(
    [part.columns[0], part.rows[0].range],
    [
      [50, 51],
      [40, 41],
    ],
  );
  await assertTable(part, [2, 2]);
});

test('a table that is read from a picture says so', { skip }, async () => {
  const big = await serveProse(900, { layers: 1, heads: 1 });
  const page = await open(`${big.url}#v=map&h=0.0`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]:not(.busy)');
  await page.click('.map-panel [aria-label="Show as a table"]');
  await page.waitForSelector('.map-panel table');
  assert.match(await page.textContent('.map-panel caption'), /≈.*largest error/);
  assert.match(await page.textContent('.map-panel tbody td'), /^≈/);
  assert.equal(await page.getAttribute('[data-testid=map-badge] .badge', 'data-badge'), 'quantised');
});

// Answers api/tile as if the tile had been sampled from a few rows.
async function answerSampled(route) {
  const response = await route.fetch();
  const body = await response.body();
  const size = body.readUInt32LE(4);
  const header = JSON.parse(body.subarray(8, 8 + size).toString());
  const text = JSON.stringify({ ...header, badge: 'sampled', sampled_rows: 7 });
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const begin = Buffer.from(body.subarray(0, 8));
  begin.writeUInt32LE(padded.length, 4);
  await route.fulfill({ response, body: Buffer.concat([begin, padded, body.subarray(8 + size)]) });
}

test('tiles from sampled rows never cover an exact overview', { skip }, async () => {
  const big = await serveProse(900, { layers: 1, heads: 1 });
  const page = await open(`${big.url}#v=map&h=0.0`);
  await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]:not(.busy)');
  await page.route('**/api/tile*', answerSampled);
  const { x, y } = await placeOf(page, 450, 450);
  const before = asked(page, 'tile').length;
  await page.mouse.move(x, y);
  for (let i = 0; i < 6; i++) await page.mouse.wheel(0, -400);
  await page.waitForTimeout(1500);
  assert.ok(asked(page, 'tile').length > before);
  assert.equal(await page.getAttribute('[data-testid=map]', 'data-tiles'), '');
});

test('the header states the description of the layer that is looked at', { skip }, async () => {
  const mixed = await serveProse(60, { layers: 2, heads: 2, causal: true, backs: [255, null] });
  const page = await open(`${mixed.url}#h=1.0&q=20`);
  await answers(page, 20);
  assert.match(await page.textContent('header .model'), /L1: .*a token sees itself and all before it/);
  await page.keyboard.press('Alt+ArrowUp');
  await page.waitForFunction(() => /L0: .*a token sees itself and 255 before it/.test(document.querySelector('header .model').textContent));
});

test('the atlas sorts and filters by a score, and says what the score means', { skip }, async () => {
  const page = await open(`${server.url}#v=atlas&h=2.2`);
  await page.waitForSelector('[data-testid=atlas-badge] [data-badge=exact]');
  await page.selectOption('[data-testid=atlas-sort]', 'previous');
  const notes = () =>
    page.$$eval('.head:not([hidden])', (list) =>
      list.sort((a, b) => Number(a.style.order) - Number(b.style.order)).map((b) => Number(b.querySelector('.note').textContent)),
    );
  const sorted = await notes();
  assert.equal(sorted.length, 12);
  assert.deepEqual(
    sorted,
    [...sorted].sort((a, b) => b - a),
  );
  assert.match(await page.textContent('[data-testid=definition]'), /token just before/);
  await page.locator('.atlas-controls input').fill('0.15');
  const kept = await notes();
  assert.ok(kept.length > 0 && kept.length < 12 && kept.every((v) => v >= 0.15), kept.join(' '));
});

test('every thumbnail says the two scores that the server calls strongest, with their values', { skip }, async () => {
  const page = await open(`${server.url}#v=atlas&h=2.2`);
  await page.waitForSelector('[data-testid=atlas-badge] [data-badge=exact]');
  const scoresOf = await server.atlas();
  for (let layer = 0; layer < 3; layer++) {
    for (let head = 0; head < 4; head++) {
      const { scores, strongest } = scoresOf.get(`${layer}.${head}`);
      const said = await page.$$eval(`[data-head="${layer}.${head}"] .note .named`, (list) => list.map((n) => n.textContent.split(' ')));
      assert.equal(said.length, 2, `L${layer}.H${head}`);
      for (const [name, value] of said) assert.ok(Math.abs(Number(value) - scores[name]) <= 0.0051, `${name} ${value}: ${scores[name]}`);
      assert.deepEqual(
        said.map(([name]) => name),
        strongest,
      );
      const label = await page.getAttribute(`[data-head="${layer}.${head}"]`, 'aria-label');
      assert.ok(
        said.every((words) => label.includes(words.join(' '))),
        label,
      );
    }
  }
});

test('a span of rows and a span of keys recolour the atlas by mass and list the ten heads', { skip }, async () => {
  const page = await open(`${server.url}#v=atlas&h=2.2`);
  await page.waitForSelector('[data-testid=atlas-badge] .badge');
  await page.click('[data-pick=q]');
  await page.locator('.box[data-box="20"]').click();
  await page.locator('.box[data-box="24"]').click({ modifiers: ['Shift'] });
  await page.click('[data-pick=k]');
  await page.locator('.box[data-box="10"]').click();
  await page.locator('.box[data-box="12"]').click({ modifiers: ['Shift'] });
  await page.waitForSelector('[data-testid=mass] .ranked li');
  await settled(page);
  assert.equal(stateOf(page).q, '20-25');
  assert.equal(stateOf(page).k, '10-13');
  const listed = await page.$$eval('[data-testid=mass] .ranked li button', (list) =>
    list.map((b) => [...b.children].map((c) => c.textContent)),
  );
  const exact = [];
  for (let l = 0; l < 3; l++) {
    for (let h = 0; h < 4; h++) {
      let mass = 0;
      for (const row of await server.rows([l, h], 20, 25)) for (let k = 10; k < 13; k++) mass += row[k] / 5;
      exact.push([`L${l}.H${h}`, mass]);
    }
  }
  exact.sort((a, b) => b[1] - a[1]);
  assert.equal(listed.length, 10);
  listed.forEach(([name, mass], i) => {
    assertPrinted(mass, exact[i][1]);
    assertPrinted(mass, exact.find((e) => e[0] === name)[1]);
  });
});

test('the picture that is exported is a PNG which holds its command', { skip }, async () => {
  for (const view of ['read', 'map', 'atlas']) {
    const page = await open(`${server.url}#v=${view}&h=2.2&q=20`);
    await page.waitForFunction(() => document.querySelector('[data-testid=answers] button') !== null);
    await page.keyboard.press('p');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-export=png]')]);
    const png = readFileSync(await download.path());
    assert.deepEqual([...png.subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
    const text = png.toString('latin1');
    assert.match(text, new RegExp(`tEXtComment\0clearhead view .* --state 'v=${view}&h=2\\.2&q=20`));
    assert.ok(png.length > 8000, 'something is on it');
  }
});

test('verify reports the largest difference that the server found', { skip }, async () => {
  const page = await open(`${server.url}#h=2.2&q=20`);
  await answers(page, 20);
  const [response] = await Promise.all([page.waitForResponse('**/api/verify*'), page.click('[data-action=verify]')]);
  const [mantissa, exponent] = (await response.json()).largest_difference.toExponential(1).split('e-');
  const power = [...exponent].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[digit]).join('');
  await page.waitForFunction(
    (number) => document.querySelector('[data-testid=verify]').textContent.includes(`largest difference is ${number}`),
    `${mantissa}·10⁻${power}`,
  );
});
