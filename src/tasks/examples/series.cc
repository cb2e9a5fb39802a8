// Labelled series of numbers: a column of a table has the numbers of a series in each cell, and other columns may have features, single
// numbers that belong to the series. Their means and deviations in the training data are saved with the model. In training, series are
// distorted at random.
#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "models/input_series.h"
#include "tasks/data/input_table.h"
#include "tasks/recipe/example_kind.h"
#include "tasks/recipe/recipe.h"

namespace clearhead::tasks {
namespace {

// Random changes of training series, after they are standardised.
struct SeriesDistortion {
  double shift = 0, stretch = 0, scale = 0, wander = 0, noise = 0, feature_noise = 0, feature_shift = 0;
  bool flip = false;
  bool operator==(const SeriesDistortion&) const = default;
};

struct SeriesRecipe {
  struct Feature {
    std::string name{}, column{}, divisor{};  // divisor: a second column; the feature is the logarithm of the quotient
  };
  std::string column{};
  std::vector<Feature> features{};
  Standardise standardise = Standardise::kData;
  SeriesDistortion distortion{};
};

const Schema<SeriesDistortion>& distortion_schema() {
  using namespace schema;
  using D = SeriesDistortion;
  static const Schema<D> schema = {
      number("shift", &D::shift, {0, 65536}, "largest shift in samples, either way"),
      number("stretch", &D::stretch, {0, 0.5}, "largest relative change of the length, around the middle"),
      number("scale", &D::scale, {0, 1}, "largest relative change of the amplitude"),
      number("wander", &D::wander, {0, 100}, "largest amplitude of a sine that is added, with 0.5 to 1.5 periods over the series"),
      number("noise", &D::noise, {0, 100}, "standard deviation of the noise that is added to each number"),
      boolean("flip", &D::flip, "change the sign of all numbers of a series, with probability 0.5"),
      number("feature_shift", &D::feature_shift, {0, 100}, "largest number that is added to all features of a series"),
      number("feature_noise", &D::feature_noise, {0, 100}, "standard deviation of the noise that is added to each feature"),
  };
  return schema;
}

void read_features(Fields& fields, SeriesRecipe& to) {
  const Json* given = fields.take("features");
  if (!given) return;
  const char* const expected = "an object that maps each name to one column or to a list of two, as in {\"pulse\": 5, \"early\": [6, 7]}";
  if (!given->is_object()) fields.wrong("features", expected, *given);
  for (const auto& [name, columns] : given->fields()) {
    if (name.empty()) fields.wrong("features", "a name for each feature", *given);
    SeriesRecipe::Feature feature{.name = name};
    const std::vector<Json> all = columns.is_array() ? columns.items() : std::vector<Json>{columns};
    if (all.empty() || all.size() > 2) fields.wrong("features", expected, *given);
    for (const Json& column : all) {
      const Json object = Json::object({{name, column}});
      Fields one(object, fields.where(), fields.path_of("features"));
      (&column == all.data() ? feature.column : feature.divisor) = schema::read_column(one, name.c_str(), true);
    }
    to.features.push_back(std::move(feature));
  }
}

const Schema<SeriesRecipe>& series_schema() {
  using namespace schema;
  static const Schema<SeriesRecipe> schema = {
      column("column", &SeriesRecipe::column, true,
             "a table's column with the numbers of a series, separated by spaces or commas, in order of time; the numbers of all "
             "channels of a sample are adjacent"),
      {{"features", "an object that maps each name to one column or to a list of two", "none",
        "single numbers that the model reads after the series: those of a column, or the natural logarithms of the ratios of two "
        "columns"},
       read_features},
      choice(
          "standardise", &SeriesRecipe::standardise, standardise_names(),
          "each channel of a series is left unchanged (none), standardised with the mean and the standard deviation of the training "
          "data (data), or shifted and scaled so that its own median is 0 and its largest distance from it 1 (each); saved with the model"),
      object("distort", &SeriesRecipe::distortion, distortion_schema(),
             "data augmentation: random changes to the training series after they are standardised"),
  };
  return schema;
}

// Mean and standard deviation; a deviation of 1 if all numbers are equal.
class Moments {
 public:
  void add(float number) {
    const double delta = static_cast<double>(number) - mean_;
    mean_ += delta / static_cast<double>(++count_);
    squares_ += delta * (static_cast<double>(number) - mean_);
  }
  SeriesFacts::Scale scale() const {
    const double deviation = count_ > 0 ? std::sqrt(squares_ / static_cast<double>(count_)) : 0;
    return {mean_, deviation > 0 ? deviation : 1};
  }

