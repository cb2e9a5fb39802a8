// Makes tensors from words. The value of every factor is parsed here, so that the covering, the generator and a person who reproduces a
// failure all describe the same cases.
//
// Every factor draws from its own random stream, seeded by (seed, factor): changing one factor leaves the tensors of the others unchanged.
#include "make_case.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <sstream>

#include "base/format.h"

namespace clearhead::conformance {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The words of a value.
std::vector<std::string> words_of(std::string value) {
  std::replace(value.begin(), value.end(), ',', ' ');
  std::istringstream stream(value);
  return {std::istream_iterator<std::string>(stream), {}};
}

bool has(const std::string& value, const std::string& word) {
  const auto words = words_of(value);
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The word after `word`; empty if there is none.
std::string after_word(const std::string& value, const std::string& word) {
  const auto words = words_of(value);
  const auto found = std::find(words.begin(), words.end(), word);
  return found == words.end() || found + 1 == words.end() ? "" : found[1];
}

std::array<int64_t, 2> two_numbers(const std::string& text, char between) {
  const size_t first = text.find_first_of("0123456789"), middle = text.find(between, first);
  return {std::stoll(text.substr(first)), std::stoll(text.substr(middle + 1))};
}

// The shape of "dense 1hqk transposed" and similar values: [batch|1, head|1, query|1, key]. If
// transposed, the query axis is innermost in memory.
Shape pair_shape(const std::string& form, const AttentionShape& shape) {
  const auto has = [&](char axis) { return form.find(axis) != std::string::npos; };
  return {has('b') ? shape.batch : 1, has('h') ? shape.heads : 1, has('q') ? shape.queries : 1, shape.keys};
}

Tensor transposed_in_memory(const Tensor& tensor) { return tensor.permute({0, 1, 3, 2}).clone().permute({0, 1, 3, 2}); }

Term make_dense(Random& random, const std::string& value, const AttentionShape& shape) {
  Tensor bias = normal(random, pair_shape(after_word(value, "dense"), shape), 2);
  float* values = bias.numel() > 0 ? bias.mutable_data<float>() : nullptr;
  for (int64_t i = 0; i < bias.numel(); ++i) {
    if (random() % 8 == 0) values[i] = -kInfinity;
  }
  return AttentionBias{has(value, "transposed") ? transposed_in_memory(bias) : bias};
}

// Absolute values of normal numbers plus `least`.
Tensor positive(Random& random, Shape shape, float least) {
  Tensor tensor = normal(random, std::move(shape));
  for (int64_t i = 0; i < tensor.numel(); ++i) tensor.mutable_data<float>()[i] = least + std::abs(tensor.data<float>()[i]);
  return tensor;
}

// Rules with every kind of dependence, smooth in the score so that finite differences work.
Rule make_rule(Random& random, const std::string& value, const AttentionShape& shape) {
  if (value == "rule line") {  // depends only on the offset, through a table of buckets; on the key; and on the query
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
  if (value == "rule t5") return t5_bias(normal(random, {8, shape.heads}), /*bidirectional=*/true, 50);
  if (value == "rule t5 before") return t5_bias(normal(random, {8, shape.heads}), /*bidirectional=*/false, 50);
  if (value == "rule temperature") return temperature(positive(random, {shape.heads}, 0.5f));
  if (value == "rule alibi_2d") return alibi_2d(normal(random, {shape.heads}, 0.3f), 7);
  if (value == "rule relative_2d") return relative_2d(normal(random, {shape.heads, 9, 13}), 5, 7);
  if (value != "rule pair") fail(ErrorCode::kInvalidArgument, "there is no \"{}\" among the rules of cases", value);
  // An image of width 7 whose fifth column is hidden; pairs that mix query and key.
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
    } else if (part.starts_with("soft_cap")) {
      const std::string cap = after_word(part, "soft_cap");
      terms.emplace_back(SoftCap{cap.empty() ? 5.5f : std::stof(cap)});
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
  const int64_t reach = std::stoll(after_word(value, "reach")), heads = has(value, "h") ? shape.heads : 1;
  const auto wanted = [&](const char* part) { return has(value, part) || has(value, "all"); };
  Relative pair{.keys = normal(random, {heads, 2 * reach + 1, shape.d_k})};
  if (has(value, "scale")) pair.scale = std::stof(after_word(value, "scale"));
  if (wanted("queries")) pair.queries = normal(random, {heads, 2 * reach + 1, shape.d_k});
  if (wanted("query_bias")) pair.query_bias = normal(random, {heads, shape.d_k});
  if (wanted("values")) pair.values = normal(random, {heads, 2 * reach + 1, shape.d_v});
  return pair;
}

Score make_pair(Random& random, const std::string& value, const AttentionShape& shape) {
  if (value.starts_with("scale")) return value.ends_with("null") ? Dot{} : Dot{std::stof(value.substr(6))};
  const float deviation = 1 / std::sqrt(static_cast<float>(shape.d_k));  // scores as large as those of scaled dot products
  if (value.starts_with("relative")) return make_relative(random, value, shape);
  Additive pair{.weight = normal(random, {has(value, "h") ? shape.heads : 1, shape.d_k}, deviation)};
  if (has(value, "leaky_relu")) pair.activation = Additive::Activation::kLeakyRelu, pair.slope = 0.1f;
  return pair;
}

Topology make_band(const std::string& value) {
  const Align align = has(value, "start") ? Align::kStart : Align::kEnd;
  const auto limit = [](const std::string& word) {
    return word.empty() || word == "-" ? std::nullopt : std::optional<int64_t>(std::stoll(word));
  };
  const int64_t offset = limit(after_word(value, "offset")).value_or(0);
  if (has(value, "causal")) return {.band = {.back = limit(after_word(value, "back")), .ahead = 0, .align = align, .offset = offset}};
  if (!has(value, "window")) return full();
  const std::string back = after_word(value, "window");
  return {.band = {.back = limit(back), .ahead = limit(words_of(value)[2]), .align = align, .offset = offset}};
}

// Ids that increase along a sequence: consecutive documents of 1 to 40 tokens.
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

std::optional<Segments> make_segments(Random& random, const std::string& value, const AttentionShape& shape) {
  if (value == "no segments") return std::nullopt;
  const int64_t batch = has(value, "1") ? 1 : shape.batch;
  Tensor queries = document_ids(random, batch, shape.queries), keys = document_ids(random, batch, shape.keys);
  const bool padding = !has(value, "documents");
  if (padding && shape.queries > 0) std::fill_n(queries.mutable_data<int32_t>(), queries.numel(), 0);
  int32_t* key_ids = padding && shape.keys > 0 ? keys.mutable_data<int32_t>() : nullptr;
  for (int64_t i = 0; padding && i < keys.numel(); ++i) {
    const int64_t b = i / shape.keys, j = i % shape.keys, length = shape.keys - shape.keys * b / (2 * batch);
    key_ids[i] = j < length ? 0 : value == "key padding" ? 7 : -1;
  }
  if (value == "negative ids" && shape.queries > 2) queries.mutable_data<int32_t>()[1] = -1;
  return Segments{queries, keys};
}

std::optional<Mask> make_mask(Random& random, const std::string& value, const AttentionShape& shape) {
  if (value == "no mask") return std::nullopt;
  Tensor visible = Tensor::zeros(pair_shape(after_word(value, "mask"), shape), DType::kBool);
  bool* values = visible.numel() > 0 ? visible.mutable_data<bool>() : nullptr;
  for (int64_t i = 0; i < visible.numel(); ++i) values[i] = random() % 4 != 0;
  if (visible.size(2) > 3) std::fill_n(values + 2 * shape.keys, shape.keys, false);  // a row that sees nothing
  return Mask{has(value, "transposed") ? transposed_in_memory(visible) : visible};
}

AfterNormaliser make_after(Random& random, const std::string& value, const AttentionShape& shape) {
  AfterNormaliser after;
  if (has(value, "dropout")) after.dropout = Dropout{.rate = 0.3f, .seed = random()};
  if (has(value, "mask")) {
    after.head_mask = normal(random, {shape.heads});
    for (int64_t h = 0; h < shape.heads; ++h) after.head_mask->mutable_data<float>()[h] = std::abs(after.head_mask->data<float>()[h]);
    if (shape.heads > 1) after.head_mask->mutable_data<float>()[shape.heads - 1] = 0;
  }
  if (has(value, "gaussian")) {
    Tensor centres = normal(random, {shape.batch, random() % 2 ? 1 : shape.heads, shape.queries}, 20);
    after.gaussian = LocalGaussian{.centres = centres, .sigma = 9};
  }
  return after;
}

std::vector<int32_t> some_numbers(Random& random, size_t count) {
  std::vector<int32_t> numbers(count);
  for (int32_t& number : numbers) number = static_cast<int32_t>(random() % 60) - 9;
  return numbers;
}

// Boolean expressions over a pair, made of integers only: exact in f32 and in double, however the bounds over a block are computed.
struct Expression {
  Random& random;
  RulePair at;
  const RuleTable& numbers;

  template <class Join>
  auto two(int depth, const Join& join) {
    const RuleValue a = number(depth - 1);  // evaluated first; the order of a call's arguments is unspecified
    return join(a, number(depth - 1));
  }

  RuleValue number(int depth) {
    const int constant = static_cast<int>(random() % 70) - 9, step = static_cast<int>(2 + random() % 40);
    switch (random() % (depth > 0 ? 14 : 5)) {
      case 0: return at.query;
      case 1: return at.key;
      case 2: return at.query - at.key;
      case 3: return constant;
      case 4: return at.head + 2 * at.batch;
      case 5: return numbers(number(depth - 1));
      case 6: return floor(number(depth - 1) / step);
      case 7: return abs(number(depth - 1));
      case 8: return -number(depth - 1);
      case 9: return two(depth, [](RuleValue a, RuleValue b) { return min(a, b); });
      case 10: return two(depth, [](RuleValue a, RuleValue b) { return max(a, b); });
      case 11: return two(depth, [](RuleValue a, RuleValue b) { return a + b; });
      case 12: return two(depth, [](RuleValue a, RuleValue b) { return a - b; });
      default: {
        const RuleTruth condition = truth(depth - 1);
        return two(depth, [&](RuleValue a, RuleValue b) { return where(condition, a, b); });
      }
    }
  }

  RuleTruth truth(int depth) {
    switch (random() % (depth > 0 ? 9 : 5)) {
      case 0: return two(depth, [](RuleValue a, RuleValue b) { return a < b; });
      case 1:
      case 2: return two(depth, [](RuleValue a, RuleValue b) { return a <= b; });
      case 3: return two(depth, [](RuleValue a, RuleValue b) { return a != b; });
      case 4: return two(depth, [](RuleValue a, RuleValue b) { return a == b || a > b + 3; });
      case 5: return !truth(depth - 1);
      default: {
        const bool both = random() % 2 == 0;
        const RuleTruth a = truth(depth - 1), b = truth(depth - 1);
        return both ? a && b : a || b;
      }
    }
  }
};

// Visibility rules with blocks that are visible, hidden or mixed; decided by position, by a table of heads, or by a table of keys.
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
  if (value == "visible dilated") return dilated(3, 20);
  if (value == "visible prefix") return prefix_lm(17);
  if (value == "visible prefixes") {
    std::vector<int32_t> prefixes;
    for (int64_t b = 0; b < shape.batch; ++b) prefixes.push_back(static_cast<int32_t>(random() % 60));
    return prefix_lm(Tensor::from(prefixes, {shape.batch}));
  }
  if (value == "visible strided") return strided(13);
  if (value == "visible fixed") return fixed(24, 2);
  if (value == "visible longformer") return longformer(9, Tensor::from(std::vector<int32_t>{1, 0, 0, 0, 0, 1, 0, 0, 0}, {9}));
  const std::string depth = after_word(value, "expression");
  if (depth.empty() && value != "no visibility")
    fail(ErrorCode::kInvalidArgument, "there is no \"{}\" among the visibilities of cases", value);
  if (depth.empty()) return std::nullopt;
  const RuleTable numbers = table(Tensor::from(some_numbers(random, 23), {23}));
  return visible([&](auto at) { return Expression{random, at, numbers}.truth(std::stoi(depth)); });
}

// Lists that contain a third of the blocks, a few of them empty; with biases for the entries if the value says so.
void add_lists(Random& random, const std::string& value, Case& c) {
  if (value == "no lists") return;
  const auto [query_block, key_block] = value.starts_with("edges") ? std::array<int64_t, 2>{1, 1} : two_numbers(value, 'x');
  const int64_t batch = has(value, "b") || has(value, "bh") ? c.shape.batch : 1;
  const int64_t heads = has(value, "h") || has(value, "bh") ? c.shape.heads : 1;
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
    entries[map].resize(most, -7);  // after the last list; never read
    all_begins.insert(all_begins.end(), begins[map].begin(), begins[map].end());
    all_entries.insert(all_entries.end(), entries[map].begin(), entries[map].end());
  }
  const int64_t count = static_cast<int64_t>(most);
  c.spec.topology.block_sparse = BlockSparse{query_block, key_block, Tensor::from(all_begins, {batch, heads, query_blocks + 1}),
                                             Tensor::from(all_entries, {batch, heads, count})};
  if (!has(value, "bias")) return;
  auto& terms = c.spec.terms;
  terms.insert(has(value, "first") ? terms.begin() : terms.end(), EdgeBias{normal(random, {batch, heads, count}, 2)});
}

// [batch, heads, length, d], with the memory layout that the value names.
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

Normaliser make_normaliser(Random& random, const std::string& value, const AttentionShape& shape) {
  if (value == "softmax") return Softmax{};
  if (value == "sinks") return Softmax{normal(random, {shape.heads}, 3)};
  if (value == "sparsemax") return Sparsemax{};
  if (value == "entmax15") return Entmax15{};
  if (value == "sigmoid") return Sigmoid{-0.7f};
  if (has(value, "hard")) {
    Hard hard;
    if (has(value, "drawn")) hard = {.choice = Hard::Choice::kSampled, .gradient = Hard::Gradient::kScoreFunction, .seed = random()};
    if (has(value, "through")) hard.gradient = Hard::Gradient::kStraightThrough;
    if (has(value, "scored")) hard.gradient = Hard::Gradient::kScoreFunction;
    return hard;
  }
  if (value == "linear") return LinearAttention{};
  fail(ErrorCode::kInvalidArgument, "there is no \"{}\" among the normalisers of cases", value);
}

DType dtype_of(const std::string& value) { return value == "bf16" ? DType::kBF16 : value == "f16" ? DType::kF16 : DType::kF32; }

void fill_tensors(const Values& values, Random random, Case& c) {
  const AttentionShape& shape = c.shape;
  const std::string& layout = values[kLayout];
  const bool are_pages = layout.starts_with("pages"), features = values[kNormaliser] == "linear";  // features: not negative
  const float deviation = std::stof(after_word(values[kSizes], "sizes"));
  const DType dtype = dtype_of(values[kDType]), of_keys = are_pages ? DType::kF32 : dtype;
  const bool shared = layout == "q shared by heads";
  c.q = laid_out(random, layout, {shape.batch, shared ? 1 : shape.heads, shape.queries, shape.d_k}, deviation, dtype, features);
  if (shared) c.q = c.q.expand({shape.batch, shape.heads, shape.queries, shape.d_k});
  c.k = laid_out(random, layout, {shape.batch, shape.key_heads, shape.keys, shape.d_k}, 1, of_keys, features);
  c.v = laid_out(random, layout, {shape.batch, shape.key_heads, shape.keys, shape.d_v}, 1, of_keys);
  c.keys = c.k;
  if (!are_pages) return;
  c.keys = paged(c.k, c.v, has(layout, "bf16") ? DType::kBF16 : has(layout, "f16") ? DType::kF16 : DType::kF32);
  c.v = Tensor();
}

}  // namespace

