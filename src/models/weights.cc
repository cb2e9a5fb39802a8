// Maps names to tensors: replaces {} by the layer number, and tries the prefix and the aliases of name endings. Shape, dtype and
// finiteness are checked before a weight is packed.
#include "models/weights.h"

#include <fnmatch.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "backends/registry.h"
#include "base/format.h"
#include "base/parallel.h"
#include "tensor/convert.h"

namespace clearhead {
namespace {

constexpr int64_t kCheckedAtOnce = 1 << 16;
constexpr double kSpread = 0.02;  // standard deviation of new matrices and tables

// Returns the index of the first element that is NaN or infinite (all bits of the exponent are 1), or −1.
template <class Word>
int64_t first_not_finite(const std::byte* bytes, int64_t count, Word exponent) {
  const Word* words = reinterpret_cast<const Word*>(bytes);
  std::atomic<int64_t> first{count};
  parallel_ranges(count, kCheckedAtOnce, [&](int64_t begin, int64_t end, int) {
    uint32_t found = 0;
    for (int64_t i = begin; i < end; ++i) found |= static_cast<uint32_t>((words[i] & exponent) == exponent);
    if (!found) return;
    int64_t at = begin;
    while ((words[at] & exponent) != exponent) ++at;
    int64_t known = first.load();
    while (at < known && !first.compare_exchange_weak(known, at)) {
    }
  });
  return first == count ? -1 : first.load();
}

int64_t first_not_finite(const Tensor& tensor) {
  if (tensor.dtype() == DType::kF32) return first_not_finite<uint32_t>(tensor.raw(), tensor.numel(), 0x7F800000U);
  return first_not_finite<uint16_t>(tensor.raw(), tensor.numel(), tensor.dtype() == DType::kBF16 ? uint16_t{0x7F80} : uint16_t{0x7C00});
}

// Stacks the parts along their outputs, f32 [out, in].
std::shared_ptr<const PreparedWeight> live_weight(const std::vector<WeightPart>& parts, int64_t out, int64_t in) {
  Tensor rows = Tensor::empty({out, in});
  int64_t at = 0;
  for (const WeightPart& part : parts) {
    const Tensor values = part.input_first ? part.values.permute({1, 0}) : part.values;
    Tensor to = rows.slice(0, at, at + values.size(0));
    convert(values, to);
    at += values.size(0);
  }
  return std::make_shared<LiveWeight>(rows);
}

}  // namespace

namespace {

bool is_listed(const Architecture& facts, const std::string& name) {
  const std::string bare = name.starts_with(facts.prefix) ? name.substr(facts.prefix.size()) : name;
  return std::any_of(facts.unread.begin(), facts.unread.end(),
                     [&](const std::string& pattern) { return fnmatch(pattern.c_str(), bare.c_str(), 0) == 0; });
}

// Some checkpoints store a tied weight once for each of its names.
bool is_copy(const io::SafeTensors& file, const Architecture& facts, const std::string& name, const std::set<std::string>& read) {
  for (const auto& [usual, other] : facts.aliases) {
    if (!name.ends_with(other)) continue;
    const std::string original = name.substr(0, name.size() - other.size()) + usual;
    if (!read.contains(original)) continue;
    const Tensor copy = file.get(name), values = file.get(original);
    return copy.dtype() == values.dtype() && copy.shape() == values.shape() && std::memcmp(copy.raw(), values.raw(), copy.bytes()) == 0;
  }
  return false;
}

}  // namespace

void refuse_unread(const io::SafeTensors& file, const Architecture& facts, const std::set<std::string>& read) {
  std::vector<std::string> left = file.names();
  std::erase_if(left, [&](const std::string& name) {
    const auto is_harmless = [&](const Architecture& stack) { return is_listed(stack, name) || is_copy(file, stack, name, read); };
    return read.contains(name) || is_harmless(facts) || (facts.encoder && is_harmless(*facts.encoder));
  });
  if (left.empty()) return;
  constexpr size_t kShown = 5;
  std::string names;
  for (size_t i = 0; i < std::min(left.size(), kShown); ++i) names += format("{}\"{}\"", i == 0 ? "" : ", ", left[i]);
  fail(ErrorCode::kUnsupported,
       "{}: a model of type \"{}\" with this config.json does not read {} of {} tensors: {}{}. They may change the result: "
       "correct config.json, merge adapters into the weights, or remove the tensors",
       file.where(), facts.model_type, left.size(), file.entries().size(), names, left.size() > kShown ? ", …" : "");
}

std::string Weights::filled(const std::string& name) const {
  const size_t at = name.find("{}");
  return at == std::string::npos ? name : name.substr(0, at) + std::to_string(layer_) + name.substr(at + 2);
}

std::string Weights::name_for(const std::string& pattern, bool in_body) const {
  return (in_heads_ && !in_body ? "" : facts_.prefix) + filled(pattern);
}

std::string name_in(const io::SafeTensors& file, const Architecture& facts, const std::string& name) {
  std::vector<std::string> spellings = {name};
  for (const auto& [usual, other] : facts.aliases) {
    if (name.ends_with(usual)) spellings.push_back(name.substr(0, name.size() - usual.size()) + other);
  }
  for (const std::string& spelling : spellings) {
    if (!facts.prefix.empty() && file.contains(facts.prefix + spelling)) return facts.prefix + spelling;
    if (file.contains(spelling)) return spelling;
  }
  return "";
}

std::string Weights::find(const std::string& pattern) const { return name_in(*file_, facts_, filled(pattern)); }

std::string Weights::require(const std::string& name) const {
  const std::string found = find(name);
  if (!found.empty()) {
    if (read_) read_->insert(found);
    return found;
  }
  fail(ErrorCode::kNotFound, "{}: tensor \"{}\" is missing{}; a model of type \"{}\" needs it", file_->where(),
       facts_.prefix + filled(name), facts_.prefix.empty() ? "" : " (also without its prefix)", facts_.model_type);
}

Tensor Weights::checked(const std::string& name, const Shape& shape) const {
  const Tensor values = file_->get(name);
  if (values.shape() != shape) {
    fail(ErrorCode::kShape, "{}: tensor \"{}\": config.json asks for {}, found {}", file_->where(), name, to_string(shape),
         to_string(values.shape()));
  }
  if (values.dtype() != DType::kF32 && values.dtype() != DType::kBF16 && values.dtype() != DType::kF16) {
    fail(ErrorCode::kUnsupported, "{}: tensor \"{}\" is {}; expected f32, bf16 or f16", file_->where(), name, to_string(values.dtype()));
  }
  if (const int64_t at = first_not_finite(values); at >= 0) {
    fail(ErrorCode::kFormat, "{}: tensor \"{}\": element {} is NaN or infinite; the file is damaged, or training diverged", file_->where(),
         name, at);
  }
  return values;
}

Tensor Weights::table(const std::string& name, int64_t entries, int64_t width) const {
  if (parameters_) {
    const std::string own = name_for(name);
    const Tensor* const found = parameters_->find(own);
    return found ? *found : parameters_->parameter(own, {entries, width}, drawn());
  }
  const std::string found = require(name);
  const Tensor values = checked(found, {entries, width});
  file_->release(found);
  return values;
}

const std::string& Weights::first_of(const std::vector<std::string>& names) const {
  if (parameters_) return names.back();
  const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& name) { return has(name); });
  return found == names.end() ? names.front() : *found;
}