 private:
  int64_t count_ = 0;
  double mean_ = 0, squares_ = 0;
};

void learn_scales(const std::vector<LabelledInput>& examples, SeriesFacts& facts) {
  std::vector<Moments> channels(static_cast<size_t>(facts.channels)), features(facts.features.size());
  for (const LabelledInput& one : examples) {
    const float* numbers = one.input.series.data<float>();
    for (int64_t at = 0; at < facts.channels * facts.length; ++at) channels[static_cast<size_t>(at % facts.channels)].add(*numbers++);
    for (Moments& feature : features) feature.add(*numbers++);
  }
  facts.scales.clear();
  for (const Moments& channel : channels) facts.scales.push_back(channel.scale());
  for (size_t at = 0; at < features.size(); ++at) facts.features[at].scale = features[at].scale();
}

// Appends the numbers of a cell; there must be `count` of them.
void append_numbers(const InputCell& cell, const std::string& where, int64_t count, std::vector<float>& to) {
  const auto refuse = [&](ErrorCode code, const std::string& problem) { fail(code, "{}, column {}: {}", where, cell.column, problem); };
  Tensor numbers;
  try {
    numbers = read_numbers(cell.text);
  } catch (const Error& error) {
    refuse(error.code(), error.what());
  }
  if (numbers.numel() != count) {
    const char* const what = count == 1 ? "a feature is one number" : "\"model.series\" gives the length and the number of channels";
    refuse(ErrorCode::kShape, format("{} numbers; expected {} ({})", numbers.numel(), count, what));
  }
  to.insert(to.end(), numbers.data<float>(), numbers.data<float>() + count);
}

// Replaces the last number by the logarithm of its quotient with the number of the cell. Both must be above 0.
void divide_by(const InputCell& cell, const std::string& where, std::vector<float>& numbers) {
  const float dividend = numbers.back();
  numbers.pop_back();
  append_numbers(cell, where, 1, numbers);
  if (!(dividend > 0 && numbers.back() > 0)) {
    fail(ErrorCode::kFormat, "{}, column {}: the logarithm of {} / {} is not finite; expected two numbers above 0", where, cell.column,
         dividend, numbers.back());
  }
  numbers.back() = std::log(dividend / numbers.back());
}

// Distorts the samples of one channel in place.   samples: [count]
void distort(float* samples, int64_t count, const SeriesDistortion& how, uint64_t seed) {
  const auto draw = [&](uint64_t counter, double most) { return (2 * random_unit(seed, counter) - 1) * most; };
  const double shift = draw(0, how.shift), speed = 1 + draw(1, how.stretch), size = 1 + draw(2, how.scale), wander = draw(3, how.wander);
  const double phase = draw(4, M_PI), periods = 1 + draw(5, 0.5), sign = how.flip && draw(6, 1) < 0 ? -1 : 1;
  const std::vector<float> from(samples, samples + count);
  const auto last = static_cast<double>(count - 1);
  for (int64_t at = 0; at < count; ++at) {
    const double place = std::clamp(last / 2 + (static_cast<double>(at) - last / 2) * speed - shift, 0.0, last);
    const auto before = static_cast<int64_t>(place), after = std::min(before + 1, count - 1);
    const double share = place - static_cast<double>(before);
    const double value = static_cast<double>(from[static_cast<size_t>(before)]) * (1 - share) +
                         static_cast<double>(from[static_cast<size_t>(after)]) * share;
    const double wave = wander * std::sin(phase + 2 * M_PI * periods * static_cast<double>(at) / static_cast<double>(count));
    samples[at] = static_cast<float>(sign * value * size + wave);
  }
}

class Series final : public Examples {
 public:
  explicit Series(SeriesRecipe recipe) : settings_(std::move(recipe)) {}

