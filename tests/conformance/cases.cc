#include "cases.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/cpu/score_view.h"

namespace clearhead::conformance {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Factors and their values. A case is one value of each.
const std::vector<std::vector<std::string>> kFactors = {
    {"no terms",
     "alibi",
     "soft_cap",
     "dense bhqk",
     "dense 1hqk",
     "dense b11k",
     "dense 11qk",
     "dense 1h1k",
     "dense 11qk transposed",
     "alibi+soft_cap",
     "soft_cap+alibi",
     "soft_cap+dense bhqk",
     "dense 11qk+soft_cap",
     "alibi+dense b1qk",
     "dense 11qk+dense 1h1k",
     "rule line",
     "rule score",
     "rule pair",
     "rule line+soft_cap",
     "dense b1qk+rule score",
     "rule pair+rule line"},
    {"full", "causal end", "causal start", "causal back 40", "window 3 0", "window 2 5", "window 60 1 start"},
    {"no segments", "documents", "documents 1", "key padding", "negative ids"},
    {"no mask", "mask bhqk", "mask 11qk", "mask b11k", "mask 1h1k", "mask 11qk transposed"},
    {"no lists", "edges", "edges bh with bias", "blocks 1x16", "blocks 16x24 h with bias", "blocks 64x64 b", "blocks 50x8"},
    {"no visibility", "visible causal", "visible window", "visible stripes", "visible blocks"},
    {"softmax", "sinks", "sparsemax", "entmax15", "sigmoid", "hard", "hard, drawn", "linear"},
    {"nothing after", "dropout", "head mask", "gaussian", "dropout, head mask, gaussian"},
    {"scale null", "scale 0.05", "scale -0.3", "additive tanh", "additive tanh h", "additive leaky_relu h", "relative reach 3",
     "relative reach 40 h, all", "relative reach 2000, all, scale 0.05"},
    {"heads 1/1", "heads 2/2", "heads 4/2", "heads 6/1", "heads 3/3"},
    {"d 64/64", "d 1/1", "d 32/48", "d 80/16", "d 7/5", "d 128/33", "d 16/96"},
    {"1x1", "1x48", "1x257", "3x300", "48x48", "49x49", "17x256", "50x257", "97x97", "0x5", "5x0", "13x7", "100x300", "1x1500", "131x131",
     "2x1025", "193x40"},
    {"contiguous", "length first", "channels apart", "unaligned", "pages", "pages bf16", "pages f16, length first", "q shared by heads"},
    {"batch 1", "batch 3"},
    {"sizes 1", "sizes 6", "sizes 0.01"},
    {"f32", "bf16", "f16"}};
enum Factor : size_t {
  kTerms,
  kBand,
  kSegments,
  kMask,
  kLists,
  kVisibility,
  kNormaliser,
  kAfter,
  kPair,
  kHeads,
  kWidths,
  kLengths,
  kLayout,
  kBatch,
  kSizes,
  kDType
};

using Choice = std::vector<size_t>;

// Greedy pairwise covering: each case starts from an uncovered pair, and takes for every other factor the value that covers most.
class Covering {
 public:
  std::vector<Choice> make() {
    const size_t factors = kFactors.size();
    covered_.assign(factors * factors, {});
    size_t left = 0;
    for (size_t a = 0; a < factors; ++a) {
      for (size_t b = a + 1; b < factors; ++b) {
        covered_[a * factors + b].assign(kFactors[a].size() * kFactors[b].size(), false);
        left += covered_[a * factors + b].size();
      }
    }
    std::vector<Choice> chosen;
    while (left > 0) {
      chosen.push_back(next());
      left -= mark(chosen.back());
    }
    return chosen;
  }

 private:
  std::vector<bool>::reference pair(size_t a, size_t value_a, size_t b, size_t value_b) {
    if (a > b) return pair(b, value_b, a, value_a);
    return covered_[a * kFactors.size() + b][value_a * kFactors[b].size() + value_b];
  }

