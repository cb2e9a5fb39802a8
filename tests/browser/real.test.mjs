// The page with the real program: `clearhead view` on models with known answers, from 10 to 100,000 tokens; access control; the
// content of exports.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { binary, build, endAll, json, view } from './program.mjs';
import { answers, assertPrinted, settled, skip as noBrowser, stateOf, useBrowser } from './harness.mjs';

const maker = join(build, 'clearhead-known-models');
const skip = noBrowser || (existsSync(binary) && existsSync(maker) ? false : `no ${binary}`);
if (skip && process.env.CLEARHEAD_REQUIRE_BROWSER === '1') throw new Error(String(skip));

const { open } = useBrowser();
let folder;
let model;

before(() => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), 'clearhead-view-'));
  model = join(folder, 'model');
  execFileSync(maker, ['causal', model]);
});
after(() => {
  endAll();
  if (folder) rmSync(folder, { recursive: true });
});

/** A text of about the given number of tokens (bytes) with known answers, and the positions of the answers. */
function knownText(bytes) {
  const path = join(folder, `${bytes}.txt`);
  const where = JSON.parse(
    execFileSync(maker, ['text', path, '--bytes', String(Math.max(1000, bytes))], {
      encoding: 'utf8',
    }),
  );
  if (bytes < 1000) writeFileSync(path, readFileSync(path).subarray(0, bytes));
  return { path, where };
}

/** The exact weights of a row, in the format that the source prints. */
const row = async (server, query, layer, head) =>
  (await json(server, `row?l=${layer}&h=${head}&q=${query}&values=all&top=8&format=json`)).arrays.values.data;

const small = () => {
  const path = join(folder, 'small.txt');
  writeFileSync(path, 'abc abc ab');
  return path;
};

for (const tokens of [10, 300, 5000, 100_000]) {
  test(`at ${tokens} tokens the page opens, a click pins, and the list prints the exact row`, { skip }, async () => {
    const server = await view(model, '--file', tokens === 10 ? small() : knownText(tokens).path);
    const page = await open(`${server.url}#h=0.0&word=0`);
    const box = page.locator('.box').nth(8);
    await box.waitFor({ timeout: 60_000 });
    const token = Number(await box.getAttribute('data-box'));
    await box.click();
    await page.mouse.move(5, 5);
    const shown = await answers(page, token);
    const values = await row(server, token, 0, 0);
    shown.forEach((s) => assertPrinted(s.weight, values[s.token]));
    assert.equal(shown[0].token, token - 1, 'L0.H0 looks one token back');
    await page.waitForSelector('[data-testid=map-badge] .badge', {
      timeout: 60_000,
    });
    assert.ok(
      page.requests.every((r) => r.startsWith(server.base) || r.startsWith('data:') || r.startsWith('blob:')),
      'only loopback is asked',
    );
  });
}

test('who has no token, another Host or a foreign Origin gets 403', { skip }, async () => {
  const server = await view(model, '--file', small());
  const { port } = new URL(server.base);
  const ask = (path, headers, method = 'GET') =>
    new Promise((done, fail) => {
      const sent = request({ host: '127.0.0.1', port, path, method, headers }, (response) => {
        let body = '';
        response.on('data', (d) => (body += d));
        response.on('end', () =>
          done({
            status: response.statusCode,
            headers: response.headers,
            body,
          }),
        );
      });
      sent.on('error', fail);
      sent.end(method === 'POST' ? '{}' : undefined);
    });
  const good = { Authorization: `Bearer ${server.token}` };
  assert.equal((await ask('/api/info', good)).status, 200);
  for (const path of ['/', '/app.js', '/api/info', '/api/row?q=1', '/api/export?kind=json']) {
    const refused = await ask(path, {});
    assert.equal(refused.status, 403, path);
    assert.equal(JSON.parse(refused.body).error.code, 'forbidden');
  }
  assert.equal((await ask('/?token=00000000000000000000000000000000', {})).status, 403);
  assert.equal((await ask('/api/info', { ...good, Host: 'evil.example' })).status, 403);
  assert.equal((await ask('/api/info', { ...good, Host: `evil.example:${port}` })).status, 403);
  assert.equal((await ask('/api/info', { ...good, Origin: 'http://evil.example' })).status, 403);
  assert.equal((await ask('/api/mass', { ...good, Origin: 'null', 'Content-Type': 'application/json' }, 'POST')).status, 403);
  const entered = await ask(`/?token=${server.token}`, {});
  assert.equal(entered.status, 303);
  assert.match(entered.headers['set-cookie'][0], /HttpOnly/i);
  assert.match(entered.headers['set-cookie'][0], /SameSite=Strict/i);
  const allowed = await ask('/api/info', {
    Cookie: entered.headers['set-cookie'][0].split(';')[0],
  });
  assert.equal(allowed.status, 200);
  assert.equal(allowed.headers['access-control-allow-origin'], undefined);
});