  std::vector<LabelledInput> read(const std::string& file, const Recipe& recipe, LeftOut*) const override {
    const SeriesFacts facts = facts_of(recipe);
    std::vector<InputColumn> columns = {{settings_.column, "task.series.column"}};
    for (const SeriesRecipe::Feature& feature : settings_.features) {
      columns.push_back({feature.column, "task.series.features." + feature.name});
      if (!feature.divisor.empty()) columns.push_back({feature.divisor, "task.series.features." + feature.name});
    }
    return read_input_table(file, recipe, columns, [&](const std::vector<InputCell>& cells, const std::string&, const std::string& where) {
      std::vector<float> numbers;
      append_numbers(cells.front(), where, facts.channels * facts.length, numbers);
      auto cell = cells.begin() + 1;
      for (const SeriesRecipe::Feature& feature : settings_.features) {
        append_numbers(*cell++, where, 1, numbers);
        if (!feature.divisor.empty()) divide_by(*cell++, where, numbers);
      }
      return ModelInput{.series = Tensor::from(numbers, {static_cast<int64_t>(numbers.size())})};
    });
  }

  void configure(const Recipe& recipe, Json& model) const override {
    SeriesFacts facts = facts_of(recipe);
    facts.standardise = settings_.standardise;
    learn_scales(read_inputs(recipe.task->train, recipe, "series"), facts);
    write_scales(facts, model);
  }

  // batch: [example, channels, 1, samples + features]
  void augment(Tensor& batch, uint64_t seed, uint64_t number) const override {
    const SeriesDistortion& how = settings_.distortion;
    if (how == SeriesDistortion()) return;
    const auto features = static_cast<int64_t>(settings_.features.size());
    const int64_t channels = batch.size(1), columns = batch.size(3), samples = columns - features;
    float* row = batch.mutable_data<float>();
    for (int64_t at = 0; at < batch.size(0); ++at) {
      const uint64_t of_example = random_bits(seed, number << 20 | static_cast<uint64_t>(at)), of_noise = random_bits(of_example, 0);
      const auto noise = [&](int64_t place, double deviation) {
        return deviation > 0 ? static_cast<float>(deviation * random_normal(of_noise, static_cast<uint64_t>(place))) : 0;
      };
      const auto moved = static_cast<float>((2 * random_unit(of_noise, 0) - 1) * how.feature_shift);
      for (int64_t i = 0; i < features; ++i) row[samples + i] += moved + noise(channels * samples + i + 1, how.feature_noise);
      for (int64_t channel = 0; channel < channels; ++channel, row += columns) {
        distort(row, samples, how, of_example);
        for (int64_t i = 0; i < samples; ++i) row[i] += noise(channel * samples + i + 1, how.noise);
      }
    }
  }

 private:
  // The size of the series that the recipe's model reads, and the recipe's features.
  SeriesFacts facts_of(const Recipe& recipe) const {
    Fields model(recipe.model, recipe.where, "model");
    SeriesFacts facts = read_series_facts(model);
    facts.features.clear();
    for (const SeriesRecipe::Feature& feature : settings_.features) facts.features.push_back({.name = feature.name});
    return facts;
  }

  SeriesRecipe settings_;
};

}  // namespace

const ExampleKind& series_examples() {
  static const ExampleKind kind = {
      .name = "series",
      .reads = "series",
      .meaning = "for a model that reads series of numbers",
      .counted = "series",
      .arguments = "\"NUMBERS\"",
      .fields = fields_of<series_schema>,
      .make = make_examples<Series, series_schema>,
  };
  return kind;
}

}  // namespace clearhead::tasks
