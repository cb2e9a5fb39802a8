// Attribution targets for each kind of text model: the input of a run, and the position of the answer in the model's logits. Sets of
// removed items run in batches; a hidden token gets the document number −1, like padding, so that no other token attends to it.
#include "explain/attribution_target.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/format.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "clearhead/residual_stream.h"
#include "explain/joined_steps.h"
#include "explain/listener.h"
#include "explain/sides.h"
#include "explain/target_words.h"
#include "generate/parts.h"
#include "models/input_kind.h"
#include "models/run_text.h"
#include "ops/run_compute.h"
#include "text/strings.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kTokensTogether = 8192;  // tokens in a batch of edited inputs
constexpr const char* kAgainstNeedsOne = "answers are compared one token against one";

// One row of every hidden state; the last one is taken before the final norm.
Tensor states_of(const RunResult& result, int64_t row) {
  std::vector<Tensor> all = result.all_hidden;
  all.back() = result.residual;
  const int64_t width = all.front().size(2);
  Tensor out = Tensor::empty({static_cast<int64_t>(all.size()), width});
  for (size_t at = 0; at < all.size(); ++at)
    std::copy_n(all[at].data<float>() + row * width, width, out.mutable_data<float>() + static_cast<int64_t>(at) * width);
  return out;
}

// A single text, or a pair that is read together, by a model that is not an encoder-decoder.
class TextTarget final : public AttributionTarget {
 public:
  TextTarget(std::shared_ptr<const Model> model, Encoding encoding, const TargetSpec& asked, const std::optional<std::string>& text,
             const std::optional<std::string>& pair)
      : AttributionTarget(std::move(model)), encoding_(std::move(encoding)) {
    const ModelInfo& info = model_->info();
    if (encoding_.ids.empty()) fail(ErrorCode::kInvalidArgument, "{}: the text has no tokens; expected at least one", info.name);
    place(asked);
    const auto tokens = static_cast<int64_t>(encoding_.ids.size());
    if (kind_ == Kind::kClass) row_ = info.reads_last ? last_token_read() : 0;
    rows_ = {row_};
    text_ = text;
    settle(logits_of(model_->run(batch({encoding_.ids}, {}), run_options(nullptr, {}, 1))), asked);
    if (answer_ids_.size() > 1) read_span();
    RunOptions named;
    named.text = text_;
    named.pair = pair;
    plan_ = plan_of(*model_, encoding_, named);
    if (answer_ids_.size() > 1) probability_ = run(nullptr, {}).probability;
    side_ = plan_.families.front().name;
    begin_with_tokens(tokens);
  }

  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override {
    std::vector<double> out(removed.size());
    const size_t together = static_cast<size_t>(std::max<int64_t>(1, kTokensTogether / static_cast<int64_t>(encoding_.ids.size())));
    // Knockouts apply to every sequence of a batch, so sets that remove the row run in separate batches.
    std::vector<size_t> with_row, without_row;
    for (size_t set = 0; set < removed.size(); ++set)
      (how == RemovedBy::kUnseen && removed_ids(removed[set])[static_cast<size_t>(row_)] ? without_row : with_row).push_back(set);
    for (const std::vector<size_t>* sets : {&with_row, &without_row}) {
      for (size_t begin = 0; begin < sets->size(); begin += together) {
        const std::vector<size_t> some(sets->begin() + static_cast<std::ptrdiff_t>(begin),
                                       sets->begin() + static_cast<std::ptrdiff_t>(std::min(sets->size(), begin + together)));
        answer_some(removed, some, how, out);
      }
    }
    return out;
  }

  Outcome run(Observer* observer, const Interventions& interventions) const override {
    RunOptions options = run_options(observer, interventions, 1);
    options.text = plan_.text.text;
    const Tensor logits = logits_of(model_->run(encoding_, options));
    return outcome_of(logits.data<float>(), logits.size(1));
  }

  std::vector<double> mixed_norms(int layer) const override {
    std::vector<double> out(encoding_.size());
    for (const int64_t row : rows_) {
      const std::vector<double> of_row = clearhead::mixed_norms(*model_, encoding_, layer, row);
      for (size_t id = 0; id < of_row.size(); ++id) out[id] += of_row[id] / static_cast<double>(rows_.size());
    }
    return out;
  }