std::string joined(const Values& values) {
  std::string name;
  for (const std::string& value : values) name += (name.empty() ? "" : " | ") + value;
  return name;
}

Values split(const std::string& name) {
  Values values;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find(" | ", begin), name.size());
    values.push_back(name.substr(begin, end - begin));
    begin = end + 3;
  }
  if (values.size() != kFactorCount)
    fail(ErrorCode::kInvalidArgument, "a case has {} values with \" | \" between them; found {}: {}", size_t{kFactorCount}, values.size(),
         name);
  return values;
}

Values plain_but(const std::vector<std::pair<Factor, std::string>>& some) {
  Values values = split(
      "no terms | full | no segments | no mask | no lists | no visibility | softmax | nothing after | scale null | heads 2/2 | d 16/16 | "
      "60x90 | contiguous | batch 2 | sizes 1 | f32");
  for (const auto& [factor, value] : some) values[factor] = value;
  return values;
}

AttentionShape shape_of(const Values& values) {
  const auto [heads, key_heads] = two_numbers(values[kHeads], '/');
  const auto [d_k, d_v] = two_numbers(values[kWidths], '/');
  const auto [queries, keys] = two_numbers(values[kLengths], 'x');
  return {std::stoll(after_word(values[kBatch], "batch")), heads, key_heads, queries, keys, d_k, d_v};
}