test('a span query finds the planted head: what follows the question was said before', { skip }, async () => {
  const { path, where } = knownText(3000);
  const server = await view(model, '--file', path);
  const [q, k] = [where.question[1] - 1, where.answer[0]];
  const page = await open(`${server.url}#v=atlas&h=0.0&q=${q}-${q + 1}&k=${k}-${k + 1}`);
  await page.waitForSelector('[data-testid=mass] .ranked li');
  const [name, mass] = await page.$eval('[data-testid=mass] .ranked li button', (b) => [...b.children].map((c) => c.textContent));
  assert.equal(name, 'L1.H0');
  assertPrinted(mass, (await row(server, q, 1, 0))[k]);
});

test('the atlas names the previous-token and the induction head', { skip }, async () => {
  const server = await view(model, '--file', knownText(3000).path);
  const page = await open(`${server.url}#v=atlas&h=0.0`);
  await page.waitForSelector('[data-testid=atlas-badge] [data-badge=exact]:not(.busy)');
  assert.match(await page.textContent('[data-head="0.0"] .note'), /previous/);
  assert.match(await page.textContent('[data-head="1.0"] .note'), /induction/);
});

test('verify recomputes the row eagerly and says the largest difference and whether it is allowed', { skip }, async () => {
  const server = await view(model, '--file', knownText(3000).path);
  const response = await fetch(`${server.base}api/verify`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${server.token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ f: 'dec', heads: [[1, 0]], rows: [[2500, 2501]], keys: [[0, 3000]], w: 'raw' }),
  });
  const exact = await response.json();
  assert.equal(exact.checked, 3000);
  const page = await open(`${server.url}#h=1.0&q=2500&word=0`);
  await answers(page, 2500);
  await page.click('[data-action=verify]');
  await page.waitForFunction(() => /Checked .+ of .+ weights/.test(document.querySelector('[data-testid=verify]').textContent));
  const text = await page.textContent('[data-testid=verify]');
  const mantissa = exact.largest_difference.toExponential(1).split('e')[0];
  assert.ok(text.includes(`largest difference is ${mantissa}·10`), `${text} for ${exact.largest_difference}`);
  assert.equal(await page.getAttribute('[data-testid=verify]', 'class'), exact.within ? 'good' : 'bad');
});

test('a run replaces the text', { skip }, async () => {
  const server = await view(model, '--file', small());
  const page = await open(`${server.url}#h=0.0&q=5&edit=c~3-4&target=%235&contrast=the`);
  await answers(page, 5);
  await page.click('[data-action=run]');
  await page.fill('[data-testid=run-text]', 'another text altogether');
  await page.click('dialog[open] .primary');
  await page.waitForFunction(() => /another text altogether/.test(document.querySelector('.prose')?.textContent ?? ''));
  await settled(page);
  const own = ({ edit, target, contrast }) => ({ edit, target, contrast });
  assert.deepEqual(own(stateOf(page)), { edit: undefined, target: undefined, contrast: undefined }, 'a new text starts without edits');
  await page.goBack();
  await page.waitForSelector('.notice');
  await page.click('.views [data-value=map]');
  await settled(page);
  assert.deepEqual(own(stateOf(page)), { edit: undefined, target: undefined, contrast: undefined }, 'nor does it take the old ones back');
});

test('a tab whose text another tab replaced says so, shows none of the other’s numbers, and can show the new text', { skip }, async () => {
  const server = await view(model, '--file', small());
  const [old, other] = [await open(`${server.url}#h=0.0&q=5`), await open(`${server.url}#h=0.0&q=5`)];
  await answers(old, 5);
  await answers(other, 5);
  await other.click('[data-action=run]');
  await other.fill('[data-testid=run-text]', 'another text altogether');
  await other.click('dialog[open] .primary');
  await other.waitForFunction(() => /another text altogether/.test(document.querySelector('.prose')?.textContent ?? ''));
  await old.locator('.box').nth(7).click();
  await old.waitForSelector('[data-testid=stale]');
  assert.equal(await old.locator('[data-testid=answers] button').count(), 0);
  await old.click('[data-testid=stale] button');
  await old.waitForFunction(() => /another text altogether/.test(document.querySelector('.prose')?.textContent ?? ''));
  assert.equal(await old.locator('[data-testid=stale]').count(), 0);
  old.errors.length = 0; // the browser reports the refused request
});