  Tensor states() const override {
    RunOptions options = run_options(nullptr, {}, 1);
    options.all_hidden = true;
    return states_of(model_->run(batch({encoding_.ids}, {}), options), row_);
  }

  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    RunOptions options = run_options(observer, interventions, 1);
    options.recorder = &tape;
    return backward(tape, logits_of(model_->run(batch({encoding_.ids}, {}), options)), number);
  }

 private:
  enum class Kind : uint8_t { kClass, kTag, kNext, kMasked };

  void place(const TargetSpec& asked) {
    const ModelInfo& info = model_->info();
    const auto tokens = static_cast<int64_t>(encoding_.ids.size());
    const std::optional<int64_t> at = place_in(asked.of);
    if (at && (*at >= tokens || (info.has_causal && *at < 1)))
      fail(ErrorCode::kNotFound, "{}: token {} of a text of {} tokens; expected {} to {}{}", info.name, *at, tokens,
           info.has_causal ? 1 : 0, tokens - 1, info.has_causal ? " (token 0 has none before it)" : "");
    if (info.has_classifier && info.tags) {
      if (!at) fail(ErrorCode::kInvalidArgument, "{}: for a token classifier, expected the token to explain: \"token N\"", info.name);
      kind_ = Kind::kTag;
      row_ = *at;
    } else if (info.has_classifier && !info.answers) {
      kind_ = Kind::kClass;
    } else if (info.has_causal) {
      kind_ = Kind::kNext;
      if (at) {
        answer_ids_ = {encoding_.ids[static_cast<size_t>(*at)]};
        keep_first(encoding_, static_cast<size_t>(*at));
      }
      row_ = static_cast<int64_t>(encoding_.ids.size()) - 1;
    } else if (info.has_masked) {
      kind_ = Kind::kMasked;
      row_ = mask_asked_for(at);
    } else {
      fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" predicts neither a class nor a word that could be explained", info.name,
           info.model_type);
    }
  }

  // The last token that is not padding, whose row a causal classifier reads; 0 if all are padding.
  int64_t last_token_read() const {
    const std::optional<int64_t> padding = model_->info().padding;
    size_t row = encoding_.ids.size() - 1;
    while (row > 0 && padding && encoding_.ids[row] == *padding) --row;
    return static_cast<int64_t>(row);
  }

  // The position of the only mask, or of the one that "token N" names.
  int64_t mask_asked_for(std::optional<int64_t> at) const {
    const std::string& name = model_->info().name;
    const std::optional<int32_t> mask = model_->tokenizer().special_tokens().mask;
    std::vector<int64_t> places;
    for (size_t id = 0; mask && id < encoding_.ids.size(); ++id) {
      if (encoding_.ids[id] == *mask) places.push_back(static_cast<int64_t>(id));
    }
    const std::string token = mask ? std::string(model_->tokenizer().token(*mask)) : "a mask token";
    if (places.empty())
      fail(ErrorCode::kInvalidArgument,
           "{}: for a masked model the word at a mask is explained, but the text has no mask; write {} where a word is missing", name,
           token);
    if (at && std::find(places.begin(), places.end(), *at) == places.end())
      fail(ErrorCode::kInvalidArgument, "{}: token {} is not {}; expected the position of a mask", name, *at, token);
    if (at || places.size() == 1) return at.value_or(places.front());
    std::string list;
    for (const int64_t place : places) list += format("{}{}", list.empty() ? "" : ", ", place);
    fail(ErrorCode::kInvalidArgument, "{}: the text has {} masks, tokens {}; expected one, or \"token {}\" as the token to explain", name,
         places.size(), list, places.front());
  }

  // Converts the names in the question to ids, once the logits are known.   logits: [1, count]
  void settle(const Tensor& first, const TargetSpec& asked) {
    const float* logits = first.data<float>();
    const int64_t count = first.size(1);
    const ModelInfo& info = model_->info();
    stands_alone_ = kind_ == Kind::kClass && info.problem == ProblemType::kMultiLabel;
    if (kind_ == Kind::kClass && info.problem == ProblemType::kRegression)
      fail(ErrorCode::kUnsupported, "{}: explanations of regression models are not supported yet", info.name);
    const bool is_label = kind_ == Kind::kClass || kind_ == Kind::kTag;
    const auto one_token = [&](const std::string& name, const char* why) {
      return is_label ? label_named(info, name) : single_token(*model_, name, spellings(name), logits, why);
    };
    if (!asked.of_ids.empty()) {
      answer_ids_ = asked.of_ids;
    } else if (!asked.of.empty() && !place_in(asked.of)) {
      if (kind_ == Kind::kNext && asked.against.empty()) {
        answer_ids_ = most_probable(spellings(asked.of), logits, count);
      } else {
        answer_ids_ = {one_token(asked.of, kind_ == Kind::kNext ? kAgainstNeedsOne : "one mask stands for one token")};
      }
    }
    if (answer_ids_.empty()) answer_ids_ = {largest(logits, count)};
    if (kind_ != Kind::kNext) (void)answer_id("an explanation of such a model");
    against_ = asked.against.empty() ? asked.against_id.value_or(-1) : one_token(asked.against, kAgainstNeedsOne);
    check_answer(count);
    const auto spelling = [&](const std::vector<int32_t>& ids) {
      return is_label ? quoted(info.labels[static_cast<size_t>(ids.front())]) : spelled(*model_, ids);
    };
    const char* what = kind_ == Kind::kClass    ? "class"
                       : kind_ == Kind::kTag    ? "tag"
                       : kind_ != Kind::kNext   ? "word at the mask"
                       : answer_ids_.size() > 1 ? "next tokens"
                                                : "next token";
    answer_ = format("{} {}", what, spelling(answer_ids_)) + (against_ >= 0 ? " against " + spelling({against_}) : "");
    if (answer_ids_.size() == 1) probability_ = probability_of(logits, count);
  }

  Spellings spellings(const std::string& word) const { return spellings_of(*model_, word, kind_ == Kind::kNext ? text_ : std::nullopt); }

  // The spelling with the most probable tokens, each given those before.
  std::vector<int32_t> most_probable(const Spellings& spelled_in, const float* logits, int64_t count) {
    std::vector<int32_t> best = spelled_in.ids.front();
    double highest = -std::numeric_limits<double>::infinity();
    for (size_t at = 0; at < spelled_in.ids.size() && spelled_in.ids.size() > 1; ++at) {
      answer_ids_ = spelled_in.ids[at];
      check_answer(count);
      const double found = answer_ids_.size() == 1 ? std::log(probability_of(logits, count)) : log_probability_of_span();
      const double rating = found + (at == 0 ? spelled_in.prior : 0);
      if (rating > highest) best = answer_ids_, highest = rating;
    }
    return best;
  }

  double log_probability_of_span() {
    const Encoding read = encoding_;
    const std::optional<std::string> text = text_;
    read_span();
    const double found = run(nullptr, {}).y;
    encoding_ = read, text_ = text, rows_ = {row_};
    return found;
  }

  // Appends the tokens of a span to the text, except its last one, which is only predicted. Each is read from the token before it.
  void read_span() {
    for (size_t at = 0; at + 1 < answer_ids_.size(); ++at) {
      std::array<int64_t, 2> bytes{};
      if (text_) {
        bytes[0] = static_cast<int64_t>(text_->size());
        *text_ += model_->tokenizer().token_bytes(answer_ids_[at]);
        bytes[1] = static_cast<int64_t>(text_->size());
      }
      encoding_.ids.push_back(answer_ids_[at]);
      encoding_.type_ids.push_back(0);
      encoding_.offsets.push_back(bytes);
      encoding_.segment.push_back(0);
      rows_.push_back(row_ + static_cast<int64_t>(at) + 1);
    }
  }

  // The answers without some sets of items. Either all or none of the sets remove the row from which the answer is read.
  void answer_some(const std::vector<std::vector<uint8_t>>& removed, const std::vector<size_t>& sets, RemovedBy how,
                   std::vector<double>& out) const {
    const int32_t mask = how == RemovedBy::kMasked ? hiding_token() : 0;
    std::vector<std::vector<int32_t>> ids;
    std::vector<std::vector<uint8_t>> hidden;
    Interventions interventions;
    for (const size_t set : sets) {
      std::vector<uint8_t> away = removed_ids(removed[set]);
      ids.push_back(encoding_.ids);
      for (size_t id = 0; how == RemovedBy::kMasked && id < away.size(); ++id) {
        if (away[id]) ids.back()[id] = mask;
      }
      if (how == RemovedBy::kMasked) continue;
      uint8_t& row = away[static_cast<size_t>(row_)];  // the row still attends to the other tokens
      if (row) interventions.knockouts = {{{0, static_cast<int64_t>(encoding_.size())}, {row_, row_ + 1}, {}, {}, {}}};
      row = 0;
      hidden.push_back(std::move(away));
    }
    const Tensor logits =
        logits_of(model_->run(batch(ids, hidden), run_options(nullptr, interventions, static_cast<int64_t>(sets.size()))));
    const int64_t count = logits.size(1), rows = static_cast<int64_t>(rows_.size());
    for (size_t at = 0; at < sets.size(); ++at)
      out[sets[at]] = probability_of(logits.data<float>() + static_cast<int64_t>(at) * rows * count, count);
  }

  Batch batch(const std::vector<std::vector<int32_t>>& ids, const std::vector<std::vector<uint8_t>>& hidden) const {
    Batch out{.batch = static_cast<int64_t>(ids.size()), .length = static_cast<int64_t>(encoding_.ids.size())};
    for (size_t set = 0; set < ids.size(); ++set) {
      out.ids.insert(out.ids.end(), ids[set].begin(), ids[set].end());
      if (model_->info().type_count > 0) out.type_ids.insert(out.type_ids.end(), encoding_.type_ids.begin(), encoding_.type_ids.end());
      for (size_t id = 0; !hidden.empty() && id < ids[set].size(); ++id) out.document_ids.push_back(hidden[set][id] ? -1 : 0);
    }
    return out;
  }

  RunOptions run_options(Observer* observer, const Interventions& interventions, int64_t sets) const {
    RunOptions options{.observer = observer, .interventions = interventions};
    if (kind_ == Kind::kMasked || kind_ == Kind::kNext) {
      options.masked_rows.emplace();
      for (int64_t set = 0; set < sets; ++set) {
        for (const int64_t row : rows_)
          options.masked_rows->push_back(static_cast<int32_t>(set * static_cast<int64_t>(encoding_.size()) + row));
      }
    }
    return options;
  }

  // [set · row of the answer, count], a view.
  Tensor logits_of(const RunResult& result) const {
    switch (kind_) {
      case Kind::kClass: return result.class_logits;
      case Kind::kTag: return result.class_logits.select(1, row_);
      case Kind::kNext: return result.causal_logits;
      case Kind::kMasked: break;
    }
    return result.masked_logits;
  }

  Encoding encoding_{};                // for a span, including all of its tokens except the last
  std::optional<std::string> text_{};  // the text of these tokens
  Kind kind_ = Kind::kClass;
  int64_t row_ = 0;  // first of rows_, and the only one that can be a token of the text itself
};

