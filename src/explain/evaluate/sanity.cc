// Makes a copy of the model's folder: links to its files, and a model.safetensors whose matrices are random up to one stage.
#include "explain/evaluate/sanity.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <tuple>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "explain/evaluate/agreement.h"
#include "io/safetensors.h"
#include "models/find_model.h"

namespace clearhead::explain {
namespace {

namespace fs = std::filesystem;

// The first whole number between dots, or −1.
int layer_in(const std::string& name) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string part = name.substr(begin, end - begin);
    if (!part.empty() && part.size() < 6 && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return std::stoi(part);
    begin = end + 1;
  }
  return -1;
}

bool holds(const std::string& name, std::initializer_list<const char*> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](const char* part) { return name.find(part) != std::string::npos; });
}

Tensor random_like(const Tensor& values, uint64_t seed) {
  const Tensor wide = to_f32(values).contiguous();
  const float* from = wide.data<float>();
  double mean = 0, square = 0;
  for (int64_t i = 0; i < wide.numel(); ++i) mean += static_cast<double>(from[i]) / static_cast<double>(wide.numel());
  for (int64_t i = 0; i < wide.numel(); ++i) square += (static_cast<double>(from[i]) - mean) * (static_cast<double>(from[i]) - mean);
  const double deviation = std::sqrt(square / static_cast<double>(wide.numel()));
  Tensor out = Tensor::empty(wide.shape());
  float* to = out.mutable_data<float>();
  for (int64_t i = 0; i < out.numel(); ++i) to[i] = static_cast<float>(mean + deviation * random_normal(seed, static_cast<uint64_t>(i)));
  return out;
}

// A temporary folder that is removed with this object.
class Folder {
 public:
  Folder(const std::string& model, const RandomOrder& order, int last, uint64_t seed) {
    path_ = fs::temp_directory_path() / format("clearhead-sanity-{}-{}", ::getpid(), last);
    fs::remove_all(path_);  // left by a process that was killed
    fs::create_directories(path_);
    for (const auto& entry : fs::directory_iterator(model)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("model") || name.find("safetensors") == std::string::npos)
        fs::create_symlink(fs::absolute(entry.path()), path_ / name);
    }
    const io::SafeTensors file = io::SafeTensors::open_model(model);
    io::NamedTensors tensors;
    const std::vector<std::string> names = file.names();
    for (size_t at = 0; at < names.size(); ++at) {
      const Tensor values = file.get(names[at]);
      const bool is_matrix =
          values.rank() > 1 && (values.dtype() == DType::kF32 || values.dtype() == DType::kBF16 || values.dtype() == DType::kF16);
      const bool is_random = is_matrix && order.stage_of[at] <= last;
      tensors.emplace_back(names[at], is_random ? random_like(values, random_bits(seed, at)) : values);
    }
    io::write_safetensors((path_ / "model.safetensors").string(), tensors);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path() const { return path_.string(); }

 private:
  fs::path path_{};
};

std::vector<std::vector<double>> scores_of(const std::string& path, const AskModel& ask, const SanityOptions& options,
                                           const std::shared_ptr<const Model>& model) {
  const std::unique_ptr<AttributionTarget> target = ask(model);
  if (!target) fail(ErrorCode::kInvalidArgument, "{}: a question returned no attribution target for this model", path);
  std::vector<std::vector<double>> out;
  for (const Method& method : options.methods) out.push_back(attribute(*target, method, options.attribution));
  return out;
}

using Scores = std::vector<std::vector<std::vector<double>>>;  // [question][method][item]

Scores scores_of(const std::string& path, const std::shared_ptr<const Model>& model, const std::vector<AskModel>& questions,
                 const SanityOptions& options) {
  Scores out;
  for (const AskModel& ask : questions) {
    if (options.attribution.cancel && options.attribution.cancel->load()) fail(ErrorCode::kCancelled, "sanity: cancelled");
    out.push_back(scores_of(path, ask, options, model));
  }
  return out;
}