test('JSON and NPY hold the numbers shown and the command that makes them again', { skip }, async () => {
  const server = await view(model, '--file', knownText(300).path);
  const page = await open(`${server.url}#h=1.0&q=150&word=0`);
  await answers(page, 150);
  await settled(page);
  const save = async (kind) => {
    await page.keyboard.press('p');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(`[data-export=${kind}]`)]);
    await page.keyboard.press('Escape');
    return readFileSync(await download.path());
  };
  const values = await row(server, 150, 1, 0);
  assert.equal(values.length, 300);
  const exported = JSON.parse((await save('json')).toString());
  assert.match(exported.command, /^clearhead view /);
  assert.deepEqual(exported.heads[0].rows.values, values);
  const npy = await save('npy');
  assert.deepEqual([...npy.subarray(1, 6)], [...Buffer.from('NUMPY')]);
  const data = npy.subarray(10 + npy.readUInt16LE(8));
  values.forEach((v, i) => assert.equal(data.readFloatLE(4 * i), Math.fround(v)));
  assert.match(npy.toString('latin1'), /\n# clearhead /);
});

test('the offline page the program writes opens from a file and asks for nothing', { skip }, async () => {
  for (const [bytes, budget] of [
    [300, '20MB'],
    [20_000, '3MB'],
  ]) {
    const { path } = knownText(bytes);
    const html = join(folder, `page-${bytes}.html`);
    execFileSync(binary, ['view', model, '--file', path, '--html', html, '--page-size', budget, '--state', `h=0.0&q=${bytes - 20}`], {
      stdio: 'pipe',
    });
    assert.ok(readFileSync(html).length <= parseFloat(budget) * 1e6, 'within its budget');
    const url = pathToFileURL(html).href;
    const page = await open(`${url}#h=0.0&q=${bytes - 20}&word=0`);
    const shown = await answers(page, bytes - 20);
    assert.equal(shown[0].token, bytes - 21);
    assert.deepEqual(
      page.requests.filter((r) => !r.startsWith(url) && !r.startsWith('data:') && !r.startsWith('blob:')),
      [],
    );
    assert.match(await page.textContent('[data-testid=banner]'), /This page contains/);
  }
});

test(
  'MiniLM reads Chinese, emoji and Arabic in boxes of whole graphemes',
  {
    skip: skip || (process.env.CLEARHEAD_MINILM ? false : 'CLEARHEAD_MINILM is not set'),
  },
  async () => {
    for (const text of ['动物没有过马路,因为它太累了。', 'A family 👨‍👩‍👧‍👦 and thumbs 👍🏽 up', 'لم يعبر الحيوان الشارع']) {
      const server = await view(process.env.CLEARHEAD_MINILM, text);
      const page = await open(`${server.url}#h=0.0&word=0`);
      await page.locator('.box').first().waitFor();
      const pieces = await page.$eval('.block-text', (p) =>
        [...p.childNodes].filter((n) => !n.classList?.contains('chip')).map((n) => n.textContent),
      );
      assert.equal(pieces.join(''), text);
      const starts = new Set([...new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text)].map((s) => s.index));
      let at = 0;
      for (const piece of pieces) {
        assert.ok(starts.has(at), `${piece} begins inside a grapheme`);
        at += piece.length;
      }
    }
  },
);

test('an offline page that holds no whole maps still shows a short band by key − query', { skip }, async () => {
  const { path } = knownText(12_000);
  const file = join(folder, 'band.html');
  const book = join(build, '../../models/book');
  execFileSync(binary, ['view', book, '--file', path, '--html', file, '--page-size', '3MB']);
  const held = JSON.parse(/id="clearhead-manifest">(.*?)<\/script>/s.exec(readFileSync(file, 'utf8'))[1])[0];
  assert.equal(held.tier, 'B');
  const own = Object.keys(held.blobs).find((name) => name.startsWith('near/'));
  const heads = [own.split('/').slice(2), ['0', '0']]; // a head with its own picture, and a head with only a thumbnail
  assert.ok(!held.blobs['near/dec/0/0']);
  for (const [layer, head] of heads) {
    const page = await open(`${pathToFileURL(file)}#v=map&h=${layer}.${head}`);
    await page.waitForSelector('[data-testid=map-badge] [data-badge=quantised]');
    assert.ok(await page.isChecked('[data-control=axes] [value=offset]'));
    const caption = await page.textContent('[data-testid=map-caption]');
    assert.match(caption, /from 255 before to 0 after/);
    const [, rows, columns] = /each cell covers (\d+) × (\d+) weights/.exec(caption).map(Number);
    assert.equal(columns, layer === '0' ? 4 : 1, caption);
    assert.ok(rows > 1, caption);
    await page.close();
  }
});

