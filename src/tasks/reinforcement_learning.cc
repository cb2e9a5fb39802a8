// Reinforcement learning: a policy plays episodes of an environment and learns from their rewards, by REINFORCE with a learned baseline
// (Williams 1992; Sutton & Barto 2018, §13.4) and an entropy bonus (Mnih et al. 2016, §4).
//
//   G_t = r_t + γ G_{t+1}      A_t = G_t − V_t, a constant for the gradient
//   loss = Σ_t −A_t ln π(a_t) + c (G_t − V_t)² − β H(π_t), summed over the steps of an episode, the mean over episodes
//   γ "discount"   c "value_weight"   β "entropy_bonus"
//
// Metrics, over episodes whose seeds are fixed and differ from those of training. Actions are drawn from the policy, as in training.
//   success            share of episodes that end in success
//   attention_to_cue   at the last step: the share of attention on the steps whose observation shows the cue, for the head with the largest
//                      mean share
//   cue_first          share of episodes in which a step that shows the cue has that head's largest weight at the last step
#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "base/hash.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/board.h"
#include "ops/ops.h"
#include "tasks/data/episodes.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr uint64_t kTrainSeed = 0x65706973, kValidSeed = 0x76616C69;

struct ReinforcementRecipe {
  const Environment* environment = nullptr;
  double discount = 0.95, entropy_bonus = 0.01, value_weight = 0.5;
  int64_t measured = 500;
};

const Schema<ReinforcementRecipe>& settings_schema() {
  static const Schema<ReinforcementRecipe> schema = {
      {{"environment", schema::alternatives(environment_names()), "required", "the environment in which the policy acts"},
       [](Fields& fields, ReinforcementRecipe& to) {
         const std::string name = fields.string("environment");
         to.environment = find_environment(name);
         if (!to.environment) fields.wrong("environment", schema::alternatives(environment_names()), Json(name));
       }},
      schema::number("discount", &ReinforcementRecipe::discount, {0, 1},
                     "discount factor: a reward n steps later is multiplied by its n-th power"),
      schema::number("entropy_bonus", &ReinforcementRecipe::entropy_bonus, {0, 100},
                     "weight of the policy's entropy, which encourages exploration"),
      schema::number("value_weight", &ReinforcementRecipe::value_weight, {0, 100},
                     "weight of the squared error of the values, the baseline of the policy gradient"),
      schema::integer("measured_episodes", &ReinforcementRecipe::measured, {1, 1 << 20},
                      "number of episodes for validation and for --test"),
  };
  return schema;
}

const Environment& environment_of(const Recipe& recipe) { return *recipe.task->as<ReinforcementRecipe>().environment; }

// Example::about of an episode: whether it succeeded, its number of steps, and 1 for each step that shows the cue, else 0.
constexpr size_t kSucceeded = 0, kSteps = 1, kFirstStep = 2;

class Reinforcement final : public Task {
 public:
  Reinforcement(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network)
      : recipe_(recipe),
        settings_(recipe.task->as<ReinforcementRecipe>()),
        environment_(environment_of(recipe)),
        tokenizer_(tokenizer),
        network_(network) {
    for (const std::string& word : environment_.words) {
      const size_t tokens = tokenizer.encode(word).ids.size();
      if (tokens != 1) {
        fail(ErrorCode::kInvalidArgument,
             "{}: \"tokenizer\": the word \"{}\" of the environment \"{}\" has {} tokens; expected one: train a larger vocabulary, such as "
             "{{\"wordpiece\": 200}}",
             recipe.where, word, environment_.name, tokens);
      }
    }
  }

  // The first observation of each episode; complete() plays the rest.
  Example batch(int64_t number) const override {
    return starts(number * recipe_.batch, recipe_.batch,
                  [&](int64_t at) { return random_bits(random_bits(recipe_.seed, kTrainSeed), static_cast<uint64_t>(at)); });
  }
  std::vector<Example> validation_batches() const override {
    return measured_batches([](int64_t at) { return random_bits(kValidSeed, static_cast<uint64_t>(at)); });
  }
  std::vector<Example> test() const override { return measured_batches(seed_of_test); }

