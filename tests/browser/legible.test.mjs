// Legibility: labels do not overlap, nothing is clipped, captions are one sentence, and quotes are text from the input.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answers, assertPrinted, explained, settled, stateOf, useBrowser } from './harness.mjs';
import { view } from './program.mjs';
import { prose, scripts } from './text.mjs';
import { book, planted, serve, serveProse, skip } from './traces.mjs';

const { open } = useBrowser();

/** One token per character. */
function charactersOf(text) {
  let at = 0;
  return [...text].map((c, i) => ({ begin: at, end: (at += Buffer.byteLength(c)), id: 5 + (i % 900), word: i, flags: 0 }));
}

/** The shares above the text: the position where each is drawn, and its position without the shift that avoids overlaps. */
const labels = (page) =>
  page.$$eval('[data-share]', (list) => {
    const ink = document.createElement('canvas').getContext('2d');
    return list.map((element) => {
      const style = getComputedStyle(element, '::after');
      ink.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
      const box = element.getClientRects()[0];
      const half = ink.measureText(element.dataset.share).width / 2;
      const middle = box.left + box.width / 2;
      const shift = parseFloat(element.style.getPropertyValue('--shift') || '0');
      return { line: Math.round(box.top / 20), left: middle + shift - half, right: middle + shift + half, shift };
    });
  });

test('shares over neighbouring characters do not cover each other', { skip }, async () => {
  const { url } = await serve(planted(scripts.chinese, { tokens: charactersOf(scripts.chinese), layers: 1, heads: 4 }));
  let moved = 0;
  for (const head of ['0.0', '0.1', '0.2', '0.3']) {
    for (const q of [4, 8]) {
      const page = await open(`${url}#h=${head}&q=${q}`);
      await answers(page, q);
      const found = (await labels(page)).sort((a, b) => a.line - b.line || a.left - b.left);
      moved += found.filter((l) => l.shift !== 0).length;
      for (let i = 1; i < found.length; i++)
        assert.ok(found[i].line !== found[i - 1].line || found[i].left >= found[i - 1].right, JSON.stringify(found));
      await page.context().close();
    }
  }
  assert.ok(moved > 0, 'the fixture has neighbours');
});

test('the token of a link is in view when the page opens, wherever it stands', { skip }, async () => {
  const text = '动物没有过马路因为它太累了猫坐在垫子上'.repeat(120); // wide characters: blocks become taller than estimated
  const { url } = await serve(planted(text, { tokens: charactersOf(text), layers: 1, heads: 1 }));
  for (const q of [700, 850, 1000, 1900]) {
    const page = await open(`${url}#h=0.0&q=${q}`);
    await answers(page, q);
    await page.waitForTimeout(300);
    const [box, view] = await page.evaluate(() =>
      ['.box.query', '.prose'].map((s) => {
        const { top, bottom } = document.querySelector(s).getBoundingClientRect();
        return { top, bottom };
      }),
    );
    assert.ok(box.top >= view.top && box.bottom <= view.bottom, `#${q} at ${box.top} of ${view.top}–${view.bottom}`);
    await page.context().close();
  }
});

test('the caption is one sentence whatever is chosen, in both languages', { skip }, async () => {
  const { url } = await serveProse(120, { layers: 1, heads: 2 });
  const captions = { en: new Set(), zh: new Set() };
  for (const lang of ['en', 'zh']) {
    const page = await open(`${url}#h=0.1&q=20&lang=${lang}`);
    await answers(page, 20);
    for (const more of [
      '',
      '&sink=hide',
      '&sink=renorm&word=0',
      '&w=value',
      '&w=output&word=0',
      '&d=in&k=20',
      '&q=20-24',
      '&q=20-24&word=0',
    ]) {
      await page.evaluate((hash) => (location.hash = hash), `#h=0.1&q=20${more}&lang=${lang}`);
      await page.waitForTimeout(250);
      const caption = await page.textContent('[data-testid=answer-caption]');
      captions[lang].add(caption);
      if (lang === 'en') assert.match(caption, /^[A-Z](?!.*\. )[^]*\.$/, caption);
      else assert.match(caption, /^[^。]+。$/, caption);
    }
    assert.ok(captions[lang].size >= 7, [...captions[lang]].join('\n'));
  }
});

test('the context of an answer is the text as it stands: pieces of a word touch', { skip }, async () => {
  const { url, plan } = await serveProse(300, { layers: 2, heads: 4 });
  const whole = plan.text.toString().replace(/\s+/g, ' ');
  for (const q of [31, 140]) {
    const page = await open(`${url}#h=1.1&q=${q}`);
    await answers(page, q);
    const lines = await page.$$eval('.answer button', (list) =>
      list.map((b) => ({ token: Number(b.dataset.token), text: b.querySelector('.answer-text').textContent })),
    );
    const plain = lines.filter((l) => !plan.tokens[l.token].flags);
    assert.ok(plain.length > 3);
    for (const { token, text } of plain) assert.ok(whole.includes(text.trim()), `#${token} ${text}`);
  }
});