// Means over the questions for which tau is defined.
std::vector<double> agreement_of(const Scores& scores, const Scores& trained, size_t methods) {
  std::vector<double> out;
  for (size_t method = 0; method < methods; ++method) {
    double sum = 0, count = 0;
    for (size_t question = 0; question < scores.size(); ++question) {
      const double tau = kendall(scores[question][method], trained[question][method]);
      if (!std::isfinite(tau)) continue;
      sum += tau;
      count += 1;
    }
    out.push_back(count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN());
  }
  return out;
}

}  // namespace

RandomOrder random_order(const std::vector<std::string>& names) {
  // Sorted from the answer backwards: heads, layers of a decoder, layers of an encoder, embeddings.
  std::vector<std::tuple<int, int>> places;
  for (const std::string& name : names) {
    const int layer = layer_in(name);
    const bool is_input = holds(name, {"embed", "wte", "wpe", "shared.weight", "patch"});
    const int group = layer >= 0 ? (holds(name, {"encoder."}) && !holds(name, {"decoder."}) ? 2 : 1) : is_input ? 3 : 0;
    places.emplace_back(group, layer >= 0 ? -layer : 0);
  }
  std::map<std::tuple<int, int>, int> stages;
  for (const auto& place : places) stages.emplace(place, 0);
  const bool has_two = std::any_of(places.begin(), places.end(), [](const auto& place) { return std::get<0>(place) == 1; }) &&
                       std::any_of(places.begin(), places.end(), [](const auto& place) { return std::get<0>(place) == 2; });
  RandomOrder out;
  for (auto& [place, stage] : stages) {
    stage = static_cast<int>(out.what.size());
    const auto [group, layer] = place;
    const std::string side = has_two ? (group == 1 ? "decoder " : "encoder ") : "";
    out.what.push_back(group == 0 ? "heads" : group == 3 ? "embeddings" : format("{}layer {}", side, -layer));
  }
  for (const auto& place : places) out.stage_of.push_back(stages.at(place));
  return out;
}

std::vector<SanityStep> sanity(const std::string& model, const std::vector<AskModel>& questions, const SanityOptions& options) {
  const std::string directory = model_directory(model);
  const RandomOrder order = random_order(io::SafeTensors::open_model(directory).names());
  const LoadOptions load_options{.tokenizer = options.tokenizer, .gradients = true};
  const Scores trained = scores_of(directory, load(directory, load_options), questions, options);
  std::vector<SanityStep> out;
  for (int stage = 0; stage < static_cast<int>(order.what.size()); ++stage) {
    const Folder folder(directory, order, stage, options.seed);
    const Scores random = scores_of(folder.path(), load(folder.path(), load_options), questions, options);
    out.push_back(
        {(stage > 0 ? "and " : "") + order.what[static_cast<size_t>(stage)], agreement_of(random, trained, options.methods.size())});
    if (options.progress) options.progress(static_cast<double>(stage + 1) / static_cast<double>(order.what.size()));
  }
  return out;
}

std::vector<SanityStep> agreement_with(const std::string& model, const std::vector<std::string>& others,
                                       const std::vector<AskModel>& questions, const SanityOptions& options) {
  const LoadOptions load_options{.tokenizer = options.tokenizer, .gradients = true};
  const std::shared_ptr<const Model> own = load(model_directory(model), load_options);
  const Scores trained = scores_of(model, own, questions, options);
  std::vector<SanityStep> out;
  for (const std::string& name : others) {
    const std::shared_ptr<const Model> other = load(model_directory(name), load_options);
    if (other->info().labels != own->info().labels || other->info().vocabulary != own->info().vocabulary)
      fail(ErrorCode::kInvalidArgument, "{}: its labels or tokens are not those of {}; expected a model of the same task", name, model);
    out.push_back({name, agreement_of(scores_of(name, other, questions, options), trained, options.methods.size())});
    if (options.progress) options.progress(static_cast<double>(out.size()) / static_cast<double>(others.size()));
  }
  return out;
}

}  // namespace clearhead::explain
