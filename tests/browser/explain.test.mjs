// The views "Why" and "What if": their numbers on real models equal the server's answers. Also tests the edits in the URL, undo, the
// keyboard, and the message shown without a model.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { binary, build, endAll, json, view } from './program.mjs';
import { assertPrinted, eventually, explained, settled, skip as noBrowser, stateOf, useBrowser } from './harness.mjs';

const maker = join(build, 'clearhead-known-models');
const skip = noBrowser || (existsSync(binary) && existsSync(maker) ? false : `no ${binary}`);
const models = fileURLToPath(new URL('../../models/', import.meta.url));
const { open } = useBrowser();
let folder;

before(() => {
  if (!skip) folder = mkdtempSync(join(tmpdir(), 'clearhead-explain-'));
});
after(() => {
  endAll();
  if (folder) rmSync(folder, { recursive: true });
});

/** The final event of a request that the server answers with a stream of events. */
async function done(server, path, body) {
  const response = await fetch(`${server.base}api/${path}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${server.token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  const events = text.split('\n\n').filter(Boolean);
  const [name, data] = events[events.length - 1].split('\n').map((line) => line.replace(/^\w+: /, ''));
  return { name, data: JSON.parse(data), first: events[0] };
}

const kStory = 'It was a dark and stormy night; the rain fell in';
const signed = (text) => text.replace('−', '-').replace('+', '');

test('looks are answered while an explanation runs, which can be given up', { skip }, async () => {
  const server = await view(join(models, 'book'), `${kStory} torrents, except at occasional intervals, `.repeat(6));
  const giveUp = new AbortController();
  const response = await fetch(`${server.base}api/why`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${server.token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ methods: ['relevance', 'integrated-gradients', 'occlusion'], at_most: 0 }),
    signal: giveUp.signal,
  });
  const reader = response.body.getReader();
  let events = new TextDecoder().decode((await reader.read()).value);
  let ended = false;
  const rest = (async () => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) events += new TextDecoder().decode(next.value);
    ended = true;
  })().catch(() => undefined);
  for (let i = 0; i < 5; i++) {
    await json(server, 'info');
    assert.equal((await json(server, 'row?q=20&l=3&h=1&top=1&format=json')).badge, 'exact');
  }
  assert.ok(!ended && !/event: done/.test(events), `the explanation was over first: ${events}`);
  giveUp.abort();
  await rest;
  const { name, data } = await done(server, 'why', { methods: ['relevance'], at_most: 0 }); // the next request does not wait for it
  assert.equal(name, 'event: done'.slice(7));
  assert.ok(data.methods[0].shares.length > 0);
});

test('the shares on the page are those of the server, and the method chosen shades', { skip }, async () => {
  const server = await view(join(models, 'book'), kStory);
  const page = await open(`${server.url}#v=why&methods=relevance,occlusion`);
  await explained(page, '[data-testid=why-shares] tbody tr');
  const methods = ['relevance', 'occlusion'];
  const { data, first } = await done(server, 'why', { methods, at_most: 0 });
  assert.match(first, /^event: (cost|progress)/);
  const rows = await page.$$eval('[data-testid=why-shares] tbody tr', (list) =>
    list.map((row) => [...row.children].map((cell) => cell.textContent)),
  );
  assert.match(
    await page.textContent('[data-testid=why-maps]'),
    /^To see maps of the weights that support or oppose the answer.*clearhead view .*book.* --gradients$/,
  );
  const front = data.methods[0].shares;
  const order = front.map((_, i) => i).sort((a, b) => Math.abs(front[b]) - Math.abs(front[a]));
  rows.forEach((row, i) => methods.forEach((_, m) => assertPrinted(signed(row[1 + m]), data.methods[m].shares[order[i]])));
  const trust = await page.$$eval('[data-testid=why-trust] tbody tr', (list) => list.map((row) => row.children[2].textContent));
  assert.match(trust[0], /\d+ of 10/);
  const shade = () => page.$$eval('.why-panel .box', (list) => list.map((b) => b.style.backgroundColor).join('|'));
  const before = await shade();
  await page.click('[data-testid=why-shares] [data-method=occlusion]');
  await eventually(async () => (await shade()) !== before, 'shaded by the other method');
  await settled(page);
  assert.equal(stateOf(page).methods, 'occlusion,relevance');
});

