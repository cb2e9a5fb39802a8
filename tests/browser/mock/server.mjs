// A server for developing and testing the page without a real model: docs/viewer-api.md over a synthetic model. Its numbers are
// consistent. It does not implement access control, which the real server's tests cover.
//
//   node tests/browser/mock/server.mjs [--tokens 300] [--text FILE] [--layers 6] [--heads 12] [--causal] [--port 8020]

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { Model } from './model.mjs';
import { encode, frame, prefixed } from './frame.mjs';
import { prose, tokenize } from '../text.mjs';

const kDist = new URL('../../../web/dist/', import.meta.url);
export const kScores = ['previous', 'first', 'self', 'local', 'delimiter', 'duplicate', 'induction', 'retrieval', 'broad', 'distance'];

/** The scores that a thumbnail names, sorted by size. (The real engine has its own order.) */
const strongest = (scores) =>
  kScores
    .filter((s) => s !== 'distance' && scores[s] !== null)
    .sort((a, b) => scores[b] - scores[a])
    .slice(0, 2);

export class Mock {
  constructor({
    text,
    tokens = tokenize(text),
    segments = [],
    layers = 6,
    heads = 12,
    causal = false,
    sharpness = 1,
    name = 'known-answers',
    ...more
  }) {
    Object.assign(this, {
      generated: [], // probabilities of the last tokens
      checkpoints: [], // steps of a training run
      traces: [], // the traces that the page offers
      step: null, // the step of this checkpoint
      band: null, // [back, ahead] that the description reports; the mock's weights ignore it
      ...more,
      text: Buffer.from(text),
      tokens,
      segments,
      name,
      model: new Model(tokens, { layers, heads, causal, sharpness, part: more.part }),
    });
    this.asked = [];
    this.delay = 0;
  }

  info(source = 'live', missing = []) {
    const { model } = this;
    const n = model.n;
    return {
      protocol: 1,
      clearhead: '0.1.0',
      source,
      id: this.idOf(this.step),
      name: this.name,
      command: `clearhead view ${this.name} --file text.txt`,
      sides: [{ kind: 'text', tokens: n, bytes: this.text.length, lang: null }],
      families: [
        {
          id: 'enc',
          kind: model.causal ? 'decoder' : 'encoder',
          layers: model.layers,
          heads: model.heads,
          key_heads: model.heads,
          d_k: model.d,
          queries: n,
          keys: n,
          query_range: model.part?.query ?? [0, n],
          key_range: model.part?.key ?? [0, n],
          query_side: 0,
          key_side: 0,
          causal: model.causal,
          sums_to_one: true,
          remainders: Array(model.layers).fill(null),
          sinks: [0],
          weights: source === 'offline' ? ['raw'] : ['raw', 'value', 'output'],
          rows: [[0, n]],
          all_rows: true,
          windows: null,
          bands: Array(model.layers).fill(this.band),
          summaries: Array.from(
            { length: model.layers },
            (_, layer) =>
              `softmax(q·k/√${model.d}), ${this.windows?.[layer] ?? (model.causal ? 'causal' : 'every token sees every token')}`,
          ),
        },
      ],
      special: { 101: '[CLS]', 102: '[SEP]' },
      notes: ['Weights are exact for the stored Q and K.'],
      missing,
      can_run: source === 'live',
      answers: source === 'live' ? { kind: 'next', labels: [] } : null,
      pair: false,
      max_tokens: null,
      gradients_of: null,
      generated: this.generated,
      checkpoints: this.checkpoints.map((step) => ({ step, id: this.idOf(step) })),
      traces: this.traces,
      step: this.step,
      versions: { isa: 'none', dtype: 'f32' },
    };
  }

  idOf(step) {
    const { model } = this;
    return `mock${model.n}x${model.layers}x${model.heads}${step === null ? '' : `-${step}`}`;
  }

