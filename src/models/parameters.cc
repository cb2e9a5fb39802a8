// The leaves of the tape and the named views of each. A name that is requested twice is one tensor, so tied embeddings share their
// leaf.
#include "models/parameters.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/format.h"
#include "base/random.h"
#include "tensor/convert.h"

namespace clearhead {

int64_t ModelParameters::count() const {
  return std::accumulate(leaves_.begin(), leaves_.end(), int64_t{0},
                         [](int64_t sum, const Leaf& leaf) { return sum + leaf.values.numel(); });
}

void ModelParameters::read(const io::SafeTensors& file) {
  read(file, [](const std::string& name, const Shape&) { return name; });
}

void ModelParameters::read(const io::SafeTensors& file, const NameInFile& name_in_file) {
  for (auto& [own, values] : named_) {
    const std::string name = name_in_file(own, values.shape());
    if (name.empty()) continue;
    const Tensor from = file.get(name);
    if (from.shape() != values.shape()) {
      fail(ErrorCode::kShape, "{}: tensor \"{}\": the model has {}, found {}", file.where(), name, to_string(values.shape()),
           to_string(from.shape()));
    }
    convert(from, values);
  }
}

const Tensor* ModelParameters::find(const std::string& name) const {
  const auto found = std::find_if(named_.begin(), named_.end(), [&](const auto& named) { return named.first == name; });
  return found == named_.end() ? nullptr : &found->second;
}

Tensor ModelParameters::make(const Shape& shape, bool decays) {
  Tensor values = Tensor::zeros(shape);
  leaves_.push_back({values, decays});
  return values;
}

void ModelParameters::draw(Tensor& values, double spread) {
  float* to = values.mutable_data<float>();
  for (int64_t i = 0; i < values.numel(); ++i) to[i] = static_cast<float>(spread * random_normal(seed_, drawn_++));
}

Tensor ModelParameters::table(const std::string& name, int64_t entries, int64_t width) {
  if (const Tensor* found = find(name)) return *found;
  Tensor values = make({entries, width}, false);
  draw(values, spread_);
  named_.emplace_back(name, values);
  return values;
}

Tensor ModelParameters::vector(const std::string& name, int64_t size, float value) {
  if (const Tensor* found = find(name)) return *found;
  Tensor values = make({size}, false);
  std::fill_n(values.mutable_data<float>(), size, value);
  named_.emplace_back(name, values);
  return values;
}

void ModelParameters::name_bias(const Part& part, const Tensor& values) {
  named_.emplace_back(part.bias, part.bias_is_row ? values.reshape({1, part.out}) : values);
}

ModelParameters::Linear ModelParameters::linear(const std::vector<Part>& parts, int64_t in, double narrower) {
  if (const Tensor* found = parts.size() == 1 ? find(parts[0].weight) : nullptr) {  // tied to an embedding table
    Linear shared{std::make_shared<LiveWeight>(*found), {}};
    if (parts[0].bias.empty()) return shared;
    shared.bias = make({parts[0].out}, false);
    name_bias(parts[0], shared.bias);
    return shared;
  }
  const int64_t out = std::accumulate(parts.begin(), parts.end(), int64_t{0}, [](int64_t sum, const Part& part) { return sum + part.out; });
  Tensor rows = make({out, in}, true), bias;
  draw(rows, spread_ / narrower);
  const bool has_bias = std::any_of(parts.begin(), parts.end(), [](const Part& part) { return !part.bias.empty(); });
  if (has_bias) bias = make({out}, false);
  int64_t begin = 0;
  for (const Part& part : parts) {
    const Tensor own = rows.slice(0, begin, begin + part.out);
    named_.emplace_back(part.weight, part.input_first ? own.permute({1, 0}) : own);
    if (!part.bias.empty()) name_bias(part, bias.slice(0, begin, begin + part.out));
    begin += part.out;
  }
  return {std::make_shared<LiveWeight>(rows), bias};
}

}  // namespace clearhead
