// Measures the viewer at 100,000 tokens in a real Chromium, and prints each number beside its budget.
//
//   node tests/browser/bench.mjs URL      URL of a running `clearhead view` (with ?token=…), best on a 100,000-token trace with d = 64

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { launch } from './browser.mjs';

const [address] = process.argv.slice(2);
if (!address) {
  process.stderr.write('usage: node tests/browser/bench.mjs URL\n');
  process.exit(2);
}
const dist = new URL('../../web/dist/', import.meta.url);
const rows = [];
const report = (name, value, budget, unit) => rows.push({ name, value, budget, unit });
const at = (list, p) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(p * list.length))];

report(
  'script and style, gzipped',
  ['app.js', 'app.css'].reduce((n, f) => n + gzipSync(readFileSync(new URL(f, dist))).length, 0) / 1000,
  150,
  'KB',
);

const browser = await launch(['--enable-precise-memory-info', '--js-flags=--expose-gc']);
const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
await page.addInitScript(() => {
  window.marks = {};
  const watch = () => {
    const seen = (name, found) => found && !(name in window.marks) && (window.marks[name] = performance.now());
    seen('text', document.querySelector('.box'));
    seen('sampled', document.querySelector('[data-testid=map-badge] .badge'));
    seen('atlas', document.querySelector('[data-testid=atlas-badge] [data-badge=exact]:not(.busy)'));
    seen('exact', document.querySelector('[data-testid=map-badge] [data-badge=exact]:not(.busy)'));
    requestAnimationFrame(watch);
  };
  requestAnimationFrame(watch);
});
const url = new URL(address);
url.hash = 'v=read&h=0.0';
await page.goto(url.href);
const until = async (name, limit) => {
  for (const end = Date.now() + limit; Date.now() < end; await page.waitForTimeout(50)) {
    const marks = await page.evaluate(() => window.marks);
    if (name in marks) return marks[name];
  }
  return NaN;
};
report('text', await until('text', 20_000), 300, 'ms');
report('first sampled map', await until('sampled', 20_000), 600, 'ms');
report('exact overview', await until('exact', 120_000), 5000, 'ms');
await until('atlas', 300_000); // wait for the atlas of all heads, so that it does not slow down the measurements below

const info = await page.evaluate(async () => (await fetch('./api/info')).json());
const family = info.families[0];
const ask = (paths) =>
  page.evaluate(async (list) => {
    const times = [];
    for (const [path, body] of list) {
      const started = performance.now();
      await (
        await fetch(
          path,
          body
            ? {
                method: 'POST',
                headers: { 'Content-Type': 'application/json' },
                body: JSON.stringify(body),
              }
            : {},
        )
      ).arrayBuffer();
      times.push(performance.now() - started);
    }
    return times;
  }, paths);
const some = (n, f) => Array.from({ length: n }, (_, i) => [f(i)]);
const spread = (i, n, of) => Math.floor(((i * 0.618) % 1) * of * 0.98) % n;
const head = `f=${family.id}&l=0&h=0`;

const hover = await page.evaluate(async () => {
  const times = [];
  const title = document.querySelector('[data-testid=answers]');
  const boxes = [...document.querySelectorAll('.box')].slice(20, 80);
  for (const box of boxes) {
    const started = performance.now();
    const changed = new Promise((done) => {
      const observer = new MutationObserver(() => (observer.disconnect(), done()));
      observer.observe(title, { childList: true, subtree: true });
      setTimeout(done, 2000);
    });
    box.dispatchEvent(new PointerEvent('pointermove', { bubbles: true }));
    await changed;
    times.push(performance.now() - started);
  }
  return times;
});
report('row on hover, p95', at(hover, 0.95), 50, 'ms');
report(
  'column, median',
  at(await ask(some(12, (i) => `./api/col?${head}&k=${spread(i, family.keys, family.keys)}&values=all`)), 0.5),
  150,
  'ms',
);
const side = Math.max(1, Math.floor(family.keys / 256));
report(
  'tile, p95',
  at(
    await ask(
      some(20, (i) => {
        const y = spread(i + 1, side, side);
        return `./api/tile?${head}&z=0&x=${Math.floor(y * 0.7)}&y=${y}`;
      }),
    ),
    0.95,
  ),
  80,
  'ms',
);
const n = family.queries;
const mass = {
  f: family.id,
  rows: [[n - 60, n - 10]],
  keys: [[Math.floor(n / 3), Math.floor(n / 3) + 500]],
};
report(
  `mass of 50 × 500 over ${family.layers * family.heads} heads`,
  at(await ask(Array.from({ length: 5 }, () => ['./api/mass', mass])), 0.5),
  200,
  'ms',
);

const frames = await page.evaluate(async () => {
  const prose = document.querySelector('.prose');
  const times = [];
  let last = performance.now();
  for (let i = 0; i < 150; i++) {
    prose.scrollTop += 160;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times.slice(5);
});
report('scroll frame, median', at(frames, 0.5), 16.9, 'ms');
report('scroll frame, p95', at(frames, 0.95), 33.5, 'ms');
await page.keyboard.press('m');
await page.waitForTimeout(500);
const pan = await page.evaluate(async () => {
  const canvas = document.querySelector('[data-testid=map]');
  const box = canvas.getBoundingClientRect();
  for (let i = 0; i < 8; i++)
    canvas.dispatchEvent(
      new WheelEvent('wheel', {
        deltaY: -200,
        clientX: box.left + box.width / 2,
        clientY: box.top + box.height * 0.7,
        bubbles: true,
        cancelable: true,
      }),
    );
  const send = (type, x, y) =>
    canvas.dispatchEvent(
      new PointerEvent(type, {
        clientX: x,
        clientY: y,
        buttons: type === 'pointerup' ? 0 : 1,
        button: 0,
        bubbles: true,
        pointerId: 1,
      }),
    );
  canvas.setPointerCapture = () => {};
  send('pointerdown', box.left + 400, box.top + 300);
  const times = [];
  let last = performance.now();
  for (let i = 0; i < 90; i++) {
    send('pointermove', box.left + 400 - i * 3, box.top + 300 - i * 2);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  send('pointerup', box.left + 100, box.top + 100);
  return times.slice(5);
});
report('pan frame, median', at(pan, 0.5), 16.9, 'ms');
report('pan frame, p95', at(pan, 0.95), 33.5, 'ms');
const { heap, nodes } = await page.evaluate(() => {
  window.gc?.();
  let count = 0;
  for (const walk = document.createTreeWalker(document, NodeFilter.SHOW_ALL); walk.nextNode(); ) count++;
  return { heap: performance.memory.usedJSHeapSize / 1e6, nodes: count };
});
report('heap', heap, 300, 'MB');
report('DOM nodes', nodes, 8000, '');
await browser.close();

process.stdout.write(`${info.name}: ${family.queries} tokens, ${family.layers} × ${family.heads} heads, d = ${family.d_k}\n`);
for (const r of rows)
  process.stdout.write(
    `${r.value <= r.budget ? 'within' : 'BEYOND'}  ${r.name.padEnd(40)} ${r.value.toFixed(r.unit === '' ? 0 : 1).padStart(9)} ${r.unit.padEnd(3)} of ${r.budget}\n`,
  );
