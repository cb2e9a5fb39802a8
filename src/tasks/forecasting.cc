// Forecasting: quantiles of a column of a table whose rows are in order of time, from a window of earlier rows (models/forecast.h). The rows
// are divided by time: training, validation, test. Windows of a later part may begin in an earlier one.
//
//   loss: pinball, Σ_q max(q·(y − ŷ_q), (q − 1)·(y − ŷ_q)) (Koenker and Bassett 1978), divided by the deviation and by the mean unit of
//         the training windows (models/forecast.h)
//   metrics: skill = 1 − MAE / MAE of repeating the window's last value;  coverage: share of values between the first and the last quantile
//   figures: MAE of the median, MAE of repeating the last value, mean width of the interval, and the p-value of the test of Diebold and
//            Mariano 1995 on the difference of the two absolute errors
//
// MAE: mean absolute error. The median minimises it, as the mean minimises the squared error.
#include <algorithm>
#include <cmath>
#include <memory>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/forecast.h"
#include "models/input_kind.h"
#include "models/input_series.h"
#include "ops/ops.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

struct ForecastRecipe : ForecastFacts {
  std::string table{};
  Standardise standardise = Standardise::kData;
  double valid_from = 0.7, test_from = 0.8;
};

// The row that `from` gives: a row number, or if it is below 1, a share of the rows.
int64_t row_of(double from, int64_t rows) { return static_cast<int64_t>(from < 1 ? std::floor(from * static_cast<double>(rows)) : from); }

const Schema<ForecastRecipe>& settings_schema() {
  using namespace schema;
  using R = ForecastRecipe;
  static const Schema<R> schema = {
      required_string("table", &R::table,
                      "a table in order of time, with the names of its columns in line 1 (*.csv: commas, others: tabs)"),
      required_string<R>("target", &R::target, "the column to forecast"),
      string<R>("time", &R::time, "the column of times, such as 2012-05-31 18:00, 2012-05-31 or 2012-05; needed for \"calendar\""),
      strings<R>("inputs", &R::inputs, "none", "further columns that the model reads in the window"),
      strings<R>("known", &R::known, "none", "columns that are known in advance: the model reads them in the row that it forecasts"),
      {{"calendar", "a list of hour, weekday and month", "none", "calendar features of the row that is forecast, which the model reads"},
       [](Fields& fields, R& to) {
         read_calendar(fields, to);
         if (!to.calendar.empty() && to.time.empty())
           fields.wrong("time", "the name of the column of times, which \"calendar\" needs", Json(""));
       }},
      integer<R>("horizon", &R::horizon, {1, 1 << 16}, "the forecast is for this many rows after the last row of the window"),
      integer<R>("difference", &R::difference, {0, 1 << 16},
                 "the model predicts the difference from the value this many rows before the row that is forecast; 0: from the mean, or "
                 "with \"standardise\": \"each\" from the median of the window, with \"none\" from 0"),
      {{"quantiles", "three or more ascending numbers between 0 and 1, one of them 0.5", "[0.05, 0.5, 0.95]",
        "the quantiles that are predicted; 0.5 is the forecast, the first and the last bound the interval"},
       [](Fields& fields, R& to) { read_quantiles(fields, to); }},
      choice("standardise", &R::standardise, standardise_names(),
             "as for \"series\": not at all (none), by the training data (data), or each window by its own median and largest distance "
             "from it (each)"),
      number("valid_from", &R::valid_from, {0, 1e9}, "the first row of the validation part, counted from 0; below 1: a share of the rows"),
      number("test_from", &R::test_from, {0, 1e9}, "the first row of the test part, in the same way"),
  };
  return schema;
}

// The windows of one table.
class Windows final : public Examples {
 public:
  explicit Windows(ForecastRecipe settings) : settings_(std::move(settings)) {}

  std::vector<LabelledInput> read(const std::string& part, const Recipe& recipe, LeftOut*) const override {
    std::vector<LabelledInput> out;
    const SeriesFacts facts = facts_of(recipe);
    for (const int64_t row : rows(part, recipe)) {
      const std::string where = format("{}, line {}", table(recipe).path, table(recipe).lines[static_cast<size_t>(row)]);
      out.push_back({{.series = forecast_window(facts, table(recipe), row)}, format("{}", value(recipe, row)), where});
    }
    return out;
  }
  bool has_label_column() const override { return false; }
  std::vector<std::string> files() const override { return {settings_.table}; }

  /// Throws kFormat if the window does not contain the row that "difference" refers to.
  void check(const Recipe& recipe) const {
    Fields model(recipe.model, recipe.where, "model");
    const int64_t least = settings_.horizon, most = least + read_series_facts(model).length - 1, lag = settings_.difference;
    if (lag == 0 || (lag >= least && lag <= most)) return;
    fail(ErrorCode::kFormat,
         "{}: \"task.difference\": expected 0, or {} to {}, the rows of the window counted back from the row that is forecast; found {}",
         recipe.where, least, most, lag);
  }