  Choice next() {
    constexpr size_t kUnset = ~size_t{0};
    Choice choice(kFactors.size(), kUnset);
    for (size_t at = 0; choice[0] == kUnset && at < covered_.size(); ++at) {  // any uncovered pair sets the first two
      const auto open = std::find(covered_[at].begin(), covered_[at].end(), false);
      if (open == covered_[at].end()) continue;
      const size_t a = at / kFactors.size(), b = at % kFactors.size(), index = static_cast<size_t>(open - covered_[at].begin());
      choice[a] = index / kFactors[b].size();
      choice[b] = index % kFactors[b].size();
      break;
    }
    std::vector<size_t> order(kFactors.size());
    for (size_t f = 0; f < order.size(); ++f) order[f] = f;
    std::shuffle(order.begin(), order.end(), random_);
    for (const size_t f : order) {
      if (choice[f] != kUnset) continue;
      size_t best = 0, best_gain = 0;
      const size_t start = random_() % kFactors[f].size();
      for (size_t n = 0; n < kFactors[f].size(); ++n) {
        const size_t value = (start + n) % kFactors[f].size();
        size_t gain = 1;
        for (size_t g = 0; g < choice.size(); ++g) gain += g != f && choice[g] != kUnset && !pair(f, value, g, choice[g]);
        if (gain > best_gain) best = value, best_gain = gain;
      }
      choice[f] = best;
    }
    return choice;
  }

  size_t mark(const Choice& choice) {
    size_t fresh = 0;
    for (size_t a = 0; a < choice.size(); ++a) {
      for (size_t b = a + 1; b < choice.size(); ++b) {
        auto seen = pair(a, choice[a], b, choice[b]);
        fresh += !seen;
        seen = true;
      }
    }
    return fresh;
  }

