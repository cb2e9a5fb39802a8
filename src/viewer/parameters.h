// Parses and validates query strings. Every error (kInvalidArgument) names the parameter, the value
// that was found and the values that are allowed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "clearhead/look.h"
#include "viewer/questions/head.h"
#include "viewer/questions/mass.h"
#include "viewer/questions/verify.h"

namespace clearhead::viewer {

using QueryString = std::multimap<std::string, std::string>;

/// "1204,1210-1220": ranges [begin, end). A single number n means [n, n + 1).
std::vector<Range> parse_ranges(std::string_view text, std::string_view name);

/// "a=1&b=%20": names and values, percent-decoded. Parameters with the same name keep their order.
QueryString parse_query(std::string_view text);
std::string percent_decoded(std::string_view text);

class QueryParameters {
 public:
  explicit QueryParameters(const QueryString& query) : query_(query) {}
  const std::string* find(const std::string& name) const;
  std::string text(const std::string& name, std::string_view otherwise = "") const;
  int64_t integer(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const;
  bool flag(const std::string& name) const;  ///< "1" or "0"; absent: false
  /// Returns the index of the value among the choices; 0 if absent.
  size_t choice(const std::string& name, const std::vector<std::string_view>& choices) const;
  std::vector<Range> ranges(const std::string& name) const;  ///< throws if absent

  /// A layer or a head: a number, or "mean" for kMean.
  int64_t index(const std::string& name, int64_t otherwise = 0) const;
  /// Reads the parameters f, l, h, w and sink.
  HeadLook head() const;

 private:
  const QueryString& query_;
};

/// The inverse of to_string(). Throw kInvalidArgument for unknown names.
WeightKind weight_kind_of(std::string_view text);
SinkRule sink_rule_of(std::string_view text);

/// Parse the fields of a POST body.
MassLook mass_look_of(const Json& body);
VerifyLook verify_look_of(const Json& body);

}  // namespace clearhead::viewer