  // Sets the model's "series": channels, scales, and the facts of the forecast.
  void configure(const Recipe& recipe, Json& model) const override {
    check(recipe);
    model["series"]["channels"] = static_cast<int64_t>(settings_.inputs.size()) + 1;
    SeriesFacts facts = facts_of(recipe);
    const ForecastTable& from = table(recipe);
    const int64_t end = first_rows(recipe)[0];
    const auto scale_of = [&](size_t column) {
      std::vector<double> values;
      for (int64_t row = 0; row < end; ++row) values.push_back(static_cast<double>(from.rows[static_cast<size_t>(row)][column]));
      return scale(values);
    };
    for (int64_t channel = 0; channel < facts.channels; ++channel) facts.scales.push_back(scale_of(static_cast<size_t>(channel)));
    for (size_t at = 0; at < facts.features.size(); ++at) facts.features[at].scale = scale_of(static_cast<size_t>(facts.channels) + at);
    // A network that subtracts the last sample reads differences from it, whose deviation is smaller than that of the samples.
    const Json* subtracts = model.find("subtract_last");
    if (subtracts && subtracts->is_bool() && subtracts->boolean()) scale_differences(recipe, facts);
    std::vector<double> differences;
    for (const int64_t row : rows("train", recipe)) {
      const ForecastScale own = forecast_scale(facts, forecast_window(facts, from, row));
      differences.push_back((static_cast<double>(value(recipe, row)) - own.base) / own.unit);
    }
    facts.forecast->deviation = scale(differences).deviation;
    write_scales(facts, model);
    model["series"]["forecast"] = json_of(*facts.forecast);
  }

  /// The rows of a part that have a whole window and a value.
  std::vector<int64_t> rows(const std::string& part, const Recipe& recipe) const {
    Fields model(recipe.model, recipe.where, "model");
    const int64_t least = read_series_facts(model).length + settings_.horizon - 1;
    const std::vector<int64_t> first = first_rows(recipe);
    const size_t at = part == "train" ? 0 : part == "valid" ? 1 : 2;
    const int64_t begin = at == 0 ? 0 : first[at - 1], end = at == 2 ? row_to_forecast(table(recipe)) : first[at];
    std::vector<int64_t> out;
    for (int64_t row = std::max(begin, least); row < end; ++row) out.push_back(row);
    if (out.empty())
      fail(ErrorCode::kInvalidArgument,
           "{}: no row of the {} part has the {} rows before it that a forecast needs: the part begins at row {} and ends before row {} of "
           "{}; change \"task.valid_from\" or \"task.test_from\", or use a shorter window (\"model.series.length\")",
           recipe.where, part, least, begin, end, table(recipe).size());
    return out;
  }
  float value(const Recipe& recipe, int64_t row) const { return table(recipe).rows[static_cast<size_t>(row)].front(); }
  const std::vector<double>& quantiles() const { return settings_.quantiles; }
  const ForecastTable& table(const Recipe& recipe) const {
    if (!table_) {
      const SourceText opened = open_text(recipe.source, settings_.table);
      table_ = std::make_shared<ForecastTable>(read_forecast_table(opened.text, opened.path(), settings_));
    }
    return *table_;
  }

 private:
  static SeriesFacts::Scale scale(const std::vector<double>& values) {
    double mean = 0, squares = 0;
    for (const double one : values) mean += one / static_cast<double>(values.size());
    for (const double one : values) squares += (one - mean) * (one - mean) / static_cast<double>(values.size());
    return {mean, squares > 0 ? std::sqrt(squares) : 1};
  }
  // Sets the deviations of the channels to the root mean square of the differences of a window's samples from its last.
  void scale_differences(const Recipe& recipe, SeriesFacts& facts) const {
    const std::vector<int64_t> all = rows("train", recipe);
    std::vector<double> squares(static_cast<size_t>(facts.channels), 0);
    for (const int64_t row : all) {
      const Tensor window = forecast_window(facts, table(recipe), row);
      const float* samples = window.data<float>();
      const float* last = samples + (facts.length - 1) * facts.channels;
      for (int64_t at = 0; at < facts.length; ++at) {
        for (int64_t channel = 0; channel < facts.channels; ++channel)
          squares[static_cast<size_t>(channel)] += std::pow(static_cast<double>(samples[at * facts.channels + channel] - last[channel]), 2);
      }
    }
    for (size_t channel = 0; channel < squares.size(); ++channel) {
      const double deviation = std::sqrt(squares[channel] / static_cast<double>(static_cast<int64_t>(all.size()) * facts.length));
      if (deviation > 0) facts.scales[channel].deviation = deviation;
    }
  }
  // The first rows of the validation and the test part.
  std::vector<int64_t> first_rows(const Recipe& recipe) const {
    const int64_t all = table(recipe).size(), valid = row_of(settings_.valid_from, all), test = row_of(settings_.test_from, all);
    if (!(0 < valid && valid < test && test <= all))
      fail(ErrorCode::kInvalidArgument,
           "{}: \"task.valid_from\" is row {} and \"task.test_from\" row {}; expected 0 < valid_from < test_from ≤ {} rows", recipe.where,
           valid, test, all);
    return {valid, test};
  }
  // The facts of the recipe's series, without the scales, which are computed from the training data.
  SeriesFacts facts_of(const Recipe& recipe) const {
    Fields model(recipe.model, recipe.where, "model");
    SeriesFacts facts = read_series_facts(model);
    facts.channels = static_cast<int64_t>(settings_.inputs.size()) + 1;
    facts.standardise = settings_.standardise;
    facts.forecast = settings_;
    facts.scales.clear();
    facts.features.clear();
    for (const std::string& name : feature_names(settings_)) facts.features.push_back({.name = name});
    return facts;
  }

