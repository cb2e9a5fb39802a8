// Figures for print: every view exports an SVG whose text is real text, TikZ if the figure contains no raster image, and a PDF that
// the browser prints.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { json } from './program.mjs';
import { answers, useBrowser } from './harness.mjs';
import { folder, pageOf, plantedProse, serve, skip, traceOf, slow } from './traces.mjs';

const { open } = useBrowser();
let trace;
let server;
before(async () => {
  if (skip) return;
  trace = traceOf(plantedProse(24, { layers: 3, heads: 4 }));
  server = await serve(trace);
});

async function exported(page, kind, width = 'page') {
  await page.keyboard.press('p');
  await page.click(`dialog [data-value=${width}]`);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(`[data-export=${kind}]`)]);
  const text = readFileSync(await download.path(), 'utf8');
  await page.keyboard.press('Escape');
  return { text, name: download.suggestedFilename() };
}

/** Renders an SVG in a browser: its texts, the smallest font size in points, and whether everything lies inside the picture. */
async function read(svg) {
  const path = join(folder, 'figure.svg');
  writeFileSync(path, svg);
  const page = await open(pathToFileURL(path).href);
  return page.evaluate(() => {
    const root = document.documentElement;
    const { width, height } = root.viewBox.baseVal;
    const texts = [...root.querySelectorAll('text')];
    const outside = [...root.querySelectorAll('text, rect')].filter((e) => {
      const box = e.getBBox();
      return (
        e.getAttribute('transform') === null &&
        (box.x < -1 || box.y < -1 || box.x + box.width > width + 1 || box.y + box.height > height + 1)
      );
    });
    return {
      texts: texts.map((t) => t.textContent),
      least: Math.min(...texts.map((t) => Number(t.getAttribute('font-size')))),
      outside: outside.map((e) => e.outerHTML),
      points: width,
      millimetres: root.getAttribute('width'),
      says: root.querySelector('desc').textContent,
    };
  });
}

for (const view of ['read', 'lines', 'map', 'atlas']) {
  test(`${view} becomes an SVG that says what it is and how to make it again`, { skip }, async () => {
    const page = await open(`${server.url}#v=${view}&h=1.2&q=7&lang=en`);
    await page.waitForSelector('[data-testid=badge] .badge');
    await page.waitForSelector(
      view === 'atlas' ? '[data-testid=atlas-badge] [data-badge=exact]:not(.busy)' : `[data-testid=badge] [data-badge=exact]`,
    );
    if (view === 'lines') await page.waitForFunction(() => Number(document.querySelector('[data-testid=lines]')?.dataset.curves) > 0);
    if (view === 'map') await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
    for (const [width, millimetres] of [
      ['column', '84mm'],
      ['page', '174mm'],
    ]) {
      const { text, name } = await exported(page, 'svg', width);
      assert.equal(name, `clearhead-${view}.svg`);
      const found = await read(text);
      assert.equal(found.millimetres, millimetres);
      assert.ok(found.least >= 8, `letters of ${found.least} points`);
      assert.deepEqual(found.outside, []);
      assert.match(found.says, /clearhead view \S+\.trace .*--state 'v=/s);
      assert.match(found.says, /weights: raw · scale: √ · attention sinks: mark · exact/);
      const word = view === 'atlas' ? 'L1.H2' : view === 'map' && width === 'column' ? '30' : 'engineer'; // a column has no space for 31 names
      assert.ok(found.texts.includes('square root scale'), 'the colour bar names its scale');
      assert.ok(found.texts.includes(word), `${word} is not a text of ${found.texts.join('|').slice(0, 200)}`);
    }
  });
}

for (const view of ['read', 'lines', 'map']) {
  test(`the colour bar of ${view} in a figure has the numbers of the bar on the page, true for each scale`, { skip }, async () => {
    for (const [scale, name, middle] of [
      ['linear', 'linear scale', 1 / 2],
      ['sqrt', 'square root scale', 1 / 4],
      ['log', 'log scale', 1 / 100],
    ]) {
      const page = await open(`${server.url}#v=${view}&h=1.2&q=7&s=${scale}&lang=en`);
      const slot = view === 'read' ? 'legend' : `${view}-legend`;
      await page.waitForSelector(`[data-testid=${slot}] .legend-bar span`);
      await page.waitForSelector(`[data-testid=badge] [data-badge=exact]`);
      if (view === 'map') await page.waitForSelector('[data-testid=map-badge] [data-badge=exact]');
      const { texts } = await read((await exported(page, 'svg')).text);
      const at = texts.indexOf(name);
      assert.ok(at >= 3, `${name} is not a text of ${texts.join('|')}`);
      const [low, half, high] = texts.slice(at - 3, at);
      const number = (text) => {
        const [, digits, power] = /([\d.]+)(?:·10⁻(.))?/.exec(text);
        return Number(digits) / 10 ** Math.max(0, '⁰¹²³⁴⁵⁶⁷⁸⁹'.indexOf(power));
      };
      assert.ok(Math.abs(number(half) - number(high) * middle) <= 0.006, `${half} is not ${middle} of ${high}`);
      assert.equal(low.startsWith('≤'), scale === 'log', low);
      if (scale === 'log') assert.ok(number(low) <= number(high) / 9_900, `${low} of ${high}`);
      const shown = await page.$$eval(`[data-testid=${slot}] .legend-bar span`, (list) => list.map((e) => e.textContent));
      if (view !== 'map') assert.deepEqual([low, half, high], shown);
    }
  });
}

test('the model view is exported with all heads, even if it has only begun to load them', { skip }, async () => {
  const page = await open(`${server.url}#v=read&h=1.2&q=7&lang=en`);
  await page.waitForSelector('[data-testid=answers] button');
  await slow(page, 1000);
  await page.keyboard.press('v');
  const { text } = await exported(page, 'svg');
  const found = await read(text);
  assert.deepEqual(found.outside, []);
  assert.deepEqual(found.texts.filter((word) => /^L\d$/.test(word)).length, 3, 'each layer is named');
  assert.deepEqual(found.texts.filter((word) => /^H\d$/.test(word)).length, 12, 'each head is named');
  assert.equal(found.texts.filter((word) => word === 'engineer').length, 6, 'at both ends of each layer');
  const heads = JSON.parse((await exported(page, 'json')).text).heads;
  assert.equal(heads.length, 12);
  for (const { layer, head, weights } of heads) {
    const row = (await json(server, `row?l=${layer}&h=${head}&q=7&values=all&format=json`)).arrays.values.data;
    assert.deepEqual(weights[7].slice(0, 8).map(Math.fround), row.slice(0, 8).map(Math.fround), `L${layer}.H${head}`);
  }
});

test('a figure becomes a picture of 300 dots per inch, with its command', { skip }, async () => {
  const page = await open(`${server.url}#v=lines&h=1.2&q=7&lang=en`);
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=lines]')?.dataset.curves) > 0);
  await page.keyboard.press('p');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-export=print]')]);
  assert.equal(download.suggestedFilename(), 'clearhead-lines-300dpi.png');
  const bytes = readFileSync(await download.path());
  assert.equal(bytes.readUInt32BE(16), Math.round((174 / 25.4) * 300), 'the width of a page');
  assert.match(bytes.toString('latin1'), /tEXtComment\0clearhead view .*--state 'v=lines/);
  const dark = await page.evaluate(
    async (url) => {
      const image = new Image();
      image.src = url;
      await image.decode();
      const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
      const context = canvas.getContext('2d');
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let i = 0; i < data.length; i += 4) count += data[i] < 128 ? 1 : 0;
      return count / (canvas.width * canvas.height);
    },
    `data:image/png;base64,${bytes.toString('base64')}`,
  );
  assert.ok(dark > 0.005 && dark < 0.5, `${dark} of the picture is dark`);
});

