// Reads tables, cuts windows, and converts outputs to quantiles.
#include "models/forecast.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "models/input_series.h"

namespace clearhead {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

struct Moment {
  int64_t hour = 0, weekday = 0, month = 1;
};

// Reads "2012-05", "2012-05-31" or "2012-05-31 18:00".
Moment moment_of(std::string_view text, const std::string& where) {
  const auto part = [&](size_t at, size_t size, int64_t least, int64_t most) {
    int64_t number = 0;
    const char* const end = text.data() + std::min(text.size(), at + size);
    const auto [stop, error] = at < text.size() ? std::from_chars(text.data() + at, end, number)
                                                : std::from_chars_result{text.data(), std::errc::invalid_argument};
    if (error != std::errc() || stop != end || number < least || number > most)
      fail(ErrorCode::kFormat, "{}: the time is \"{}\"; expected one such as 2012-05-31 18:00, 2012-05-31 or 2012-05", where, text);
    return number;
  };
  const int64_t year = part(0, 4, 0, 9999), month = part(5, 2, 1, 12), day = text.size() > 7 ? part(8, 2, 1, 31) : 1;
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  const std::chrono::weekday weekday{std::chrono::sys_days(date)};
  return {text.size() > 10 ? part(11, 2, 0, 23) : 0, static_cast<int64_t>(weekday.iso_encoding()) - 1, month};
}

void add_calendar(const ForecastFacts& facts, const Moment& moment, std::vector<float>& to) {
  for (const std::string& name : facts.calendar) {
    const double turn = name == "hour"      ? static_cast<double>(moment.hour) / 24
                        : name == "weekday" ? static_cast<double>(moment.weekday) / 7
                                            : static_cast<double>(moment.month - 1) / 12;
    to.push_back(static_cast<float>(std::sin(2 * M_PI * turn)));
    to.push_back(static_cast<float>(std::cos(2 * M_PI * turn)));
  }
}

float number_of(std::string_view cell, const std::string& where) {
  if (cell.empty()) return kMissing;
  const std::optional<float> number = finite_number(cell);
  if (!number) fail(ErrorCode::kFormat, "{}: \"{}\" is not a finite number", where, cell);
  return *number;
}

// The index of each column in the header.
std::vector<size_t> find_columns(const std::vector<std::string>& names, const TableRow& header, const std::string& path) {
  std::vector<size_t> out;
  for (const std::string& name : names) {
    const auto found = std::find(header.cells.begin(), header.cells.end(), name);
    std::string known;
    for (const std::string_view cell : header.cells) known += (known.empty() ? "" : ", ") + format("\"{}\"", cell);
    if (found == header.cells.end())
      fail(ErrorCode::kFormat, "{}, line 1: there is no column \"{}\"; the columns are {}", path, name, known);
    out.push_back(static_cast<size_t>(found - header.cells.begin()));
  }
  return out;
}

// Throws kFormat unless the row has a number for the target and for every input.
void check_complete(const ForecastTable& table, const ForecastFacts& facts, int64_t row) {
  for (size_t at = 0; at <= facts.inputs.size(); ++at) {
    if (!std::isnan(table.rows[static_cast<size_t>(row)][at])) continue;
    fail(ErrorCode::kFormat,
         "{}, line {}, column \"{}\": the cell is empty; expected a number, for only the row to forecast{} may have empty cells",
         table.path, table.lines[static_cast<size_t>(row)], at == 0 ? facts.target : facts.inputs[at - 1],
         facts.horizon == 1 ? "" : format(" and the {} before it", facts.horizon - 1));
  }
}

}  // namespace

void read_calendar(Fields& fields, ForecastFacts& to) {
  if (!fields.take("calendar")) return;
  to.calendar = fields.strings("calendar");
  for (const std::string& name : to.calendar) {
    if (name != "hour" && name != "weekday" && name != "month") fields.wrong("calendar", "hour, weekday or month", Json(name));
  }
}

void read_quantiles(Fields& fields, ForecastFacts& to) {
  const Json* given = fields.take("quantiles");
  if (!given) return;
  const auto wrong = [&] { fields.wrong("quantiles", "at least three numbers between 0 and 1, ascending, one of them 0.5", *given); };
  if (!given->is_array()) wrong();
  to.quantiles.clear();
  for (const Json& one : given->items()) {
    if (!one.is_number() || !(one.number() > (to.quantiles.empty() ? 0 : to.quantiles.back()) && one.number() < 1)) wrong();
    to.quantiles.push_back(one.number());
  }
  if (to.quantiles.size() < 3 || median_of(to) == to.quantiles.size()) wrong();
}

