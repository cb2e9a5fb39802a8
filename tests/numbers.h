// Sets the numbers of a JSON text to extreme values, one at a time. The text stays valid except
// for that number, which random changes of bytes rarely achieve.
#pragma once

#include <cctype>
#include <string>
#include <vector>

namespace clearhead {

struct Number {
  size_t at = 0, length = 0;
};

// The integers of a JSON text, except those inside strings.
inline std::vector<Number> numbers_of(const std::string& json) {
  std::vector<Number> out;
  bool quoted = false;
  for (size_t at = 0; at < json.size(); ++at) {
    if (json[at] == '"' && (at == 0 || json[at - 1] != '\\')) quoted = !quoted;
    if (quoted || !(std::isdigit(static_cast<unsigned char>(json[at])) || json[at] == '-')) continue;
    size_t end = at + 1;
    while (end < json.size() &&
           (std::isalnum(static_cast<unsigned char>(json[end])) || json[end] == '.' || json[end] == '-' || json[end] == '+'))
      ++end;
    out.push_back({at, end - at});
    at = end - 1;
  }
  return out;
}

inline std::vector<std::string> edges_of(const std::string& number) {
  std::vector<std::string> out{"0",
                               "-1",
                               "1",
                               "1000",
                               "2147483648",
                               "1099511627776",
                               "9007199254740992",
                               "9223372036854775807",
                               "9223372036854775803",
                               "-9223372036854775808",
                               "4611686018427387904"};
  if (number.find_first_of(".e") == std::string::npos && number.size() < 18) {
    out.push_back(std::to_string(std::stoll(number) + 1));
    out.push_back(std::to_string(std::stoll(number) - 1));
  }
  return out;
}

/// One copy of the text for each of its numbers and each extreme value.
inline std::vector<std::string> with_numbers_at_edges(const std::string& json) {
  std::vector<std::string> out;
  for (const Number& number : numbers_of(json)) {
    for (const std::string& edge : edges_of(json.substr(number.at, number.length)))
      out.push_back(std::string(json).replace(number.at, number.length, edge));
  }
  return out;
}

}  // namespace clearhead
