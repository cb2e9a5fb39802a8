// Runs a text with parts removed, and reads the logits of the answer.
#include "explain/text_target.h"

#include <algorithm>

#include "explain/target_words.h"
#include "models/input_kind.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kTokensTogether = 8192;      // tokens in a batch of edited inputs
constexpr int64_t kLogitsTogether = 64 << 20;  // logits of a batch: 256 MiB

}  // namespace

TokenizedText tokenized(const Model& model, const ModelInput& input) {
  EncodeOptions options;
  if (input.pair) options.pair = *input.pair;
  return {model.tokenizer().encode(input.text, options), input.text, input.pair};
}

bool reads_one_text(const ModelInfo& info) {
  const InputKind& kind = input_kind(info);
  return kind.is_text() && !kind.has_target;
}

bool classifies(const ModelInfo& info) { return info.has_classifier && !info.answers; }

TextTarget::TextTarget(std::shared_ptr<const Model> model, TokenizedText text, Logits logits)
    : AttributionTarget(std::move(model)), text_(std::move(text)), logits_(logits) {
  if (text_.encoding.ids.empty())
    fail(ErrorCode::kInvalidArgument, "{}: the text has no tokens; expected at least one", model_->info().name);
}

std::optional<int64_t> TextTarget::token_named(const TargetSpec& asked, int64_t first) const {
  const auto tokens = static_cast<int64_t>(text_.encoding.size());
  const std::optional<int64_t> at = place_in(asked.target);
  if (at && (*at >= tokens || *at < first))
    fail(ErrorCode::kNotFound, "{}: token {} of a text of {} tokens; expected {} to {}{}", model_->info().name, *at, tokens, first,
         tokens - 1, first > 0 ? " (token 0 has none before it)" : "");
  return at;
}

int64_t TextTarget::row_of_classifier() const {
  if (!model_->info().reads_last) return 0;
  const std::optional<int64_t> padding = model_->info().padding;
  size_t row = text_.encoding.ids.size() - 1;
  while (row > 0 && padding && text_.encoding.ids[row] == *padding) --row;
  return static_cast<int64_t>(row);
}

Tensor TextTarget::first_logits() const { return logits_of(model_->run(batch({text_.encoding.ids}, {}), run_options(nullptr, {}, 1))); }

void TextTarget::describe_tokens(const char* what, int64_t count) {
  check_answer(count);
  answer_ = format("{} {}", what, spelled(*model_, answer_ids_)) + (contrast_ >= 0 ? " against " + spelled(*model_, contrast_) : "");
}

void TextTarget::finish() {
  RunOptions named;
  named.text = text_.text;
  named.pair = text_.pair;
  plan_ = plan_of(*model_, text_.encoding, named);
  if (answer_ids_.size() > 1) probability_ = TextTarget::run(nullptr, {}).probability;
  side_ = plan_.families.front().name;
  if (rows_.size() > 1 && written_.size() == 0) written_ = {rows_.front() + 1, rows_.back() + 1};
  begin_with_tokens(static_cast<int64_t>(text_.encoding.size() - (rows_.size() - 1)));  // without the tokens of a span
}

std::vector<double> TextTarget::answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const {
  std::vector<double> out(removed.size());
  read_without(removed, how, [&](size_t set, const float* logits, int64_t count) { out[set] = probability_of(logits, count); });
  return out;
}