test('a run that was watched opens at its last step and goes back to its first', { skip }, async () => {
  const recipe = join(folder, 'recipe.json');
  writeFileSync(join(folder, 'lines.txt'), Array.from({ length: 300 }, (_, i) => `line ${i}: ${i * i}\n`).join(''));
  const heads = { num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2, hidden_size: 32, intermediate_size: 64 };
  const rest = {
    vocab_size: 256,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    rope_theta: 1e4,
    hidden_act: 'silu',
    tie_word_embeddings: true,
  };
  const schedule = { learning_rate: 0.01 };
  const watch = { texts: ['line 12: 144', 'line 30: 900'], checkpoints: 5 };
  const modelFacts = { architectures: ['LlamaForCausalLM'], model_type: 'llama', ...heads, ...rest };
  writeFileSync(recipe, JSON.stringify({ files: ['lines.txt'], model: modelFacts, length: 32, steps: 60, schedule, watch }));
  execFileSync(binary, ['train', recipe, `data=${folder}`, '-o', join(folder, 'run')]);
  const server = await view(join(folder, 'run/watch'));
  const page = await open(`${server.url}#h=1.0&q=10&word=0`);
  const check = async (step) => {
    await page.waitForFunction((wanted) => document.querySelector('h1')?.textContent === wanted, `llama after ${step} steps`);
    await page.waitForTimeout(200);
    const { data } = (await json(server, `row?l=1&h=0&q=10&values=all&top=8&format=json&t=${step}`)).arrays.values;
    for (const { token, weight } of await answers(page, 10)) assertPrinted(weight, data[token]);
    return data;
  };
  const last = await check(60);
  await page.focus('[data-testid=timeline]');
  await page.keyboard.press('Home');
  const first = await check(0);
  assert.ok(first.some((weight, i) => Math.abs(weight - last[i]) > 0.01));
  assert.equal(await page.locator('.timeline-ticks i').count(), 5);
});

test('of several traces the chosen one is shown, live and offline', { skip }, async () => {
  const traces = ['abc abc ab', 'once upon once upon'].map((text, i) => {
    const path = join(folder, `side-${i}.trace`);
    execFileSync(binary, ['trace', model, text, '-o', path]);
    return path;
  });
  const server = await view(...traces);
  const path = join(folder, 'both.html');
  execFileSync(binary, ['view', ...traces, '--query', '6', '--html', path]);
  const name = model.split('/').pop();
  for (const url of [`${server.url}#h=1.0&q=6`, pathToFileURL(path).href]) {
    const page = await open(url);
    await page.click('[data-testid=words]'); // tokens
    const check = async (trace, token, head) => {
      const { data } = (await json(server, `row?l=${head[0]}&h=${head[1]}&q=${token}&values=all&format=json&t=${trace}`)).arrays.values;
      for (const shown of await answers(page, token)) assertPrinted(shown.weight, data[shown.token]);
    };
    await check(0, 6, [1, 0]);
    const choice = page.getByLabel('Choose a trace');
    assert.deepEqual(await choice.locator('option').allTextContents(), [`${name}: abc abc ab`, `${name}: once upon once upon`]);
    await choice.selectOption({ index: 1 });
    await page.waitForFunction(() => /once/.test(document.querySelector('.prose')?.textContent ?? ''));
    await page.click('[data-testid=words]'); // another trace opens in its own state
    await page.locator('.box[data-box="16"]').click();
    await page.mouse.move(5, 5);
    await check(1, 16, [1, 0]);
    await settled(page);
    await page.reload();
    await answers(page, 16);
    assert.equal(await choice.inputValue(), '1');
  }
});

test('what is chosen on the real program survives a reload of its link', { skip }, async () => {
  const server = await view(model, '--file', knownText(300).path);
  const page = await open(`${server.url}#h=1.0&q=150&s=log&sink=hide&word=0`);
  await answers(page, 150);
  await page.keyboard.press('Shift+ArrowRight');
  await settled(page);
  const state = stateOf(page);
  await page.reload();
  await answers(page, 150);
  assert.deepEqual(stateOf(page), state);
});