  textFrame() {
    const t = this.tokens;
    const arrays = {
      text: this.text,
      begin: Uint32Array.from(t, (x) => x.begin),
      end: Uint32Array.from(t, (x) => x.end),
      id: Int32Array.from(t, (x) => x.id),
      word: Int32Array.from(t, (x) => x.word),
      flags: Uint8Array.from(t, (x) => x.flags),
    };
    return frame(
      {
        side: 0,
        from: 0,
        to: t.length,
        tokens: t.length,
        byte_begin: 0,
        byte_end: this.text.length,
      },
      arrays,
    );
  }

  /** A row or a column with a weight kind and a sink rule: values, total and sink mass. */
  line(p, out) {
    const { model } = this;
    const spans = spansOf(p[out ? 'q' : 'k']);
    const values = new Float64Array(model.n);
    let sinkMass = 0;
    let count = 0;
    const addRow = (query) => {
      const row = model.row(p.l, p.h, query).values;
      const rest = p.sink === 'renorm' ? 1 - row[0] : 1;
      return { row, rest };
    };
    if (out) {
      for (const [b, e] of spans) {
        for (let q = b; q < e; q++, count++) {
          const { row, rest } = addRow(q);
          sinkMass += row[0];
          for (let j = 0; j < model.n; j++) values[j] += (row[j] / rest) * model.norm(p.w, j);
          if (p.sink === 'renorm' || p.sink === 'hide') values[0] = 0;
        }
      }
    } else {
      for (let q = 0; q < model.n; q++) {
        const { row, rest } = addRow(q);
        for (const [b, e] of spans)
          for (let k = b; k < e; k++)
            values[q] += (p.sink === 'renorm' || p.sink === 'hide') && k === 0 ? 0 : (row[k] / rest) * model.norm(p.w, k);
      }
    }
    const divisor = p.reduce === 'mean' ? count || 1 : 1;
    const result = Float32Array.from(values, (v) => v / divisor);
    const first = spans[0][0];
    const last = spans[spans.length - 1][1] - 1;
    const rowsOfPart = model.part?.query ?? [0, model.n];
    const visible = out ? model.visible(last) : [model.causal ? first : rowsOfPart[0], rowsOfPart[1]];
    return {
      values: result,
      total: result.reduce((a, b) => a + b, 0),
      sinkMass: sinkMass / divisor,
      visible: [visible],
      spans,
      rows: count,
    };
  }

  lineFrame(p, out) {
    const { values, total, sinkMass, visible, spans, rows } = this.line(p, out);
    return frame(
      {
        family: 'enc',
        layer: p.l,
        head: p.h,
        [out ? 'queries' : 'keys']: spans,
        rows,
        reduce: p.reduce ?? 'sum',
        weight: p.w ?? 'raw',
        sink: p.sink ?? 'mark',
        badge: 'exact',
        total,
        sink_mass: sinkMass,
        entropy: null,
        log_sum_exp: null,
        visible,
        unscored: [],
        top: [],
        values_from: 0,
      },
      { values },
    );
  }

  /** Cells of 2^z weights from a corner; with more rows than `most`, sampled. */
  picture(p, z, corner, side, most = 4096) {
    const { model } = this;
    const cell = 2 ** z;
    const rows = Math.min(side, Math.ceil((model.n - corner.q) / cell));
    const columns = Math.min(side, Math.ceil((model.n - corner.k) / cell));
    const max = new Float32Array(rows * columns).fill(NaN);
    const sum = new Float64Array(rows * columns);
    const seen = new Uint32Array(rows * columns);
    const lastQuery = Math.min(model.n, corner.q + rows * cell);
    const step = Math.max(1, Math.ceil((lastQuery - corner.q) / most));
    for (let q = corner.q; q < lastQuery; q += step) {
      const r = Math.floor((q - corner.q) / cell);
      const row = model.row(p.l, p.h, q).values;
      const rest = p.sink === 'renorm' ? 1 - row[0] : 1;
      const [begin, end] = model.visible(q);
      for (let j = Math.max(begin, corner.k); j < Math.min(end, corner.k + columns * cell); j++) {
        if (j === 0 && (p.sink === 'hide' || p.sink === 'renorm')) continue;
        const at = r * columns + Math.floor((j - corner.k) / cell);
        const v = (row[j] / rest) * model.norm(p.w, j);
        if (!(max[at] >= v)) max[at] = v;
        sum[at] += v;
        seen[at]++;
      }
    }
    const mean = Float32Array.from(sum, (v, i) => (seen[i] ? v / seen[i] : NaN));
    const header = {
      family: 'enc',
      layer: p.l,
      head: p.h,
      z,
      rows,
      columns,
      queries: [corner.q, lastQuery],
      keys: [corner.k, Math.min(model.n, corner.k + columns * cell)],
      badge: step > 1 ? 'sampled' : 'exact',
      sampled_rows: step > 1 ? Math.ceil((lastQuery - corner.q) / step) : null,
    };
    return { header, max, mean };
  }

