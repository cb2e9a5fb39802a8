// At 100,000 tokens: DOM and heap stay small while the page is scrolled from end to end, and find-in-page still finds all text.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { answers, useBrowser } from './harness.mjs';
import { serveProse, skip } from './traces.mjs';

const { open } = useBrowser();
let server;
before(async () => (server = skip ? null : await serveProse(100_000, { layers: 1, heads: 1, causal: true, backs: [2000] })));

test('scrolled from end to end it keeps within 8,000 nodes and 300 MB', { skip }, async () => {
  const page = await open(`${server.url}#h=0.0&q=300`);
  await answers(page, 300);
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.enable');
  let most = 0;
  for (let step = 0; step <= 40; step++) {
    await page.evaluate((t) => {
      const prose = document.querySelector('.prose');
      prose.scrollTop = t * (prose.scrollHeight - prose.clientHeight);
    }, step / 40);
    await page.waitForTimeout(60);
    most = Math.max(
      most,
      await page.evaluate(() => {
        const walk = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
        let n = 0;
        while (walk.nextNode()) n++;
        return n;
      }),
    );
  }
  assert.ok(most <= 8000, `${most} nodes`);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  assert.ok(usedSize <= 300e6, `${usedSize} bytes`);
  const last = await page.$$eval('.box', (list) => Math.max(...list.map((b) => Number(b.dataset.box))));
  assert.ok(last > server.n - 5, 'the end was reached');
  const whole = await page.textContent('.prose');
  assert.ok(whole.length >= server.plan.text.length, 'all text is in the page');
});

test('a position a hundred thousand tokens away is reached at once', { skip }, async () => {
  const page = await open(`${server.url}#h=0.0&q=5`);
  await answers(page, 5);
  for (const token of [99_000, 40, 61_204]) {
    await page.fill('.search input', `#${token}`);
    await page.press('.search input', 'Enter');
    await page.waitForFunction((t) => {
      const box = document.querySelector(`.box[data-box="${t}"]`)?.getBoundingClientRect();
      const view = document.querySelector('.prose').getBoundingClientRect();
      return box && box.top >= view.top && box.bottom <= view.bottom;
    }, token);
  }
});