test('of a run with gradients, what speaks for the answer and against it is a kind of weight', { skip }, async () => {
  const server = await view(join(models, 'book'), kStory, '--gradients', '--target', ' the');
  const page = await open(`${server.url}#v=read&h=4.0&q=9&sink=renorm&word=0`);
  await page.waitForSelector('[data-testid=answers] button');
  assert.ok(await page.isHidden('[data-control=norm]'), 'lengths of values are a kind of weight of their own');
  for (const [kind, says] of [
    ['for', 'support for'],
    ['for-value', 'times the norm of its value'],
    ['against-value', 'opposition to'],
    ['against', 'opposition to'],
    ['raises', 'would rise'],
    ['lowers', 'would fall'],
  ]) {
    const [gradient, lengths] = kind.split('-');
    await page.click(`[data-control=weight] [data-value=${gradient}]`);
    await page.click(`[data-control=norm] [data-value=${lengths ?? 'none'}]`);
    await settled(page);
    assert.equal(stateOf(page).w, kind);
    await eventually(async () => (await page.textContent('.answers-panel')).includes(says), says);
    assert.match(await page.textContent('.answers-panel'), /next token " the"/);
    const { top } = await json(server, `row?l=4&h=0&q=9&w=${kind}&sink=hide&format=json`);
    const shown = await page.$$eval('[data-testid=answers] button', (list) =>
      list.map((b) => [Number(b.dataset.token), Number(b.querySelector('.answer-weight').textContent)]),
    );
    assert.ok(shown.length > 0);
    shown.forEach(([token, weight], i) => {
      assert.equal(token, top[i].begin);
      assert.ok(Math.abs(weight - top[i].weight) <= 1e-4 * top[i].weight + 1e-9, `${weight} is not ${top[i].weight}`);
    });
  }
  await settled(page);
  assert.deepEqual([stateOf(page).w, stateOf(page).sink], ['lowers', 'hide'], 'rows of gradients have no sum to restore');
  await page.click('[data-control=sink] [data-value=renorm]');
  await settled(page);
  assert.equal(stateOf(page).w, undefined);

  // The atlas ranks heads by the sums of their maps.
  const asked = await fetch(`${server.base}api/atlas?w=for&sink=hide&format=json`, {
    headers: { Authorization: `Bearer ${server.token}` },
  });
  const frames = (await asked.text())
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const shownHeads = frames.filter((frame) => frame.event === 'heads');
  const heads = shownHeads.map((frame) => frame.heads[0]);
  assert.equal(heads.length, 36);
  const most = heads.reduce((a, b) => (b.sum > a.sum ? b : a));
  const row = await json(
    server,
    `row?l=${most.layer}&h=${most.head}&q=0-${shownHeads[0].queries[1]}&w=for&sink=hide&values=all&format=json`,
  );
  const sum = row.arrays.values.data.reduce((a, b) => a + b, 0);
  assert.ok(Math.abs(sum - most.sum) <= 0.05 * most.sum, `${sum} is not ${most.sum}`);
  await page.evaluate(() => (location.hash = 'v=atlas&h=4.0&w=for&sink=hide'));
  await eventually(
    async () => (await page.textContent('.atlas-panel')).includes('the sum over the whole map'),
    'the caption says what the numbers are',
  );
  await page.selectOption('[data-testid=atlas-sort]', 'sum');
  const first = `${most.layer}.${most.head}`; // the sums of the heads arrive one after another
  const ranked = () => page.$$eval('.heads .head', (list) => list.sort((a, b) => a.style.order - b.style.order)[0].dataset.head);
  await eventually(async () => (await ranked()) === first, `${first} is ranked first`);
  assertPrinted(await page.textContent(`.heads [data-head="${first}"] .note`), most.sum / 100); // a number, not a percentage

  const file = join(folder, 'gradients.html');
  execFileSync(binary, ['view', join(models, 'book'), kStory, '--gradients', '--target', ' the', '--html', file]);
  const alone = await open(`${pathToFileURL(file)}#v=read&h=4.0&q=9&w=for`);
  await alone.waitForSelector('[data-testid=answers] button');
  const { top } = await json(server, 'row?l=4&h=0&q=9&w=for&format=json');
  const heaviest = await alone.$eval('[data-testid=answers] button', (b) => [
    Number(b.dataset.token),
    b.querySelector('.answer-weight').textContent,
  ]);
  assert.equal(heaviest[0], top[0].begin);
  assert.ok(Math.abs(Number(heaviest[1].replace('≈', '')) - top[0].weight) <= 0.02 * top[0].weight, 'the offline page holds them too');
  assert.deepEqual(await alone.$$eval('[data-control=weight] [data-value=raises]', (list) => list.length), 0, 'but not ∂y/∂P');
  await alone.evaluate(() => (location.hash = 'v=atlas&h=4.0&w=for&sink=hide'));
  await eventually(async () => {
    const note = await alone.textContent(`.heads [data-head="${most.layer}.${most.head}"] .note`);
    return Math.abs(Number(note.replace('≈', '')) - most.sum) <= 0.05 * most.sum;
  }, 'nor another sum');
});