// A source, and the part of its generated target before the answer. The target starts with the model's start token.
struct Pair {
  Encoding source{}, target{};
  std::string source_text{}, target_text{};
  std::vector<int32_t> of{};  // empty: the most probable token
  std::string against_word{};
  std::optional<int32_t> against{};
};

Pair written_pair(const Model& model, const std::string& source, const TargetSpec& asked, const std::optional<std::string>& given) {
  const ReadAndWritten both = read_and_write(model, source, given);
  Pair out{.source = both.source, .source_text = source};
  const WrittenText& target = both.target;
  const Range at = written_tokens(model, asked.of, target);
  const std::vector<int32_t>& ids = target.encoding.ids;
  out.of.assign(ids.begin() + at.begin + 1, ids.begin() + at.end + 1);
  out.target = target.encoding;
  keep_first(out.target, static_cast<size_t>(at.end));
  out.target_text = target.text.substr(0, static_cast<size_t>(out.target.offsets.back()[1]));
  out.against_word = asked.against;
  return out;
}

// Appends all tokens of the answer except its last to the target.
Pair with_span(Pair pair) {
  for (size_t at = 0; at + 1 < pair.of.size(); ++at) {
    pair.target.ids.push_back(pair.of[at]);
    pair.target.type_ids.push_back(0);
    pair.target.offsets.push_back({0, 0});
    pair.target.segment.push_back(0);
  }
  return pair;
}

