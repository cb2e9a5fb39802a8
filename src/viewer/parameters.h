// What a query string says, checked: every refusal names the parameter, what was found and what was expected (kInvalidArgument).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "clearhead/look.h"
#include "viewer/source.h"

namespace clearhead {

using QueryString = std::multimap<std::string, std::string>;

/// "1204,1210-1220": ranges [begin, end), a lone number n is [n, n + 1).
std::vector<Range> parse_ranges(std::string_view text, std::string_view name);

/// "a=1&b=%20": percent-decoded pairs, in order of appearance for equal names.
QueryString parse_query(std::string_view text);
std::string percent_decoded(std::string_view text);

class QueryParameters {
 public:
  explicit QueryParameters(const QueryString& query) : query_(query) {}
  const std::string* find(const std::string& name) const;
  std::string text(const std::string& name, std::string_view otherwise = "") const;
  int64_t integer(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const;
  bool flag(const std::string& name) const;  ///< "1" or "0"; absent: false
  /// Index of the value among the choices; absent: 0.
  size_t choice(const std::string& name, const std::vector<std::string_view>& choices) const;
  std::vector<Range> ranges(const std::string& name) const;  ///< required

  /// f, l, h, w, sink.
  HeadLook head() const;

 private:
  const QueryString& query_;
};

WeightKind weight_kind_of(std::string_view text);
SinkRule sink_rule_of(std::string_view text);

/// The fields of a POST body.
MassLook mass_look_of(const Json& body);
VerifyLook verify_look_of(const Json& body);

}  // namespace clearhead
