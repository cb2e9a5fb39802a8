// A series of numbers of fixed length, with any number of channels and of features: single numbers that belong to the series. The items of
// its maps are intervals of the series, then the features; and the query that attends to them. Samples are numbered from 0.
#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "models/forecast.h"
#include "models/input_kind.h"
#include "models/input_series.h"
#include "models/input_text.h"

namespace clearhead {
namespace {

void read_config(Fields& config, NetworkFacts& to) {
  to.series = read_series_facts(config);
  if (!to.series.forecast) return;
  to.output = "forecast";
  to.problem = ProblemType::kRegression;
}

EncodedInput encode(const NetworkFacts& facts, const Tokenizer*, const ModelInput& input) {
  return {.input = encode_series(facts.series, input.series)};
}

// An interval becomes the mean of the series, in each channel. A feature becomes 0, its standardised mean in the training data.
void mask(const NetworkFacts& network, int64_t item, const Tensor& read, Tensor& features) {
  const SeriesFacts& facts = network.series;
  const int64_t columns = facts.length + facts.feature_count();
  float* to = features.mutable_data<float>();
  if (item >= facts.intervals()) {
    to[facts.length + item - facts.intervals()] = 0;
    return;
  }
  for (int64_t channel = 0; channel < facts.channels; ++channel) {
    const float* from = read.data<float>() + channel * columns;
    const float mean = std::accumulate(from, from + facts.length, 0.0F) / static_cast<float>(facts.length);
    std::fill_n(to + channel * columns + item * facts.interval, facts.interval, mean);
  }
}

RunText describe(const NetworkFacts& network, const Tokenizer*, const ModelInput& input) {
  const SeriesFacts& facts = network.series;
  RunText text;
  for (int64_t at = 0; at < facts.intervals(); ++at) {
    const int64_t begin = at * facts.interval, last = begin + facts.interval - 1;
    if (facts.forecast) {
      add_item(text, rows_ahead(facts, begin, last));
      continue;
    }
    add_item(text, begin == last ? format("sample {}", begin) : format("samples {}–{}", begin, last));
  }
  for (const SeriesFacts::Feature& feature : facts.features) add_item(text, feature.name);
  text.items.push_back({.kind = "interval", .begin = 0, .end = facts.items(), .picture = draw_series(facts, input.series)});
  add_items(text, "query", {{}});
  return text;
}

}  // namespace

const InputKind& series_input() {
  static const InputKind kind = {.name = "series",
                                 .form = InputKind::Form::kNumbers,
                                 .item = "interval",
                                 .read_config = read_config,
                                 .read_numbers = read_series,
                                 .encode = encode,
                                 .mask = mask,
                                 .describe = describe};
  return kind;
}

}  // namespace clearhead