test('by parts, each named part has its shares and the effect of its removal', { skip }, async () => {
  const named = join(folder, 'parts.json');
  const bytes = { opening: [0, 13], weather: [14, 31], 'turn 3': [32, 48] };
  writeFileSync(named, JSON.stringify(Object.entries(bytes).map(([name, [begin, end]]) => ({ name, begin, end }))));
  const server = await view(join(models, 'book'), kStory, '--segments', named);
  const page = await open(`${server.url}#v=why&methods=relevance`);
  await explained(page, '[data-testid=why-shares] tbody tr');
  assert.equal(await page.locator('[data-testid=why-shares] thead th').count(), 2, 'by words: only the share');
  await page.click('[data-testid=why-units] [data-value=segment]');
  const table = () =>
    page.$$eval('[data-testid=why-shares] tbody tr', (list) => list.map((row) => [...row.children].map((cell) => cell.textContent)));
  await eventually(async () => (await table()).length === 3, 'one row for each part');
  await settled(page);
  assert.deepEqual([stateOf(page).units, stateOf(page).methods], ['segment', 'relevance']);
  assert.ok(await page.isDisabled('.explain-methods [data-method=occlusion]'), 'occlusion is computed by parts');

  const { data } = await done(server, 'why', { methods: ['relevance', 'occlusion'], units: 'segment' });
  const [{ shares }, { drops }] = data.methods;
  const total = data.segments.reduce((sum, { tokens }) => sum + tokens, 0);
  const order = shares.map((_, i) => i).sort((a, b) => Math.abs(shares[b]) - Math.abs(shares[a]));
  const rows = await table();
  order.forEach((item, i) => {
    const [name, relevance, , chance, ratio, without] = rows[i];
    assert.equal(name, data.segments[item].name);
    assertPrinted(signed(relevance), shares[item]);
    assertPrinted(chance, data.segments[item].tokens / total);
    assert.equal(signed(ratio), `${((shares[item] * total) / data.segments[item].tokens).toFixed(1)} ×`);
    assertPrinted(signed(without), -drops[item]);
    assert.match(without, drops[item] > 0 ? /^−/ : /^\+/);
  });

  await page.click('[data-testid=why-shares] .part-name:has-text("turn 3")');
  const begin = data.items[data.segments.findIndex(({ name }) => name === 'turn 3')][0];
  await page.waitForSelector(`.why-panel .box.other[data-box="${begin}"]`);
  assert.match(await page.textContent('[data-testid=why-status]'), new RegExp(`^#${begin} the `));
  const exported = async (kind) => {
    await page.keyboard.press('p');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(`[data-export=${kind}]`)]);
    await page.keyboard.press('Escape');
    return readFileSync(await download.path()).toString();
  };
  assert.match(await exported('svg'), />without it<[^]*>opening</);
  const { items } = JSON.parse(await exported('json'));
  assert.deepEqual(
    items.map(({ text, without }) => [text, without]),
    data.segments.map(({ name }, i) => [name, -drops[i]]),
  );

  await page.reload();
  await explained(page, '[data-testid=why-shares] .part-name');
  assert.deepEqual(await table(), rows);
  await page.click('[data-testid=why-units] [data-value=word]');
  await eventually(async () => (await table()).length > 3, 'by words again');
  assert.equal(stateOf(page).units, undefined);
});