  pictureFrame(p, z, corner, side, extra = {}, most = 4096) {
    const { header, max, mean } = this.picture(p, z, corner, side, most);
    if (p.dtype === 'f32') {
      const plane = p.pool === 'mean' ? { mean } : { max };
      const shape = Object.fromEntries(Object.keys(plane).map((name) => [name, [header.rows, header.columns]]));
      return frame({ ...header, ...extra, codes: {} }, plane, shape);
    }
    const [a, b] = [encode(max), encode(mean)];
    const shape = [header.rows, header.columns];
    return frame(
      { ...header, ...extra, codes: { max: a.spec, mean: b.spec } },
      { max: a.codes, mean: b.codes },
      { max: shape, mean: shape },
    );
  }

  /** Cells of 2^z queries × 2^zx offsets key − query, from column x on, where column 0 is −back. */
  nearFrame(p, { z, zx }, corner, side, extra = {}) {
    const { model } = this;
    const [back, ahead] = [Number(p.back), Number(p.ahead)];
    const [tall, wide] = [2 ** z, 2 ** zx];
    const rows = Math.min(side, Math.ceil((model.n - corner.q) / tall));
    const columns = Math.min(side, Math.ceil((back + ahead + 1 - corner.x) / wide));
    const max = new Float32Array(rows * columns).fill(NaN);
    for (let q = corner.q; q < Math.min(model.n, corner.q + rows * tall); q++) {
      const row = model.row(p.l, p.h, q).values;
      const [begin, end] = model.visible(q);
      for (let x = corner.x; x < Math.min(back + ahead + 1, corner.x + columns * wide); x++) {
        const j = q + x - back;
        if (j < begin || j >= end) continue;
        const at = Math.floor((q - corner.q) / tall) * columns + Math.floor((x - corner.x) / wide);
        if (!(max[at] >= row[j])) max[at] = row[j];
      }
    }
    const left = corner.x - back;
    const header = {
      family: 'enc',
      layer: p.l,
      head: p.h,
      z,
      column_z: zx,
      axes: 'offset',
      rows,
      columns,
      queries: [corner.q, Math.min(model.n, corner.q + rows * tall)],
      keys: [left, Math.min(ahead + 1, left + columns * wide)],
      badge: 'exact',
      sampled_rows: null,
      ...extra,
    };
    const shape = [rows, columns];
    if (p.dtype === 'f32') return frame({ ...header, codes: {} }, { max }, { max: shape });
    const { codes, spec } = encode(max);
    return frame({ ...header, codes: { max: spec, mean: spec } }, { max: codes, mean: codes }, { max: shape, mean: shape });
  }

  /** The atlas frame of some layers: thumbnails and scores of their heads. */
  headsFrame(from = 0, to = this.model.layers, event = 'heads') {
    const { model } = this;
    const side = Math.min(64, model.n);
    const heads = [];
    const thumbnails = new Uint8Array((to - from) * model.heads * side * side);
    for (let layer = from; layer < to; layer++) {
      for (let head = 0; head < model.heads; head++) {
        const { max, scores } = this.survey(layer, head, side);
        const { codes, spec } = encode(max, 'sqrt');
        thumbnails.set(codes, heads.length * side * side);
        heads.push({ layer, head, scores, strongest: strongest(scores), entropy: 0, codes: spec });
      }
    }
    return frame(
      {
        event,
        badge: model.n > 512 ? 'sampled' : 'exact',
        sampled_rows: null,
        size: side,
        heads,
      },
      { thumbnails },
      { thumbnails: [heads.length, side, side] },
    );
  }

