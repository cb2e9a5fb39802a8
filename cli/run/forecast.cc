// clearhead run forecast: the next value of a column of a table, with an interval.
#include "models/forecast.h"

#include <utility>

#include "base/format.h"
#include "clearhead/error.h"
#include "cli/input.h"
#include "cli/run_command.h"
#include "models/encoded_input.h"
#include "models/input_kind.h"
#include "models/loaded_network.h"

namespace clearhead::cli {
namespace {

struct Forecasted {
  std::string time{};  // of the row that is forecast; empty if the table does not have it
  std::vector<double> values{};
};

std::vector<double> forecast(const Model& model, const ModelInput& input, const Interventions& interventions) {
  const LoadedNetwork& network = network_model(model, "does not forecast");
  const EncodedInput read = encode_input(network.facts(), nullptr, input);
  const EncodedBatch batch = collate({&read}, 0);
  const Tensor outputs = network.run_batch(batch.input, nullptr, {.interventions = interventions}).class_logits;
  const SeriesFacts& facts = network.facts().series;
  return quantiles_of(facts, forecast_scale(facts, input.series), outputs.data<float>());
}

std::string interval_text(const ForecastFacts& facts, const std::vector<double>& values) {
  return format("{:.0f} % interval: {:.6g} to {:.6g}", (facts.quantiles.back() - facts.quantiles.front()) * 100, values.front(),
                values.back());
}

struct Forecast final : TextCommand<Forecasted> {
  Forecast() : TextCommand("forecasting") {}

  SeriesFacts facts{};

  void begin(const Model& of) override {
    if (of.info().output != "forecast")
      fail(ErrorCode::kUnsupported, "{}: the model does not forecast; expected one that was trained with the task \"forecasting\"",
           of.info().name);
    facts = network_model(of, "does not forecast").facts().series;
  }

  Forecasted answer_text(const Model& of, const std::string& given) override {
    const std::string path = text.file.empty() || text.file == "-" ? "table.tsv" : text.file;
    ForecastInput input = read_forecast_input(facts, given, path);
    return {std::move(input.time), forecast(of, {.series = input.series}, interventions_in(of, given))};
  }

  Json json_of(const Forecasted& found) const override {
    Json out = Json::object({{"target", facts.forecast->target}});
    if (!found.time.empty()) out[facts.forecast->time] = found.time;
    if (found.values.empty()) return out;
    out["forecast"] = found.values[median_of(*facts.forecast)];
    Json quantiles = Json::object();
    for (size_t at = 0; at < found.values.size(); ++at) quantiles[format("{}", facts.forecast->quantiles[at])] = found.values[at];
    out["quantiles"] = std::move(quantiles);
    return out;
  }
  std::string line_of(const Forecasted& found) const override {
    std::string line;
    for (const double value : found.values) line += format("{}{:.6g}", line.empty() ? "" : "\t", value);
    return line;
  }
  void print_answer(const Forecasted& found) const override {
    print(format("{}{}: {:.6g}", found.time.empty() ? "" : found.time + "  ", facts.forecast->target,
                 found.values[median_of(*facts.forecast)]));
    print(interval_text(*facts.forecast, found.values));
  }
};

std::string answer_example(const Model& model, const ModelInput& input, const TracedInput&) {
  const ForecastFacts& facts = *network_model(model, "does not forecast").facts().series.forecast;
  const std::vector<double> values = forecast(model, input, {});
  return format("{}: {:.6g} ({})", facts.target, values[median_of(facts)], interval_text(facts, values));
}

}  // namespace

const RunCommand& forecast_command() {
  static const RunCommand command = {.name = "forecast",
                                     .description =
                                         "Print a forecast of the next value of a table's column, with an interval; "
                                         "the text is the table (--file TABLE)",
                                     .is_task_of = [](const ModelInfo& info) { return info.output == "forecast"; },
                                     .specificity = 3,
                                     .add = add_text_command<Forecast>,
                                     .answer_example = answer_example};
  return command;
}

}  // namespace clearhead::cli
