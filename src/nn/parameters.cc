// Parameters, initialised from a seed and their names or read from a file; and the layout of sequences in rows.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/format.h"
#include "base/hash.h"
#include "base/random.h"
#include "clearhead/nn.h"
#include "io/safetensors.h"
#include "tensor/convert.h"

namespace clearhead {
namespace {

// √(6/(fan in + fan out)) for a weight [out, in, kernel …].
double xavier_bound(const std::string& name, const Shape& shape) {
  if (shape.size() < 2)
    fail(ErrorCode::kInvalidArgument, "parameters: \"{}\" is {}; Xavier initialisation expects [out, in, …]", name, to_string(shape));
  const int64_t taps = std::accumulate(shape.begin() + 2, shape.end(), int64_t{1}, std::multiplies<>());
  return std::sqrt(6 / static_cast<double>(std::max<int64_t>(1, (shape[0] + shape[1]) * taps)));
}

void draw(Tensor& values, const std::string& name, const Init& init, uint64_t seed) {
  Digest digest;
  digest.add(name.data(), name.size());
  const uint64_t own = init.drawn_before ? seed : random_bits(seed, digest.value());
  const double number = init.kind == Init::Kind::kXavier ? init.number * xavier_bound(name, values.shape()) : init.number;
  float* to = values.mutable_data<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const uint64_t counter = init.drawn_before.value_or(0) + static_cast<uint64_t>(i);
    const double drawn = init.kind == Init::Kind::kValue    ? 1
                         : init.kind == Init::Kind::kNormal ? random_normal(own, counter)
                                                            : 2 * random_unit(own, counter) - 1;
    to[i] = static_cast<float>(number * drawn);
  }
}

}  // namespace

Parameters Parameters::read(const std::string& path, const ReadOptions& options) {
  Parameters out;
  out.file_ = std::make_shared<const io::SafeTensors>(io::SafeTensors::open(path));
  out.options_ = options;
  return out;
}

Tensor Parameters::parameter(const std::string& name, const Shape& shape, const Init& init) { return make(name, shape, init, true); }

Tensor Parameters::buffer(const std::string& name, const Shape& shape, const Init& init) { return make(name, shape, init, false); }

Tensor Parameters::make(const std::string& name, const Shape& shape, const Init& init, bool is_trained) {
  Tensor values = Tensor::zeros(shape);
  set(name, init, values);
  named_.push_back({name, values, is_trained});
  if (is_trained) leaves_.push_back(values);
  return values;
}

Tensor Parameters::stacked(const std::vector<Block>& blocks, int64_t columns, const Init& init) {
  const int64_t rows =
      std::accumulate(blocks.begin(), blocks.end(), int64_t{0}, [](int64_t sum, const Block& one) { return sum + one.rows; });
  Tensor all = Tensor::zeros(columns > 0 ? Shape{rows, columns} : Shape{rows});
  int64_t begin = 0;
  for (const Block& block : blocks) {
    Tensor values = all.slice(0, begin, begin + block.rows);
    if (block.is_transposed) values = (columns > 0 ? values : values.reshape({block.rows, 1})).permute({1, 0});
    Init own = init;
    if (own.drawn_before) *own.drawn_before += static_cast<uint64_t>(begin * std::max<int64_t>(1, columns));
    set(block.name, own, values);
    named_.push_back({block.name, values, true});
    begin += block.rows;
  }
  leaves_.push_back(all);
  return all;
}

// Reads or draws the values of a new parameter.
void Parameters::set(const std::string& name, const Init& init, Tensor& values) {
  if (find(name))
    fail(ErrorCode::kInvalidArgument, "parameters: \"{}\" exists already; expected a different name for each parameter", name);
  if (!file_) return draw(values, name, init, seed_);
  const Tensor found = file_->get(name);
  if (found.shape() != values.shape()) {
    fail(ErrorCode::kShape, "{}: tensor \"{}\" has shape {}; the model expects {}", file_->where(), name, to_string(found.shape()),
         to_string(values.shape()));
  }
  if (found.dtype() != DType::kF32 && found.dtype() != DType::kBF16 && found.dtype() != DType::kF16) {
    fail(ErrorCode::kUnsupported, "{}: tensor \"{}\" holds {}; expected f32, bf16 or f16", file_->where(), name, to_string(found.dtype()));
  }
  convert(found, values);
  file_->release(name);
}

const Tensor* Parameters::find(const std::string& name) const {
  const auto found = std::find_if(named_.begin(), named_.end(), [&](const Named& one) { return one.name == name; });
  return found == named_.end() ? nullptr : &found->values;
}

int64_t Parameters::count() const {
  return std::accumulate(named_.begin(), named_.end(), int64_t{0},
                         [](int64_t sum, const Named& one) { return sum + (one.is_trained ? one.values.numel() : 0); });
}

void Parameters::check_all_used() const {
  if (!file_ || options_.allow_more) return;
  constexpr size_t kShown = 5;
  std::vector<std::string> left = file_->names();
  std::erase_if(left, [&](const std::string& name) {
    return std::any_of(named_.begin(), named_.end(), [&](const Named& one) { return one.name == name; });
  });
  if (left.empty()) return;
  std::string names;
  for (size_t i = 0; i < std::min(left.size(), kShown); ++i) names += format("{}\"{}\"", i == 0 ? "" : ", ", left[i]);
  fail(ErrorCode::kNotFound, "{}: the model has no parameter for {} of {} tensors: {}{}; remove them, or set ReadOptions::allow_more",
       file_->where(), left.size(), file_->entries().size(), names, left.size() > kShown ? ", …" : "");
}

void Parameters::save(const std::string& path) const {
  check_all_used();
  io::NamedTensors tensors;
  for (const Named& one : named_) tensors.emplace_back(one.name, one.values);
  io::write_safetensors(path, tensors);
}

std::vector<int32_t> Layout::positions() const {
  std::vector<int32_t> out(static_cast<size_t>(rows()));
  for (size_t row = 0; row < out.size(); ++row) out[row] = static_cast<int32_t>(row % static_cast<size_t>(length));
  return out;
}

Tensor Layout::segments() const {
  if (!texts.empty()) return Tensor::from(texts, {batch, length});
  Tensor ids = Tensor::zeros({batch, length}, DType::kI32);
  int32_t* to = ids.mutable_data<int32_t>();
  for (size_t b = 0; b < lengths.size(); ++b) std::fill(to + b * length + lengths[b], to + (b + 1) * length, -1);
  return ids;
}

void Layout::check(const char* part, const Tensor& x) const {
  if (batch < 0 || length < 0 || x.rank() != 2 || x.size(0) != rows()) {
    fail(ErrorCode::kShape, "{}: x is {}; expected [{}, width], the rows of {} sequences of {}", part, to_string(x.shape()), rows(), batch,
         length);
  }
  if (!lengths.empty() && static_cast<int64_t>(lengths.size()) != batch)
    fail(ErrorCode::kShape, "{}: {} lengths for {} sequences; expected one for each, or none", part, lengths.size(), batch);
  if (!texts.empty() && static_cast<int64_t>(texts.size()) != rows())
    fail(ErrorCode::kShape, "{}: {} text indices for {} rows; expected one for each, or none", part, texts.size(), rows());
  for (const int32_t one : lengths) {
    if (one < 0 || one > length) fail(ErrorCode::kInvalidArgument, "{}: a sequence of length {}; expected 0 to {}", part, one, length);
  }
}

}  // namespace clearhead
