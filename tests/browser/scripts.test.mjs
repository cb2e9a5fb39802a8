// Scripts of the world, and malicious text: a box contains whole graphemes, and the content of a token is never interpreted as markup.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answers, useBrowser } from './harness.mjs';
import { view } from './program.mjs';
import { hostile, scripts, tokenize } from './text.mjs';
import { book, planted, serve, skip } from './traces.mjs';

const { open } = useBrowser();
const start = (text, options = {}) => serve(planted(text, { tokens: tokenize(text, options), layers: 1, heads: 2 }));

for (const [name, text] of Object.entries(scripts)) {
  for (const bytes of [1, 2, 3]) {
    test(`${name} in tokens of ${bytes} byte(s): every box is whole graphemes, and all text is there`, { skip }, async () => {
      const { url } = await start(text, { bytes });
      const page = await open(`${url}#h=0.0`);
      await page.locator('.box').first().waitFor();
      const shown = await page.$eval('.block-text', (p) =>
        [...p.childNodes].map((n) => ({
          box: n.nodeType === 1,
          special: n.classList?.contains('chip') ?? false,
          text: n.textContent,
        })),
      );
      const joined = shown
        .filter((n) => !n.special)
        .map((n) => n.text)
        .join('');
      assert.equal(joined, text);
      const starts = new Set(
        [
          ...new Intl.Segmenter(undefined, {
            granularity: 'grapheme',
          }).segment(text),
        ]
          .map((s) => s.index)
          .concat(text.length),
      );
      let at = 0;
      for (const node of shown.filter((n) => !n.special)) {
        assert.ok(starts.has(at), `a box begins inside a grapheme at ${at}: ${node.text}`);
        at += node.text.length;
      }
      assert.ok(!/[\ufffdĠ]|##/.test(joined));
      if (bytes === 1)
        assert.equal(
          shown
            .filter((n) => n.box && !n.special && !/[A-Za-z]/.test(n.text))
            .every((n) => [...new Intl.Segmenter().segment(n.text)].length === 1),
          true,
          'one box a grapheme',
        );
    });
  }
}

test('a block has the language and direction of its script', { skip }, async () => {
  const { url } = await start(scripts.arabic);
  const page = await open(`${url}#h=0.0`);
  await page.locator('.box').first().waitFor();
  assert.equal(await page.getAttribute('.block-text', 'lang'), 'ar');
  assert.equal(await page.$eval('.block-text', (p) => getComputedStyle(p).direction), 'rtl');
  const japanese = await open(`${(await start(scripts.japanese)).url}#h=0.0`);
  await japanese.locator('.box').first().waitFor();
  assert.equal(await japanese.getAttribute('.block-text', 'lang'), 'ja');
});

test('markup in a token, and a token of a megabyte, are inert', { skip }, async () => {
  const { url } = await start(hostile);
  const page = await open(`${url}#h=0.0&q=3`);
  await answers(page, 3);
  assert.equal(await page.evaluate(() => window.owned), undefined);
  assert.equal(await page.locator('#app img, #app script').count(), 0);
  const longest = await page.$$eval('.box', (list) => Math.max(...list.map((b) => b.textContent.length)));
  assert.ok(longest <= 401, `a box shows ${longest} characters`);
  assert.ok((await page.textContent('.prose')).includes('</script><script>window.owned = 1</script>'));
});

test('invalid UTF-8 is shown as replacement characters and moves nothing', { skip }, async () => {
  const bytes = Buffer.concat([Buffer.from('ab '), Buffer.from([0xff, 0xc3]), Buffer.from(' 東 cd')]);
  const tokens = [
    [0, 2],
    [2, 5],
    [5, 7],
    [7, 9],
    [9, 12],
  ].map(([begin, end], i) => ({ begin, end, id: 5 + i, word: i, flags: 0 }));
  const server = await serve(planted(bytes, { tokens, layers: 1, heads: 1 }));
  const page = await open(`${server.url}#h=0.0&q=1`);
  await answers(page, 1);
  assert.equal(await page.textContent('.block-text'), 'ab \ufffd\ufffd 東 cd');
  assert.deepEqual(await page.$$eval('.box', (list) => list.map((b) => b.textContent)), ['ab', '\ufffd\ufffd', '東', 'cd']);
});

test('the interface speaks Chinese when asked, and remembers it in the URL', { skip }, async () => {
  const { url } = await view(book, scripts.chinese); // a model: nothing is disabled
  const page = await open(`${url}#h=0.0&q=3`);
  await answers(page, 3);
  await page.click('[data-action=language]');
  await page.waitForFunction(
    () => document.documentElement.lang === 'zh' && /关注/.test(document.querySelector('.answers-panel h2').textContent),
  );
  const texts = await page.$$eval('button, legend, label, h2, .caption, .status', (list) =>
    list.filter((e) => e.offsetParent && !e.closest('.pins, .heads')).map((e) => e.textContent + (e.title ?? '')),
  );
  assert.ok(texts.length > 20);
  const english = texts.filter((t) =>
    /[a-z]{4,}/i.test(t.replace(/clearhead|English|Interface in|esc|log|view|state|Shift|seg|book|softmax|L\d+\.H\d+/gi, '')),
  );
  assert.deepEqual(english, []);
});