  Example complete(Example example, const Forward& forward) const override {
    Example step{};
    const RunPolicy policy = [&](const Batch& episodes) {
      step.input = episodes;
      return forward(step).class_logits;
    };
    const std::vector<Episode> episodes =
        play(environment_, network_, tokenizer_, {example.numbers.begin(), example.numbers.end()}, policy);
    std::vector<const EncodedInput*> inputs;
    for (const Episode& one : episodes) inputs.push_back(&one.read);
    example.input = collate(inputs, network_.pad).input;
    example.about.clear();
    const auto length = static_cast<size_t>(example.input.groups.length);
    example.targets.assign(episodes.size() * length, -100);
    example.values.assign(episodes.size() * length, 0);
    for (size_t at = 0; at < episodes.size(); ++at) add_steps(episodes[at], at * length, example);
    return example;
  }

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    const Tensor& output = result.class_logits;  // [step, action + 1]
    const int64_t rows = output.size(0), actions = output.size(1) - 1;
    Tensor logits = run.result({rows, actions}), differences = run.result({rows, 1});
    ops::copy(run, output.slice(1, 0, actions), logits);
    const Tensor values = output.slice(1, actions, actions + 1);
    // Weights of the steps. Padding has weight 0 for the value and the entropy; its target, −100, excludes it from the cross-entropy.
    std::vector<float> advantages, of_value, of_entropy;
    float* difference = differences.mutable_data<float>();
    for (int64_t row = 0; row < rows; ++row) {
      const auto at = static_cast<size_t>(row);
      const float is_step = example.targets[at] < 0 ? 0.0F : 1.0F;
      advantages.push_back(example.values[at] - output.data<float>()[row * (actions + 1) + actions]);
      of_value.push_back(is_step * static_cast<float>(settings_.value_weight / divisor));
      of_entropy.push_back(is_step * static_cast<float>(-settings_.entropy_bonus / divisor));
      difference[row] = -example.values[at];
    }
    ops::add(run, values, differences);
    const Tensor of_actions = ops::cross_entropy(
        run, logits, example.targets, {.smoothing = static_cast<float>(smoothing), .divisor = divisor, .row_weights = advantages});
    const Tensor of_values = weighted(run, product(run, differences, differences).reshape({rows}), of_value);
    const Tensor of_entropies = weighted(run, entropies(run, logits), of_entropy);
    Tensor all = run.result({1, 1 + 2 * rows}), sum = run.result({1});
    ops::concat(run, {of_actions.reshape({1, 1}), of_values.reshape({1, rows}), of_entropies.reshape({1, rows})}, 1, all);
    ops::reduce(run, ops::Reduction::kSum, all, 1, sum);
    return sum;
  }

  std::vector<std::string> metric_names() const override { return {"success", "attention_to_cue", "cue_first"}; }
  bool reads_maps() const override { return true; }

  // For each episode: whether it succeeded, its number of steps, its return. Then for each head of each layer the share of its attention on
  // the cue, and whether the cue has the largest weight.
  std::vector<double> predictions(const RunResult&, const Maps& maps, const Example& example) const override {
    std::vector<double> out;
    const auto length = static_cast<size_t>(example.input.groups.length);
    for (size_t at = 0; at < example.about.size(); ++at) {
      const std::vector<int32_t>& about = example.about[at];
      out.insert(out.end(), {static_cast<double>(about[kSucceeded]), static_cast<double>(about[kSteps]),
                             static_cast<double>(example.values[at * length])});
      for (const Maps::Kept& layer : maps.all()) {
        for (int64_t head = 0; head < layer.map.shape().heads; ++head) {
          const MapRow row = layer.map.head(static_cast<int64_t>(at), head).row(about[kSteps] - 1);
          double share = 0;
          for (size_t step = 0; step < static_cast<size_t>(about[kSteps]); ++step)
            share += about[kFirstStep + step] != 0 && row.weights()[step] > 0 ? static_cast<double>(row.weights()[step]) : 0;
          out.push_back(share);
          out.push_back(about[kFirstStep + static_cast<size_t>(row.top_k(1)[0].key)]);
        }
      }
    }
    return out;
  }

  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    const std::vector<double> mean = means(examples, predictions);
    size_t best = kNumbers;  // the head with the largest share
    for (size_t head = kNumbers; head < mean.size(); head += 2) best = mean[head] > mean[best] ? head : best;
    return {mean[0], mean[best], mean[best + 1]};
  }
  std::vector<std::pair<std::string, double>> figures(const std::vector<Example>& examples,
                                                      const std::vector<std::vector<double>>& predictions) const override {
    const std::vector<double> mean = means(examples, predictions);
    double shares = 0;
    for (size_t head = kNumbers; head < mean.size(); head += 2) shares += mean[head];
    const auto heads = static_cast<double>(std::max<size_t>(1, (mean.size() - kNumbers) / 2));
    return {{"steps", mean[1]}, {"discounted return", mean[2]}, {"attention to cue, mean of all heads", shares / heads}};
  }
  Measured measured(const std::vector<Example>& examples) const override { return {Task::measured(examples).count, "episodes"}; }

  std::vector<DataSummary> summary() const override {
    const auto of = [&](const char* part, int64_t count) {
      DataSummary out{.part = part, .files = std::string(environment_.name), .count = count, .of = "episodes"};
      out.notes.push_back(format("played by the policy; at most {} steps each", environment_.max_steps));
      return out;
    };
    return {of("training", recipe_.steps * recipe_.accumulate * recipe_.batch), of("validation", settings_.measured)};
  }
  int64_t tokens() const override { return 0; }
  std::string digest() const override { return format("environment {}", environment_.name); }
  double held_bytes_per_token() const override { return 0; }

 private:
  static constexpr size_t kNumbers = 3;  // numbers that predictions() returns for an episode before the pairs of the heads

  template <class SeedOf>
  Example starts(int64_t first, int64_t count, const SeedOf& seed_of) const {
    Example out{.counted = count};
    std::vector<EncodedInput> inputs;
    for (int64_t at = first; at < first + count; ++at) {
      const uint64_t seed = seed_of(at);
      out.numbers.push_back(static_cast<int64_t>(seed));
      inputs.push_back(first_observation(environment_, network_, tokenizer_, seed));
    }
    std::vector<const EncodedInput*> ones;
    for (const EncodedInput& one : inputs) ones.push_back(&one);
    out.input = collate(ones, network_.pad).input;
    out.targets.assign(static_cast<size_t>(count), -100);
    return out;
  }

  template <class SeedOf>
  std::vector<Example> measured_batches(const SeedOf& seed_of) const {
    constexpr int64_t kAtOnce = 100;
    std::vector<Example> out;
    for (int64_t at = 0; at < settings_.measured; at += kAtOnce)
      out.push_back(starts(at, std::min(kAtOnce, settings_.measured - at), seed_of));
    return out;
  }

  // Sets the targets, returns and metadata of an episode. first: the row of its first step
  void add_steps(const Episode& episode, size_t first, Example& to) const {
    std::vector<int32_t> about = {episode.succeeded, static_cast<int32_t>(episode.steps.size())};
    double later = 0;
    for (size_t at = episode.steps.size(); at-- > 0;) {
      later = episode.steps[at].reward + settings_.discount * later;
      to.values[first + at] = static_cast<float>(later);
      to.targets[first + at] = static_cast<int32_t>(episode.steps[at].action);
    }
    for (const PlayedStep& step : episode.steps) about.push_back(step.shows_cue);
    to.about.push_back(std::move(about));
  }

  static Tensor product(Run& run, const Tensor& a, const Tensor& b) {
    Tensor out = run.result(a.shape());
    ops::multiply(run, a, b, out);
    return out;
  }
  static Tensor weighted(Run& run, const Tensor& x, const std::vector<float>& weights) {
    return product(run, x, Tensor::from(weights, {static_cast<int64_t>(weights.size())}));
  }

  // H(π) = ln Σ e^x − Σ π x of each row: the entropy of attention whose scores are the logits, q = x and k = the identity matrix.
  static Tensor entropies(Run& run, const Tensor& logits) {
    const int64_t rows = logits.size(0), actions = logits.size(1);
    Tensor identity = Tensor::zeros({1, 1, actions, actions});
    for (int64_t at = 0; at < actions; ++at) identity.mutable_data<float>()[at * actions + at] = 1;
    return ops::attention_entropy(run, logits.reshape({1, 1, rows, actions}), identity, {.score = Dot{1}}).reshape({rows});
  }

  // The means over episodes of the numbers of predictions().
  static std::vector<double> means(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) {
    std::vector<double> sums;
    double episodes = 0;
    for (size_t at = 0; at < examples.size(); ++at) {
      const auto count = static_cast<size_t>(examples[at].counted);
      const size_t each = predictions[at].size() / count;
      sums.resize(each, 0);
      for (size_t index = 0; index < predictions[at].size(); ++index) sums[index % each] += predictions[at][index];
      episodes += static_cast<double>(count);
    }
    for (double& sum : sums) sum /= episodes;
    return sums;
  }

  const Recipe& recipe_;
  const ReinforcementRecipe settings_;
  const Environment& environment_;
  const Tokenizer& tokenizer_;
  const NetworkFacts network_;
};

}  // namespace