  ForecastRecipe settings_;
  mutable std::shared_ptr<const ForecastTable> table_{};
};

const Windows& windows_of(const Recipe& recipe) { return static_cast<const Windows&>(*recipe.task->data.examples.examples); }

class Forecast final : public ItemTask {
 public:
  Forecast(const Recipe& recipe, const Tokenizer& tokenizer, const NetworkFacts& network)
      : ItemTask(recipe, tokenizer, /*per_token=*/false,
                 [&recipe, network](const std::string& part, DataSummary& summary) { return items_of(part, recipe, network, summary); }),
        recipe_(recipe),
        facts_(network.series) {
    const std::vector<int64_t> rows = windows_of(recipe).rows("train", recipe);
    for (const int64_t row : rows) mean_unit_ += scale_of(row).unit / static_cast<double>(rows.size());
  }

  // With e = ŷ − y, the pinball loss is relu(e) − q·e. Here y and ŷ are network outputs: differences from the base, divided by
  // unit · deviation (models/forecast.h). The weight, the window's unit divided by the mean unit of the training windows, makes errors of
  // different windows comparable.
  Tensor loss(Run& run, const RunResult& result, const Example& example, double /*smoothing*/, double divisor) const override {
    const std::vector<double>& quantiles = facts_.forecast->quantiles;
    const auto batch = static_cast<int64_t>(example.values.size()), count = static_cast<int64_t>(quantiles.size());
    Tensor error = run.result({batch, count}), positive = run.result({batch, count}), share = run.result({batch, count}),
           sum = run.result({1});
    Tensor falling = Tensor::empty({batch, count}), weights = Tensor::empty({batch, count});
    for (int64_t at = 0; at < batch; ++at) {
      const ForecastScale scale = scale_of(example.numbers[static_cast<size_t>(at)]);
      const double y =
          (static_cast<double>(example.values[static_cast<size_t>(at)]) - scale.base) / (scale.unit * facts_.forecast->deviation);
      for (int64_t q = 0; q < count; ++q) {
        const double weight = scale.unit / (mean_unit_ * divisor);
        error.mutable_data<float>()[at * count + q] = static_cast<float>(-y);
        falling.mutable_data<float>()[at * count + q] = static_cast<float>(-quantiles[static_cast<size_t>(q)]);
        weights.mutable_data<float>()[at * count + q] = static_cast<float>(weight);
      }
    }
    ops::add(run, result.class_logits, error);
    ops::activate(run, Activation::kRelu, error, positive);
    ops::multiply(run, error, falling, share);
    ops::add(run, share, positive);
    Tensor weighted = run.result({batch, count});
    ops::multiply(run, positive, weights, weighted);
    ops::reduce(run, ops::Reduction::kSum, weighted.reshape({1, batch * count}), 1, sum);
    return sum;
  }