class PairTarget final : public AttributionTarget {
 public:
  PairTarget(std::shared_ptr<const Model> model, Pair pair) : AttributionTarget(std::move(model)), pair_(std::move(pair)) {
    if (source().ids.empty() || target().ids.empty())
      fail(ErrorCode::kInvalidArgument, "{}: the source or the generated text before the answer has no token", model_->info().name);
    const auto written = static_cast<int64_t>(target().ids.size()), asked_for = std::max<int64_t>(1, static_cast<int64_t>(pair_.of.size()));
    for (int64_t row = written - asked_for; row < written; ++row) rows_.push_back(row);
    const Tensor logits = rows_of_answer(model_->run_from(source(), target(), {}));
    answer_ids_ = pair_.of.empty() ? std::vector<int32_t>{largest(logits.data<float>(), logits.size(1))} : pair_.of;
    against_ = pair_.against.value_or(-1);
    const std::string before = text_before();
    if (!pair_.against_word.empty()) {
      const Spellings spellings = spellings_of(*model_, pair_.against_word, before);
      against_ = single_token(*model_, pair_.against_word, spellings, logits.data<float>(), kAgainstNeedsOne);
    }
    check_answer(logits.size(1));
    answer_ = format("{} after {}", spelled(*model_, answer_ids_), before.empty() ? "nothing" : quoted(before)) +
              (against_ >= 0 ? " against " + spelled(*model_, against_) : "");
    struct Heard final : Listener {
      RunPlan plan{};
      void begin(const RunPlan& of) override { plan = of; }
    } heard;
    probability_ = run(&heard, {}).probability;
    plan_ = heard.plan;
    side_ = has_family("dec") ? "dec" : "target";
    begin_with_tokens(static_cast<int64_t>(source().size()) + rows_.front() + 1);
  }

  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override {
    std::vector<double> out;
    for (const std::vector<uint8_t>& set : removed) {
      const std::vector<uint8_t> away = removed_ids(set);
      const auto sources = static_cast<int64_t>(source().ids.size());
      if (how == RemovedBy::kUnseen) {
        Interventions hidden;
        for (int64_t id = 0; id < static_cast<int64_t>(away.size()); ++id) {
          if (!away[static_cast<size_t>(id)]) continue;
          const int64_t targets = static_cast<int64_t>(target().ids.size()), at = id < sources ? id : id - sources;
          if (id < sources && has_family("enc")) hidden.knockouts.push_back({{0, sources}, {at, at + 1}, {}, {}, "enc"});
          if (id < sources) hidden.knockouts.push_back({{0, targets}, {at, at + 1}, {}, {}, "cross"});
          if (id >= sources && has_family("dec")) hidden.knockouts.push_back({{0, targets}, {at, at + 1}, {}, {}, "dec"});
        }
        out.push_back(run(nullptr, hidden).probability);
        continue;
      }
      Encoding edited = source(), before = target();
      for (int64_t id = 0; id < static_cast<int64_t>(away.size()); ++id) {
        if (away[static_cast<size_t>(id)])
          (id < sources ? edited.ids[static_cast<size_t>(id)] : before.ids[static_cast<size_t>(id - sources)]) = hiding_token();
      }
      out.push_back(outcome_at(model_->run_from(edited, before, {})).probability);
    }
    return out;
  }