  /** A picture of 64 × 64 and the scores of one head, from at most 128 rows. */
  survey(layer, head, side) {
    const { model, tokens } = this;
    const n = model.n;
    const max = new Float32Array(side * side).fill(model.causal || model.part ? NaN : 0);
    const sums = Object.fromEntries(kScores.map((s) => [s, 0]));
    const step = Math.max(1, Math.floor(n / (n > 20000 ? 24 : 96)));
    let rows = 0;
    for (let q = 0; q < n; q += step, rows++) {
      const { values } = model.row(layer, head, q);
      const [begin, end] = model.visible(q);
      const r = Math.floor((q * side) / n);
      let entropy = 0;
      for (let j = begin; j < end; j++) {
        const v = values[j];
        const at = r * side + Math.floor((j * side) / n);
        if (!(max[at] >= v)) max[at] = v;
        if (v > 0) entropy -= v * Math.log(v);
        if (j === q - 1) sums.previous += v;
        if (j === 0) sums.first += v;
        if (j === q) sums.self += v;
        if (Math.abs(j - q) <= 4) sums.local += v;
        if (j !== q && tokens[j].id === tokens[q].id) sums.duplicate += v;
        if (j > 0 && j !== q && tokens[j - 1].id === tokens[q].id) sums.induction += v;
        if (tokens[j].flags) sums.delimiter += v;
        if (Math.abs(j - q) > 16 && v > 0.1 && j > 0) sums.retrieval += v;
        sums.distance += v * Math.abs(j - q);
      }
      sums.broad += entropy / Math.log(Math.max(2, end));
    }
    return {
      max,
      scores: Object.fromEntries(kScores.map((s) => [s, sums[s] / rows])),
    };
  }

  received(p, bins) {
    const { model } = this;
    const count = Math.min(bins, model.n);
    const out = new Float32Array(count);
    const step = Math.max(1, Math.floor(model.n / 64));
    for (let q = 0; q < model.n; q += step)
      model.row(p.l, p.h, q).values.forEach((v, j) => (out[Math.floor((j * count) / model.n)] += v / count));
    return out;
  }

  mass(body) {
    const { model } = this;
    const mass = new Float32Array(model.layers * model.heads);
    for (let i = 0; i < mass.length; i++) {
      let count = 0;
      for (const [b, e] of body.rows) {
        for (let q = b; q < e; q++, count++) {
          const row = model.row(Math.floor(i / model.heads), i % model.heads, q).values;
          for (const [kb, ke] of body.keys) for (let k = kb; k < ke; k++) mass[i] += row[k];
        }
      }
      mass[i] /= count;
    }
    return frame({ rows: 1, keys: 1, badge: 'exact' }, { mass }, { mass: [model.layers, model.heads] });
  }
}

const spansOf = (text) =>
  text
    .split(',')
    .map((s) => s.split('-').map(Number))
    .map(([b, e]) => [b, e ?? b + 1]);

export const levelOf = (n, side) => Math.max(0, Math.ceil(Math.log2(n / side)));

/** The mock that a request refers to: that of a checkpoint, or that of a family of maps. */
function partOf(mock, p, body) {
  if (mock.steps)
    return mock.steps.find((m) => String(m.step) === p.t) ?? mock.steps[mock.steps[0].traces.length ? 0 : mock.steps.length - 1];
  return mock.families ? (mock.families[p.f ?? body?.f] ?? mock.families.cross) : mock;
}