  std::vector<std::string> metric_names() const override { return {"skill", "coverage"}; }
  std::vector<double> predictions(const RunResult& result, const Example& example) const override {
    const size_t count = facts_.forecast->quantiles.size();
    std::vector<double> out;
    for (size_t at = 0; at < example.numbers.size(); ++at) {
      const std::vector<double> own = quantiles_of(facts_, scale_of(example.numbers[at]), result.class_logits.data<float>() + at * count);
      out.insert(out.end(), own.begin(), own.end());
    }
    return out;
  }
  std::vector<double> metrics(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const override {
    const Errors errors = errors_of(examples, predictions);
    return {errors.of_last > 0 ? 1 - errors.of_forecast / errors.of_last : 0, errors.covered};
  }
  std::vector<std::pair<std::string, double>> figures(const std::vector<Example>& examples,
                                                      const std::vector<std::vector<double>>& predictions) const override {
    const Errors errors = errors_of(examples, predictions);
    return {{"mae", errors.of_forecast}, {"mae_of_last_value", errors.of_last}, {"width", errors.width}, {"p_value", errors.p_value}};
  }
  Measured measured(const std::vector<Example>& examples) const override { return {ItemTask::measured(examples).count, "forecasts"}; }

 private:
  struct Errors {
    double of_forecast = 0, of_last = 0, covered = 0, width = 0, p_value = 1;
  };

  static std::vector<Item> items_of(const std::string& part, const Recipe& recipe, const NetworkFacts& network, DataSummary& summary) {
    const Windows& windows = windows_of(recipe);
    std::vector<Item> out;
    for (const int64_t row : windows.rows(part, recipe)) {
      Item item{.values = {windows.value(recipe, row)}, .number = row};
      item.read = encode_input(network, nullptr, {.series = forecast_window(network.series, windows.table(recipe), row)});
      out.push_back(std::move(item));
    }
    summary.of = "windows";
    return out;
  }

  ForecastScale scale_of(int64_t row) const {
    return forecast_scale(facts_, forecast_window(facts_, windows_of(recipe_).table(recipe_), row));
  }

  // p_value: two-sided, by the normal distribution, of the mean difference of the absolute errors. For a horizon h, the variance
  // includes twice the autocovariances of the differences at lags 1 to h − 1.
  Errors errors_of(const std::vector<Example>& examples, const std::vector<std::vector<double>>& predictions) const {
    const ForecastFacts& forecast = *facts_.forecast;
    const size_t count = forecast.quantiles.size(), median = median_of(forecast);
    Errors out;
    std::vector<double> differences;
    for (size_t batch = 0; batch < examples.size(); ++batch) {
      for (size_t at = 0; at < examples[batch].values.size(); ++at) {
        const auto y = static_cast<double>(examples[batch].values[at]);
        const double* quantiles = predictions[batch].data() + at * count;
        const auto last = static_cast<double>(windows_of(recipe_).value(recipe_, examples[batch].numbers[at] - forecast.horizon));
        const double error = std::abs(y - quantiles[median]), of_last = std::abs(y - last);
        out.of_forecast += error;
        out.of_last += of_last;
        out.covered += y >= quantiles[0] && y <= quantiles[count - 1];
        out.width += quantiles[count - 1] - quantiles[0];
        differences.push_back(error - of_last);
      }
    }
    const auto all = static_cast<double>(differences.size());
    const double mean = (out.of_forecast - out.of_last) / all;
    double variance = 0;
    for (size_t lag = 0; lag < static_cast<size_t>(forecast.horizon) && lag < differences.size(); ++lag) {
      for (size_t at = lag; at < differences.size(); ++at)
        variance += (lag == 0 ? 1 : 2) * (differences[at] - mean) * (differences[at - lag] - mean) / all;
    }
    if (variance > 0) out.p_value = std::erfc(std::abs(mean) / std::sqrt(2 * variance / all));
    for (double* sum : {&out.of_forecast, &out.of_last, &out.covered, &out.width}) *sum /= all;
    return out;
  }

  const Recipe& recipe_;
  SeriesFacts facts_;
  double mean_unit_ = 0;
};

const ExampleKind& windows_examples() {
  static const ExampleKind kind = {.name = "windows", .reads = "series", .counted = "windows", .arguments = "--file TABLE"};
  return kind;
}

void read(Fields& fields, Recipe& to) {
  ForecastRecipe settings;
  settings_schema().read(fields, settings);
  to.task->data.problem = ProblemType::kRegression;
  to.task->data.examples = {&windows_examples(), std::make_shared<Windows>(std::move(settings))};
}

std::vector<std::string> labels_of(const Recipe& recipe) {
  std::vector<std::string> out;
  for (const double quantile : windows_of(recipe).quantiles()) out.push_back(format("quantile {}", quantile));
  return out;
}

}  // namespace

const TaskDefinition& forecasting_task() {
  static const TaskDefinition definition = {
      .name = "forecasting",
      .description = "the next value of a column of a table in order of time, with an interval, from a window of earlier rows",
      .data = DataFields::kSplit,
      .reads = {"series"},
      .output = "forecast",
      .class_suffix = "ForForecasting",
      .can_hold_out = false,
      .has_sequence_targets = true,
      .fields = [] { return settings_schema().describe(); },
      .read = read,
      .commands = {{"forecast"}},
      .labels = labels_of,
      .configure = [](const Recipe& recipe, Json& model) { recipe.task->data.examples->configure(recipe, model); },
      .make = make_task<Forecast>,
  };
  return definition;
}

}  // namespace clearhead::tasks
