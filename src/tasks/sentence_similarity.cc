// Sentence similarity: embeddings of texts that belong together, trained with in-batch negatives (Henderson et al. 2017, §4.4):
//
//   u = v / ‖v‖, v = mean over a text's tokens of the last hidden state      s_ij = scale · u(source i) · u(target j)
//   loss = mean over i of −log softmax_j(s_ij)[i]
//
// The model reads a batch's sources and then its targets as one batch of texts. The metrics are how often the right target is
// nearest among `candidates` targets, and its mean reciprocal rank. The candidates are the right target, and targets of other groups with
// different texts, drawn with the recipe's seed. All pairs of a dialogue are one group; without dialogues, each pair is its own group.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <span>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "metrics/ranking.h"
#include "ops/ops.h"
#include "ops/run_compute.h"
#include "tasks/data/epoch_order.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/pair_data.h"
#include "tasks/recipe/task_definition.h"
#include "text/turns.h"

namespace clearhead::tasks {
namespace {

struct MatchSettings {
  double scale = 20;
  int64_t candidates = 10;
};

const Schema<MatchSettings>& settings_schema() {
  static const Schema<MatchSettings> schema = {
      schema::number("scale", &MatchSettings::scale, {0.01, 1000},
                     "factor that the cosine similarities are multiplied by before the softmax"),
      schema::integer("candidates", &MatchSettings::candidates, {2}, "number of texts among which --test looks for the right one"),
  };
  return schema;
}

constexpr uint64_t kDrawn = 0x6D617463;

struct Match {
  std::vector<int32_t> source{}, target{};
  int32_t group = 0, text = 0;  // text: identifies the target's text; equal texts are not candidates together
};

// Encodes turns. If they are too long, the oldest turns are removed first, because the last ones are to be answered; a single turn
// that is too long is truncated at its end.
std::vector<int32_t> ids_of_turns(const Tokenizer& tokenizer, std::string turns, int64_t length, bool& is_cut) {
  is_cut = static_cast<int64_t>(tokenizer.encode(turns).size()) > length;
  while (static_cast<int64_t>(tokenizer.encode(turns).size()) > length && turns.find('\n') != std::string::npos)
    turns = without_oldest_turn(turns);
  return encoded_within(tokenizer, turns, "", length).ids;
}

// Adds the number of truncated texts to `cut`.
std::vector<Match> read_matches(Part part, const Recipe& recipe, const Tokenizer& tokenizer, int64_t& cut) {
  std::vector<Match> out;
  std::map<std::string, int32_t> texts;
  const auto add = [&](const std::string& source, const std::string& target, int32_t group) {
    const int32_t text = texts.emplace(target, static_cast<int32_t>(texts.size())).first->second;
    bool is_source_cut = false, is_target_cut = false;
    out.push_back({ids_of_turns(tokenizer, source, recipe.length, is_source_cut),
                   encoded_within(tokenizer, target, "", recipe.length, &is_target_cut).ids, group, text});
    cut += (is_source_cut ? 1 : 0) + (is_target_cut ? 1 : 0);
  };
  const bool is_dialogue = !recipe.pairs->turns.empty();
  for (const TextPair& pair : read_pairs(part, recipe))
    add(pair.source, pair.target, static_cast<int32_t>(is_dialogue ? pair.dialogue : std::ssize(out)));
  return out;
}

class Matching final : public Task {
 public:
  Matching(const Recipe& recipe, const Tokenizer& tokenizer)
      : recipe_(recipe), tokenizer_(tokenizer), pad_(tokenizer.special_tokens().pad.value_or(0)) {}

