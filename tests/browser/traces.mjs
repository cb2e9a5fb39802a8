// The real viewer on traces with planted attention (tests/processes/text_trace.cc), and the server's own numbers to compare the page with.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { skip as noBrowser } from './harness.mjs';
import { binary, build, endAll, get, json, view } from './program.mjs';
import { prose, tokenize } from './text.mjs';

const maker = join(build, 'clearhead-text-trace');
export const skip = noBrowser || (existsSync(binary) && existsSync(maker) ? false : `no ${binary} or no ${maker}`);
if (skip && process.env.CLEARHEAD_REQUIRE_BROWSER === '1') throw new Error(String(skip));

/** A small trained model that reads text: 6 layers of 6 heads. */
export const book = fileURLToPath(new URL('../../models/book/', import.meta.url));
export const folder = mkdtempSync(join(tmpdir(), 'clearhead-traces-'));
let written = 0;
after(() => {
  endAll();
  rmSync(folder, { recursive: true });
});

/** The description of a text with planted attention: 6 layers of 12 heads, unless `options` say otherwise. */
export function planted(text, { causal = false, ...options } = {}) {
  return {
    name: 'known-answers',
    text: Buffer.from(text),
    tokens: options.tokens ?? tokenize(text),
    segments: [],
    layers: 6,
    heads: 12,
    sharpness: 1,
    backs: [],
    generated: [],
    rows: [],
    families: [causal ? { name: 'dec', kind: 'causal' } : { name: 'enc', kind: 'full' }],
    ...options,
  };
}

/** About `count` tokens of prose; a long text has chapters as segments. */
export function plantedProse(count, options = {}) {
  const { text, chapters } = prose(count);
  const tokens = tokenize(text);
  const at = (byte) => (byte === undefined ? tokens.length : tokens.findIndex((t) => t.begin >= byte && t.flags === 0));
  const segments = chapters.map((byte, i) => ({
    name: `Chapter ${i + 1}`,
    role: 'chapter',
    begin: i === 0 ? 0 : at(byte),
    end: at(chapters[i + 1]),
  }));
  return planted(text, { tokens, segments, ...options });
}

/** A translation as one text, source and target: cross-attention from the target to the source, and self-attention within each. */
export function plantedTranslation(source, target, options = {}) {
  const shift = Buffer.byteLength(source) + 1;
  const first = tokenize(source);
  const second = tokenize(target).map((t) => ({ ...t, begin: t.begin + shift, end: t.end + shift }));
  const [middle, end] = [first.length, first.length + second.length];
  const [sourceRange, targetRange] = [
    [0, middle],
    [middle, end],
  ];
  return planted(`${source}\n${target}`, {
    tokens: [...first, ...second],
    segments: [
      { name: 'source', begin: 0, end: middle },
      { name: 'target', begin: middle, end },
    ],
    families: [
      { name: 'cross', kind: 'full', queries: targetRange, keys: sourceRange },
      { name: 'dec', kind: 'causal', queries: targetRange, keys: targetRange },
      { name: 'enc', kind: 'full', queries: sourceRange, keys: sourceRange },
    ],
    ...options,
  });
}

/** Writes the trace of a description and returns its path. */
export function traceOf(plan, path = join(folder, `${++written}.trace`)) {
  const { text, tokens, ...rest } = plan;
  const [bytes, description] = [`${path}.txt`, `${path}.json`];
  writeFileSync(bytes, text);
  const listed = tokens.map((t) => [t.begin, t.end, t.id, t.flags]);
  writeFileSync(description, JSON.stringify({ ...rest, text: bytes, tokens: listed }));
  execFileSync(maker, [description, path]);
  return path;
}

/** A folder of checkpoints of a training run, like RUN/watch; `plans` are pairs of a step and a description. */
export function runOf(plans) {
  const path = join(folder, `run-${++written}`);
  mkdirSync(path);
  for (const [step, plan] of plans) traceOf(plan, join(path, `step-${String(step).padStart(6, '0')}.trace`));
  return path;
}

/** The same text after several steps of a training run; heads become sharper. */
export const plantedRun = (count, steps, options = {}) =>
  runOf(steps.map((step) => [step, plantedProse(count, { ...options, sharpness: step / steps.at(-1), name: `known after ${step}` })]));

