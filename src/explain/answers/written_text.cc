// The tokens that an encoder-decoder generates from a source, each read from the target's token before it. Robustness: how the translation
// of a source changes.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "explain/answer_kind.h"
#include "explain/evaluate/robust_answers.h"
#include "explain/joined_steps.h"
#include "explain/listener.h"
#include "explain/target_words.h"
#include "models/input_kind.h"
#include "models/run_text.h"

namespace clearhead::explain {
namespace {

// A source, and the part of its generated target before the last token of the answer. The target starts with the model's start token.
struct Pair {
  Encoding source{}, target{};
  std::string source_text{}, target_text{};
  std::vector<int32_t> of{};  // the tokens of the answer; empty: the most probable token
  std::string contrast_word{};
  std::optional<int32_t> contrast{};
};

Pair written_pair(const Model& model, const std::string& source, const TargetSpec& asked, const std::optional<std::string>& given) {
  const ReadAndWritten both = read_and_write(model, source, given);
  Pair out{.source = both.source, .source_text = source};
  const WrittenText& target = both.target;
  const Range at = written_tokens(model, asked.target, target);
  const std::vector<int32_t>& ids = target.encoding.ids;
  out.of.assign(ids.begin() + at.begin + 1, ids.begin() + at.end + 1);
  out.target = target.encoding;
  keep_first(out.target, static_cast<size_t>(at.end));
  out.target_text = target.text.substr(0, static_cast<size_t>(out.target.offsets.back()[1]));
  out.contrast_word = asked.contrast;
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
    contrast_ = pair_.contrast.value_or(-1);
    const std::string before = text_before();
    if (!pair_.contrast_word.empty()) {
      const Spellings spellings = spellings_of(*model_, pair_.contrast_word, before);
      contrast_ = single_token(*model_, pair_.contrast_word, spellings, logits.data<float>(), kContrastNeedsOne);
    }
    check_answer(logits.size(1));
    answer_ = spelled(*model_, answer_ids_) + (before.empty() ? " as the first token" : " after " + in_quotes(before)) +
              (contrast_ >= 0 ? " against " + spelled(*model_, contrast_) : "");
    PlanListener heard;
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

constexpr int64_t kMostTokens = 256;  // of a translation

// The output of beam search, its BLEU, and the probability of the translation of the unchanged text: the geometric mean over its tokens.
class RobustTranslations final : public RobustAnswers {
 public:
  using RobustAnswers::RobustAnswers;

  std::vector<MetricEstimate> clean(const std::vector<Reading>& readings) override {
    clean_ = write(readings);
    probabilities_ = probabilities(readings);
    counts_ = counts_of(clean_);
    std::vector<MetricEstimate> out;
    std::vector<size_t> all;
    for (size_t text = 0; text < readings.size(); ++text) {
      if (!clean_[text].ids.empty()) all.push_back(text);
    }
    if (!counts_.empty()) out.push_back({"bleu", bleu(counts_, {}, all)});
    return out;
  }
  std::vector<MetricEstimate> changed(const std::vector<Reading>& readings) override {
    std::vector<MetricEstimate> out;
    const bool writes = std::all_of(readings.begin(), readings.end(), [](const Reading& one) { return one.shift == 0 && one.after == 0; });
    if (writes) {
      const std::vector<Generated> found = write(readings);
      MeasuredTexts stays(options_);
      std::vector<size_t> asked;
      for (size_t text = 0; text < found.size(); ++text) {
        if (readings[text].encoding.size() == 0) continue;
        asked.push_back(text);
        stays.add(found[text].text == clean_[text].text);
      }
      stays.append_to(out, "stays");
      if (!counts_.empty() && !asked.empty()) {
        const std::vector<Bleu> counts = counts_of(found);
        out.push_back({"bleu", bleu(counts, {}, asked)});
        out.push_back({"bleu_change", bleu(counts, counts_, asked)});
      }
    }
    const std::vector<double> after = probabilities(readings);
    MeasuredTexts moved(options_);
    for (size_t text = 0; text < after.size(); ++text) {
      if (!std::isnan(after[text]) && !std::isnan(probabilities_[text])) moved.add(after[text] - probabilities_[text]);
    }
    moved.append_to(out, "probability_change");
    return out;
  }
  // For every reading, the decoder is given the translation of the unchanged text (teacher forcing), so that its maps are comparable.
  void run_observed(const std::vector<Reading>& readings, size_t text, Observer& observer) const override {
    std::vector<int32_t> target = target_of(text);
    const auto length = static_cast<int64_t>(target.size());
    model_.run_from(batch_of(model_, readings, {text}), {.batch = 1, .length = length, .ids = std::move(target)},
                    {.observer = &observer, .logits = false});
  }
  bool is_generated(const std::string& side) const override { return side == "dec"; }

 private:
  // The translation of the unchanged text, as decoder input.
  std::vector<int32_t> target_of(size_t text) const {
    std::vector<int32_t> out{model_.info().first_token};
    const std::vector<int32_t>& ids = clean_[text].ids;
    if (!ids.empty()) out.insert(out.end(), ids.begin(), ids.end() - 1);
    return out;
  }
  std::vector<Generated> write(const std::vector<Reading>& readings) const {
    std::vector<Encoding> sources;
    std::vector<size_t> places;
    for (size_t text = 0; text < readings.size(); ++text) {
      if (readings[text].encoding.size() == 0) continue;
      sources.push_back(readings[text].encoding);
      places.push_back(text);
    }
    std::vector<Generated> out(readings.size());
    if (sources.empty()) return out;
    std::vector<Generated> made = generate_from(
        model_, sources, {.max_tokens = default_max_tokens(model_, kMostTokens), .beams = default_beams(model_, {.count = 4})});
    for (size_t at = 0; at < places.size(); ++at) out[places[at]] = std::move(made[at]);
    return out;
  }
  // The n-gram counts of each translation and its reference; empty without references.
  std::vector<Bleu> counts_of(const std::vector<Generated>& made) const {
    std::vector<Bleu> out;
    for (size_t text = 0; text < texts_.wanted.size(); ++text)
      out.push_back(clearhead::bleu({made[text].text}, {texts_.wanted[text]}, options_.bleu));
    return out;
  }
  // BLEU of the chosen texts, minus that of `from` if it is not empty. The bootstrap resamples texts (Koehn 2004), the same ones for both.
  metrics::Interval bleu(const std::vector<Bleu>& counts, const std::vector<Bleu>& from, const std::vector<size_t>& texts) const {
    const metrics::BootstrapOptions options{.seed = options_.seed};
    const auto score = [&](const std::vector<Bleu>& of, const auto& drawn) {
      Bleu sums;
      for (size_t at = 0; at < texts.size(); ++at) {
        const Bleu& one = of[texts[drawn(at)]];
        for (size_t n = 0; n < sums.matched.size(); ++n) sums.matched[n] += one.matched[n], sums.total[n] += one.total[n];
        sums.hypothesis_length += one.hypothesis_length;
        sums.reference_length += one.reference_length;
      }
      return bleu_of(sums).score;
    };
    const auto difference = [&](const auto& drawn) { return score(counts, drawn) - (from.empty() ? 0 : score(from, drawn)); };
    std::vector<double> scores;
    for (int64_t b = 0; b < options.resamples; ++b) {
      scores.push_back(difference([&](size_t at) {
        return static_cast<size_t>(random_bits(options.seed, static_cast<uint64_t>(b) * texts.size() + at) % texts.size());
      }));
    }
    std::sort(scores.begin(), scores.end());
    const auto quantile = [&](double share) {
      return scores[static_cast<size_t>(std::lround(share * static_cast<double>(scores.size() - 1)))];
    };
    return {difference([](size_t at) { return at; }), quantile((1 - options.confidence) / 2), quantile((1 + options.confidence) / 2)};
  }
  // exp(mean ln p) of the clean translation's tokens; NaN if there are none.
  std::vector<double> probabilities(const std::vector<Reading>& readings) const {
    std::vector<double> out(readings.size(), std::nan(""));
    for (const std::vector<size_t>& which : batches_of(readings, std::min(most_tokens_with_logits(), kRobustBatchTokens))) {
      std::vector<Reading> targets(readings.size());
      for (const size_t text : which) targets[text].encoding = {.ids = target_of(text)};
      const Batch target = batch_of(model_, targets, which);
      std::vector<int32_t> ids(target.ids.size(), 0);
      for (size_t row = 0; row < which.size(); ++row) {
        const std::vector<int32_t>& said = clean_[which[row]].ids;
        std::copy(said.begin(), said.end(), ids.begin() + static_cast<int64_t>(row) * target.length);
      }
      const std::vector<float> losses = losses_of(model_.run_from(batch_of(model_, readings, which), target).causal_logits, ids);
      for (size_t row = 0; row < which.size(); ++row) {
        const size_t count = clean_[which[row]].ids.size();
        double sum = 0;
        for (size_t token = 0; token < count; ++token) sum += losses[row * static_cast<size_t>(target.length) + token];
        if (count > 0) out[which[row]] = std::exp(-sum / static_cast<double>(count));
      }
    }
    return out;
  }
  std::vector<Generated> clean_{};
  std::vector<Bleu> counts_{};
  std::vector<double> probabilities_{};
};

}  // namespace

const AnswerKind& written_text_answer() {
  static const RobustKind robustness{
      .applies = [](const ModelInfo& info) { return info.takes_positions; },
      .measures = {kUnchangedAnswers, {"bleu", "BLEU"}, {"bleu_change", "change in BLEU"}, kProbabilityChange},
      .answers = robust_answers<RobustTranslations>,
  };
  static const AnswerKind kind{
      .name = "written",
      .applies =
          [](const ModelInfo& info) {
            const InputKind& read = input_kind(info);
            return read.is_text() && read.has_target;
          },
      .of_input = [](std::shared_ptr<const Model> model, const ModelInput& input,
                     const TargetSpec& asked) -> std::unique_ptr<AttributionTarget> {
        Pair written = written_pair(*model, input.text, asked, input.pair);
        return std::make_unique<PairTarget>(std::move(model), std::move(written));
      },
      .of_ids = [](std::shared_ptr<const Model> model, const Encoding& ids, const TargetSpec& asked,
                   const std::optional<Encoding>& written) -> std::unique_ptr<AttributionTarget> {
        if (!written)
          fail(ErrorCode::kInvalidArgument, "{}: this model generates text from a source; expected the ids of a target too",
               model->info().name);
        return std::make_unique<PairTarget>(
            std::move(model), with_span(Pair{.source = ids, .target = *written, .of = asked.target_ids, .contrast = asked.contrast_id}));
      },
      .of_each_token = true,
      .is_sequence = true,
      .shown = written_answers,
      .robustness = &robustness,
  };
  return kind;
}

}  // namespace clearhead::explain