  Example batch(int64_t number) const override {
    const std::vector<Match>& all = training_of().all;
    const auto count = static_cast<int64_t>(all.size()), batches = count / recipe_.batch;  // only complete batches
    if (batches == 0)
      fail(ErrorCode::kInvalidArgument, "{}: the training data has {} pairs, fewer than one batch of {}; reduce \"batch\"", recipe_.where,
           count, recipe_.batch);
    order_.open(recipe_.seed, number / batches, count, batches, [](std::vector<int64_t>&) {});
    const int64_t begin = order_.batches[static_cast<size_t>(number % batches)] * recipe_.batch;
    return example_of(all, {order_.items.begin() + begin, order_.items.begin() + begin + recipe_.batch});
  }
  std::vector<Example> validation_batches() const override { return in_order(held_of().all); }
  std::vector<Example> test() const override {
    if (recipe_.pairs->test.empty())
      fail(ErrorCode::kInvalidArgument, "{}: \"pairs\" has no \"test\" file; --test needs one", recipe_.where);
    int64_t cut = 0;
    return in_order(read_matches(Part::kTest, recipe_, tokenizer_, cut));
  }
  int64_t tokens() const override {
    int64_t sum = 0;
    for (const Match& one : training_of().all) sum += static_cast<int64_t>(one.source.size() + one.target.size());
    return sum;
  }
  std::string digest() const override {
    Digest digest;
    for (const auto* part : {&training_of().all, &held_of().all}) {
      for (const Match& one : *part) {
        for (const auto* ids : {&one.source, &one.target}) digest.add(ids->data(), ids->size() * sizeof(int32_t));
      }
    }
    return digest.hex();
  }
  std::vector<DataSummary> summary() const override {
    return {summary_of("training", Part::kTrain, training_of()), summary_of("validation", Part::kValid, held_of())};
  }
  double held_bytes_per_token() const override { return 0; }

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    RunCompute compute(run);
    const int64_t pairs = example.input.batch / 2;
    const Tensor units = vectors(compute, result.hidden, example.input, std::sqrt(recipe_.task->as<MatchSettings>().scale));
    const Tensor scores = compute.linear(units.slice(0, 0, pairs), units.slice(0, pairs, 2 * pairs));
    return ops::cross_entropy(run, scores, example.targets, {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
  }

  std::vector<std::string> metric_names() const override { return {"chosen", "reciprocal_rank"}; }
  // The embeddings, sources first, then targets.
  std::vector<double> predictions(const RunResult& result, const Example& example) const override {
    Compute compute;
    const Tensor units = vectors(compute, result.hidden, example.input, 1);
    return {units.data<float>(), units.data<float>() + units.numel()};
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    std::vector<Vectors> all;
    for (size_t at = 0; at < examples.size(); ++at) {
      const std::span<const double> vectors = predictions[at];
      const size_t pairs = examples[at].about.size(), width = vectors.size() / (2 * pairs);
      for (size_t i = 0; i < pairs; ++i) {
        const std::vector<int32_t>& about = examples[at].about[i];
        all.push_back({vectors.subspan(i * width, width), vectors.subspan((pairs + i) * width, width), about[0], about[1]});
      }
    }
    std::vector<metrics::RankedQuery> queries(all.size());
    for (size_t at = 0; at < all.size(); ++at) {
      for (const size_t candidate : candidates(all, at)) {
        const auto& [source, target] = std::pair(all[at].source, all[candidate].target);
        queries[at].scores.push_back(std::inner_product(source.begin(), source.end(), target.begin(), 0.0));
        queries[at].relevance.push_back(candidate == at);
      }
    }
    return {metrics::mean_ranking(queries, 1).hit, metrics::mean_ranking(queries).reciprocal_rank};
  }
  Measured measured(const std::vector<Example>& examples) const override { return {Task::measured(examples).count, "pairs"}; }

 private:
  struct Vectors {
    std::span<const double> source{}, target{};
    int32_t group = 0, text = 0;
  };

  struct Matches {
    std::vector<Match> all{};
    int64_t cut = 0;
  };
  const Matches& read_once(std::optional<Matches>& kept, Part part) const {
    if (!kept) {
      Matches read;
      read.all = read_matches(part, recipe_, tokenizer_, read.cut);
      kept = std::move(read);
    }
    return *kept;
  }
  const Matches& training_of() const { return read_once(training_, Part::kTrain); }
  const Matches& held_of() const { return read_once(held_, Part::kValid); }

  DataSummary summary_of(const char* name, Part part, const Matches& matches) const {
    DataSummary out{
        .part = name, .files = joined_names(pair_files(part, recipe_)), .count = static_cast<int64_t>(matches.all.size()), .of = "pairs"};
    std::vector<int64_t> sources, targets;
    for (const Match& one : matches.all) {
      sources.push_back(static_cast<int64_t>(one.source.size()));
      targets.push_back(static_cast<int64_t>(one.target.size()));
    }
    out.add_lengths("source tokens", sources);
    out.add_lengths("target tokens", targets);
    out.note(format("texts truncated to {} tokens (\"length\")", with_commas(recipe_.length)), matches.cut);
    return out;
  }

  std::vector<Example> in_order(const std::vector<Match>& all) const {
    std::vector<int64_t> order(all.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return all[static_cast<size_t>(a)].source.size() < all[static_cast<size_t>(b)].source.size();
    });
    std::vector<Example> out;
    for (size_t begin = 0; begin < order.size(); begin += static_cast<size_t>(recipe_.batch)) {
      const size_t end = std::min(order.size(), begin + static_cast<size_t>(recipe_.batch));
      out.push_back(example_of(all, {order.begin() + static_cast<int64_t>(begin), order.begin() + static_cast<int64_t>(end)}));
    }
    return out;
  }

