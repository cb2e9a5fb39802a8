// Exports offline pages of each tier from a mock, as docs/viewer-api.md specifies.

import { readFileSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import { encode, frame, toHalf } from './frame.mjs';
import { levelOf } from './server.mjs';

const dist = (name) => readFileSync(new URL(`../../../web/dist/${name}`, import.meta.url), 'utf8');

const missing = (feature, code = 'not-in-page') => ({
  feature,
  code,
  command: 'clearhead view known-answers --html page.html --page-size 60MB',
  detail: null,
});

/** A page of one mock, or of all steps of a mock with steps. */
export function offlinePage(mock, tier, options = {}) {
  const blobs = [];
  const manifests = (mock.steps ?? [mock]).map((one) => manifestOf(one, tier, options, blobs));
  const escape = (json) =>
    json
      .replace(/</g, '\\u003c')
      .replace(/\u2028/g, '\\u2028')
      .replace(/\u2029/g, '\\u2029');
  const data = [
    `<script type="application/json" id="clearhead-manifest">${escape(JSON.stringify(manifests))}</script>`,
    ...blobs.map(
      ([codec, bytes], i) =>
        `<script type="application/octet-stream" id="clearhead-blob-${i}" data-codec="${codec}">${bytes.toString('base64')}</script>`,
    ),
  ];
  return dist('offline.html')
    .replace('<!--clearhead:title-->', () => manifests[0].info.name.replace(/&/g, '&amp;').replace(/</g, '&lt;'))
    .replace('/*clearhead:style*/', () => dist('app.css'))
    .replace('<!--clearhead:data-->', () => data.join('\n'))
    .replace('/*clearhead:script*/', () => dist('app.js'));
}

/** The page's description of one mock. Its blobs are appended to those of the page. */
function manifestOf(mock, tier, { pinned = [[0, 0]], watched = [], state = null, exact = false }, blobs) {
  const { model } = mock;
  const names = {};
  const add = (name, bytes) => {
    names[name] = blobs.length;
    blobs.push(blobs.length % 2 ? ['raw', bytes] : ['deflate', deflateSync(bytes)]);
  };
  add('text/0', mock.textFrame());
  add('atlas/enc', mock.headsFrame());
  addStats(mock, add);
  if (tier === 'A') for (let l = 0; l < model.layers; l++) for (let h = 0; h < model.heads; h++) addWeights(mock, l, h, exact, add);
  for (const [l, h] of tier === 'A' ? [] : pinned) {
    if (tier === 'B') {
      add(`overview/enc/${l}/${h}`, mock.pictureFrame({ l, h }, levelOf(model.n, 256), { q: 0, k: 0 }, 256, { event: 'picture' }));
      addTop(mock, l, h, 'top', 32, watched, add);
      addTop(
        mock,
        l,
        h,
        'top8',
        8,
        Array.from({ length: model.n }, (_, i) => i),
        add,
      );
    } else {
      addQk(mock, l, h, watched, add);
    }
  }
  const absent = {
    A: ['verify', 'run', 'export', 'value', 'output'],
    B: ['column', 'tile', 'mass', 'compare', 'weights', 'verify', 'run', 'export', 'value', 'output'],
    C: ['row', 'column', 'tile', 'mass', 'compare', 'weights', 'verify', 'run', 'export', 'value', 'output'],
  }[tier];
  return {
    protocol: 1,
    info: mock.info(
      'offline',
      absent.map((f) => missing(f, f === 'run' || f === 'verify' ? 'no-model' : 'not-in-page')),
    ),
    segments: [mock.segments],
    blobs: names,
    tier,
    budget: 20e6,
    state: mock.traces.find((one) => one.number === mock.step)?.state ?? state,
    command: 'clearhead view known-answers --html page.html',
    holds: [],
  };
}

function addStats({ model }, add) {
  const bins = Math.min(64, model.n);
  const received = new Float32Array(model.layers * model.heads * bins);
  add('stats/enc', frame({}, { received }, { received: [model.layers, model.heads, bins] }));
}

function addWeights({ model }, l, h, exact, add) {
  const all = new Float32Array(model.n * model.n);
  for (let q = 0; q < model.n; q++) {
    const [, end] = model.visible(q);
    all.set(model.row(l, h, q).values, q * model.n);
    all.fill(NaN, q * model.n + end, (q + 1) * model.n);
  }
  if (exact) return add(`exact/enc/${l}/${h}`, frame({}, { weights: all }, { weights: [model.n, model.n] }));
  const { codes, spec } = encode(all);
  add(`weights/enc/${l}/${h}`, frame({ codes: spec }, { weights: codes }, { weights: [model.n, model.n] }));
}

function addTop({ model }, l, h, name, top, rows, add) {
  const keys = new Uint32Array(rows.length * top);
  const weights = new Float32Array(rows.length * top);
  const sinks = new Float32Array(rows.length);
  rows.forEach((row, i) => {
    const { values } = model.row(l, h, row);
    sinks[i] = values[0];
    const order = [...values.keys()].sort((a, b) => Math.fround(values[b]) - Math.fround(values[a]) || a - b).slice(0, top);
    order.forEach((k, j) => {
      keys[i * top + j] = k;
      weights[i * top + j] = values[k];
    });
  });
  const shape = [rows.length, top];
  add(
    `${name}/enc/${l}/${h}`,
    frame({ top }, { rows: Uint32Array.from(rows), keys, weights, sink_mass: sinks }, { keys: shape, weights: shape }),
  );
}

function addQk({ model }, l, h, rows, add) {
  const { q, k } = model.qk(l, h);
  const d = model.d;
  const some = new Float32Array(rows.length * d);
  const shift = new Float32Array(rows.length);
  const scale = new Float32Array(rows.length);
  rows.forEach((row, i) => {
    some.set(q.subarray(row * d, (row + 1) * d), i * d);
    const found = model.row(l, h, row);
    shift[i] = found.shift;
    scale[i] = found.norm;
  });
  const spec = {
    scale: 1 / Math.sqrt(d),
    soft_cap: null,
    alibi_slope: null,
    band: { back: null, ahead: model.causal ? 0 : null, offset: 0 },
    segments: null,
  };
  const arrays = {
    rows: Uint32Array.from(rows),
    q: toHalf(some),
    k: toHalf(k),
    shift,
    scale,
  };
  add(
    `qk/enc/${l}/${h}`,
    frame({ spec, error: 1e-3 }, arrays, {
      q: [rows.length, d],
      k: [model.n, d],
    }),
  );
}
