// Chooses among the answers that the kind of the model's answers reads from a run.
#include "explain/main_answers.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "explain/answer_kind.h"
#include "models/labelled_tokens.h"

namespace clearhead::explain {
namespace {

std::vector<ShownAnswer> labels_that_stand_out(const AnswerKind& kind, const Model& model, const RunResult& result, const RunText& text) {
  constexpr size_t kMost = 8;
  std::vector<ShownAnswer> all;
  std::map<std::string, int64_t> count;
  for (const int64_t token : labelled_tokens(model, text)) {
    const Answers of = kind.shown_at(model, result, token);
    if (of.names.empty()) return {};
    const size_t best = most_probable(of);
    all.push_back({of.names[best], of.probabilities[best], token});
    ++count[of.names[best]];
  }
  std::string usual = "O";
  const std::vector<std::string>& labels = model.info().labels;
  if (std::find(labels.begin(), labels.end(), usual) == labels.end() && !count.empty())
    usual = std::max_element(count.begin(), count.end(), [](const auto& a, const auto& b) { return a.second < b.second; })->first;
  std::erase_if(all, [&](const ShownAnswer& one) { return one.name == usual; });
  all.resize(std::min(all.size(), kMost));
  return all;
}

}  // namespace

std::vector<ShownAnswer> main_answers(const Model& model, const RunResult& result, const RunText& text) {
  constexpr size_t kMost = 3;
  const AnswerKind* kind = answer_kind(model.info());
  if (!kind || kind->is_sequence) return {};
  if (kind->shown_at) return labels_that_stand_out(*kind, model, result, text);
  const bool has_several_masks = result.masked_logits.defined() && result.masked_logits.size(0) > 1;
  if (!kind->shown || has_several_masks) return {};
  const Answers of = kind->shown(model, result, {});
  std::vector<size_t> order(of.names.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t shown = std::min(kMost, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(), [&](size_t a, size_t b) {
    return of.probabilities[a] > of.probabilities[b] || (of.probabilities[a] == of.probabilities[b] && a < b);
  });
  std::vector<ShownAnswer> out;
  for (size_t rank = 0; rank < shown; ++rank) out.push_back({of.names[order[rank]], of.probabilities[order[rank]], {}});
  return out;
}

}  // namespace clearhead::explain