test('a click on a word explains it from what stands before; the keyboard does too', { skip }, async () => {
  const server = await view(join(models, 'book'), kStory);
  const page = await open(`${server.url}#v=why&methods=attention`);
  await explained(page, '[data-testid=why-shares] tbody tr');
  const word = page.locator('.why-panel .box', { hasText: /^night$/ });
  const token = Number(await word.getAttribute('data-box'));
  await word.click();
  await eventually(async () => (await page.textContent('[data-testid=why-answer]')).includes('night'), 'the word is explained');
  const { data } = await done(server, 'why', { token, methods: ['attention'] });
  assertPrinted((await page.textContent('[data-testid=why-answer]')).split(': ')[1], data.probability);
  assert.ok(data.items.every(([, end]) => end <= token));
  await page.focus('.why-panel .prose');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Enter');
  await settled(page);
  assert.equal(stateOf(page).target, `#${token - 1}`);
  await eventually(async () => /#\d+ “/.test(await page.textContent('[data-testid=live]')), 'said to screen readers');
});

test('a token that was written is explained from source and target', { skip }, async () => {
  const server = await view(join(models, 'en-fr'), 'The red car is in front of the house.');
  const page = await open(`${server.url}#v=why&f=cross&methods=relevance`);
  await explained(page, '[data-testid=why-shares] tbody tr');
  await page.locator('.why-panel .box', { hasText: /^rouge$/ }).click();
  await eventually(async () => (await page.textContent('[data-testid=why-answer]')).includes('rouge'), 'rouge is explained');
  const first = await page.textContent('[data-testid=why-shares] tbody th');
  assert.match(await page.textContent('[data-testid=why-shares] tbody'), /red/);
  assert.ok(first.length > 0);
});

test('what a class came from, of a story’s statements', { skip }, async () => {
  const story = 'John went to the hallway.\nMary took the football there.\nMary went to the kitchen.';
  const server = await view(join(models, 'stories'), story, '--question', 'Where is the football?');
  const page = await open(`${server.url}#v=why`);
  await explained(page, '[data-testid=why-shares] tbody tr');
  assert.match(await page.textContent('[data-testid=why-answer]'), /class “/);
  assert.equal(await page.locator('[data-testid=why-shares] tbody tr').count(), 3);
});

test('the shares of a picture’s patches lie over it, and half of them can be taken away', { skip }, async () => {
  const server = await view(join(models, 'digits'), join(models, 'digits', 'example.png'));
  const page = await open(`${server.url}#v=why&methods=relevance`);
  await explained(page, '[data-testid=why-shares] tbody tr');
  const { data } = await done(server, 'why', { methods: ['relevance'] });
  assert.equal(data.items.length, 256);
  assert.ok(data.methods[0].comprehensiveness > 0.5, 'what it ranks first is what the digit is read by');
  const over = page.locator('[data-testid=why-over]');
  const shown = data.methods[0].shares.filter((share) => share !== 0).length;
  await eventually(async () => (await over.getAttribute('data-shares')) === String(shown), 'as many patches as have a share');
  const most = data.methods[0].shares.reduce((best, share, at, all) => (share > all[best] ? at : best), 0);
  const { width, height } = await over.boundingBox();
  await over.hover({ position: { x: (((most % 16) + 0.5) * width) / 16, y: ((Math.floor(most / 16) + 0.5) * height) / 16 } });
  await eventually(
    async () => (await page.textContent('[data-testid=why-status]')).includes(`#${data.items[most][0]} `),
    'the patch pointed at',
  );
  const printed = /relevance (.*)$/.exec(await page.textContent('[data-testid=why-status]'))[1];
  assertPrinted(printed, data.methods[0].shares[most]);
});

test('a forecast is explained in its own unit', { skip }, async () => {
  const bikes = JSON.parse(readFileSync(join(models, 'bikes', 'example.json'), 'utf8'));
  const table = join(folder, 'bikes.tsv');
  writeFileSync(table, bikes.input.join('\n'));
  const [said] = JSON.parse(`[${execFileSync(binary, ['run', 'forecast', join(models, 'bikes'), '--file', table, '--json'])}]`);
  const server = await view(join(models, 'bikes'), '--file', table);
  const page = await open(`${server.url}#v=why&methods=occlusion`);
  await explained(page, '[data-testid=why-shares] tbody tr');
  const answer = async () => (await page.textContent('[data-testid=why-answer]')).split(': ');
  assert.equal((await answer())[0], 'forecast of rentals');
  assert.ok(Math.abs(Number((await answer())[1]) - said.forecast) < 0.01 * said.forecast, `${await answer()}, not ${said.forecast}`);
  assert.doesNotMatch(await page.textContent('[data-testid=why-trust]'), /%/);
  assert.match(await page.textContent('[data-testid=why-cut]'), /changes the answer from [\d.]+ to [\d.]+ /);
  assert.equal(await page.locator('[data-testid=why-against]').count(), 0);
  await page.selectOption('[data-testid=why-of]', '0.95');
  await eventually(async () => (await answer())[0] === '95 % quantile of rentals', 'the chosen quantile');
});

test('a cut changes the answer as the server says; its link and its undo do', { skip }, async () => {
  const server = await view(join(models, 'book'), kStory);
  const page = await open(`${server.url}#v=what-if&h=2.1`);
  const word = page.locator('.what-if-panel .box', { hasText: /^dark$/ });
  await word.click();
  const token = Number(await word.getAttribute('data-box'));
  await page.click('[data-edit=cut]');
  await page.waitForSelector('[data-testid=if-answers] tbody tr');
  await settled(page);
  const state = stateOf(page);
  assert.match(state.edit, new RegExp(`^c~${token}-`));
  const [begin, end] = state.edit.slice(2).split('-').map(Number);
  const { data } = await done(server, 'what-if', { cut: [{ ids: [begin, end] }] });
  const rows = await page.$$eval('[data-testid=if-answers] tbody tr', (list) =>
    list.map((row) => [...row.children].map((cell) => cell.textContent)),
  );
  rows.forEach(([name, was, is], i) => {
    assert.equal(name, data.answers[i].name.trim() || data.answers[i].name.replaceAll('\n', '⏎').replaceAll(' ', '␣'));
    assertPrinted(was, data.answers[i].before);
    assertPrinted(is, data.answers[i].after);
  });
  await eventually(async () => /After the edit/.test(await page.textContent('[data-testid=live]')), 'said to screen readers');
  await page.reload();
  await page.waitForSelector('[data-testid=if-answers] tbody tr');
  assert.equal(await page.locator('[data-testid=if-edits] button').count(), 1);
  await page.click('[data-edit=undo]');
  await eventually(async () => (await page.locator('[data-testid=if-answers] tbody tr').count()) === 0, 'undone');
});

test('a word is swapped whole, and hatched where rows are compared', { skip }, async () => {
  const server = await view(join(models, 'book'), kStory);
  const page = await open(`${server.url}#v=what-if&h=1.2`);
  await page.locator('.what-if-panel .box[data-box="5"]').click();
  await page.fill('[data-testid=if-swap]', 'quiet');
  await page.press('[data-testid=if-swap]', 'Enter');
  await eventually(async () => /dark and quiet night/.test(await page.textContent('.what-if-panel .prose')), 'the word is swapped');
  await page.waitForSelector('[data-testid=if-answers] tbody tr');
  await page.locator('.what-if-panel .box', { hasText: /^fell$/ }).click();
  await eventually(async () => (await page.locator('.what-if-panel .box.unscored').count()) > 0, 'the new word is hatched');
  assert.match(await page.textContent('[data-testid=if-caption]'), /after minus before/);
  const changed = await page.locator('[data-testid=if-heads] [data-head]').count();
  assert.equal(changed, 36);
});

test('a head that is knocked out is told in the list, and is brought back', { skip }, async () => {
  const server = await view(join(models, 'book'), kStory);
  const page = await open(`${server.url}#v=what-if&h=5.3`);
  await page.click('[data-edit=head]');
  await page.waitForSelector('[data-testid=if-answers] tbody tr');
  assert.match(await page.textContent('[data-testid=if-edits]'), /L5\.H3 knocked out/);
  await page.click('[data-edit=head]');
  await eventually(async () => (await page.locator('[data-testid=if-edits] button').count()) === 0, 'brought back');
});

test('bad edits are refused by the server, by name', { skip }, async () => {
  const server = await view(join(models, 'book'), kStory);
  for (const [body, says] of [
    [{ knock_out: [{ layer: 99, head: 0 }] }, /99/],
    [{ cut: [{ ids: [900, 901] }] }, /900/],
    [{ cut: [{ ids: [3, 2] }] }, /expected ranges/],
    [{ swap: 1 }, /swap/],
  ]) {
    const response = await fetch(`${server.base}api/what-if`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${server.token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    assert.match(await response.text(), says);
  }
  for (const [body, says] of [
    [{ methods: ['magic'] }, /magic/],
    [{ methods: [] }, /empty/],
    [{ methods: ['attention'], token: 0 }, /expected 1 to \d+ \(token 0 has none before it\)/],
  ]) {
    const response = await fetch(`${server.base}api/why`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${server.token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    assert.match(await response.text(), says);
  }
});

test('a trace and an offline page say why they have neither, with the command', { skip }, async () => {
  const trace = join(folder, 'story.trace');
  const page = join(folder, 'story.html');
  execFileSync(binary, ['trace', join(models, 'book'), kStory, '-o', trace]);
  execFileSync(binary, ['view', join(models, 'book'), kStory, '--html', page]);
  const server = await view(trace);
  for (const url of [`${server.url}#v=why`, `${pathToFileURL(page).href}#v=why`]) {
    const shown = await open(url);
    await shown.waitForSelector('.why-panel .caption');
    assert.match(await shown.textContent('.why-panel .caption'), /no model.*clearhead view/s);
    assert.equal(await shown.locator('.views input[value=what-if]').count(), 0);
  }
});