  std::vector<std::vector<bool>> covered_;  // [factor a, factor b][value of a, value of b]
  Random random_{20240229};
};

// "dense 1hqk transposed" and its like: [batch|1, head|1, query|1, key], and memory with query innermost where transposed.
Shape pair_shape(const std::string& form, const AttentionShape& shape) {
  const auto has = [&](char axis) { return form.find(axis) != std::string::npos; };
  return {has('b') ? shape.batch : 1, has('h') ? shape.heads : 1, has('q') ? shape.queries : 1, shape.keys};
}

Tensor transposed_in_memory(const Tensor& tensor) { return tensor.permute({0, 1, 3, 2}).clone().permute({0, 1, 3, 2}); }

Term make_dense(Random& random, const std::string& value, const AttentionShape& shape) {
  const std::string form = value.substr(value.find(' ') + 1, 4);
  Tensor bias = normal(random, pair_shape(form, shape), 2);
  float* values = bias.numel() > 0 ? bias.mutable_data<float>() : nullptr;
  for (int64_t i = 0; i < bias.numel(); ++i) {
    if (random() % 8 == 0) values[i] = -kInfinity;
  }
  return Dense{value.ends_with("transposed") ? transposed_in_memory(bias) : bias};
}

// Rules of every kind of dependence. Smooth in the score, for finite differences.
Rule make_rule(Random& random, const std::string& value, const AttentionShape& shape) {
  if (value == "rule line") {  // of the offset alone, by a table of buckets; and of the key, and of the query
    std::vector<int32_t> bucket_of;
    for (int32_t offset = 0; offset < 41; ++offset) bucket_of.push_back(offset * offset / 200);
    const RuleTable buckets = table(Tensor::from(bucket_of, {41})), biases = table(normal(random, {shape.heads, 9}, 2));
    return rule([&](auto s, auto at) { return s + biases(at.head, buckets(at.query - at.key + 20)); });
  }
  if (value == "rule score") {
    const RuleTable slopes = table(normal(random, {shape.heads}, 0.2f));
    return rule([&](auto s, auto at) {
      auto steps = 0.0625 * (at.key - at.query);
      auto slope = slopes(at.head);
      return 4 * tanh(s / 5) + s * exp(-slope * slope) - log(1 + exp(steps)) / sqrt(1 + s * s);
    });
  }
  // An image 7 wide, whose fifth column hides; pairs that mix query and key.
  const RuleTable rows = table(normal(random, {shape.heads, 7, 7}, 1));
  return rule([&](auto s, auto at) {
    auto row = [](auto i) { return floor(i / 7); };
    auto column = [&](auto i) { return i - 7 * row(i); };
    auto near = min(abs(row(at.query) - row(at.key)), 3);
    return where(column(at.key) == 4 && !(at.key == at.query), -kInfinity,
                 s * (1 + 0.125 * near) - rows(at.head, column(at.query), column(at.key)));
  });
}

std::vector<Term> make_terms(Random& random, const std::string& value, const AttentionShape& shape) {
  std::vector<Term> terms;
  if (value == "no terms") return terms;
  for (size_t begin = 0; begin < value.size();) {
    const size_t end = std::min(value.find('+', begin), value.size());
    const std::string part = value.substr(begin, end - begin);
    if (part == "alibi") {
      Tensor slopes = normal(random, {shape.heads}, 0.3f);  // of both signs
      terms.emplace_back(Alibi{slopes});
    } else if (part == "soft_cap") {
      terms.emplace_back(SoftCap{5.5f});
    } else if (part.starts_with("rule")) {
      terms.emplace_back(make_rule(random, part, shape));
    } else {
      terms.push_back(make_dense(random, part, shape));
    }
    begin = end + 1;
  }
  return terms;
}

Relative make_relative(Random& random, const std::string& value, const AttentionShape& shape) {
  const int64_t reach = std::stoll(value.substr(value.find("reach ") + 6)), heads = value.find(" h") != std::string::npos ? shape.heads : 1;
  Relative pair{.keys = normal(random, {heads, 2 * reach + 1, shape.d_k})};
  if (value.find("all") == std::string::npos) return pair;
  if (value.find("scale") != std::string::npos) pair.scale = 0.05f;
  pair.queries = normal(random, {heads, 2 * reach + 1, shape.d_k});
  pair.query_bias = normal(random, {heads, shape.d_k});
  pair.values = normal(random, {heads, 2 * reach + 1, shape.d_v});
  return pair;
}

Pair make_pair(Random& random, const std::string& value, const AttentionShape& shape) {
  if (value.starts_with("scale")) return value.ends_with("null") ? Dot{} : Dot{std::stof(value.substr(6))};
  const float deviation = 1 / std::sqrt(static_cast<float>(shape.d_k));  // scores as large as those of scaled dots
  if (value.starts_with("relative")) return make_relative(random, value, shape);
  Additive pair{.weight = normal(random, {value.ends_with(" h") ? shape.heads : 1, shape.d_k}, deviation)};
  if (value.find("leaky") != std::string::npos) pair.activation = Additive::Activation::kLeakyRelu, pair.slope = 0.1f;
  return pair;
}

Topology make_band(size_t value) {
  switch (value) {
    case 1: return causal();
    case 2: return causal(std::nullopt, Align::kStart);
    case 3: return causal(40);
    case 4: return window(3, 0);
    case 5: return window(2, 5);
    case 6: return window(60, 1, Align::kStart);
    default: return full();
  }
}

// Ids that grow along a sequence, one document after another, each of 1 to 40 tokens.
Tensor document_ids(Random& random, int64_t batch, int64_t length) {
  Tensor ids = Tensor::zeros({batch, length}, DType::kI32);
  int32_t* values = length > 0 ? ids.mutable_data<int32_t>() : nullptr;
  for (int64_t b = 0; b < batch && length > 0; ++b) {
    int32_t id = 0;
    for (int64_t i = 0, left = 1 + random() % 40; i < length; ++i, --left) {
      if (left == 0) ++id, left = 1 + random() % 40;
      values[b * length + i] = id;
    }
  }
  return ids;
}

std::optional<Segments> make_segments(Random& random, size_t value, const AttentionShape& shape) {
  if (value == 0) return std::nullopt;
  const int64_t batch = value == 2 ? 1 : shape.batch;
  Tensor queries = document_ids(random, batch, shape.queries), keys = document_ids(random, batch, shape.keys);
  const bool padding = value >= 3;
  if (padding && shape.queries > 0) std::fill_n(queries.mutable_data<int32_t>(), queries.numel(), 0);
  int32_t* key_ids = padding && shape.keys > 0 ? keys.mutable_data<int32_t>() : nullptr;
  for (int64_t i = 0; padding && i < keys.numel(); ++i) {
    const int64_t b = i / shape.keys, j = i % shape.keys, length = shape.keys - shape.keys * b / (2 * batch);
    key_ids[i] = j < length ? 0 : value == 3 ? 7 : -1;
  }
  if (value == 4 && shape.queries > 2) queries.mutable_data<int32_t>()[1] = -1;
  return Segments{queries, keys};
}

std::optional<Mask> make_mask(Random& random, size_t value, const AttentionShape& shape) {
  if (value == 0) return std::nullopt;
  const std::string name = kFactors[kMask][value], form = name.substr(5, 4);
  Tensor visible = Tensor::zeros(pair_shape(form, shape), DType::kBool);
  bool* values = visible.numel() > 0 ? visible.mutable_data<bool>() : nullptr;
  for (int64_t i = 0; i < visible.numel(); ++i) values[i] = random() % 4 != 0;
  if (visible.size(2) > 3) std::fill_n(values + 2 * shape.keys, shape.keys, false);  // a row that sees nothing
  return Mask{value == 5 ? transposed_in_memory(visible) : visible};
}

After make_after(Random& random, const std::string& value, const AttentionShape& shape) {
  After after;
  const auto has = [&](const char* part) { return value.find(part) != std::string::npos; };
  if (has("dropout")) after.dropout = Dropout{.rate = 0.3f, .seed = random()};
  if (has("head mask")) {
    after.head_mask = normal(random, {shape.heads});
    for (int64_t h = 0; h < shape.heads; ++h) after.head_mask->mutable_data<float>()[h] = std::abs(after.head_mask->data<float>()[h]);
    if (shape.heads > 1) after.head_mask->mutable_data<float>()[shape.heads - 1] = 0;
  }
  if (has("gaussian")) {
    Tensor centres = normal(random, {shape.batch, random() % 2 ? 1 : shape.heads, shape.queries}, 20);
    after.gaussian = LocalGaussian{.centres = centres, .sigma = 9};
  }
  return after;
}

// Visibility by rule: blocks shown, hidden and mixed; decided by position, by a table of heads, by a table of keys.
std::optional<Rule> make_visibility(Random& random, const std::string& value, const AttentionShape& shape) {
  if (value == "visible causal") return visible([](auto at) { return at.key <= at.query; });
  if (value == "visible window") {
    Tensor widths = normal(random, {shape.heads}, 20);
    return visible([&](auto at) { return abs(at.query - at.key) <= 30.5 + table(widths)(at.head); });
  }
  if (value == "visible stripes") {
    return visible([](auto at) {
      auto offset = at.query - at.key;
      return offset - 3 * floor(offset / 3) == 0 || (offset >= 0 && offset < 40);
    });
  }
  if (value == "visible blocks") {
    std::vector<int32_t> global(50, 0);
    for (int32_t& key : global) key = random() % 8 == 0;
    const RuleTable is_global = table(Tensor::from(global, {50}));
    return visible([&](auto at) { return floor(at.query / 64) == floor(at.key / 64) || is_global(at.key) != 0; });
  }
  return std::nullopt;
}

std::array<int64_t, 2> two_numbers(const std::string& text, char between) {
  const size_t first = text.find_first_of("0123456789"), middle = text.find(between, first);
  return {std::stoll(text.substr(first)), std::stoll(text.substr(middle + 1))};
}

// Lists of a third of the blocks, a few of them empty; with biases of the entries where the value says so.
void add_lists(Random& random, const std::string& value, Case& c) {
  if (value == "no lists") return;
  const auto [query_block, key_block] = value.starts_with("edges") ? std::array<int64_t, 2>{1, 1} : two_numbers(value, 'x');
  const int64_t batch = value.find(" b") != std::string::npos ? c.shape.batch : 1;
  const int64_t heads = value.find(" h") != std::string::npos || value.find("bh") != std::string::npos ? c.shape.heads : 1;
  const int64_t query_blocks = (c.shape.queries + query_block - 1) / query_block, key_blocks = (c.shape.keys + key_block - 1) / key_block;
  std::vector<std::vector<int32_t>> begins, entries;
  size_t most = 0;
  for (int64_t map = 0; map < batch * heads; ++map) {
    begins.push_back({0});
    entries.emplace_back();
    for (int64_t b = 0; b < query_blocks; ++b) {
      const bool none = random() % 9 == 0;
      for (int64_t k = 0; k < key_blocks && !none; ++k) {
        if (random() % 3 == 0) entries.back().push_back(static_cast<int32_t>(k));
      }
      begins.back().push_back(static_cast<int32_t>(entries.back().size()));
    }
    most = std::max(most, entries.back().size());
  }
  std::vector<int32_t> all_begins, all_entries;
  for (size_t map = 0; map < begins.size(); ++map) {
    entries[map].resize(most, -7);  // past the last list: never read
    all_begins.insert(all_begins.end(), begins[map].begin(), begins[map].end());
    all_entries.insert(all_entries.end(), entries[map].begin(), entries[map].end());
  }
  const int64_t count = static_cast<int64_t>(most);
  c.spec.topology.lists = Lists{query_block, key_block, Tensor::from(all_begins, {batch, heads, query_blocks + 1}),
                                Tensor::from(all_entries, {batch, heads, count})};
  if (value.find("bias") != std::string::npos) c.spec.terms.emplace_back(PerEdge{normal(random, {batch, heads, count}, 2)});
}

// [batch, heads, length, d] in memory laid out as the value says.
Tensor laid_out(Random& random, const std::string& layout, Shape shape, float deviation, DType dtype, bool positive = false) {
  const auto [batch, heads, length, width] = std::array<int64_t, 4>{shape[0], shape[1], shape[2], shape[3]};
  const auto filled = [&, dtype = dtype, positive = positive](Shape of_memory) {
    Tensor tensor = normal(random, std::move(of_memory), deviation);
    float* values = positive && tensor.numel() > 0 ? tensor.mutable_data<float>() : nullptr;
    for (int64_t i = 0; values && i < tensor.numel(); ++i) values[i] = std::abs(values[i]);
    return to_dtype(tensor, dtype);
  };
  if (layout.ends_with("length first")) return filled({batch, length, heads, width}).permute({0, 2, 1, 3});
  if (layout == "channels apart") return filled({batch, heads, width, length}).permute({0, 1, 3, 2});
  if (layout == "unaligned") return filled({batch, heads, length, width + 1}).slice(3, 1, width + 1);
  return filled(shape);
}

Case build(const Choice& choice, size_t index) {
  Random random(static_cast<uint32_t>(7919 * index + 1));
  Case c;
  for (size_t f = 0; f < choice.size(); ++f) c.name += (f ? " | " : "") + kFactors[f][choice[f]];
  const auto value = [&](Factor f) { return kFactors[f][choice[f]]; };
  const auto [heads, key_heads] = two_numbers(value(kHeads), '/');
  const auto [d_k, d_v] = two_numbers(value(kWidths), '/');
  const auto [queries, keys] = two_numbers(value(kLengths), 'x');
  const int64_t batch = choice[kBatch] == 0 ? 1 : 3;
  c.shape = {batch, heads, key_heads, queries, keys, d_k, d_v};
  c.spec.pair = make_pair(random, value(kPair), c.shape);
  c.spec.terms = make_terms(random, value(kTerms), c.shape);
  for (Term& term : c.spec.terms) {  // keys at the cap are equal in f32: which of them a hard choice takes is nobody's promise
    auto* soft_cap = std::get_if<SoftCap>(&term);
    if (soft_cap && value(kNormaliser).starts_with("hard")) soft_cap->cap = 80;
  }
  c.spec.topology = make_band(choice[kBand]);
  c.spec.topology.segments = make_segments(random, choice[kSegments], c.shape);
  c.spec.topology.mask = make_mask(random, choice[kMask], c.shape);
  add_lists(random, value(kLists), c);
  c.spec.topology.visible = make_visibility(random, value(kVisibility), c.shape);
  if (value(kNormaliser) == "sinks") c.spec.normaliser = Softmax{normal(random, {heads}, 3)};
  if (value(kNormaliser) == "sparsemax") c.spec.normaliser = Sparsemax{};
  if (value(kNormaliser) == "entmax15") c.spec.normaliser = Entmax15{};
  if (value(kNormaliser) == "sigmoid") c.spec.normaliser = Sigmoid{-0.7f};
  if (value(kNormaliser).starts_with("hard")) c.spec.normaliser = Hard{};
  if (value(kNormaliser) == "hard, drawn")
    c.spec.normaliser = Hard{.choice = Hard::Choice::kSampled, .gradient = Hard::Gradient::kScoreFunction, .seed = random()};
  if (value(kNormaliser) == "linear") c.spec.normaliser = Linear{};
  c.spec.after = make_after(random, value(kAfter), c.shape);
  const std::string layout = value(kLayout);
  const float deviation = choice[kSizes] == 0 ? 1.0f : choice[kSizes] == 1 ? 6.0f : 0.01f;
  const DType dtype = choice[kDType] == 0 ? DType::kF32 : choice[kDType] == 1 ? DType::kBF16 : DType::kF16;
  const DType of_keys = layout.starts_with("pages") ? DType::kF32 : dtype;
  const bool features = value(kNormaliser) == "linear";  // not negative; what the terms add is of both signs
  c.q = layout == "q shared by heads"
            ? laid_out(random, layout, {batch, 1, queries, d_k}, deviation, dtype, features).expand({batch, heads, queries, d_k})
            : laid_out(random, layout, {batch, heads, queries, d_k}, deviation, dtype, features);
  c.k = laid_out(random, layout, {batch, key_heads, keys, d_k}, 1, of_keys, features);
  c.v = laid_out(random, layout, {batch, key_heads, keys, d_v}, 1, of_keys);
  c.keys = c.k;
  if (layout.starts_with("pages")) {
    c.keys = paged(c.k, c.v,
                   layout.find("bf16") != std::string::npos  ? DType::kBF16
                   : layout.find("f16") != std::string::npos ? DType::kF16
                                                             : DType::kF32);
    c.v = Tensor();
  }
  validate(c.spec, c.shape);
  return c;
}

// All bits set: NaN in every floating dtype, so that whatever is not written is seen.
Tensor unwritten(Shape shape, DType dtype) {
  Tensor tensor = Tensor::empty(std::move(shape), dtype);
  if (tensor.numel() > 0) std::memset(tensor.mutable_raw(), 0xFF, tensor.bytes());
  return tensor;
}

Tensor part(const Tensor& operand, int axis, Range range) {
  return operand.size(axis) == 1 ? operand : operand.slice(axis, range.begin, range.end);
}

}  // namespace

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> built;
    for (const Choice& choice : Covering().make()) built.push_back(build(choice, built.size()));
    return built;
  }();
  return all;
}

