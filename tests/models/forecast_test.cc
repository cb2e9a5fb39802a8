// Forecasts: tables of numbers, the windows cut from them, and the quantiles that outputs stand for.
#include "models/forecast.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "refused.h"

namespace clearhead {
namespace {

// A window of three rows of two columns, two rows before the row that is forecast, of which the column "open" and the hour are known.
SeriesFacts facts() {
  SeriesFacts out{.channels = 2, .length = 3, .interval = 1};
  out.forecast = ForecastFacts{.target = "sold",
                               .time = "hour",
                               .inputs = {"rain"},
                               .known = {"open"},
                               .calendar = {"hour"},
                               .horizon = 2,
                               .difference = 3,
                               .deviation = 2};
  for (const std::string& name : feature_names(*out.forecast)) out.features.push_back({.name = name});
  return out;
}

const std::string kHeader = "hour\tsold\train\topen\n";
const std::string kRows =
    "2024-01-01 00:00\t1\t10\t0\n2024-01-01 01:00\t2\t20\t0\n2024-01-01 02:00\t3\t30\t1\n2024-01-01 03:00\t4\t40\t1\n"
    "2024-01-01 04:00\t5\t50\t1\n";

ForecastTable table(const std::string& more = "") { return read_forecast_table(kHeader + kRows + more, "shop.tsv", *facts().forecast); }

TEST(Forecast, AWindowHasTheRowsUpToTheHorizonThenTheKnownNumbersOfTheRowAhead) {
  const Tensor window = forecast_window(facts(), table(), 4);
  const std::vector<float> numbers(window.data<float>(), window.data<float>() + window.numel());
  const std::vector<float> expected = {
      1, 10, 2, 20, 3, 30, 1, static_cast<float>(std::sin(M_PI / 3)), static_cast<float>(std::cos(M_PI / 3))};
  EXPECT_EQ(numbers, expected);
}

TEST(Forecast, TheRowAheadIsTheFirstWithoutATarget) {
  EXPECT_EQ(row_to_forecast(table()), 5);
  EXPECT_EQ(row_to_forecast(table("2024-01-01 05:00\t\t\t1\n2024-01-01 06:00\t\t\t0\n")), 5);
}

TEST(Forecast, QuantilesAreDifferencesFromAnEarlierValueAndAscend) {
  const Tensor window = forecast_window(facts(), table(), 4);
  const ForecastScale scale = forecast_scale(facts(), window);
  EXPECT_EQ(scale.base, 2);  // three rows before row 4
  EXPECT_EQ(scale.unit, 1);
  const std::vector<float> outputs = {0.5F, 1.5F, -1.0F};
  EXPECT_EQ(quantiles_of(facts(), scale, outputs.data()), (std::vector<double>{0, 3, 5}));
}

TEST(Forecast, TheUnitOfEachWindowIsItsLargestDistanceFromTheMedian) {
  SeriesFacts each = facts();
  each.standardise = Standardise::kEach;
  each.forecast->difference = 0;
  const ForecastScale scale = forecast_scale(each, Tensor::from<float>({1, 0, 9, 0, 3, 0, 0, 0, 1}, {9}));
  EXPECT_EQ(scale.base, 3);
  EXPECT_EQ(scale.unit, 6);

  each.length = 4;  // the median of an even number of samples is the mean of the middle two, as for the samples that the network reads
  const ForecastScale even = forecast_scale(each, Tensor::from<float>({1, 0, 9, 0, 3, 0, 5, 0, 0, 0, 1}, {11}));
  EXPECT_EQ(even.base, 4);
  EXPECT_EQ(even.unit, 5);
}

TEST(Forecast, IntervalsAreCountedFromTheRowAhead) {
  EXPECT_EQ(rows_ahead(facts(), 0, 2), "hour −4 to −2");
  EXPECT_EQ(rows_ahead(facts(), 2, 2), "hour −2");
}

TEST(Forecast, FactsAreReadAsTheyWereWritten) {
  const ForecastFacts read = read_forecast_facts(json_of(*facts().forecast), facts(), "config.json");
  EXPECT_EQ(json_of(read).dump(), json_of(*facts().forecast).dump());
}

TEST(Forecast, BadTablesAreRefusedWithTheirPlace) {
  const auto refuse = [](const std::string& says, const std::string& text) {
    expect_refused(ErrorCode::kFormat, says, [&] { read_forecast_table(text, "shop.tsv", *facts().forecast); });
  };
  refuse("shop.tsv: the table is empty; expected a line with the names of the columns", "");
  expect_refused(ErrorCode::kFormat, "number 1 is \"a\"; expected a finite number, or a table with the column \"sold\" in its first line",
                 [] { read_forecast_input(facts(), "a,b\n1,2\n", "shop.tsv"); });
  refuse("shop.tsv, line 1: there is no column \"open\"; the columns are \"hour\", \"sold\", \"rain\"", "hour\tsold\train\n");
  refuse("shop.tsv, line 2: expected 4 columns separated by tabs, as in line 1, found 3", kHeader + "2024-01-01 00:00\t1\t10\n");
  refuse("shop.tsv, line 7, column 2 (\"sold\"): \"many\" is not a finite number", kHeader + kRows + "2024-01-01 05:00\tmany\t1\t1\n");
  refuse("shop.tsv, line 7, column 3 (\"rain\"): \"inf\" is not a finite number", kHeader + kRows + "2024-01-01 05:00\t1\tinf\t1\n");
  refuse("shop.tsv, line 7, column 4 (\"open\"): the cell is empty; expected a number", kHeader + kRows + "2024-01-01 05:00\t1\t1\t\n");
  refuse("shop.tsv, line 7, column 1 (\"hour\"): the time is \"noon\"; expected one such as 2012-05-31 18:00, 2012-05-31 or 2012-05",
         kHeader + kRows + "noon\t1\t1\t1\n");
  refuse(
      "shop.tsv, line 7, column 1 (\"hour\"): the time 2024-01-01 04:00 is not later than 2024-01-01 04:00, that of the row before; sort "
      "the table by time",
      kHeader + kRows + "2024-01-01 04:00\t1\t1\t1\n");
  refuse(
      "shop.tsv, line 2, column \"sold\": the cell is empty; expected a number, for only the row to "
      "forecast and the 1 before it may have empty cells",
      kHeader + "2024-01-01 00:00\t\t1\t1\n2024-01-01 01:00\t1\t1\t1\n2024-01-01 02:00\t1\t1\t1\n");
}

TEST(Forecast, RowsWithoutAWindowAreRefused) {
  expect_refused(ErrorCode::kInvalidArgument,
                 "shop.tsv: there are 3 rows before the row to forecast, but the model needs 4; add earlier rows",
                 [] { forecast_window(facts(), table(), 3); });
  expect_refused(
      ErrorCode::kInvalidArgument,
      "shop.tsv: the model reads \"open\" of the row that it forecasts; append that row, with an empty cell in the column \"sold\"",
      [] { forecast_window(facts(), table(), 5); });
}

TEST(Forecast, BadFactsAreRefusedByField) {
  const auto refuse = [](const std::string& says, const char* field, const Json& value) {
    Json json = json_of(*facts().forecast);
    json[field] = value;
    expect_refused(ErrorCode::kFormat, says, [&] { read_forecast_facts(json, facts(), "config.json"); });
  };
  refuse("\"series.forecast.calendar\": expected hour, weekday or month", "calendar", Json::Array{"year"});
  refuse("\"series.forecast.horizon\": expected a whole number from 1", "horizon", 0);
  refuse("\"series.forecast.difference\": expected 0, or 2 to 4, the rows of the window counted back from the row that is forecast",
         "difference", 5);
  refuse("\"series.forecast.deviation\": expected a number above 0", "deviation", 0);
  refuse("\"series.forecast.quantiles\": expected at least three numbers between 0 and 1, ascending, one of them 0.5", "quantiles",
         Json::Array{0.5, 0.1, 0.9});
  refuse("\"series.forecast.quantiles\": expected at least three numbers between 0 and 1, ascending, one of them 0.5", "quantiles",
         Json::Array{0.1, 0.4, 0.9});
  refuse("\"series.forecast.inputs\": expected the names of 1 columns, one less than the channels of the series", "inputs", Json::array());
  refuse(
      "\"series.forecast.known\": expected columns that make 3 features together with \"calendar\" (two each), as many as "
      "\"series.features\"",
      "known", Json::array());
}

}  // namespace
}  // namespace clearhead