/** Writes the offline page of traces and returns its path. */
export function pageOf(paths, ...more) {
  const path = join(folder, `${++written}.html`);
  execFileSync(binary, ['view', ...[paths].flat(), '--html', path, ...more], { stdio: 'pipe' });
  return path;
}

/** Like pageOf, of traces that open at `states`, with a card for each of `sentences` (or null) that say what to look for, as the demo's page. */
export function galleryOf(paths, states, sentences) {
  const page = pageOf(paths);
  const [before, manifests, rest] = /^(.*id="clearhead-manifest">)(.*?)(<\/script>.*)$/s.exec(readFileSync(page, 'utf8')).slice(1);
  const all = JSON.parse(manifests);
  for (const [number, manifest] of all.entries()) {
    manifest.state = states[number];
    manifest.info.traces.forEach((one, i) => {
      const look_for = sentences?.[i];
      const title = { en: `What does ${i} show?`, zh: `${i} 显示什么？` };
      Object.assign(one, { state: states[i], card: look_for ? { title, look_for, answer: `answer ${i}` } : null });
    });
  }
  writeFileSync(page, before + JSON.stringify(all).replace(/</g, '\\u003c') + rest);
  return page;
}

/** The size of an offline page without traces. */
export const emptyPage = ['offline.html', 'app.js', 'app.css'].reduce(
  (sum, name) => sum + statSync(new URL(`../../web/dist/${name}`, import.meta.url)).size,
  0,
);

/** The descriptions of the traces in an offline page. */
export const manifestsOf = (page) => JSON.parse(/id="clearhead-manifest">(.*?)<\/script>/s.exec(readFileSync(page, 'utf8'))[1]);

/** Numbers of a running viewer: weights of rows and columns, as plain arrays. `more` are further parameters. */
export class Viewer {
  constructor(server) {
    Object.assign(this, server);
  }
  ask(path, parameters) {
    return json(this, `${path}?${new URLSearchParams({ ...parameters, format: 'json' })}`);
  }
  /** The answer to api/row, whose `values` are those of all keys. */
  async line(kind, [l, h], tokens, more = {}) {
    const answer = await this.ask(kind, { l, h, [kind === 'row' ? 'q' : 'k']: tokens, values: 'all', ...more });
    return { ...answer, values: answer.arrays.values.data };
  }
  row = async (head, query, more) => (await this.line('row', head, query, more)).values;
  column = async (head, key, more) => (await this.line('col', head, key, more)).values;
  /** The rows [begin, end). */
  async rows(head, begin, end, more) {
    const out = [];
    for (let q = begin; q < end; q++) out.push(await this.row(head, q, more));
    return out;
  }
  /** The exact scores of all heads, by "layer.head". */
  async atlas() {
    const text = await (await get(this, 'atlas?format=json')).text();
    const frames = text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    const heads = frames.filter((frame) => frame.badge === 'exact').flatMap((frame) => frame.heads ?? []);
    return new Map(heads.map((head) => [`${head.layer}.${head.head}`, head]));
  }
  info = (parameters = {}) => json(this, `info?${new URLSearchParams(parameters)}`);
  /** The indices of the words of all tokens. */
  words = async () => (await this.ask('text', {})).arrays.word.data;
}

/** Starts the viewer on paths of traces, and on descriptions, whose traces are written first. */
export async function serve(...traces) {
  const paths = traces.map((one) => (typeof one === 'string' ? one : traceOf(one)));
  const [plan] = traces.filter((one) => typeof one !== 'string');
  return Object.assign(new Viewer(await view(...paths)), { plan, n: plan?.tokens.length });
}

const proseServers = new Map();

/** The viewer on about `count` tokens of prose; equal arguments share one server. */
export function serveProse(count, options = {}) {
  const key = JSON.stringify([count, options]);
  if (!proseServers.has(key)) proseServers.set(key, serve(plantedProse(count, options)));
  return proseServers.get(key);
}

/** The parameters of a page's requests to a path of the API, or to all of it, in order. */
export const asked = (page, path = '') =>
  page.requests
    .map((address) => new URL(address))
    .filter((url) => (path ? url.pathname === `/api/${path}` : url.pathname.startsWith('/api/')))
    .map((url) => Object.fromEntries(url.searchParams));

/** Delays every answer of the API. */
export const slow = (page, milliseconds) =>
  page.route('**/api/**', async (route) => {
    await new Promise((done) => setTimeout(done, milliseconds));
    await route.continue();
  });