void Weights::check_same(const std::string& name, const Tensor& table) const {
  if (!has_own(name)) return;
  const std::string found = require(name);
  const Tensor values = to_f32(checked(found, table.shape()));
  // f32: the file's angles may have been rounded to f32 before the sine. bf16, f16: the values are rounded.
  const double bound = file_->get(found).dtype() == DType::kF32 ? 1e-4 : 0.01;
  const auto* own = values.data<float>();
  const auto* expected = table.data<float>();
  for (int64_t i = 0; i < table.numel(); ++i) {
    if (std::abs(static_cast<double>(own[i]) - static_cast<double>(expected[i])) <= bound) continue;
    fail(ErrorCode::kUnsupported, "{}: tensor \"{}\" has {} at element {}, but models of type \"{}\" compute this tensor and expect {}",
         file_->where(), found, own[i], i, facts_.model_type, expected[i]);
  }
}

Tensor Weights::vector(const std::string& name, int64_t size, double value) const {
  if (parameters_) return new_tensor(name, {size}, Init::value(value));
  return to_f32(checked(require(name), {size}));
}

Tensor Weights::operand(const OperandFacts& facts) const {
  if (!parameters_) return to_f32(checked(require(facts.weight), facts.shape));
  return new_tensor(facts.weight, facts.shape, facts.deviation > 0 ? drawn(kSpread / facts.deviation) : Init::value(facts.mean));
}

