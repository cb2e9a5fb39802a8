// Applies every change to every text and runs the texts in batches. The maps of some texts are compared with those of the unchanged text,
// row by row.
#include "explain/evaluate/robustness.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/map.h"
#include "explain/answer_kind.h"
#include "explain/evaluate/agreement.h"
#include "explain/evaluate/readings.h"
#include "explain/evaluate/robust_answers.h"
#include "explain/sides.h"
#include "text/unicode.h"

namespace clearhead::explain {
namespace {

using HeadKey = std::tuple<std::string, int, int64_t>;  // family, layer, head

// The maps of one run, and the reading whose `origin` maps its rows and keys to the unchanged text.
struct Watched {
  Maps maps{};
  const Reading* reading = nullptr;
};

// Runs the model on one reading and keeps its maps.
void observe(const RobustAnswers& answers, const std::vector<Reading>& readings, size_t text, Watched& into) {
  into.reading = &readings[text];
  answers.run_observed(readings, text, into.maps);
}

// Positions that both runs have, for each run: rows of queries or columns of keys.
struct Shared {
  std::vector<int64_t> clean{}, changed{};
};

Shared of_source(const Reading& changed) {
  Shared out;
  for (size_t token = 0; token < changed.origin.size(); ++token) {
    if (changed.origin[token] < 0) continue;
    out.clean.push_back(changed.origin[token]);
    out.changed.push_back(static_cast<int64_t>(token) + changed.before);
  }
  return out;
}

Shared all_of(int64_t count) {
  Shared out;
  out.clean.resize(static_cast<size_t>(count));
  std::iota(out.clean.begin(), out.clean.end(), int64_t{0});
  out.changed = out.clean;
  return out;
}

// The mean divergence over sampled rows, for every head of two runs.
std::map<HeadKey, double> divergences(const RobustAnswers& answers, const Watched& clean, const Watched& changed, int64_t rows) {
  std::map<HeadKey, double> out;
  const Shared source = of_source(*changed.reading);
  for (const Maps::Kept& kept : clean.maps.all()) {
    const AttentionMap& after = changed.maps.at(kept.site.family, kept.site.layer);
    const Shared queries = answers.is_generated(query_side(kept.site)) ? all_of(kept.map.shape().queries) : source;
    const Shared keys = answers.is_generated(key_side(kept.site)) ? all_of(kept.map.shape().keys) : source;
    const auto count = static_cast<int64_t>(queries.clean.size()), step = std::max<int64_t>(1, count / std::max<int64_t>(1, rows));
    for (int64_t head = 0; head < kept.map.shape().heads; ++head) {
      double sum = 0, compared = 0;
      for (int64_t at = step / 2; at < count; at += step) {
        const auto i = static_cast<size_t>(at);
        const auto p = shared_row(kept.map.head(0, head).row(queries.clean[i]).weights(), keys.clean);
        const auto q = shared_row(after.head(0, head).row(queries.changed[i]).weights(), keys.changed);
        if (p.empty() || q.empty()) continue;
        sum += jensen_shannon(p, q);
        ++compared;
      }
      if (compared > 0) out[{kept.site.family, kept.site.layer, head}] = sum / compared;
    }
  }
  return out;
}

// For one text, under every change that left it with tokens: the index of the change and the divergence of each head.
std::vector<std::pair<size_t, std::map<HeadKey, double>>> divergences_of(const RobustAnswers& answers,
                                                                         const std::vector<std::vector<Reading>>& readings, size_t text,
                                                                         int64_t rows) {
  std::vector<std::pair<size_t, std::map<HeadKey, double>>> out;
  if (readings[0][text].encoding.size() == 0) return out;
  Watched clean;
  observe(answers, readings[0], text, clean);
  for (size_t number = 1; number < readings.size(); ++number) {
    if (readings[number][text].encoding.size() == 0) continue;
    Watched changed;
    observe(answers, readings[number], text, changed);
    out.emplace_back(number, divergences(answers, clean, changed, rows));
  }
  return out;
}

void add_divergences(const std::vector<std::map<HeadKey, double>>& of_texts, uint64_t seed, Outcome& to) {
  std::map<HeadKey, std::vector<double>> of_heads;
  std::vector<double> means;
  for (const auto& of_text : of_texts) {
    double sum = 0;
    for (const auto& [head, value] : of_text) {
      of_heads[head].push_back(value);
      sum += value;
    }
    if (!of_text.empty()) means.push_back(sum / static_cast<double>(of_text.size()));
  }
  if (means.empty()) return;
  to.divergence = metrics::bootstrap_mean(means, {.seed = seed});
  for (const auto& [head, values] : of_heads)
    to.heads.push_back({std::get<0>(head), std::get<1>(head), std::get<2>(head), metrics::bootstrap_mean(values, {.seed = seed})});
}

// The heads, sorted by their mean divergence over the outcomes that change something.
std::vector<HeadDivergence> most_changed_of(const std::vector<Outcome>& outcomes, const std::vector<NamedChange>& changes) {
  std::map<HeadKey, std::pair<HeadDivergence, double>> sums;
  for (size_t at = 0; at < outcomes.size(); ++at) {
    for (const HeadDivergence& head : outcomes[at].heads) {
      if (!changes[at].moves) continue;
      auto& [sum, count] = sums[{head.family, head.layer, head.head}];
      const metrics::Interval so_far = sum.divergence;
      sum = head;
      sum.divergence = {so_far.mean + head.divergence.mean, so_far.low + head.divergence.low, so_far.high + head.divergence.high};
      ++count;
    }
  }
  std::vector<HeadDivergence> out;
  for (auto& [key, entry] : sums) {
    for (double* const value : {&entry.first.divergence.mean, &entry.first.divergence.low, &entry.first.divergence.high})
      *value /= entry.second;
    out.push_back(entry.first);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.divergence.mean > b.divergence.mean; });
  return out;
}

void check(const Model& model, const RobustTexts& texts, const RobustOptions& options) {
  if (texts.texts.empty()) fail(ErrorCode::kInvalidArgument, "robust: no texts; expected at least one");
  if (!texts.wanted.empty() && texts.wanted.size() != texts.texts.size())
    fail(ErrorCode::kInvalidArgument, "robust: {} texts and {} reference answers; expected one for each text", texts.texts.size(),
         texts.wanted.size());
  for (const auto& [name, share] :
       {std::pair{"typos", options.typos}, {"words_kept", options.words_kept}, {"token_dropout", options.token_dropout}}) {
    if (!(share > 0 && share <= 1)) fail(ErrorCode::kInvalidArgument, "robust: {} is {}; expected a share above 0, at most 1", name, share);
  }
  for (const auto& [name, count] : {std::pair{"shift", options.shift}, {"padding", options.padding}, {"map_rows", options.map_rows}}) {
    if (count < 1) fail(ErrorCode::kInvalidArgument, "robust: {} is {}; expected at least 1", name, count);
  }
  const int64_t longest = model.info().longest;
  for (const auto& [name, count] : {std::pair{"shift", options.shift}, {"padding", options.padding}}) {
    if (longest > 0 && count >= longest)
      fail(ErrorCode::kInvalidArgument, "robust: {} is {}; expected less than the {} positions of {}", name, count, longest,
           model.info().name);
  }
}

}  // namespace

