// A synthetic model with heads of known kinds: real softmax attention over generated Q and K, computed in double, so that all numbers
// are consistent.
//
// q and k have three components: position (angles at four speeds), the token's random vector (that of the token before it for an
// induction head), and a constant that makes the first token a sink. The kind of a head determines the amount of each component and
// the distance of its position component.

const kD = 32;
const kKinds = ['previous', 'duplicate', 'local', 'first', 'induction', 'broad', 'retrieval', 'self'];

export class Model {
  constructor(tokens, { layers = 6, heads = 12, causal = false, sharpness = 1, part = null } = {}) {
    Object.assign(this, {
      tokens,
      layers,
      heads,
      causal,
      sharpness,
      part, // {query: [begin, end], key: [begin, end]}: the section of the text that the family covers
      n: tokens.length,
      d: kD,
    });
    this.embedded = new Map();
    this.cache = new Map();
  }

  kind(layer, head) {
    return kKinds[(head + layer * 3) % kKinds.length];
  }

  /** Q and K of one head, each Float32 [n, d]. */
  qk(layer, head) {
    const key = `${layer}.${head}`;
    let found = this.cache.get(key);
    if (found) return found;
    if (this.cache.size > 8) this.cache.delete(this.cache.keys().next().value);
    found = this.make(layer, head);
    this.cache.set(key, found);
    return found;
  }

  make(layer, head) {
    const kind = this.kind(layer, head);
    const q = new Float32Array(this.n * kD);
    const k = new Float32Array(this.n * kD);
    const back = kind === 'previous' ? 1 : 0;
    const position = {
      previous: 9,
      self: 7,
      local: 4,
      duplicate: 0.4,
      induction: 0.2,
      retrieval: 0.1,
      first: 0.5,
      broad: 0.3,
    }[kind];
    const content =
      {
        duplicate: 5,
        induction: 6,
        retrieval: 3.2,
        first: 0.7,
        broad: 0.9,
        local: 0.8,
        previous: 0.3,
        self: 0.6,
      }[kind] +
      (layer % 3) * 0.2;
    const sink = {
      first: 6.5,
      induction: 4.4,
      duplicate: 2.5,
      retrieval: 4,
      broad: 2.2,
      local: 3,
      previous: 0.5,
      self: 1,
    }[kind];
    const speeds = [1.3, 0.37, 0.09, 0.02].map((s) => s * (kind === 'local' ? 0.5 : 1));
    for (let i = 0; i < this.n; i++) {
      speeds.forEach((speed, s) => {
        const strength = position * [0.45, 0.3, 0.17, 0.08][s];
        q[i * kD + 2 * s] = strength * Math.cos((i - back) * speed);
        q[i * kD + 2 * s + 1] = strength * Math.sin((i - back) * speed);
        k[i * kD + 2 * s] = Math.cos(i * speed);
        k[i * kD + 2 * s + 1] = Math.sin(i * speed);
      });
      const own = this.embed(this.tokens[i].id, head);
      const matched = kind === 'induction' && i > 0 ? this.embed(this.tokens[i - 1].id, head) : own;
      for (let c = 0; c < 20; c++) {
        q[i * kD + 8 + c] = own[c] * content;
        k[i * kD + 8 + c] = matched[c];
      }
      q[i * kD + 30] = 1;
      k[i * kD + 30] = i === 0 ? sink : 0;
    }
    for (let i = 0; i < q.length; i++) q[i] *= Math.sqrt(kD) * this.sharpness;
    return { q, k };
  }

  embed(id, head) {
    const key = id * 64 + (head % 4);
    let found = this.embedded.get(key);
    if (!found) {
      found = new Float32Array(20);
      let a = Math.imul(id + 1, 2654435761) ^ Math.imul(head % 4, 40503);
      let norm = 0;
      for (let c = 0; c < 20; c++) {
        a = Math.imul(a ^ (a >>> 15), 2246822519) + 374761393;
        found[c] = ((a >>> 8) & 0xffff) / 32768 - 1;
        norm += found[c] ** 2;
      }
      for (let c = 0; c < 20; c++) found[c] /= Math.sqrt(norm);
      this.embedded.set(key, found);
    }
    return found;
  }

  visible(query) {
    const { query: rows, key: keys } = this.part ?? { query: [0, this.n], key: [0, this.n] };
    if (query < rows[0] || query >= rows[1]) return [0, 0];
    return [keys[0], this.causal ? query + 1 : keys[1]];
  }

  /** One row of weights in double. */
  row(layer, head, query) {
    const { q, k } = this.qk(layer, head);
    const [begin, end] = this.visible(query);
    const out = new Float64Array(this.n);
    let most = -Infinity;
    for (let j = begin; j < end; j++) {
      let dot = 0;
      for (let c = 0, a = query * kD, b = j * kD; c < kD; c++) dot += q[a + c] * k[b + c];
      out[j] = dot / Math.sqrt(kD);
      if (out[j] > most) most = out[j];
    }
    let sum = begin < end ? 0 : 1;
    for (let j = begin; j < end; j++) sum += out[j] = Math.exp(out[j] - most);
    for (let j = begin; j < end; j++) out[j] /= sum;
    return { values: out, shift: most * Math.LOG2E, norm: sum };
  }

  /** ‖v‖ and ‖v·W_O‖ of a key: arbitrary but fixed numbers. */
  norm(kind = 'raw', key) {
    return kind === 'raw' ? 1 : (kind === 'value' ? 0.6 : 0.35) + 0.5 * Math.abs(Math.sin(key * 12.9898));
  }
}