ForecastFacts read_forecast_facts(const Json& json, const SeriesFacts& series, const std::string& where) {
  Fields fields(json, where, "series.forecast");
  ForecastFacts out{.target = fields.string("target"),
                    .time = fields.string_or("time", ""),
                    .inputs = fields.strings("inputs"),
                    .known = fields.strings("known"),
                    .horizon = fields.integer("horizon"),
                    .difference = fields.integer("difference"),
                    .deviation = fields.number("deviation")};
  fields.require("calendar");
  fields.require("quantiles");
  read_calendar(fields, out);
  read_quantiles(fields, out);
  if (out.horizon < 1) fields.wrong("horizon", "a whole number from 1", Json(out.horizon));
  if (out.difference != 0 && (out.difference < out.horizon || out.difference >= out.horizon + series.length))
    fields.wrong("difference",
                 format("0, or {} to {}, the rows of the window counted back from the row that is forecast", out.horizon,
                        out.horizon + series.length - 1),
                 Json(out.difference));
  if (!(out.deviation > 0)) fields.wrong("deviation", "a number above 0", Json(out.deviation));
  if (static_cast<int64_t>(out.inputs.size()) + 1 != series.channels)
    fields.wrong("inputs", format("the names of {} columns, one less than the channels of the series", series.channels - 1),
                 *json.find("inputs"));
  if (static_cast<int64_t>(feature_names(out).size()) != series.feature_count())
    fields.wrong("known",
                 format("columns that make {} features together with \"calendar\" (two each), as many as \"series.features\"",
                        series.feature_count()),
                 *json.find("known"));
  fields.refuse_rest();
  return out;
}

Json json_of(const ForecastFacts& facts) {
  const auto list = [](const auto& values) { return Json(Json::Array(values.begin(), values.end())); };
  return Json::object({{"target", facts.target},
                       {"time", facts.time},
                       {"inputs", list(facts.inputs)},
                       {"known", list(facts.known)},
                       {"calendar", list(facts.calendar)},
                       {"horizon", facts.horizon},
                       {"difference", facts.difference},
                       {"deviation", facts.deviation},
                       {"quantiles", list(facts.quantiles)}});
}

std::vector<std::string> feature_names(const ForecastFacts& facts) {
  std::vector<std::string> out = facts.known;
  for (const std::string& name : facts.calendar) {
    out.push_back(name + " (sine)");
    out.push_back(name + " (cosine)");
  }
  return out;
}

size_t median_of(const ForecastFacts& facts) {
  return static_cast<size_t>(std::find(facts.quantiles.begin(), facts.quantiles.end(), 0.5) - facts.quantiles.begin());
}

ForecastTable read_forecast_table(std::string_view text, const std::string& path, const ForecastFacts& facts) {
  ForecastTable out{.path = path};
  std::vector<std::string> names = {facts.target};
  names.insert(names.end(), facts.inputs.begin(), facts.inputs.end());
  names.insert(names.end(), facts.known.begin(), facts.known.end());
  if (!facts.time.empty()) names.push_back(facts.time);
  std::vector<size_t> columns;
  size_t width = 0;
  for_each_row(text, path, [&](const TableRow& row) {
    if (row.line == 1) {
      columns = find_columns(names, row, path);
      width = row.cells.size();
      return;
    }
    const std::string where = format("{}, line {}", path, row.line);
    if (row.cells.size() != width)
      fail(ErrorCode::kFormat, "{}: expected {} columns separated by {}, as in line 1, found {}", where, width, separators_of(path),
           row.cells.size());
    const auto place = [&](size_t at) { return format("{}, column {} (\"{}\")", where, columns[at] + 1, names[at]); };
    std::vector<float> numbers;
    const size_t count = names.size() - (facts.time.empty() ? 0 : 1), series = 1 + facts.inputs.size();
    for (size_t at = 0; at < count; ++at) {
      numbers.push_back(number_of(row.cells[columns[at]], place(at)));
      if (at >= series && std::isnan(numbers.back())) fail(ErrorCode::kFormat, "{}: the cell is empty; expected a number", place(at));
    }
    std::string time(facts.time.empty() ? "" : row.cells[columns.back()]);
    if (!facts.time.empty()) {
      const Moment moment = moment_of(time, place(count));
      if (!out.times.empty() && time <= out.times.back())
        fail(ErrorCode::kFormat, "{}: the time {} is not later than {}, that of the row before; sort the table by time", place(count), time,
             out.times.back());
      add_calendar(facts, moment, numbers);
    }
    out.rows.push_back(std::move(numbers));
    out.times.push_back(std::move(time));
    out.lines.push_back(row.line);
  });
  if (columns.empty()) fail(ErrorCode::kFormat, "{}: the table is empty; expected a line with the names of the columns", path);
  for (int64_t row = 0; row < out.size() - facts.horizon; ++row) check_complete(out, facts, row);
  return out;
}

