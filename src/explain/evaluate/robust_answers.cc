// Three kinds of answers: labels and their probabilities; translations, BLEU and the probability of the clean translation; bits per byte.
#include "explain/evaluate/robust_answers.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/format.h"
#include "base/nearest.h"
#include "base/random.h"
#include "clearhead/generate.h"
#include "models/batches.h"
#include "ops/ops.h"

namespace clearhead::explain {
namespace {

constexpr int64_t kBatchTokens = 2048;
constexpr int64_t kBatchLogits = int64_t{1} << 24;  // 64 MiB
constexpr int64_t kMostWritten = 256;               // tokens of a translation

class Values {
 public:
  explicit Values(const RobustOptions& options) : options_(options) {}
  void add(double value) { values_.push_back(value); }
  void to(std::vector<MetricEstimate>& out, const std::string& name) const {
    if (!values_.empty()) out.push_back({name, metrics::bootstrap_mean(values_, {.seed = options_.seed})});
  }

 private:
  const RobustOptions& options_;
  std::vector<double> values_{};
};

// −ln p of each token of the targets [batch · length] under these logits.
std::vector<float> losses_of(const Tensor& logits, const std::vector<int32_t>& targets) {
  const Tensor losses = ops::losses(logits.contiguous().reshape({static_cast<int64_t>(targets.size()), logits.size(2)}), targets);
  return {losses.data<float>(), losses.data<float>() + losses.numel()};
}

class Labels final : public RobustAnswers {
 public:
  Labels(const Model& model, const RobustTexts& texts, const RobustOptions& options) : model_(model), options_(options) {
    const std::vector<std::string>& labels = model.info().labels;
    for (size_t text = 0; text < texts.wanted.size(); ++text) {
      const auto found = std::find(labels.begin(), labels.end(), texts.wanted[text]);
      if (found == labels.end()) {
        std::string known;
        for (const std::string& label : labels) known += (known.empty() ? "" : ", ") + label;
        fail(ErrorCode::kInvalidArgument, "text {}: \"{}\" is not a label of this model; expected one of {}", text + 1, texts.wanted[text],
             known);
      }
      wanted_.push_back(static_cast<size_t>(found - labels.begin()));
    }
  }

  std::vector<MetricEstimate> clean(const std::vector<Reading>& readings) override {
    clean_ = ask(readings);
    Values right(options_);
    for (size_t text = 0; text < wanted_.size(); ++text) {
      if (!clean_[text].empty()) right.add(best(clean_[text]) == wanted_[text]);
    }
    std::vector<MetricEstimate> out;
    right.to(out, "accuracy");
    return out;
  }
  std::vector<MetricEstimate> changed(const std::vector<Reading>& readings) override {
    const auto found = ask(readings);
    Values stays(options_), right(options_), lost(options_), moved(options_);
    for (size_t text = 0; text < found.size(); ++text) {
      if (found[text].empty() || clean_[text].empty()) continue;
      const size_t before = best(clean_[text]), after = best(found[text]);
      stays.add(before == after);
      moved.add(found[text][before] - clean_[text][before]);
      if (wanted_.empty()) continue;
      right.add(after == wanted_[text]);
      lost.add((after == wanted_[text] ? 1.0 : 0.0) - (before == wanted_[text] ? 1.0 : 0.0));
    }
    std::vector<MetricEstimate> out;
    stays.to(out, "stays");
    right.to(out, "accuracy");
    lost.to(out, "accuracy_change");
    moved.to(out, "probability_change");
    return out;
  }

 private:
  static size_t best(const std::vector<double>& of) { return static_cast<size_t>(std::max_element(of.begin(), of.end()) - of.begin()); }
  // The probabilities of each label; empty for a reading without tokens.
  std::vector<std::vector<double>> ask(const std::vector<Reading>& readings) const {
    std::vector<std::vector<double>> out(readings.size());
    for (const std::vector<size_t>& which : batches_of(readings, kBatchTokens)) {
      const Tensor logits = model_.run(batch_of(model_, readings, which)).class_logits.contiguous();
      const int64_t count = logits.size(1);
      for (size_t row = 0; row < which.size(); ++row) {
        const float* of_row = logits.data<float>() + static_cast<int64_t>(row) * count;
        const double whole = ops::log_sum_exp(of_row, count);
        for (int64_t label = 0; label < count; ++label) out[which[row]].push_back(std::exp(static_cast<double>(of_row[label]) - whole));
      }
    }
    return out;
  }
  const Model& model_;
  const RobustOptions& options_;
  std::vector<size_t> wanted_{};
  std::vector<std::vector<double>> clean_{};
};

class Translations final : public RobustAnswers {
 public:
  Translations(const Model& model, const RobustTexts& texts, const RobustOptions& options)
      : model_(model), texts_(texts), options_(options) {}

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
      Values stays(options_);
      std::vector<size_t> asked;
      for (size_t text = 0; text < found.size(); ++text) {
        if (readings[text].encoding.size() == 0) continue;
        asked.push_back(text);
        stays.add(found[text].text == clean_[text].text);
      }
      stays.to(out, "stays");
      if (!counts_.empty() && !asked.empty()) {
        const std::vector<Bleu> counts = counts_of(found);
        out.push_back({"bleu", bleu(counts, {}, asked)});
        out.push_back({"bleu_change", bleu(counts, counts_, asked)});
      }
    }
    const std::vector<double> after = probabilities(readings);
    Values moved(options_);
    for (size_t text = 0; text < after.size(); ++text) {
      if (!std::isnan(after[text]) && !std::isnan(probabilities_[text])) moved.add(after[text] - probabilities_[text]);
    }
    moved.to(out, "probability_change");
    return out;
  }
  std::vector<int32_t> target_of(size_t text) const override {
    std::vector<int32_t> out{model_.info().first_token};
    const std::vector<int32_t>& ids = clean_[text].ids;
    if (!ids.empty()) out.insert(out.end(), ids.begin(), ids.end() - 1);
    return out;
  }