std::vector<std::vector<double>> TextTarget::log_probabilities(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const {
  if (logits_ != &RunResult::causal_logits) return AttributionTarget::log_probabilities(removed, how);
  std::vector<std::vector<double>> out(removed.size());
  read_without(removed, how, [&](size_t set, const float* logits, int64_t count) { out[set] = log_probabilities_of(logits, count); });
  return out;
}

void TextTarget::read_without(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how, const Read& read) const {
  const int64_t logits = static_cast<int64_t>(rows_.size()) * std::max<int64_t>(1, model_->info().vocabulary);
  const auto together = static_cast<size_t>(
      std::max<int64_t>(1, std::min(kTokensTogether / static_cast<int64_t>(text_.encoding.ids.size()), kLogitsTogether / logits)));
  // Knockouts apply to every sequence of a batch, so sets that remove the row run in separate batches.
  std::vector<size_t> with_row, without_row;
  for (size_t set = 0; set < removed.size(); ++set)
    (how == RemovedBy::kUnseen && removed_ids(removed[set])[static_cast<size_t>(row())] ? without_row : with_row).push_back(set);
  for (const std::vector<size_t>* sets : {&with_row, &without_row}) {
    for (size_t begin = 0; begin < sets->size(); begin += together) {
      const std::vector<size_t> some(sets->begin() + static_cast<std::ptrdiff_t>(begin),
                                     sets->begin() + static_cast<std::ptrdiff_t>(std::min(sets->size(), begin + together)));
      read_some(removed, some, how, read);
    }
  }
}

AttributionTarget::Outcome TextTarget::run(Observer* observer, const Interventions& interventions) const {
  RunOptions options = run_options(observer, interventions, 1);
  options.text = plan_.text.text;
  const Tensor logits = logits_of(model_->run(text_.encoding, options));
  return outcome_of(logits.data<float>(), logits.size(1));
}

const TokenMixing& TextTarget::mixing(int layer) const {
  if (!mixed_ || mixed_->layer != layer) mixed_.emplace(MixedLayer{layer, TokenMixing(*model_, text_.encoding, layer)});
  return mixed_->mixing;
}

Tensor TextTarget::mixed_vectors(int layer, int64_t row) const { return mixing(layer).vectors(row); }

Tensor TextTarget::states_without_value(int layer, int64_t token) const { return mixing(layer).states_without_value(token); }

Tensor TextTarget::states() const {
  RunOptions options = run_options(nullptr, {}, 1);
  options.all_hidden = true;
  return states_of(model_->run(batch({text_.encoding.ids}, {}), options), row());
}

double TextTarget::differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const {
  RunOptions options = run_options(observer, interventions, 1);
  options.recorder = &tape;
  return backward(tape, logits_of(model_->run(batch({text_.encoding.ids}, {}), options)), number);
}

// Reads the logits without some sets of items. Either all or none of the sets remove the row from which the answer is read.
void TextTarget::read_some(const std::vector<std::vector<uint8_t>>& removed, const std::vector<size_t>& sets, RemovedBy how,
                           const Read& read) const {
  const int32_t mask = how == RemovedBy::kMasked ? hiding_token() : 0;
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::vector<uint8_t>> hidden;
  Interventions interventions;
  for (const size_t set : sets) {
    std::vector<uint8_t> away = removed_ids(removed[set]);
    ids.push_back(text_.encoding.ids);
    for (size_t id = 0; how == RemovedBy::kMasked && id < away.size(); ++id) {
      if (away[id]) ids.back()[id] = mask;
    }
    if (how == RemovedBy::kMasked) continue;
    uint8_t& answer_row = away[static_cast<size_t>(row())];  // the row still attends to the other tokens
    if (answer_row) interventions.knockouts = {{{0, static_cast<int64_t>(text_.encoding.size())}, {row(), row() + 1}, {}, {}, {}}};
    answer_row = 0;
    hidden.push_back(std::move(away));
  }
  if (!hidden.empty() && !model_->info().takes_positions) {
    for (size_t at = 0; at < sets.size(); ++at) read_shortened(sets[at], hidden[at], interventions, read);
    return;
  }
  const Tensor logits = logits_of(model_->run(batch(ids, hidden), run_options(nullptr, interventions, static_cast<int64_t>(sets.size()))));
  const int64_t count = logits.size(1), rows = static_cast<int64_t>(rows_.size());
  for (size_t at = 0; at < sets.size(); ++at) read(sets[at], logits.data<float>() + static_cast<int64_t>(at) * rows * count, count);
}

// Removes tokens by deleting them from the text: a recurrent network reads every token, so masking the attention to a token does not hide
// it. The token that is classified stays; if it is one of the removed items, no other token attends to it.
void TextTarget::read_shortened(size_t set, const std::vector<uint8_t>& hidden, Interventions interventions, const Read& read) const {
  std::vector<int32_t> ids;
  int64_t answer = 0;  // the row, counted in the tokens that are left
  for (size_t id = 0; id < hidden.size(); ++id) {
    if (static_cast<int64_t>(id) == row()) answer = static_cast<int64_t>(ids.size());
    if (!hidden[id]) ids.push_back(text_.encoding.ids[id]);
  }
  if (!interventions.knockouts.empty()) {
    interventions.knockouts.front().queries = {0, static_cast<int64_t>(ids.size())};
    interventions.knockouts.front().keys = {answer, answer + 1};
  }
  const Tensor all = model_->run(batch({ids}, {}), run_options(nullptr, interventions, 1)).class_logits;
  const int64_t count = all.size(all.rank() - 1);
  read(set, all.data<float>() + (all.rank() == 3 ? answer * count : 0), count);
}

Batch TextTarget::batch(const std::vector<std::vector<int32_t>>& ids, const std::vector<std::vector<uint8_t>>& hidden) const {
  Batch out{.batch = static_cast<int64_t>(ids.size()), .length = static_cast<int64_t>(ids.front().size())};
  for (size_t set = 0; set < ids.size(); ++set) {
    out.ids.insert(out.ids.end(), ids[set].begin(), ids[set].end());
    if (model_->info().type_count > 0)
      out.type_ids.insert(out.type_ids.end(), text_.encoding.type_ids.begin(), text_.encoding.type_ids.end());
    for (size_t id = 0; !hidden.empty() && id < ids[set].size(); ++id) out.document_ids.push_back(hidden[set][id] ? -1 : 0);
  }
  return out;
}

RunOptions TextTarget::run_options(Observer* observer, const Interventions& interventions, int64_t sets) const {
  RunOptions options{.observer = observer, .interventions = interventions};
  if (logits_ != &RunResult::class_logits) {
    options.masked_rows.emplace();
    for (int64_t set = 0; set < sets; ++set) {
      for (const int64_t row : rows_)
        options.masked_rows->push_back(static_cast<int32_t>(set * static_cast<int64_t>(text_.encoding.size()) + row));
    }
  }
  return options;
}

Tensor TextTarget::logits_of(const RunResult& result) const {
  const Tensor& all = result.*logits_;
  return all.rank() == 3 ? all.select(1, row()).contiguous() : all;  // a token classifier has logits for each token
}

}  // namespace clearhead::explain