bool keeps_weights_in_bf16(const Backend& backend, const Case& c) {
  return backend.isa == InstructionSet::kAvx512 && cpu::takes_pairs(c.spec, c.q, c.keys) &&
         std::holds_alternative<Softmax>(c.spec.normaliser);
}

Tensor normal(Random& random, Shape shape, float deviation) {
  Tensor tensor = Tensor::empty(std::move(shape));
  if (tensor.numel() == 0) return tensor;
  float* values = tensor.mutable_data<float>();
  // Sums of four uniforms: near enough to normal, and the same on every standard library.
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    double sum = -2;
    for (int n = 0; n < 4; ++n) sum += static_cast<double>(random()) * 0x1p-32;
    values[i] = deviation * static_cast<float>(sum * std::sqrt(3.0));
  }
  return tensor;
}

Result run(const Backend& backend, const AttentionSpec& spec, const Tensor& q, const Keys& keys, const Tensor& v) {
  const int64_t width = v.defined() ? v.size(3) : std::get<PagedKeys>(keys).d_v;
  Result result;
  result.out = unwritten({q.size(0), q.size(1), q.size(2), width}, q.dtype());
  AttentionRecord& record = result.record;
  record.spec = spec;
  record.q = q;
  record.keys = keys;
  record.query_length = q.size(2);
  record.rows = {.m = Tensor::zeros({q.size(0), q.size(1), q.size(2)}), .l = Tensor::zeros({q.size(0), q.size(1), q.size(2)})};
  record.stamp = stamp_now(spec, q, keys, backend.isa);
  backend.forward({.spec = spec, .q = q, .keys = record.keys, .v = v, .out = result.out, .rows = record.rows});
  return result;
}