  Outcome run(Observer* observer, const Interventions& interventions) const override {
    return outcome_at(model_->run_from(source(), target(), options(observer, interventions)));
  }

  Tensor states() const override {
    if (!has_family("dec")) return AttributionTarget::states();
    RunOptions all = options(nullptr, {});
    all.all_hidden = true;
    return states_of(model_->run_from(source(), target(), all), rows_[0]);
  }

  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    JoinedSteps joined(observer);
    RunOptions recorded = options(observer ? &joined : nullptr, interventions);
    recorded.recorder = &tape;
    const double y = backward(tape, rows_of_answer(model_->run_from(source(), target(), recorded)), number);
    joined.finish();
    return y;
  }

 private:
  bool has_family(const char* name) const {
    return std::any_of(plan_.families.begin(), plan_.families.end(), [&](const MapFamily& family) { return family.name == name; });
  }
  RunOptions options(Observer* observer, const Interventions& interventions) const {
    return {.observer = observer, .text = pair_.target_text, .source = pair_.source_text, .interventions = interventions};
  }
  // The generated text before the answer.
  std::string text_before() const {
    const auto at = static_cast<size_t>(rows_.front());
    return pair_.target_text.substr(0, static_cast<size_t>(target().offsets[at][1]));
  }
  Tensor rows_of_answer(const RunResult& result) const {
    return result.causal_logits.select(0, 0).slice(0, rows_.front(), rows_.back() + 1);
  }
  Outcome outcome_at(const RunResult& result) const {
    const Tensor rows = rows_of_answer(result);
    return outcome_of(rows.data<float>(), rows.size(1));
  }
  const Encoding& source() const { return pair_.source; }
  const Encoding& target() const { return pair_.target; }

  Pair pair_;
};