int64_t row_to_forecast(const ForecastTable& table) {
  const auto found = std::find_if(table.rows.begin(), table.rows.end(), [](const auto& row) { return std::isnan(row.front()); });
  return found - table.rows.begin();
}

Tensor forecast_window(const SeriesFacts& facts, const ForecastTable& table, int64_t row) {
  const ForecastFacts& forecast = *facts.forecast;
  const int64_t end = row - forecast.horizon + 1, begin = end - facts.length, features = facts.feature_count();
  if (begin < 0)
    fail(ErrorCode::kInvalidArgument, "{}: there are {} rows before the row to forecast, but the model needs {}; add earlier rows",
         table.path, row, facts.length + forecast.horizon - 1);
  if (features > 0 && row >= table.size()) {
    fail(ErrorCode::kInvalidArgument,
         "{}: the model reads {} of the row that it forecasts; append that row, with an empty cell in the column \"{}\"", table.path,
         Json(facts.features.front().name).dump(), forecast.target);
  }
  std::vector<float> numbers;
  for (int64_t at = begin; at < end; ++at) {
    check_complete(table, forecast, at);
    const std::vector<float>& from = table.rows[static_cast<size_t>(at)];
    numbers.insert(numbers.end(), from.begin(), from.begin() + facts.channels);
  }
  if (features > 0) {
    const std::vector<float>& from = table.rows[static_cast<size_t>(row)];
    numbers.insert(numbers.end(), from.begin() + facts.channels, from.end());
  }
  return Tensor::from(numbers, {static_cast<int64_t>(numbers.size())});
}

ForecastScale forecast_scale(const SeriesFacts& facts, const Tensor& numbers) {
  const ForecastFacts& forecast = *facts.forecast;
  const float* from = numbers.data<float>();
  const auto target = [&](int64_t sample) { return static_cast<double>(from[sample * facts.channels]); };
  ForecastScale out;
  if (forecast.difference > 0) {
    out.base = target(facts.length - 1 + forecast.horizon - forecast.difference);
  } else if (facts.standardise == Standardise::kData) {
    out.base = facts.scales.front().mean;
  }
  if (facts.standardise != Standardise::kEach) return out;
  const SeriesFacts::Scale own = own_scale(from, facts.length, facts.channels);
  out.unit = own.deviation;
  if (forecast.difference == 0) out.base = own.mean;
  return out;
}

std::vector<double> quantiles_of(const SeriesFacts& facts, const ForecastScale& scale, const float* outputs) {
  const double unit = scale.unit * facts.forecast->deviation;
  std::vector<double> out;
  for (size_t at = 0; at < facts.forecast->quantiles.size(); ++at) out.push_back(scale.base + unit * static_cast<double>(outputs[at]));
  std::sort(out.begin(), out.end());  // the outputs are not constrained to be in order
  return out;
}

std::string rows_ahead(const SeriesFacts& facts, int64_t first_sample, int64_t last_sample) {
  const auto rows_before = [&](int64_t sample) { return facts.length - 1 - sample + facts.forecast->horizon; };
  const std::string unit = facts.forecast->time.empty() ? "row" : facts.forecast->time;
  if (first_sample == last_sample) return format("{} −{}", unit, rows_before(first_sample));
  return format("{} −{} to −{}", unit, rows_before(first_sample), rows_before(last_sample));
}

ForecastInput read_forecast_input(const SeriesFacts& facts, std::string_view text, const std::string& path) {
  if (text.substr(0, text.find('\n')).find(facts.forecast->target) == std::string_view::npos) {
    try {
      return {read_numbers(text), ""};
    } catch (const Error& error) {
      fail(error.code(), "{}, or a table with the column \"{}\" in its first line", error.what(), facts.forecast->target);
    }
  }
  const ForecastTable table = read_forecast_table(text, path, *facts.forecast);
  const int64_t row = row_to_forecast(table);
  return {forecast_window(facts, table, row), row < table.size() ? table.times[static_cast<size_t>(row)] : ""};
}

Tensor read_series(const ModelInfo& info, std::string_view text) {
  if (info.output != "forecast") return read_numbers(text);
  const std::string path = info.directory + "/config.json";
  const Json config = Json::parse(read_config(path), path);
  Fields fields(config, path);
  return read_forecast_input(read_series_facts(fields), text, "table.tsv").series;
}

}  // namespace clearhead