AttendGradients run_backward(const Backend& backend, const Result& forward, const Tensor& v, const Tensor& d_out,
                             const std::function<bool(const std::string& name)>& wants) {
  const AttentionRecord& record = forward.record;
  const auto like = [](const Tensor& tensor) { return unwritten(tensor.shape(), tensor.dtype()); };
  AttendGradients found{.q = like(record.q), .k = like(std::get<Tensor>(record.keys)), .v = like(v)};
  for_each_operand(record.spec, [&](const std::string& name, const Tensor& operand) {
    found.operands.push_back(operand.dtype() == DType::kF32 && (!wants || wants(name)) ? like(operand) : Tensor());
  });
  backend.backward({.record = record,
                    .v = v,
                    .out = forward.out,
                    .d_out = d_out,
                    .d_q = found.q,
                    .d_k = found.k,
                    .d_v = found.v,
                    .d_operands = found.operands});
  return found;
}

std::vector<float> look(const Backend& backend, const AttentionRecord& record, int64_t batch, int64_t head,
                        const std::vector<int64_t>& rows, Range keys, WeightsCall::Quantity quantity, bool after) {
  std::vector<float> out(rows.size() * static_cast<size_t>(keys.size()), -1);
  if (out.empty()) return out;
  backend.weights({.record = record,
                   .batch = batch,
                   .head = head,
                   .rows = rows.data(),
                   .row_count = static_cast<int64_t>(rows.size()),
                   .keys = keys,
                   .quantity = quantity,
                   .after = after,
                   .out = out.data(),
                   .out_stride = keys.size()});
  return out;
}