function answer(mock, path, p, body) {
  const corner = { q: p.y * 256 * 2 ** p.z, k: p.x * 256 * 2 ** p.z };
  const overview = levelOf(mock.model.n, 512);
  switch (path) {
    case 'text':
      return { bytes: mock.textFrame() };
    case 'segments':
      return { json: { segments: mock.segments } };
    case 'row':
      return { bytes: mock.lineFrame(p, true) };
    case 'col':
      return { bytes: mock.lineFrame(p, false) };
    case 'stats':
      return {
        bytes: frame({ badge: 'exact', scores: {} }, { received: mock.received(p, 512) }),
      };
    case 'pdf':
      return { status: 409, json: { error: { code: 'kUnsupported', message: 'no librsvg here', command: null } } };
    case 'tile':
      if (p.axes === 'offset')
        return {
          bytes: mock.nearFrame(
            p,
            { z: p.z, zx: Number(p.zx ?? 0) },
            { q: p.y * 256 * 2 ** p.z, x: p.x * 256 * 2 ** Number(p.zx ?? 0) },
            256,
          ),
        };
      return {
        bytes: mock.pictureFrame(p, p.z, corner, 256, {}, mock.model.n > 20000 ? 48 : 512),
      };
    case 'overview':
      if (p.axes === 'offset') {
        const level = { z: overview, zx: levelOf(Number(p.back) + Number(p.ahead) + 1, 512) };
        return { stream: [() => mock.nearFrame(p, level, { q: 0, x: 0 }, 512, { event: 'picture' }), () => frame({ event: 'done' }, {})] };
      }
      return {
        stream: [
          ...(mock.model.n > 2048 ? [() => mock.pictureFrame(p, overview, { q: 0, k: 0 }, 512, { event: 'picture' }, 48)] : []),
          () => mock.pictureFrame(p, overview, { q: 0, k: 0 }, 512, { event: 'picture' }, mock.model.n > 20000 ? 128 : 1024),
          () => frame({ event: 'done' }, {}),
        ],
      };
    case 'atlas':
      return {
        stream: [
          ...Array.from({ length: mock.model.layers }, (_, l) => () => mock.headsFrame(l, l + 1)),
          () => frame({ event: 'done' }, {}),
        ],
      };
    case 'mass':
      return { bytes: mock.mass(body) };
    case 'verify':
      return {
        json: {
          checked: mock.model.n,
          of: mock.model.n,
          largest_difference: 3.1e-8,
          bound: 1.2e-6,
          within: true,
          seconds: 0.01,
          at: {
            layer: body.heads[0][0],
            head: body.heads[0][1],
            query: body.rows[0][0],
            key: 1,
            shown: 0.1,
            eager: 0.1,
          },
        },
      };
    case 'why':
      return { events: whyOf(mock, body) };
    case 'what-if':
      return { events: whatIfOf(mock) };
    case 'aligned': {
      const ids = Int32Array.from({ length: mock.model.n }, (_, i) => i);
      return { bytes: frame({ by: 'same', whole: true }, { before: ids, after: ids }) };
    }
    case 'compare':
      return { stream: [() => comparedFrame(mock.model, p), () => frame({ event: 'done' }, {})] };
    case 'compare-heads':
      return { stream: [() => rankedFrame(mock.model), () => frame({ event: 'done' }, {})] };
    case 'export':
      return {
        json: { command: 'clearhead view', kind: p.kind, state: p.state },
      };
    default:
      return null;
  }
}

/** Events of api/why: shares that grow with the position, signed for gradient methods; one method is refused. */
function whyOf(mock, { methods }) {
  const items = mock.tokens.flatMap((t, i) => (t.flags ? [] : [[i, i + 1]])).slice(0, 40);
  const shares = (turn) => {
    const raw = items.map((_, i) => ((i * turn) % items.length) + 1);
    const sum = raw.reduce((a, b) => a + b, 0);
    return raw.map((v, i) => (turn > 2 && i % 4 === 0 ? -v : v) / sum);
  };
  const cost = { runs: 60, tokens: mock.model.n, items: items.length, item_kind: 'word', seconds: 0.4 };
  const found = methods.map((name, i) =>
    name === 'rollout'
      ? { name, what: '', refused: 'why: not of this model' }
      : { name, what: '', shares: shares(i + 1), signed: i > 1, comprehensiveness: 0.3 - 0.1 * i, beats: 10 - 3 * i, seconds: 0.1 },
  );
  return [
    ['cost', cost],
    ['progress', { done: 0.5, what: methods[0] }],
    [
      'done',
      {
        answer: 'next token " night"',
        probability: 0.43,
        items,
        item_kind: 'word',
        read_from: [mock.model.n - 1],
        cost,
        methods: found,
        share: 0.2,
        removed: 8,
        random: { rankings: 10, comprehensiveness: 0.05 },
        agreement: methods.map((_, i) => methods.map((_, j) => (i === j ? 1 : (i + j) % 2 ? -0.4 : 0.6))),
        cut: { item: 3, of: items.length, unseen: 0.11, masked: 0.2 },
      },
    ],
  ];
}