const RobustKind& robust_kind(const ModelInfo& info) {
  const AnswerKind* const answer = answer_kind(info);
  const RobustKind* const kind = answer ? answer->robustness : nullptr;
  if (kind && (!kind->applies || kind->applies(info))) return *kind;
  fail(ErrorCode::kUnsupported,
       "{}: robustness can be measured for Transformers that classify a text (single-label), generate a text from another, or "
       "predict the next token; this model (type \"{}\", reads a {}) does none of these",
       info.name, info.model_type, info.reads);
}

const metrics::Interval* Outcome::find(std::string_view measure) const {
  const auto found = std::find_if(measures.begin(), measures.end(), [&](const MetricEstimate& one) { return one.name == measure; });
  return found == measures.end() ? nullptr : &found->value;
}

Robustness robustness(const Model& model, const RobustTexts& texts, const RobustOptions& options) {
  check(model, texts, options);
  const RobustKind& kind = robust_kind(model.info());
  Robustness out;
  const std::vector<NamedChange> changes = changes_for(kind, options);
  const std::unique_ptr<RobustAnswers> answers = kind.answers(model, texts, options);
  const size_t watched = std::min(texts.texts.size(), static_cast<size_t>(std::max<int64_t>(0, options.map_texts)));
  size_t done = 0;
  const auto report = [&] {
    if (options.progress) options.progress(static_cast<double>(++done) / static_cast<double>(changes.size() + watched));
  };
  std::vector<std::vector<Reading>> looked_at;  // [change][text whose maps are compared]
  for (size_t number = 0; number < changes.size(); ++number) {
    const NamedChange& change = changes[number];
    std::vector<Reading> readings(texts.texts.size());
    for (size_t text = 0; text < readings.size(); ++text)
      readings[text] = reading_of(model, kind, text::replace_invalid(texts.texts[text]), change.change, options,
                                  random_bits(random_bits(options.seed, number), text));
    Outcome outcome{.name = change.name, .description = change.description};
    outcome.texts = std::count_if(readings.begin(), readings.end(), [](const Reading& one) { return one.encoding.size() > 0; });
    outcome.measures = change.change == Change::kNone ? answers->clean(readings) : answers->changed(readings);
    out.outcomes.push_back(std::move(outcome));
    readings.resize(watched);
    looked_at.push_back(std::move(readings));
    report();
  }
  std::vector<std::vector<std::map<HeadKey, double>>> moved(changes.size());
  for (size_t text = 0; text < watched; ++text) {  // one text at a time, because its maps take memory proportional to all its keys
    for (auto& [number, of_text] : divergences_of(*answers, looked_at, text, options.map_rows)) moved[number].push_back(std::move(of_text));
    report();
  }
  for (size_t number = 0; number < changes.size(); ++number) add_divergences(moved[number], options.seed, out.outcomes[number]);
  out.most_changed_heads = most_changed_of(out.outcomes, changes);
  return out;
}

}  // namespace clearhead::explain