// The family whose keys are explained: cross-attention if there is one, else the first family whose keys include an item.
const MapFamily& family_looked_at(const AttributionTarget& subject) {
  const auto& families = subject.plan().families;
  const auto holds_item = [&](const MapFamily& family) {
    const int64_t first = family.is_part ? family.first_key : 0, item = subject.items().empty() ? 0 : subject.items().front().begin;
    return item >= first && item < first + family.keys;
  };
  const auto cross = std::find_if(families.begin(), families.end(), [](const MapFamily& family) { return family.name == "cross"; });
  const auto found = cross != families.end() ? cross : std::find_if(families.begin(), families.end(), holds_item);
  if (found == families.end()) fail(ErrorCode::kUnsupported, "no attention of this model has the explained items as its keys");
  return *found;
}

}  // namespace

Site looked_at(const AttributionTarget& subject, std::optional<int> wanted) {
  const MapFamily& family = family_looked_at(subject);
  const int64_t layer = wanted.value_or(family.layers - 1);
  if (layer < 0 || layer >= family.layers)
    fail(ErrorCode::kInvalidArgument, "layer {}; this model's layers are 0 to {}", layer, family.layers - 1);
  return {.family = family.name, .layer = static_cast<int>(layer)};
}

int32_t label_named(const ModelInfo& info, const std::string& name) {
  const auto matches = [&](const std::string& label) { return text::lower(label) == text::lower(name); };
  const auto found = std::find_if(info.labels.begin(), info.labels.end(), matches);
  if (found != info.labels.end()) return static_cast<int32_t>(found - info.labels.begin());
  const std::vector<std::string_view> labels(info.labels.begin(), info.labels.end());
  std::string first;
  for (size_t i = 0; i < std::min<size_t>(labels.size(), 8); ++i) first += (i ? ", " : "") + quoted(labels[i]);
  fail(ErrorCode::kNotFound, "{}: there is no class {}{}; its {} classes {} {}", info.name, quoted(name), nearest_hint(name, labels, 1),
       labels.size(), labels.size() > 8 ? "begin with" : "are", first);
}

const char* to_string(RemovedBy how) { return how == RemovedBy::kUnseen ? "unseen" : "masked"; }