  Example example_of(const std::vector<Match>& all, const std::vector<int64_t>& numbers) const {
    Example out;
    const auto pairs = static_cast<int64_t>(numbers.size());
    std::vector<const std::vector<int32_t>*> texts;
    for (const int64_t number : numbers) {
      const Match& one = all[static_cast<size_t>(number)];
      texts.push_back(&one.source);
      out.about.push_back({one.group, one.text});
    }
    for (const int64_t number : numbers) texts.push_back(&all[static_cast<size_t>(number)].target);
    out.input.batch = 2 * pairs;
    for (const auto* ids : texts) out.input.length = std::max(out.input.length, static_cast<int64_t>(ids->size()));
    for (const auto* ids : texts) {
      out.input.lengths.push_back(static_cast<int32_t>(ids->size()));
      out.input.ids.insert(out.input.ids.end(), ids->begin(), ids->end());
      out.input.ids.resize(out.input.lengths.size() * static_cast<size_t>(out.input.length), pad_);
    }
    out.targets.resize(static_cast<size_t>(pairs));
    std::iota(out.targets.begin(), out.targets.end(), 0);
    out.counted = pairs;
    return out;
  }

  // Embeddings size · u, whose L2 norm is `size`. The sum over a text's tokens is normalised directly, because dividing it by their
  // number would not change the result.
  static Tensor vectors(Compute& compute, const Tensor& hidden, const Batch& rows, double size) {
    const int64_t width = hidden.size(2);
    std::vector<int32_t> texts;
    for (int64_t text = 0; text < rows.batch; ++text) {
      for (int64_t place = 0; place < rows.length; ++place)
        texts.push_back(static_cast<int32_t>(place < rows.lengths[static_cast<size_t>(text)] ? text : rows.batch));
    }
    const Tensor sums = compute.index_add(hidden.reshape({rows.batch * rows.length, width}), texts, rows.batch + 1).slice(0, 0, rows.batch);
    const std::vector<float> scale(static_cast<size_t>(width), static_cast<float>(size / std::sqrt(static_cast<double>(width))));
    return compute.norm(sums, Tensor::from(scale, {width}), {}, 1e-12);
  }

  // The candidates for a source, the right target first. There are fewer than the recipe's number if the data has no more.
  std::vector<size_t> candidates(const std::vector<Vectors>& all, size_t right) const {
    RandomSequence random(random_bits(random_bits(recipe_.seed, kDrawn), right));
    std::vector<size_t> out = {right};
    std::set<int32_t> texts = {all[right].text};
    const auto wanted = static_cast<size_t>(recipe_.task->as<MatchSettings>().candidates);
    for (size_t tries = 0; tries < 100 * wanted && out.size() < wanted; ++tries) {
      const size_t other = random.roll(all.size());
      if (all[other].group != all[right].group && texts.insert(all[other].text).second) out.push_back(other);
    }
    return out;
  }

  const Recipe& recipe_;
  const Tokenizer& tokenizer_;
  int32_t pad_;
  mutable std::optional<Matches> training_{}, held_{};
  mutable EpochOrder order_{};
};

}  // namespace

const TaskDefinition& sentence_similarity_task() {
  static const TaskDefinition definition = {
      .name = "sentence-similarity",
      .description = "similar embeddings for texts that belong together, by an encoder",
      .data = DataFields::kTaskAndPairs,
      .head = TrainedHead::kNone,
      .class_suffix = "Model",
      .has_sequence_targets = true,
      .fields = [] { return settings_schema().describe(); },
      .read = [](Fields& fields, Recipe& to) { read_settings(settings_schema(), fields, to); },
      .commands = {{"embed"}},
      .make = make_task<Matching>,
  };
  return definition;
}

}  // namespace clearhead::tasks