AttentionSpec restricted(const AttentionSpec& spec, int64_t batch, Range heads, Range queries, int64_t keys) {
  AttentionSpec small = spec;
  for_each_operand(small, [&](const std::string& name, Tensor& operand) {
    if (name.starts_with("additive") || name.starts_with("relative")) {
      operand = part(operand, 0, heads);
    } else if (name.starts_with("slopes") || name == "sinks" || name == "head_mask") {
      operand = operand.slice(0, heads.begin, heads.end);
    } else if (name.starts_with("lists") || name.starts_with("edges")) {  // queries are all of them
      operand = part(part(operand, 0, {batch, batch + 1}), 1, heads);
    } else if (name.starts_with("rule") || name.starts_with("visible")) {
      if (operand.dtype() == DType::kF32) operand = operand.slice(0, heads.begin, heads.end);  // here all of them begin with the head
    } else if (name == "centres") {
      operand = part(part(operand, 0, {batch, batch + 1}), 1, heads).slice(2, queries.begin, queries.end);
    } else if (name.starts_with("segments")) {
      operand = part(operand, 0, {batch, batch + 1});
      operand = name == "segments.queries" ? operand.slice(1, queries.begin, queries.end) : operand.slice(1, 0, keys);
    } else {
      operand = part(part(part(operand, 0, {batch, batch + 1}), 1, heads), 2, queries).slice(3, 0, keys);
    }
  });
  return small;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor left = a.contiguous(), right = b.contiguous();
  return left.shape() == right.shape() && (left.numel() == 0 || std::memcmp(left.raw(), right.raw(), left.bytes()) == 0);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

Tensor with(const Tensor& tensor, int64_t position, float value) {
  Tensor copy = tensor.clone();
  float* first = copy.mutable_data<float>();
  for (int64_t h = 0; h < copy.size(1); ++h) std::fill_n(first + (h * copy.size(2) + position) * copy.size(3), copy.size(3), value);
  return copy;
}

std::vector<float> row_of(const Tensor& tensor, int64_t head, int64_t row) {
  const float* first = tensor.data<float>() + (head * tensor.size(2) + row) * tensor.size(3);
  return {first, first + tensor.size(3)};
}

PagedKeys paged(const Tensor& k, const Tensor& v, DType dtype) {
  KeyCache cache(dtype);
  int64_t at = 0;
  for (int64_t piece = 1; at < k.size(2); piece = piece * 3 + 1) {
    const int64_t end = std::min(k.size(2), at + piece);
    cache.append(k.slice(2, at, end), v.slice(2, at, end));
    at = end;
  }
  if (k.size(2) == 0) cache.append(k, v);
  return cache.snapshot();
}

std::string table_name(const Backend& backend) {
  const std::string name = backend.name;
  return name == to_string(backend.isa) ? name : name + "_" + to_string(backend.isa);
}

}  // namespace clearhead::conformance