test('numbers in a figure are those of the row', { skip }, async () => {
  const page = await open(`${server.url}#v=read&h=1.2&q=7`);
  const shown = await answers(page, 7);
  const { text } = await exported(page, 'svg');
  const { texts } = await read(text);
  for (const { weight } of shown.slice(0, 5)) assert.ok(texts.includes(weight), `${weight} is missing`);
});

test('lines become TikZ; a figure with pictures says why it does not', { skip }, async () => {
  const page = await open(`${server.url}#v=lines&h=1.2&q=7`);
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=lines]')?.dataset.curves) > 0);
  const { text, name } = await exported(page, 'tikz', 'column');
  assert.equal(name, 'clearhead-lines.tex');
  assert.match(text, /\\begin\{tikzpicture\}[\s\S]*controls[\s\S]*\{engineer\};[\s\S]*\\end\{tikzpicture\}\n$/);
  const atlas = await open(`${server.url}#v=atlas&h=1.2`);
  await atlas.waitForSelector('[data-testid=atlas-badge] [data-badge=exact]');
  await atlas.keyboard.press('p');
  await atlas.click('[data-export=tikz]');
  await atlas.waitForFunction(() => /TikZ cannot contain pictures/.test(document.querySelector('dialog [role=status]').textContent));
});

// The answer of a server on a machine without librsvg.
const kNoLibrsvg = { code: 'kUnsupported', message: 'no librsvg here', command: null };

for (const where of ['a server without librsvg', 'a file']) {
  test(`in ${where} the browser prints the figure alone, its text as text`, { skip }, async () => {
    const page = await open(`${where === 'a file' ? pathToFileURL(pageOf(trace)).href : server.url}#v=lines&h=1.2&q=7`);
    await page.route('**/api/pdf*', (route) => route.fulfill({ status: 409, json: { error: kNoLibrsvg } }));
    await page.waitForFunction(() => Number(document.querySelector('[data-testid=lines]')?.dataset.curves) > 0);
    await page.evaluate(() => (window.print = () => (document.body.dataset.printed = '1')));
    await page.keyboard.press('p');
    await page.click('[data-export=pdf]');
    await page.waitForFunction(() => document.body.dataset.printed === '1');
    assert.equal((await page.locator('.print-figure svg text', { hasText: 'engineer' }).count()) > 0, true);
    const pdf = await page.pdf({ preferCSSPageSize: true });
    assert.equal(pdf.subarray(0, 5).toString(), '%PDF-');
    assert.equal([...pdf.toString('latin1').matchAll(/\/Type \/Page\b/g)].length, 1, 'one page');
    assert.match(pdf.toString('latin1'), /\/MediaBox \[0 0 49[234]/, 'as wide as the figure');
    await page.evaluate(() => window.dispatchEvent(new Event('afterprint')));
    assert.equal(await page.locator('.print-figure').count(), 0);
  });
}