/** Compares two heads of a text weight by weight. */
function comparedFrame(model, p) {
  const { n } = model;
  const heads = { before: [Number(p.l), Number(p.h)], after: [Number(p.with_l), Number(p.with_h)] };
  const maps = Object.fromEntries(
    Object.entries(heads).map(([name, [l, h]]) => [
      name,
      Float32Array.from({ length: n }, (_, q) => q).reduce((out, q) => (out.set(model.row(l, h, q), q * n), out), new Float32Array(n * n)),
    ]),
  );
  const divergence = Float32Array.from({ length: n }, (_, q) => (q % 10) / 20);
  const header = { event: 'picture', badge: 'exact', z: 0, row_places: [0, n], column_places: [0, n], rows: n, of: n, mean: 0.225 };
  return frame(header, { ...maps, divergence }, { before: [n, n], after: [n, n] });
}

function rankedFrame({ layers, heads, n }) {
  const divergence = Float32Array.from({ length: layers * heads }, (_, i) => i / 40);
  return frame({ event: 'heads', badge: 'exact', rows: n, of: n, against: 'head' }, { divergence }, { divergence: [layers, heads] });
}

/** Events of api/what-if: the same text; later heads change more. */
function whatIfOf(mock) {
  const { model } = mock;
  const divergence = Array.from({ length: model.layers }, (_, l) =>
    Array.from({ length: model.heads }, (_, h) => (l * model.heads + h) / 40),
  );
  const answers = [
    { name: ' night', before: 0.43, after: 0.02 },
    { name: ' day', before: 0.1, after: 0.5 },
  ];
  const families = [{ id: 'enc', rows: 40, divergence }];
  return [
    ['progress', { done: 0.5, what: 'layer 1 of 3' }],
    ['done', { id: mock.idOf(mock.step), kind: 'next', answers, kl: 0.8, aligned: [[0, 0, model.n]], families }],
  ];
}

const kTypes = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
};
const kPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'";

export function serve(mock, port = 0) {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://127.0.0.1');
    if (!url.pathname.startsWith('/api/')) {
      const name = url.pathname === '/' ? 'index.html' : url.pathname.slice(1);
      if (!['index.html', 'app.js', 'app.css'].includes(name)) return response.writeHead(404).end();
      return response
        .writeHead(200, {
          'Content-Type': kTypes[name.split('.')[1]],
          'Content-Security-Policy': kPolicy,
        })
        .end(readFileSync(new URL(name, kDist)));
    }
    const path = url.pathname.slice(5);
    const p = Object.fromEntries([...url.searchParams].map(([k, v]) => [k, ['l', 'h', 'z', 'x', 'y'].includes(k) ? Number(v) : v]));
    let body = '';
    for await (const chunk of request) body += chunk;
    mock.asked.push({ path, p });
    if (mock.delay) await new Promise((done) => setTimeout(done, mock.delay));
    const json = body ? JSON.parse(body) : null;
    const about = path === 'info' && mock.info ? mock : partOf(mock, p, json);
    const found = path === 'info' ? { json: about.info() } : answer(about, path, p, json);
    if (!found)
      return response.writeHead(404, { 'Content-Type': 'application/json' }).end(
        JSON.stringify({
          error: { code: 'kNotFound', message: `api/${path}: no such thing` },
        }),
      );
    if (found.json) return response.writeHead(found.status ?? 200, { 'Content-Type': 'application/json' }).end(JSON.stringify(found.json));
    if (found.bytes) return response.writeHead(200, { 'Content-Type': 'application/vnd.clearhead.frame' }).end(found.bytes);
    if (found.events)
      return response
        .writeHead(200, { 'Content-Type': 'text/event-stream' })
        .end(found.events.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join(''));
    response.writeHead(200, {
      'Content-Type': 'application/vnd.clearhead.frames',
    });
    for (const step of found.stream) {
      if (response.destroyed) return undefined;
      response.write(prefixed(step()));
      await new Promise((done) => setTimeout(done, 15));
    }
    return response.end();
  });
  return new Promise((done) =>
    server.listen(port, '127.0.0.1', () =>
      done({
        url: `http://127.0.0.1:${server.address().port}/`,
        close: () => server.close(),
        mock,
      }),
    ),
  );
}