Case make_case(const Values& values, uint32_t seed) {
  Case c{.name = joined(values), .shape = shape_of(values)};
  const auto stream = [&](Factor factor) { return Random(static_cast<uint32_t>(seed * kFactorCount + factor)); };
  const auto made = [&](auto make, Factor factor) {
    Random random = stream(factor);
    return make(random, values[factor], c.shape);
  };
  c.spec.score = made(make_pair, kPair);
  c.spec.terms = made(make_terms, kTerms);
  for (Term& term : c.spec.terms) {  // keys at the cap are equal in f32, and which of them a hard choice takes is unspecified
    auto* soft_cap = std::get_if<SoftCap>(&term);
    if (soft_cap && values[kNormaliser].starts_with("hard")) soft_cap->cap = 80;
  }
  c.spec.topology = make_band(values[kBand]);
  c.spec.topology.segments = made(make_segments, kSegments);
  c.spec.topology.mask = made(make_mask, kMask);
  Random lists = stream(kLists);
  add_lists(lists, values[kLists], c);
  c.spec.topology.visible = made(make_visibility, kVisibility);
  c.spec.normaliser = made(make_normaliser, kNormaliser);
  c.spec.after = made(make_after, kAfter);
  fill_tensors(values, stream(kSizes), c);
  validate(c.spec, c.shape);
  return c;
}

}  // namespace clearhead::conformance