Init Weights::drawn(double narrower) const {
  Init init = Init::normal(kSpread / narrower);
  init.drawn_before = 0;
  for (const Tensor& leaf : parameters_->leaves()) *init.drawn_before += leaf.rank() > 1 ? static_cast<uint64_t>(leaf.numel()) : 0;
  return init;
}

Tensor Weights::new_tensor(const std::string& name, const Shape& shape, const Init& init) const {
  const std::string own = name_for(name);
  const Tensor* const found = parameters_->find(own);
  return found ? *found : parameters_->parameter(own, shape, init);
}

nn::Linear Weights::new_linear(const std::vector<Part>& parts, int64_t in, double narrower) const {
  std::vector<Parameters::Block> weights, biases;
  for (const Part& part : parts) {
    const bool is_table = part.names.weight == facts_.embedding.tokens;  // tied to the embedding of the body
    const bool in_body = part.names.in_body;
    weights.push_back(
        {is_table ? facts_.prefix + part.names.weight : name_for(part.names.weight, in_body), part.out, part.names.input_first});
    if (!part.names.bias.empty()) biases.push_back({name_for(part.names.bias, in_body), part.out, part.names.bias_is_row});
  }
  if (!biases.empty() && biases.size() < parts.size())
    fail(ErrorCode::kUnsupported,
         "training: \"{}\" has no bias, but \"{}\" has one; expected a bias for all projections of a layer, or for none",
         weights.front().name, biases.front().name);
  nn::Linear layer;
  const Tensor* const tied = weights.size() == 1 ? parameters_->find(weights[0].name) : nullptr;
  layer.weight = std::make_shared<LiveWeight>(tied ? *tied : parameters_->stacked(weights, in, drawn(narrower)));
  if (!biases.empty()) layer.bias = parameters_->stacked(biases, 0, Init::zeros());
  return layer;
}

nn::Linear Weights::linear(const std::vector<Part>& parts, int64_t in, double narrower) const {
  if (parameters_) return new_linear(parts, in, narrower);
  nn::Linear layer;
  std::vector<std::string> read;
  std::vector<WeightPart> stacked;
  int64_t out = 0;
  for (const Part& part : parts) {
    read.push_back(require(part.names.weight));
    const bool input_first = part.names.input_first;
    stacked.push_back({checked(read.back(), input_first ? Shape{in, part.out} : Shape{part.out, in}), input_first});
    out += part.out;
  }
  layer.weight = stored_.live ? live_weight(stacked, out, in)
                              : backend().dense.prepare(stacked.data(), static_cast<int64_t>(stacked.size()), stored_.storage);
  for (const std::string& name : read) file_->release(name);
  const bool has_bias = std::any_of(parts.begin(), parts.end(), [](const Part& part) { return !part.names.bias.empty(); });
  if (!has_bias) return layer;
  layer.bias = Tensor::zeros({out});
  float* to = layer.bias.mutable_data<float>();
  for (const Part& part : parts) {
    if (!part.names.bias.empty()) {
      const Tensor bias = to_f32(checked(require(part.names.bias), part.names.bias_is_row ? Shape{1, part.out} : Shape{part.out}));
      std::memcpy(to, bias.raw(), bias.bytes());
    }
    to += part.out;
  }
  return layer;
}

nn::Norm Weights::norm(const NormFacts& facts, int64_t width) const {
  if (facts.kind == NormFacts::Kind::kNone) return {};
  nn::Norm norm{.epsilon = facts.epsilon, .is_rms = facts.kind == NormFacts::Kind::kRms};
  norm.weight = vector(facts.weight, width, 1);
  if (!facts.bias.empty()) norm.bias = vector(facts.bias, width);
  return norm;
}

}  // namespace clearhead