AttributionTarget::Outcome AttributionTarget::outcome_of(const float* logits, int64_t count) const {
  const double y = static_cast<double>(logits[answer_ids_[0]]) - (against_ >= 0 ? static_cast<double>(logits[against_]) : 0);
  if (against_ >= 0 || stands_alone_) return {y, 1 / (1 + std::exp(-y))};
  double log_probability = 0;
  for (size_t row = 0; row < answer_ids_.size(); ++row) {
    const float* of_row = logits + static_cast<int64_t>(row) * count;
    const auto most = static_cast<double>(of_row[largest(of_row, count)]);
    double sum = 0;
    for (int64_t id = 0; id < count; ++id) sum += std::exp(static_cast<double>(of_row[id]) - most);
    log_probability += static_cast<double>(of_row[answer_ids_[row]]) - most - std::log(sum);
  }
  return {answer_ids_.size() > 1 ? log_probability : y, std::exp(log_probability)};
}

void AttributionTarget::check_answer(int64_t count) const {
  const std::string& name = model_->info().name;
  std::vector<int32_t> ids = answer_ids_;
  if (against_ != -1) ids.push_back(against_);
  for (const int32_t id : ids) {
    if (id < 0 || id >= count) fail(ErrorCode::kNotFound, "{}: answer {} of {}; answers count from 0", name, id, count);
  }
  if (answer_ids_.size() > 1 && against_ >= 0)
    fail(ErrorCode::kUnsupported, "{}: an answer of {} tokens against another; {}: expected a word of one token", name, answer_ids_.size(),
         kAgainstNeedsOne);
  if (answer_ids_[0] == against_) fail(ErrorCode::kInvalidArgument, "{}: an answer against itself; give two different ones", name);
}

int32_t AttributionTarget::answer_id(const char* what) const {
  if (answer_ids_.size() == 1) return answer_ids_.front();
  fail(ErrorCode::kUnsupported, "{}: {} needs an answer of one token, but {} has {}", model_->info().name, what, answer_,
       answer_ids_.size());
}

double AttributionTarget::backward(InputTape& tape, const Tensor& logits, Number number) const {
  Arena arena;
  Run run{.arena = arena, .recorder = &tape, .eval_mode = true};
  RunCompute compute(run);
  const auto at = [&](int32_t id) { return logits.slice(1, id, id + 1); };
  const auto times = [&](const Tensor& x, double factor) {
    return compute.multiply(x, Tensor::from<float>({static_cast<float>(factor)}, {1, 1}));
  };
  const bool is_softmax = against_ < 0 && !stands_alone_, is_span = answer_ids_.size() > 1;
  if (is_span || (number == Number::kLogProbability && is_softmax)) {  // cross_entropy() is the mean over rows
    const Tensor loss = times(compute.cross_entropy(logits, answer_ids_).reshape({1, 1}), -static_cast<double>(answer_ids_.size()));
    const double value = static_cast<double>(*loss.data<float>());
    tape.backward(loss);
    return value;
  }
  const int32_t of = answer_ids_.front();
  Tensor y = against_ >= 0 ? compute.add(at(of), times(at(against_), -1)) : at(of);
  const double value = static_cast<double>(*y.data<float>());
  if (number == Number::kY) {
    tape.backward(y);
    return value;
  }
  const double probability = 1 / (1 + std::exp(-value));
  tape.backward(times(y, 1 - probability));  // d ln σ(y)/dy
  return std::log(probability);
}

void AttributionTarget::begin_with(std::vector<Range> items) {
  items_ = std::move(items);
  may_go_.assign(plan_.text.ids.size(), 0);
  for (const Range& item : items_) std::fill(may_go_.begin() + item.begin, may_go_.begin() + item.end, uint8_t{1});
}

void AttributionTarget::begin_with_tokens(int64_t end) {
  const RunText& text = plan_.text;
  std::vector<Range> items;
  for (int64_t id = 0; id < std::min(end, text.tokens()); ++id) {
    if (!text.special[static_cast<size_t>(id)]) items.push_back({id, id + 1});
  }
  begin_with(std::move(items));
}

void AttributionTarget::set_items(std::vector<Range> items) {
  std::vector<uint8_t> taken(may_go_.size());
  for (const Range& item : items) {
    bool any = false;
    for (int64_t id = item.begin; id < item.end; ++id) {
      if (id < 0 || id >= static_cast<int64_t>(taken.size()) || taken[static_cast<size_t>(id)])
        fail(ErrorCode::kInvalidArgument, "item [{}, {}) is outside the text, or overlaps another", item.begin, item.end);
      taken[static_cast<size_t>(id)] = 1;
      any = any || may_go_[static_cast<size_t>(id)];
    }
    if (!any) fail(ErrorCode::kInvalidArgument, "item [{}, {}) contains no token that can be removed", item.begin, item.end);
  }
  items_ = std::move(items);
}