const TaskDefinition& reinforcement_learning_task() {
  static const TaskDefinition definition = {
      .name = "reinforcement-learning",
      .description = "actions in an environment, by a policy that learns from rewards; the episodes are played in training",
      .data = DataFields::kGenerated,
      .reads = {"trajectory"},
      .class_suffix = "ForReinforcementLearning",
      .can_hold_out = false,
      .has_sequence_targets = true,
      .fields = [] { return settings_schema().describe(); },
      .read = [](Fields& fields, Recipe& to) { read_settings(settings_schema(), fields, to); },
      .commands = {{"play", "--seed 1"}},
      .labels = [](const Recipe& recipe) { return environment_of(recipe).actions; },
      .configure =
          [](const Recipe& recipe, Json& model) {
            model["environment"] = std::string(environment_of(recipe).name);
            model["words_per_step"] = environment_of(recipe).words_per_step;
            model["board"] = json_of(environment_of(recipe).board);
          },
      .vocabulary_texts =
          [](const Recipe& recipe) {
            std::vector<std::string> texts;
            for (const std::string& word : environment_of(recipe).words) texts.insert(texts.end(), 10, word);
            return texts;
          },
      .make = make_task<Reinforcement>,
  };
  return definition;
}

}  // namespace clearhead::tasks
