// A Transformer over a series of numbers: intervals of the series are its items (patches in Nie et al. 2023, "A Time Series is Worth 64
// Words", §3.1), and so are features, single numbers that belong to the series.
//
//   h = x, then `convolution_layers` times h = gelu(conv(h))        x: the standardised samples; a kernel of `kernel_size`
//   z_p = E h_p          E: a convolution whose stride is its kernel, over the interval p
//   z_f = B gelu(A f)    f: a standardised feature; A and B differ for each feature
//   y: the layers, the pooling and the classifier of the Vision Transformer (vision_transformer.cc) over [z_1 … z_P; z_f …] + E_pos
//   with "subtract_last": true, x ← x − x_last   x_last: the last sample of each channel (Zeng et al. 2023, "NLinear"), for series
//                                               whose level changes
//   with "autoregression": true, y ← y + W x    W: a linear map of all samples and features (Lai et al. 2018, "LSTNet", §3.6), which no
//                                               attention map shows
//
// With convolution_layers = 0, an item contains its own samples only; each of these layers adds (kernel_size − 1) / 2 samples on either
// side.
#include "models/networks/vision_transformer.h"

#include <optional>

#include "base/format.h"

namespace clearhead {
namespace {

class SeriesTransformer final : public Network {
 public:
  SeriesTransformer(Fields& config, NetworkFacts facts, const Scope& scope) {
    facts_ = std::move(facts);
    const int64_t width = facts_.width = size_of(config, "hidden_size"), features = facts_.series.feature_count();
    const int64_t layers = config.integer_or("convolution_layers", 0), kernel = layers > 0 ? size_of(config, "kernel_size", 255) : 1;
    if (layers < 0 || layers > 100) config.wrong("convolution_layers", "a whole number from 0 to 100", Json(layers));
    if (kernel % 2 == 0) config.wrong("kernel_size", "an odd number", Json(kernel));
    int64_t channels = facts_.series.channels;
    for (int64_t at = 0; at < layers; ++at) {
      convolutions_.emplace_back(scope / "convolutions" / at, channels, width, Shape{1, kernel},
                                 nn::ConvOptions{.how = {.padding = {0, kernel / 2}}});
      channels = width;
    }
    const int64_t interval = facts_.series.interval;
    embedding_ = {scope / "embedding", channels, width, {1, interval}, {.how = {.stride = {1, interval}}}};
    if (features > 0) {
      const nn::ConvOptions alone{.how = {.groups = features}};
      feature_hidden_ = {scope / "features" / "hidden", features, features * width, {1}, alone};
      feature_output_ = {scope / "features" / "output", features * width, features * width, {1}, alone};
    }
    classifier_ = {config, facts_, scope, facts_.series.items(), "interval"};
    subtracts_last_ = config.boolean_or("subtract_last", false);
    if (config.boolean_or("autoregression", false)) {
      const int64_t numbers = facts_.series.channels * facts_.series.length + features;
      autoregression_.emplace(scope / "autoregression", numbers, static_cast<int64_t>(facts_.labels.size()));
    }
  }

  // input.features: [batch, channels, 1, samples + features]
  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    const SeriesFacts& series = facts_.series;
    const int64_t batch = input.batch, width = facts_.width, features = series.feature_count();
    const Tensor samples = samples_of(compute, input.features);
    Tensor h = samples;
    for (const nn::Conv& convolution : convolutions_) h = compute.activate("gelu", convolution(compute, h));
    Tensor z = embedding_(compute, h).permute({0, 2, 3, 1}).select(1, 0);  // [batch, interval, width]
    if (features > 0) {
      const Tensor numbers = input.features.select(1, 0).select(1, 0).slice(1, series.length, series.length + features);
      const Tensor hidden = compute.activate("gelu", feature_hidden_(compute, compute.contiguous(numbers).reshape({batch, features, 1})));
      z = compute.concat({z, feature_output_(compute, hidden).reshape({batch, features, width})}, 1);
    }
    const Tensor y = classifier_(compute, compute.contiguous(z).reshape({batch * series.items(), width}));
    if (!autoregression_) return y;
    Tensor x = samples.reshape({batch, series.channels * series.length});
    if (features > 0) {
      const Tensor numbers = input.features.select(1, 0).select(1, 0).slice(1, series.length, series.length + features);
      x = compute.concat({x, numbers}, 1);
    }
    return compute.add(y, (*autoregression_)(compute, x));
  }

 private:
  // [batch, channels, 1, samples], contiguous
  Tensor samples_of(Compute& compute, const Tensor& input) const {
    const int64_t length = facts_.series.length;
    const Tensor samples = compute.contiguous(input.slice(3, 0, length));
    if (!subtracts_last_) return samples;
    const Tensor last = compute.contiguous(samples.slice(3, length - 1, length)), minus = Tensor::from<float>({-1}, {1, 1, 1, 1});
    return compute.add(samples, compute.multiply(last, minus.expand(last.shape())).expand(samples.shape()));
  }

  bool subtracts_last_ = false;
  std::vector<nn::Conv> convolutions_{};
  nn::Conv embedding_{}, feature_hidden_{}, feature_output_{};
  ItemClassifier classifier_{};
  std::optional<nn::Linear> autoregression_{};
};

}  // namespace

const NetworkKind& series_transformer_network() {
  static const NetworkKind kind{"series_transformer", "series", &make_network<SeriesTransformer>};
  return kind;
}

}  // namespace clearhead