std::vector<double> AttributionTarget::by_item(const std::vector<double>& of_ids) const {
  std::vector<double> out;
  for (const Range& item : items_) {
    double sum = 0;
    for (auto id = static_cast<size_t>(item.begin); id < static_cast<size_t>(item.end); ++id) sum += may_go_[id] ? of_ids[id] : 0;
    out.push_back(sum);
  }
  return out;
}

Range ids_of_side(const RunPlan& plan, const std::string& side) {
  for (const ItemRange& items : plan.text.items) {
    if (items.kind == side) return {items.begin, items.end};
  }
  for (const TextSegment& segment : plan.text.segments) {
    if (segment.name == side) return {segment.begin, segment.end};
  }
  for (const MapFamily& family : plan.families) {
    if (family.name == side) return family.is_part ? Range{family.first_key, family.first_key + family.keys} : Range{0, family.keys};
  }
  return {};
}

std::optional<int32_t> masking_token(const Tokenizer& tokenizer) {
  const SpecialTokens& special = tokenizer.special_tokens();
  for (const std::optional<int32_t>& id : {special.mask, special.unk, special.pad, special.eos}) {
    if (id) return id;
  }
  return std::nullopt;
}

int32_t AttributionTarget::hiding_token() const {
  if (const std::optional<int32_t> id = masking_token(model_->tokenizer())) return *id;
  fail(ErrorCode::kUnsupported, "{}: its tokenizer has no mask, unknown or padding token to replace others with; remove them as \"unseen\"",
       model_->info().name);
}

std::vector<double> AttributionTarget::mixed_norms(int) const {
  fail(ErrorCode::kUnsupported, "{}: the residual stream can be split only in models that read a single text", model_->info().name);
}

Tensor AttributionTarget::states() const {
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no residual stream", model_->info().name, model_->info().model_type);
}

std::vector<uint8_t> AttributionTarget::removed_ids(const std::vector<uint8_t>& removed) const {
  if (removed.size() != items_.size())
    fail(ErrorCode::kShape, "judge: {} flags for {} items; expected one for each", removed.size(), items_.size());
  std::vector<uint8_t> ids(may_go_.size());
  for (size_t item = 0; item < items_.size(); ++item) {
    for (auto id = static_cast<size_t>(items_[item].begin); removed[item] && id < static_cast<size_t>(items_[item].end); ++id)
      ids[id] = may_go_[id];
  }
  return ids;
}

std::unique_ptr<AttributionTarget> make_target(std::shared_ptr<const Model> model, const std::string& text, const TargetSpec& asked,
                                               const std::optional<std::string>& pair) {
  const ModelInfo& info = model->info();
  const InputKind& kind = input_kind(info);
  if (kind.is_text() && kind.has_target) {
    Pair written = written_pair(*model, text, asked, pair);
    return std::make_unique<PairTarget>(std::move(model), std::move(written));
  }
  if (kind.is_text()) {
    EncodeOptions options;
    if (pair) options.pair = *pair;
    Encoding encoding = model->tokenizer().encode(text, options);
    return std::make_unique<TextTarget>(std::move(model), std::move(encoding), asked, text, pair);
  }
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\", which reads a {}, cannot be explained yet; expected a model that reads texts",
       info.name, info.model_type, info.reads);
}

std::unique_ptr<AttributionTarget> make_target(std::shared_ptr<const Model> model, const Encoding& ids, const TargetSpec& asked,
                                               const std::optional<Encoding>& written) {
  if (!written) return std::make_unique<TextTarget>(std::move(model), ids, asked, std::nullopt, std::nullopt);
  return std::make_unique<PairTarget>(std::move(model),
                                      with_span(Pair{.source = ids, .target = *written, .of = asked.of_ids, .against = asked.against_id}));
}

}  // namespace clearhead::explain