test('under 900 pixels the badge stays in sight', { skip }, async () => {
  const { url } = await serveProse(120, { layers: 2, heads: 4 });
  const page = await open(`${url}#h=1.1,0.1,0.2,0.3&q=20`, { viewport: { width: 420, height: 860 } });
  await answers(page, 20);
  const { left, right } = await page.$eval('[data-testid=badge] .badge', (e) => {
    const box = e.getBoundingClientRect();
    return { left: box.left, right: box.right };
  });
  assert.ok(left > 0 && right <= 420, `${left}–${right}`);
});

for (const width of [1280, 420]) {
  test(`at ${width} pixels the atlas cuts off no kind and no number`, { skip }, async () => {
    const { url } = await serveProse(120, { layers: 2, heads: 12 });
    const page = await open(`${url}#v=atlas&h=1.1`, { viewport: { width, height: 860 } });
    await page.waitForSelector('[data-testid=atlas-badge] [data-badge=exact]:not(.busy)');
    const cut = await page.$$eval('.head .note span', (list) =>
      list
        .filter((e) => {
          const [own, cell] = [e.getBoundingClientRect(), e.closest('.head').getBoundingClientRect()];
          return own.right > cell.right + 0.5 || own.bottom > cell.bottom + 0.5 || e.scrollWidth > e.clientWidth + 1;
        })
        .map((e) => e.textContent),
    );
    assert.ok((await page.locator('.head .note span').count()) > 10);
    assert.deepEqual(cut, []);
  });
}

/** Starts to sum the layout shifts that happen without user input. */
const watchShifts = (page) =>
  page.evaluate(() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries())
        for (const { node, previousRect: was, currentRect: is } of entry.sources)
          if (was.width && is.width) window.shifts.push(`${node?.className || node?.nodeName}: ${was.x},${was.y} → ${is.x},${is.y}`);
    }).observe({ type: 'layout-shift' });
  });

for (const [width, height, lang] of [
  [1440, 900, 'en'],
  [1024, 700, 'en'],
  [1024, 700, 'zh'],
  [390, 844, 'en'],
]) {
  test(`at ${width} × ${height} (${lang}) nothing moves under a pointer, and a click pins what was pointed at`, { skip }, async () => {
    const { url } = await serveProse(200, { layers: 4, heads: 6 });
    for (const view of ['read', 'lines', 'map', 'atlas']) {
      const page = await open(`${url}#v=${view}&h=1.1&q=20&lang=${lang}`, { viewport: { width, height } });
      await page.waitForSelector('[data-testid=badge] .badge');
      if (view === 'atlas') await page.waitForSelector('[data-testid=atlas-badge] [data-badge=exact]:not(.busy)');
      await page.waitForTimeout(400);
      await watchShifts(page);
      const places = () => page.$$eval('.head', (list) => list.map((e) => [e.getBoundingClientRect().x, e.getBoundingClientRect().y]));
      const before = await places();
      const targets = page.locator('.head:visible, .box:visible, .line-token:visible, .street:visible');
      const count = Math.min(await targets.count(), 60);
      for (let i = 0; i < count; i += 3) {
        const box = await targets.nth(i).boundingBox();
        if (!box || box.y + box.height / 2 > height || box.x + box.width / 2 > width) continue;
        await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
        await page.waitForTimeout(60);
        const said = page.locator('[data-testid=definition]:visible');
        if (await said.count()) assert.ok(await said.evaluate((e) => e.scrollHeight <= e.clientHeight + 1), await said.textContent());
      }
      assert.deepEqual(await page.evaluate(() => window.shifts), [], view);
      assert.deepEqual(await places(), before, view);
      const heads = page.locator('.head:visible');
      for (const i of [7, 2, 16, 11, 21, 14].filter((at) => at < before.length)) {
        if ((await heads.count()) === 0) break;
        const box = await heads.nth(i).boundingBox();
        const wanted = await heads.nth(i).getAttribute('data-head');
        const isSeen = await page.evaluate(
          ([x, y, at]) => document.elementFromPoint(x, y)?.closest('.head')?.dataset.head === at,
          [box.x + box.width / 2, box.y + box.height / 2, wanted],
        );
        if (!isSeen) continue; // below the edge of the frame
        await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
        await page.waitForTimeout(150);
        await page.mouse.down();
        await page.mouse.up();
        await settled(page);
        assert.equal(stateOf(page).h.split(',')[0], wanted, view);
        assert.deepEqual(await places(), before, `${view}: after a click on ${wanted}`);
      }
    }
  });
}