/** A mock of about `count` tokens of prose; a long one has chapters as segments. */
export function proseMock(count, options = {}) {
  const { text, chapters } = prose(count);
  const tokens = tokenize(text);
  const segments = chapters.map((byte, i) => {
    const at = (b) => (b === undefined ? tokens.length : tokens.findIndex((t) => t.begin >= b && t.flags === 0));
    return {
      name: `Chapter ${i + 1}`,
      role: 'chapter',
      begin: i === 0 ? 0 : at(byte),
      end: at(chapters[i + 1]),
      lang: 'en',
    };
  });
  return new Mock({ text, tokens, segments, ...options });
}

/** The same text at several steps of a training run; heads become sharper. */
export function watchedMock(count, checkpoints, options = {}) {
  const last = checkpoints[checkpoints.length - 1];
  const steps = checkpoints.map((step) =>
    proseMock(count, { ...options, checkpoints, step, sharpness: step / last, name: `known after ${step}` }),
  );
  return { steps, asked: [], delay: 0 };
}

/** Several traces to choose from; each is { name, begins, state, look_for, count or text, … }. */
export function severalMock(list) {
  const traces = list.map(({ name, begins = '', state = '', look_for = null }, number) => ({
    number,
    id: '', // set below
    model: name,
    begins,
    state,
    look_for,
  }));
  const steps = list.map(({ count, ...options }, step) => {
    const shared = { ...options, traces, step };
    return count ? proseMock(count, shared) : new Mock({ tokens: tokenize(options.text), ...shared });
  });
  steps.forEach((mock, step) => (traces[step].id = mock.idOf(step)));
  return { steps, asked: [], delay: 0 };
}

/** A translation as one text, source and target: cross-attention from the target to the source, and self-attention within each. */
export function translationMock(source, target, options = {}) {
  const shift = Buffer.byteLength(source) + 1;
  const first = tokenize(source);
  const second = tokenize(target).map((t) => ({
    ...t,
    begin: t.begin + shift,
    end: t.end + shift,
    word: t.word < 0 ? t.word : t.word + 1000,
  }));
  const [middle, end] = [first.length, first.length + second.length];
  const segments = [
    { name: 'source', role: 'text', begin: 0, end: middle, lang: null },
    { name: 'target', role: 'text', begin: middle, end, lang: null },
  ];
  const shared = { ...options, text: `${source}\n${target}`, tokens: [...first, ...second], segments };
  const part = (query, key, causal) => new Mock({ ...shared, causal, part: { query, key } });
  const families = {
    cross: part([middle, end], [0, middle], false),
    dec: part([middle, end], [middle, end], true),
    enc: part([0, middle], [0, middle], false),
  };
  const kinds = { cross: 'cross', dec: 'decoder', enc: 'encoder' };
  const facts = Object.entries(families).map(([id, mock]) => ({ ...mock.info().families[0], id, kind: kinds[id] }));
  return { families, middle, info: () => ({ ...families.cross.info(), families: facts }), asked: [], delay: 0 };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const option = (name, fallback) => (process.argv.includes(`--${name}`) ? process.argv[process.argv.indexOf(`--${name}`) + 1] : fallback);
  const file = option('text', null);
  const shape = {
    layers: Number(option('layers', 6)),
    heads: Number(option('heads', 12)),
    causal: process.argv.includes('--causal'),
  };
  const mock = file ? new Mock({ text: readFileSync(file, 'utf8'), ...shape }) : proseMock(Number(option('tokens', 300)), shape);
  const { url } = await serve(mock, Number(option('port', 8020)));
  process.stdout.write(`${url}\n`);
}
