"""CapturedLayer: queries, keys and visible pairs of all calls of one attention layer, without padding."""

import torch

RECENT_KEYS = 64  # cached keys that are compared at every step; calls that are checked compare all


class Seen:
    """Description of one call: topology, terms, and the numbers of queries and keys.

    ranges: if the topology is more than a band, the range of keys of each query, int64 [query, 2]; None if a query's keys have gaps.
    """

    def __init__(self, topology, terms, queries, keys, ranges=None):
        self.topology, self.terms, self.queries, self.keys, self.ranges = topology, terms, queries, keys, ranges

    def key_ranges(self):
        """Returns the range of keys of each query, int64 [query, 2], or None."""
        topology = self.topology.to_dict()
        if set(topology) != {"band"}:
            return self.ranges
        band, queries = topology["band"], torch.arange(self.queries)
        places = queries + (0 if band.get("align") == "start" else self.keys - self.queries) + band.get("offset", 0)
        begin = torch.zeros_like(places) if band["back"] is None else places - band["back"]
        end = torch.full_like(places, self.keys) if band["ahead"] is None else places + band["ahead"] + 1
        return torch.stack([begin.clamp(0, self.keys), end.clamp(0, self.keys)], 1)

    def without_last(self, queries, keys):
        """Returns the call without its last queries and keys. Raises ValueError if the mask is more than a band."""
        if set(self.topology.to_dict()) != {"band"}:
            raise ValueError(
                "rejected tokens (assisted generation, cache.crop) can be removed only from a call with a causal or sliding-window mask")
        kept = slice(0, self.queries - queries), slice(0, self.keys - keys)
        terms = []
        for term in self.terms:
            if isinstance(term, torch.Tensor):
                term = (term if term.shape[2] == 1 else term[:, :, kept[0]])[..., kept[1]].contiguous()
            terms.append(term)
        return Seen(self.topology, terms, kept[0].stop, kept[1].stop)


class Sample:
    """Weights of one query, computed by the eager formula at the call.

    query: index of its token in the trace. first_key: position of the call's key 0 among the keys of the trace, possibly negative.
    weights: f32 [head, key], over all keys of the call.
    """

    def __init__(self, query, first_key, weights):
        self.query, self.first_key, self.weights = query, first_key, weights


class CapturedLayer:
    """One attention layer of a run.

    path: the module's path. family, number: identify the layer in the trace. q, k: for each call a tensor [1|beam, head, query, d_k] and
    [1|beam, key_head, key, d_k]. norms: norms of the values [1|beam, key_head, key]. output_norms: norms of the projected values [1, head,
    key] of a single call, or None.
    """

    def __init__(self, path, family, number, is_cross):
        self.path, self.family, self.number, self.is_cross = path, family, number, is_cross
        self.is_packed = False  # whether one row of a call contains several inputs
        self.tower = ""  # the tower that it belongs to, if the model has several
        self.is_text, self.run = True, 0  # whether its tokens may be those of a text; number of the top-level call that last filled it
        self.module = None  # id of its module
        self.reads_other = is_cross  # whether its keys come from other states than its queries
        self.clear()

    def clear(self):
        self.q, self.k, self.norms, self.seen = [], [], [], []
        self.output_norms = None
        self.is_in_windows, self.windows = False, []  # windows: (queries, keys) of each window of a call, or of the calls of one block
        self.samples = []
        self.steps, self.of_beams = [], []  # for beam search: the step of each call; samples as (step, beam, sample)
        self.score = self.sinks = None
        self.problem = None  # why the layer cannot be shown, or None
        self.wrong = None  # how its output differs from the formula, or None
        self.calls = self.before = 0  # number of calls; queries before the first call
        self.captures_gradient = False  # whether the gradient of its output is captured in a backward pass
        self.place = self.values = self.d_out = None  # for gradients: (rows, query begin, query end) of a single call, its values, dy/dout

    @property
    def sees_other_windows(self):
        """True if the keys of a window may belong to another window (two pictures that are matched)."""
        return self.reads_other and len(self.windows) > 1

    @property
    def queries(self):
        return sum(q.shape[2] for q in self.q)

    @property
    def keys(self):
        return sum(k.shape[2] for k in self.k)

    def crop(self, queries):
        """Drops everything after the first `queries` queries (in self-attention their keys, too), because those tokens were rejected."""
        surplus = self.queries - queries
        while surplus > 0 and self.seen:
            last = self.seen[-1]
            count = min(surplus, last.queries)
            surplus -= count
            if count == last.queries and len(self.seen) > 1:
                for several in (self.q, self.seen, self.steps) if self.is_cross else (self.q, self.k, self.norms, self.seen, self.steps):
                    several.pop()
                continue
            try:
                self.seen[-1] = last.without_last(count, 0 if self.is_cross else count)
            except ValueError as reason:
                self.problem = str(reason)
                return
            self.q[-1] = self.q[-1][:, :, : self.q[-1].shape[2] - count]
            if not self.is_cross:
                self.k[-1] = self.k[-1][:, :, : self.k[-1].shape[2] - count]
                self.norms[-1] = self.norms[-1][:, :, : self.norms[-1].shape[2] - count]
        self.samples = [one for one in self.samples if one.query < queries]

    def continues_keys(self, keys, whole):
        """Returns whether a cache [1, key_head, key, d_k] still contains the last kept keys. whole: compare all of them."""
        end, known = keys.shape[2], self.keys
        wanted = min(end, known) if whole else min(end, known, RECENT_KEYS)
        for chunk in reversed(self.k):
            count = min(wanted, chunk.shape[2])
            if not torch.equal(keys[:, :, end - count : end].to(chunk.dtype), chunk[:, :, chunk.shape[2] - count :]):
                return False
            end, wanted = end - count, wanted - count
            if wanted == 0:
                break
        return True

    def keep_winner(self, beams):
        """Keeps only the calls of the winning beam. beams: its index among the beams of its text at each step."""
        if all(step is None for step in self.steps):
            return
        kept = [at for at, step in enumerate(self.steps) if step is None or step < len(beams)]
        if not kept or self.steps[kept[-1]] != len(beams) - 1 or beams[0] != 0:
            self.problem = ("the winning beam ended before the last step, and without a cache that transformers reorders, only the "
                            "last step is kept")
            return
        of = lambda x, step: x if step is None or x.shape[0] == 1 else x[beams[step] : beams[step] + 1]
        pick = lambda several: [of(several[at], self.steps[at]) for at in kept if at < len(several)]
        self.q, self.k, self.norms = pick(self.q), pick(self.k), pick(self.norms)
        self.seen = [self.seen[at] for at in kept]
        self.samples += [sample for step, beam, sample in self.of_beams if step < len(beams) and beam == beams[step]]
        self.steps = [None] * len(kept)