test('every view has a colour bar with numbers, and states its scale', { skip }, async () => {
  const server = await serveProse(200, { layers: 3, heads: 4 });
  const { url } = server;
  const row = await server.row([1, 1], 20);
  const { sinks } = (await server.info()).families[0];
  const most = Math.max(...row.filter((_, k) => !sinks.includes(k))); // sinks do not determine the scale
  for (const [scale, middle] of [
    ['sqrt', most / 4],
    ['linear', most / 2],
  ]) {
    const page = await open(`${url}#h=1.1&q=20&s=${scale}`);
    await answers(page, 20);
    const ends = await page.$$eval('[data-testid=legend] .legend-bar span', (list) => list.map((e) => e.textContent));
    assert.equal(ends[0], '0');
    assertPrinted(ends[2], most);
    assert.ok(Math.abs(parseFloat(ends[1]) / 100 - middle) <= 0.0051 * middle, `${ends[1]}: ${middle}`);
  }
  for (const [view, slot] of [
    ['map', 'map-legend'],
    ['lines', 'lines-legend'],
    ['atlas', 'atlas-legend'],
  ]) {
    const page = await open(`${url}#v=${view}&h=1.1&q=20`);
    await page.waitForSelector(`[data-testid=${slot}] .legend-bar span`);
    assert.match(
      await page.getAttribute(`[data-testid=${slot}]`, 'aria-label'),
      /^Colour bar from 0 to .+, with .*\d.* in the middle; square root scale$/,
    );
  }
});

test('no preview starts before the pointer moves', { skip }, async () => {
  const { url } = await serveProse(120, { layers: 2, heads: 4 });
  const page = await open(`${url}#v=read&h=1.1&q=20`, { viewport: { width: 1280, height: 860 } });
  await page.waitForSelector('[data-testid=atlas-badge] [data-badge=exact]:not(.busy)');
  const head = page.locator('.head').nth(2);
  for (const event of ['pointerover', 'pointerenter']) await head.dispatchEvent(event); // as if the page appeared under a pointer at rest
  const said = () => page.textContent('[data-testid=definition]');
  assert.doesNotMatch(await said(), /^L/);
  await head.hover();
  assert.match(await said(), /^L0\.H2: /);
});

test('on a narrow page all of Why and What if is reached by scrolling', { skip }, async () => {
  const { url } = await view(book, prose(40).text);
  for (const [hash, last] of [
    ['v=why&h=1.1', '[data-testid=why-agreement]'],
    ['v=what-if&h=1.1&q=20&edit=c~4-5', '[data-testid=if-map]'],
  ]) {
    const page = await open(`${url}#${hash}`, { viewport: { width: 390, height: 844 } });
    await explained(page, last);
    await page.mouse.move(200, 600);
    for (let i = 0; i < 20; i++) await page.mouse.wheel(0, 300);
    await page.waitForFunction((place) => document.querySelector(place).getBoundingClientRect().bottom < innerHeight, last);
    await page.context().close();
  }
});

for (const [width, height] of [
  [1400, 900],
  [900, 1000],
  [800, 600],
  [390, 844],
]) {
  test(`at ${width} × ${height} no view is wider than the screen, and its colour bars have room for their numbers`, { skip }, async () => {
    const { url } = await view(book, prose(40).text); // explanations need a model
    for (const [hash, slots, isSigned] of [
      ['v=read&h=1.1,0.0,0.1,0.2,0.3,1.0&q=20', ['legend'], false],
      ['v=lines&h=1.1,0.0,0.1,0.2,0.3,1.0&q=20', ['lines-legend'], false],
      ['v=map&h=1.1,0.0&q=20', ['map-legend'], false],
      ['v=atlas&h=1.1&q=20', ['atlas-legend'], false],
      ['v=why&h=1.1', ['why-legend'], true],
      ['v=what-if&h=1.1&q=20&edit=c~4-5', ['if-text-legend', 'if-legend'], true],
      ['v=neuron&h=1.1&q=20', ['neuron-vectors', 'neuron-products'], true],
      ['v=compare&h=1.1&q=20&with=head&to=1.0', ['compare-text-legend', 'compare-legend'], true],
    ]) {
      const page = await open(`${url}#${hash}`, { viewport: { width, height } });
      for (const slot of slots) {
        await explained(page, `[data-testid=${slot}] .legend-bar span:nth-child(3)`);
        if (slot === 'legend')
          await page.waitForFunction(
            () => document.querySelector('[data-testid=legend] .legend-scale').textContent.split(' · ').length === 6,
          );
        const found = await page.$eval(`[data-testid=${slot}]`, (bar) => {
          const place = (e) => e.getBoundingClientRect();
          const [low, middle, high] = bar.querySelectorAll('.legend-bar span');
          const scale = bar.querySelector('.legend-scale');
          return {
            numbers: [low, middle, high].map((e) => e.textContent),
            overlap: place(low).right > place(middle).left || place(middle).right > place(high).left,
            scale: scale.textContent,
            cut:
              place(scale).right > place(bar).right || place(scale).height > place(bar).height || scale.scrollWidth > scale.clientWidth + 1,
          };
        });
        assert.equal(found.overlap, false, `${hash} ${slot}: ${found.numbers}`);
        assert.equal(found.cut, false, `${hash} ${slot}: ${found.scale}`);
        assert.match(found.scale, /^square root scale/, slot);
        if (isSigned) assert.deepEqual([found.numbers[0], found.numbers[1]], [found.numbers[2].replace('+', '−'), '0'], slot);
        else assert.equal(found.numbers[0], '0', slot);
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${hash}: ${wide} pixels wide`);
      await page.context().close();
    }
  });
}
