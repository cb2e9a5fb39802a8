// Runs the model with one head changed at a time, records the outputs of heads, and passes outputs of heads through the final norm and
// the unembedding alone.
#include "explain/inside.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/map.h"
#include "clearhead/residual_stream.h"
#include "explain/listener.h"

namespace clearhead::explain {
namespace {

// Keeps the outputs of all heads by family and layer, [head, query, d_v].
class Outputs final : public Listener {
 public:
  bool wants_output(const Site&) override { return true; }
  void take_output(const Site& site, const Tensor& out) override {
    if (out.size(0) == 1) kept.insert_or_assign(std::pair(site.family, site.layer), out.select(0, 0).clone());
  }
  std::map<std::pair<std::string, int>, Tensor> kept{};
};

class SumsOfGradients final : public Listener {
 public:
  bool wants_gradient(const Site&) override { return true; }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    if (record.shape().batch != 1) return;
    const int64_t rows = record.rows_kept();
    const Tensor ones = Tensor::from(std::vector<float>(static_cast<size_t>(rows), 1.0F), {1, rows});
    const Tensor sums = GradientMap(record, gradient).transposed_times(ones);  // [key j] Σ_i P_ij ∂y/∂P_ij; summed over j: Σ_i dO_i·O_i
    for (int64_t head = 0; head < sums.size(1); ++head) {
      double total = 0;
      for (int64_t key = 0; key < sums.size(2); ++key) total += static_cast<double>(sums.data<float>()[head * sums.size(2) + key]);
      effects.push_back({site.family, site.layer, head, std::abs(total)});
    }
  }
  std::vector<HeadEffect> effects{};
};

std::vector<HeadEffect> every_head(const AttributionTarget& target) {
  std::vector<HeadEffect> out;
  for (const MapFamily& family : target.plan().families) {
    for (int layer = 0; layer < family.layers; ++layer) {
      for (int64_t head = 0; head < family.heads; ++head) out.push_back({family.name, layer, head, 0});
    }
  }
  return out;
}

// Calls `body` for each head until the computation is cancelled.
std::vector<HeadEffect> for_each_head(const AttributionTarget& target, const InsideOptions& options,
                                      const std::function<double(const HeadEffect&)>& body) {
  std::vector<HeadEffect> out;
  const std::vector<HeadEffect> heads = every_head(target);
  for (const HeadEffect& head : heads) {
    if (options.cancel && options.cancel->load()) break;
    out.push_back(head);
    out.back().value = body(head);
    if (options.progress) options.progress(static_cast<double>(out.size()) / static_cast<double>(heads.size()));
  }
  return out;
}

const Tensor& output_at(const Outputs& outputs, const HeadEffect& head) {
  const auto found = outputs.kept.find({head.family, head.layer});
  if (found == outputs.kept.end())
    fail(ErrorCode::kUnsupported, "inside: the run reports no output of the family \"{}\" in layer {}", head.family, head.layer);
  return found->second;
}

Interventions::Patch patch_of(const Outputs& clean, const HeadEffect& head, Range queries) {
  const Tensor values = output_at(clean, head).select(0, head.head).slice(0, queries.begin, queries.end).contiguous();
  return {{head.layer, head.head, head.family}, queries, values};
}

void check_pair(const AttributionTarget& clean, const AttributionTarget& corrupted) {
  const size_t a = clean.plan().text.ids.size(), b = corrupted.plan().text.ids.size();
  if (a != b)
    fail(ErrorCode::kInvalidArgument, "patching: the clean text has {} tokens, the corrupted one {}; expected equal numbers", a, b);
  if (&clean.model() != &corrupted.model() || clean.answer_ids() != corrupted.answer_ids() || clean.contrast() != corrupted.contrast() ||
      clean.rows() != corrupted.rows())
    fail(ErrorCode::kInvalidArgument, "patching: the clean and the corrupted text need the same model, answer, contrast and positions");
}

// The fraction of the answer that patching restores.
struct Recovered {
  double clean = 0, corrupted = 0;
  double operator()(double y) const { return (y - corrupted) / (clean - corrupted); }
};
Recovered recovered(const AttributionTarget& clean, const AttributionTarget& corrupted, Outputs& outputs) {
  const Recovered out{clean.run(&outputs).y, corrupted.run(nullptr).y};
  if (out.clean == out.corrupted)
    fail(ErrorCode::kInvalidArgument, "patching: both texts give the same answer; there is nothing to restore");
  return out;
}

}  // namespace

