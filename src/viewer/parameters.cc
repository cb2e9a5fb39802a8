// Decodes query strings and reads parameters by type: integers in a range, choices, ranges, heads; also the JSON bodies of mass and verify.
#include "viewer/parameters.h"

#include "base/format.h"
#include "base/number.h"

namespace clearhead::viewer {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::vector<Range> ranges_of(const Json& json, const char* name) {
  std::vector<Range> out;
  if (!json.is_array()) fail(ErrorCode::kInvalidArgument, "{}: expected [[begin, end], …], found {}.", name, json.describe());
  for (const Json& item : json.items()) {
    if (!item.is_array() || item.size() != 2 || !item.items()[0].is_integer() || !item.items()[1].is_integer()) {
      fail(ErrorCode::kInvalidArgument, "{}: expected [begin, end], found {}.", name, item.describe());
    }
    out.push_back({item.items()[0].integer(), item.items()[1].integer()});
  }
  return out;
}

std::string string_of(Fields& fields, const char* name, const char* otherwise) {
  const Json* found = fields.take(name);
  if (!found || found->is_null()) return otherwise;
  if (!found->is_string()) fail(ErrorCode::kInvalidArgument, "{}: expected a string, found {}.", name, found->describe());
  return found->string();
}

}  // namespace

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+') {
      out += ' ';
    } else if (text[at] == '%' && at + 2 < text.size() && hex_digit(text[at + 1]) >= 0 && hex_digit(text[at + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[at + 1]) * 16 + hex_digit(text[at + 2]));
      at += 2;
    } else {
      out += text[at];
    }
  }
  return out;
}

QueryString parse_query(std::string_view text) {
  QueryString out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const std::string name = percent_decoded(pair.substr(0, equals));
    out.emplace(name, equals == std::string_view::npos ? "" : percent_decoded(pair.substr(equals + 1)));
  }
  return out;
}

std::vector<Range> parse_ranges(std::string_view text, std::string_view name) {
  std::vector<Range> out;
  std::string_view rest = text;
  const auto refuse = [&] { fail(ErrorCode::kInvalidArgument, "{}: expected ranges like 1204,1210-1220, found \"{}\".", name, text); };
  if (rest.empty()) refuse();
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view item = rest.substr(0, comma);
    const size_t dash = item.find('-');
    const auto begin = whole_number(item.substr(0, dash));
    const auto end = dash == std::string_view::npos ? begin : whole_number(item.substr(dash + 1));
    if (!begin || !end || *begin < 0 || *end > (int64_t{1} << 40)) refuse();
    const Range range{*begin, dash == std::string_view::npos ? *begin + 1 : *end};
    if (range.size() <= 0)
      fail(ErrorCode::kInvalidArgument, "{}: {} is an empty range; ranges are begin-end, end not included.", name, item);
    out.push_back(range);
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
    if (rest.empty()) refuse();
  }
  return out;
}

const std::string* QueryParameters::find(const std::string& name) const {
  const auto found = query_.find(name);
  return found == query_.end() ? nullptr : &found->second;
}

std::string QueryParameters::text(const std::string& name, std::string_view otherwise) const {
  const std::string* found = find(name);
  return found ? *found : std::string(otherwise);
}

int64_t QueryParameters::integer(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const {
  const std::string* found = find(name);
  if (!found) return otherwise;
  const auto value = whole_number(*found);
  if (!value || *value < least || *value > most) {
    fail(ErrorCode::kInvalidArgument, "{}: expected a whole number from {} to {}, found \"{}\".", name, least, most, *found);
  }
  return *value;
}

bool QueryParameters::flag(const std::string& name) const { return choice(name, {"0", "1"}) == 1; }

size_t QueryParameters::choice(const std::string& name, const std::vector<std::string_view>& choices) const {
  const std::string* found = find(name);
  if (!found) return 0;
  std::string known;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == *found) return i;
    known += (i > 0 ? ", " : "") + std::string(choices[i]);
  }
  fail(ErrorCode::kInvalidArgument, "{}: expected one of {}, found \"{}\".", name, known, *found);
}

std::vector<Range> QueryParameters::ranges(const std::string& name) const {
  const std::string* found = find(name);
  if (!found) fail(ErrorCode::kInvalidArgument, "{}: is missing; expected ranges like 1204,1210-1220.", name);
  return parse_ranges(*found, name);
}

int64_t QueryParameters::index(const std::string& name, int64_t otherwise) const {
  return text(name) == "mean" ? kMean : integer(name, otherwise, 0, 100'000);
}

HeadLook QueryParameters::head() const {
  HeadLook at;
  at.family = text("f");
  at.layer = static_cast<int>(index("l"));
  at.head = index("h");
  at.weight = weight_kind_of(text("w", "raw"));
  at.sink = static_cast<SinkRule>(choice("sink", {"mark", "hide", "renorm"}));
  return at;
}

WeightKind weight_kind_of(std::string_view text) {
  std::string known;
  for (const WeightKind kind : kWeightKinds) {
    if (text == to_string(kind)) return kind;
    known += (known.empty() ? "" : ", ") + std::string(to_string(kind));
  }
  fail(ErrorCode::kInvalidArgument, "w: expected one of {}, found \"{}\".", known, text);
}

SinkRule sink_rule_of(std::string_view text) {
  for (const SinkRule rule : {SinkRule::kMark, SinkRule::kHide, SinkRule::kRenormalise}) {
    if (text == to_string(rule)) return rule;
  }
  fail(ErrorCode::kInvalidArgument, "sink: expected one of mark, hide, renorm, found \"{}\".", text);
}

MassLook mass_look_of(const Json& body) {
  Fields fields(body, "api/mass");
  MassLook look;
  look.family = string_of(fields, "f", "");
  look.rows = ranges_of(fields.require("rows"), "rows");
  look.keys = ranges_of(fields.require("keys"), "keys");
  look.weight = weight_kind_of(string_of(fields, "w", "raw"));
  look.sink = sink_rule_of(string_of(fields, "sink", "mark"));
  return look;
}

VerifyLook verify_look_of(const Json& body) {
  Fields fields(body, "api/verify");
  VerifyLook look;
  look.family = string_of(fields, "f", "");
  for (const Range& pair : ranges_of(fields.require("heads"), "heads")) {
    if (pair.begin < 0 || pair.begin > 100'000) fail(ErrorCode::kInvalidArgument, "heads: there is no layer {}.", pair.begin);
    look.heads.emplace_back(static_cast<int>(pair.begin), pair.end);
  }
  look.rows = ranges_of(fields.require("rows"), "rows");
  look.keys = ranges_of(fields.require("keys"), "keys");
  look.weight = weight_kind_of(string_of(fields, "w", "raw"));
  return look;
}

}  // namespace clearhead::viewer
