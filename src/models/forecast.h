// Forecasts of a column of a table whose rows are in order of time. The input of the model is a window of rows, and features of the row
// that is forecast; its outputs are quantiles.
//
//   window: rows t−h−length+1 … t−h of target and inputs     features: known columns and calendar of row t     h: the horizon
//   quantile q of y_t = base + unit·deviation·output_q
//     base: y_(t−difference). If difference is 0, it depends on "standardise": the mean of the training data with "data", the median of
//           the window's target with "each", 0 with "none".
//     unit: 1; with "each" the largest distance of the window's target from its median
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "clearhead/model.h"
#include "models/network.h"

namespace clearhead {

/// A table of numbers; a number is NaN if its cell is empty.
struct ForecastTable {
  std::vector<std::vector<float>> rows{};  // [row] target, inputs, then the features of the row
  std::vector<std::string> times{};        // [row]; empty strings without a column of times
  std::vector<int64_t> lines{};            // [row] the row's line in the file
  std::string path{};
  int64_t size() const { return static_cast<int64_t>(rows.size()); }
};

/// Reads "series.forecast" of a config.json. Throws kFormat with the field's name.
ForecastFacts read_forecast_facts(const Json& json, const SeriesFacts& series, const std::string& where);
Json json_of(const ForecastFacts& facts);
/// Names of the features of the row that is forecast: the known columns, then "hour (sine)", "hour (cosine)".
std::vector<std::string> feature_names(const ForecastFacts& facts);
/// Read the fields "calendar" (a list of "hour", "weekday" and "month") and "quantiles" (at least three ascending numbers between 0 and 1,
/// one of them 0.5) of a recipe or a config.json, if they are given. Throw kFormat for other values.
void read_calendar(Fields& fields, ForecastFacts& to);
void read_quantiles(Fields& fields, ForecastFacts& to);

/// Reads a table with a header. Cells of the target and of inputs may be empty in the last `horizon` rows. Throws kFormat, with path, line
/// and column, for a missing column, a cell that is not a finite number, and a time that is not later than the one before it.
ForecastTable read_forecast_table(std::string_view text, const std::string& path, const ForecastFacts& facts);
/// The window and the features for the forecast of a row, as ModelInput::series. The row may be the one after the last if there are no
/// features. Throws kFormat for a number that is missing, kInvalidArgument for a row with too few rows before it.
Tensor forecast_window(const SeriesFacts& facts, const ForecastTable& table, int64_t row);
/// The row that a table asks to forecast: the first whose target is empty, else the one after the last.
int64_t row_to_forecast(const ForecastTable& table);

struct ForecastScale {
  double base = 0, unit = 1;
};
/// numbers: as ModelInput::series
ForecastScale forecast_scale(const SeriesFacts& facts, const Tensor& numbers);
/// The quantiles in the unit of the target, ascending.   outputs: [quantile]
std::vector<double> quantiles_of(const SeriesFacts& facts, const ForecastScale& scale, const float* outputs);
/// Index of the quantile 0.5.
size_t median_of(const ForecastFacts& facts);
/// The name of an interval in maps: "hour −24 to −19", counted from the row that is forecast.
std::string rows_ahead(const SeriesFacts& facts, int64_t first_sample, int64_t last_sample);

struct ForecastInput {
  Tensor series{};     // as ModelInput::series
  std::string time{};  // of the row that is forecast; empty if it is not known
};
/// Reads the input of a model that forecasts: a table whose first line contains the target's name, or else numbers, as read_numbers()
/// reads them.
ForecastInput read_forecast_input(const SeriesFacts& facts, std::string_view text, const std::string& path);
/// Reads the input of any model of series: as above if it forecasts, otherwise numbers.
Tensor read_series(const ModelInfo& info, std::string_view text);

}  // namespace clearhead