 private:
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
        model_, sources, {.max_tokens = default_max_tokens(model_, kMostWritten), .beams = default_beams(model_, {.count = 4})});
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
    const int64_t most = std::max<int64_t>(64, kBatchLogits / model_.info().vocabulary);
    for (const std::vector<size_t>& which : batches_of(readings, std::min(most, kBatchTokens))) {
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
  const Model& model_;
  const RobustTexts& texts_;
  const RobustOptions& options_;
  std::vector<Generated> clean_{};
  std::vector<Bleu> counts_{};
  std::vector<double> probabilities_{};
};

class Bits final : public RobustAnswers {
 public:
  Bits(const Model& model, const RobustOptions& options) : model_(model), options_(options) {}

  std::vector<MetricEstimate> clean(const std::vector<Reading>& readings) override {
    clean_ = readings;
    losses_ = ask(readings);
    Values bits(options_);
    for (size_t text = 0; text < readings.size(); ++text) {
      double nats = 0, bytes = 0;
      for (size_t token = 1; token < losses_[text].size(); ++token) nats += losses_[text][token], bytes += bytes_of(readings[text], token);
      if (bytes > 0) bits.add(nats / std::numbers::ln2 / bytes);
    }
    std::vector<MetricEstimate> out;
    bits.to(out, "bits_per_byte");
    return out;
  }
  std::vector<MetricEstimate> changed(const std::vector<Reading>& readings) override {
    const auto found = ask(readings);
    Values bits(options_), change(options_);
    for (size_t text = 0; text < readings.size(); ++text) {
      double after = 0, before = 0, bytes = 0;
      for (size_t token = 1; token < found[text].size(); ++token) {
        const int64_t origin = readings[text].origin[token];
        if (origin < 1 || !readings[text].same[token]) continue;
        after += found[text][token];
        before += losses_[text][static_cast<size_t>(origin)];
        bytes += bytes_of(readings[text], token);
      }
      if (bytes == 0) continue;
      bits.add(after / std::numbers::ln2 / bytes);
      change.add((after - before) / std::numbers::ln2 / bytes);
    }
    std::vector<MetricEstimate> out;
    bits.to(out, "bits_per_byte");
    change.to(out, "bits_per_byte_change");
    return out;
  }

 private:
  static double bytes_of(const Reading& reading, size_t token) {
    return static_cast<double>(reading.encoding.offsets[token][1] - reading.encoding.offsets[token][0]);
  }
  // −ln p of every token, 0 for the first.
  std::vector<std::vector<double>> ask(const std::vector<Reading>& readings) const {
    std::vector<std::vector<double>> out(readings.size());
    const int64_t most = std::max<int64_t>(64, kBatchLogits / model_.info().vocabulary);
    for (const std::vector<size_t>& which : batches_of(readings, std::min(most, kBatchTokens))) {
      const Reading& first = readings[which[0]];
      if (first.size() > most && first.shift == 0 && first.before == 0) {  // a single long text, which is read in pieces
        out[which[0]].push_back(0);
        for (const float value : log_probabilities(model_, first.encoding.ids)) out[which[0]].push_back(-static_cast<double>(value));
        continue;
      }
      const Batch batch = batch_of(model_, readings, which);
      std::vector<int32_t> targets(batch.ids.begin() + 1, batch.ids.end());
      targets.push_back(0);
      const std::vector<float> losses = losses_of(model_.run(batch).causal_logits, targets);
      for (size_t row = 0; row < which.size(); ++row) {
        const Reading& one = readings[which[row]];
        const size_t begin = row * static_cast<size_t>(batch.length) + static_cast<size_t>(one.before);
        out[which[row]].push_back(0);
        for (size_t token = 1; token < one.encoding.size(); ++token) out[which[row]].push_back(losses[begin + token - 1]);
      }
    }
    return out;
  }
  const Model& model_;
  const RobustOptions& options_;
  std::vector<Reading> clean_{};
  std::vector<std::vector<double>> losses_{};
};

}  // namespace

std::unique_ptr<RobustAnswers> robust_answers(const Model& model, Answering kind, const RobustTexts& texts, const RobustOptions& options) {
  switch (kind) {
    case Answering::kClassifier: return std::make_unique<Labels>(model, texts, options);
    case Answering::kTranslator: return std::make_unique<Translations>(model, texts, options);
    case Answering::kLanguageModel: break;
  }
  return std::make_unique<Bits>(model, options);
}

}  // namespace clearhead::explain
