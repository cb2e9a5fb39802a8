// Draws a date, then one of nine formats. A hash of the number of days since the first date decides whether a date is
// for training, validation or testing.
#include "tasks/data/made_dates.h"

#include <array>
#include <charconv>
#include <chrono>

#include "base/format.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "tasks/data/pair_data.h"

namespace clearhead::tasks {
namespace {

using namespace std::chrono;

constexpr std::array kMonths = {"January", "February", "March",     "April",   "May",      "June",
                                "July",    "August",   "September", "October", "November", "December"};
constexpr std::array kWeekdays = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
constexpr sys_days kFirst = year(1900) / 1 / 1, kLast = year(2099) / 12 / 31;
constexpr size_t kWays = 9;

const char* ending_of(unsigned d) {
  if (d / 10 == 1) return "th";
  return d % 10 == 1 ? "st" : d % 10 == 2 ? "nd" : d % 10 == 3 ? "rd" : "th";
}

std::string written(sys_days when, size_t way) {
  const year_month_day date(when);
  const int y = static_cast<int>(date.year());
  const unsigned m = static_cast<unsigned>(date.month()), d = static_cast<unsigned>(date.day());
  const std::string month = kMonths[m - 1], shorter = month.substr(0, 3), on = kWeekdays[weekday(when).c_encoding()];
  switch (way) {
    case 0: return format("{} {}, {}", month, d, y);
    case 1: return format("{} {} {}", d, month, y);
    case 2: return format("the {}{} of {} {}", d, ending_of(d), month, y);
    case 3: return format("{}, {} {}, {}", on, month, d, y);
    case 4: return format("{} {} {}", d, shorter, y);
    case 5: return format("{} {}{}, {}", shorter, d, ending_of(d), y);
    case 6: return format("{}/{}/{}", m, d, y);  // as in the United States
    case 7: return format("{} {} {}, a {}", y, month, d, on);
    default: return format("on {} the {}{} of {}, {}", on, d, ending_of(d), month, y);
  }
}

// One in ten dates is for testing, one for validation.
size_t part_of(sys_days when) {
  const uint64_t draw = random_bits(17, static_cast<uint64_t>((when - kFirst).count())) % 10;
  return draw == 0 ? 2 : draw == 1 ? 1 : 0;
}

}  // namespace

std::optional<std::vector<TextPair>> made_dates(const std::string& name) {
  constexpr std::string_view kPrefix = "made:dates:";
  if (!name.starts_with("made:")) return std::nullopt;
  constexpr std::array<std::string_view, 3> kParts = {"train", "valid", "test"};
  const size_t colon = name.rfind(':');
  size_t part = 0, count = 0;
  while (part < kParts.size() && name.substr(0, colon) != std::string(kPrefix) + std::string(kParts[part])) ++part;
  const auto [end, error] = std::from_chars(name.data() + colon + 1, name.data() + name.size(), count);
  if (part == kParts.size() || error != std::errc() || end != name.data() + name.size() || count < 1 || count > 10'000'000)
    fail(ErrorCode::kFormat, "\"{}\": expected made:dates:PART:COUNT, where PART is train, valid or test, and COUNT a number of pairs",
         name);
  RandomSequence random(part);
  std::vector<TextPair> out;
  while (out.size() < count) {
    const sys_days when = kFirst + days(random.roll(static_cast<size_t>((kLast - kFirst).count()) + 1));
    if (part_of(when) != part) continue;
    const year_month_day date(when);
    out.push_back({written(when, random.roll(kWays)), format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                                                             static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()))});
  }
  return out;
}

}  // namespace clearhead::tasks