std::vector<HeadEffect> heads_by_knock_out(const AttributionTarget& target, const InsideOptions& options) {
  return for_each_head(target, options, [&](const HeadEffect& head) {
    return target.probability() - target.run(nullptr, {.ablated = {{head.layer, head.head, head.family}}}).probability;
  });
}

std::vector<HeadEffect> heads_by_gradient(const AttributionTarget& target) {
  SumsOfGradients heard;
  InputTape tape;
  target.differentiate(tape, &heard);
  std::reverse(heard.effects.begin(), heard.effects.end());
  std::stable_sort(heard.effects.begin(), heard.effects.end(), [](const HeadEffect& a, const HeadEffect& b) {
    return std::tie(a.family, a.layer, a.head) < std::tie(b.family, b.layer, b.head);
  });
  return heard.effects;
}

std::vector<HeadEffect> heads_by_what_they_add(const AttributionTarget& target) {
  const int32_t of = target.answer_id("direct logit attribution");
  const Tensor states = target.states(), at = states.slice(0, states.size(0) - 1, states.size(0));
  Outputs outputs;
  target.run(&outputs);
  std::vector<HeadEffect> out;
  for (const auto& [site, of_site] : outputs.kept) {
    if (site.first != target.side() && site.first != "cross") continue;  // an encoder adds to a different residual stream
    const int64_t row = target.rows()[0];
    const Tensor of_row = of_site.slice(1, row, row + 1).contiguous().reshape({of_site.size(0), of_site.size(2)});
    const Tensor added = head_contributions(target.model(), site.first, site.second, of_row);
    const Tensor logits = clearhead::logit_lens(target.model(), added, at);
    for (int64_t head = 0; head < logits.size(0); ++head) {
      const float* of_head = logits.data<float>() + head * logits.size(1);
      const double against = target.contrast() >= 0 ? static_cast<double>(of_head[target.contrast()]) : 0;
      out.push_back({site.first, site.second, head, static_cast<double>(of_head[of]) - against});
    }
  }
  return out;
}

std::vector<LayerAnswer> logit_lens(const AttributionTarget& target) {
  const int32_t of = target.answer_id("the logit lens");
  const Tensor logits = clearhead::logit_lens(target.model(), target.states());
  const std::shared_ptr<const Tokenizer> tokenizer = target.model().shared_tokenizer();
  std::vector<LayerAnswer> out;
  for (int64_t layer = 0; layer < logits.size(0); ++layer) {
    const float* of_layer = logits.data<float>() + layer * logits.size(1);
    const auto best = std::max_element(of_layer, of_layer + logits.size(1));
    double sum = 0;
    for (int64_t id = 0; id < logits.size(1); ++id) sum += std::exp(static_cast<double>(of_layer[id]) - static_cast<double>(*best));
    out.push_back({static_cast<int>(layer), std::exp(static_cast<double>(of_layer[of]) - static_cast<double>(*best)) / sum,
                   tokenizer->token_bytes(static_cast<int32_t>(best - of_layer)), 1 / sum});
  }
  return out;
}

std::string part_name(const ScorePart& part) {
  const std::string family = part.family.empty() ? "" : part.family + " ";
  switch (part.kind) {
    case ScorePart::Kind::kEmbeddings: return family + "embeddings";
    case ScorePart::Kind::kHead: return format("{}L{}.H{}", family, part.layer, part.head);
    case ScorePart::Kind::kMlp: return format("{}L{} MLP", family, part.layer);
    case ScorePart::Kind::kBiases: return "biases";
  }
  return "";
}

std::vector<HeadEffect> heads_by_patching(const AttributionTarget& clean, const AttributionTarget& corrupted,
                                          const InsideOptions& options) {
  check_pair(clean, corrupted);
  Outputs outputs;
  const Recovered part = recovered(clean, corrupted, outputs);
  return for_each_head(clean, options, [&](const HeadEffect& head) {
    const Range all{0, output_at(outputs, head).size(1)};
    return part(corrupted.run(nullptr, {.patched = {patch_of(outputs, head, all)}}).y);
  });
}

std::vector<double> places_by_patching(const AttributionTarget& clean, const AttributionTarget& corrupted, const HeadEffect& head) {
  check_pair(clean, corrupted);
  Outputs outputs;
  const Recovered part = recovered(clean, corrupted, outputs);
  std::vector<double> out;
  for (int64_t place = 0; place < output_at(outputs, head).size(1); ++place)
    out.push_back(part(corrupted.run(nullptr, {.patched = {patch_of(outputs, head, {place, place + 1})}}).y));
  return out;
}

}  // namespace clearhead::explain
