// Samples pictures patch by patch, all pictures of a call in one batch.
#include "generate/draw.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/loaded_model.h"
#include "models/loaded_network.h"
#include "models/networks/image_transformer.h"
#include "ops/ops.h"

namespace clearhead {
namespace {

int32_t class_of(const NetworkFacts& facts, const std::string& model, const std::string& label) {
  const auto found = std::find(facts.labels.begin(), facts.labels.end(), label);
  if (found != facts.labels.end()) return static_cast<int32_t>(found - facts.labels.begin());
  std::string known;
  for (const std::string& one : facts.labels) known += (known.empty() ? "" : ", ") + one;
  fail(ErrorCode::kInvalidArgument, "{}: the model has no class \"{}\"; expected one of: {}", model, label, known);
}

// Returns the symbol with the largest logit at temperature 0; otherwise one that is drawn with softmax(logits / temperature).
size_t sampled(const float* logits, int64_t count, double temperature, double uniform) {
  if (temperature == 0) return static_cast<size_t>(std::max_element(logits, logits + count) - logits);
  std::vector<float> divided;
  for (int64_t at = 0; at < count; ++at) divided.push_back(static_cast<float>(static_cast<double>(logits[at]) / temperature));
  return random_index(ops::softmax_of(divided.data(), count), uniform);
}

void check(const char* name, double value) {
  if (!(value >= 0 && std::isfinite(value))) fail(ErrorCode::kInvalidArgument, "draw: {}: expected 0 or more, found {}", name, value);
}

// The pictures of a call while they are drawn. The batch has one row for each picture; with guidance, one for each picture and class. The
// rows of one picture contain the same patches.
class Drawing {
 public:
  Drawing(const LoadedNetwork& network, const DrawOptions& options)
      : network_(network),
        options_(options),
        picture_(network.facts().picture),
        label_(class_of(network.facts(), network.info().name, options.label)) {
    const auto labels = static_cast<int64_t>(network.facts().labels.size());
    classes_ = options.guidance > 0 ? labels : 1;
    batch_ = {.batch = options.count * classes_, .length = 1};
    for (int64_t row = 0; row < batch_.batch; ++row) batch_.ids.push_back(classes_ > 1 ? static_cast<int32_t>(row % classes_) : label_);
    batch_.features = Tensor::zeros({batch_.batch, 1, picture_.height, picture_.width});
    nats_.assign(static_cast<size_t>(batch_.batch), 0);
  }

  // Draws the next patch of every picture.   patch: its index
  void add(int64_t patch) {
    batch_.lengths.assign(static_cast<size_t>(batch_.batch), static_cast<int32_t>(patch));
    const Tensor logits = network_.run_batch(batch_, nullptr, {.interventions = options_.interventions}).class_logits;
    const int64_t symbols = logits.size(1);
    for (int64_t at = 0; at < options_.count; ++at) {
      const std::vector<std::vector<double>> log_p = log_probabilities(logits, at);
      std::vector<float> guided;
      for (int64_t symbol = 0; symbol < symbols; ++symbol) guided.push_back(score(log_p, at, static_cast<size_t>(symbol)));
      const double uniform = random_unit(random_bits(options_.seed, static_cast<uint64_t>(at)), static_cast<uint64_t>(patch));
      const size_t chosen = sampled(guided.data(), symbols, options_.temperature, uniform);
      for (int64_t one = 0; one < classes_; ++one) {
        nats_[static_cast<size_t>(at * classes_ + one)] -= log_p[static_cast<size_t>(one)][chosen];
        paint_symbol(picture_, static_cast<int32_t>(chosen), patch,
                     batch_.features.mutable_data<float>() + (at * classes_ + one) * picture_.height * picture_.width);
      }
    }
  }

  std::vector<DrawnPicture> drawn() const {
    std::vector<DrawnPicture> out;
    for (int64_t at = 0; at < options_.count; ++at) {
      const int64_t row = at * classes_ + own();
      out.push_back({batch_.features.select(0, row).clone(), nats_[static_cast<size_t>(row)] / std::log(2.0)});
    }
    return out;
  }

 private:
  // The row of the requested class among the rows of a picture.
  int64_t own() const { return classes_ > 1 ? label_ : 0; }

  // Returns log p(symbol | patches so far, class) for the next patch of one picture, [class that is run][symbol].   at: index of the picture
  std::vector<std::vector<double>> log_probabilities(const Tensor& logits, int64_t at) const {
    std::vector<std::vector<double>> out;
    for (int64_t one = 0; one < classes_; ++one) {
      const float* row = logits.data<float>() + (at * classes_ + one) * logits.size(1);
      const double sum = ops::log_sum_exp(row, logits.size(1));
      out.emplace_back(row, row + logits.size(1));
      for (double& value : out.back()) value -= sum;
    }
    return out;
  }

  // Returns the guided log-probability of a symbol (draw.h): log p(symbol | class) + guidance · log p(class | picture with this symbol).
  float score(const std::vector<std::vector<double>>& log_p, int64_t at, size_t symbol) const {
    const double plain = log_p[static_cast<size_t>(own())][symbol];
    if (classes_ == 1) return static_cast<float>(plain);
    std::vector<float> joint;
    for (int64_t one = 0; one < classes_; ++one)
      joint.push_back(static_cast<float>(log_p[static_cast<size_t>(one)][symbol] - nats_[static_cast<size_t>(at * classes_ + one)]));
    const double posterior = static_cast<double>(joint[static_cast<size_t>(own())]) - ops::log_sum_exp(joint.data(), classes_);
    return static_cast<float>(plain + options_.guidance * posterior);
  }

  const LoadedNetwork& network_;
  const DrawOptions& options_;
  const PictureFacts& picture_;
  int32_t label_;
  int64_t classes_ = 1;
  Batch batch_{};
  std::vector<double> nats_{};  // [row] −log p(patches so far | class)
};

}  // namespace

std::vector<DrawnPicture> draw(const Model& model, const DrawOptions& options) {
  const LoadedNetwork& network = network_model(model, "does not draw");
  if (!draws(model.info().model_type)) refuse(model, "does not draw");
  check("temperature", options.temperature);
  check("guidance", options.guidance);
  Drawing drawing(network, options);
  const int64_t patches = network.facts().picture.patches();
  for (int64_t patch = 0; patch < patches; ++patch) {
    drawing.add(patch);
    if (options.progress) options.progress(static_cast<double>(patch + 1) / static_cast<double>(patches));
  }
  return drawing.drawn();
}

}  // namespace clearhead
