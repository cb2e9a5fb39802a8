// Mutations that change single numbers of a JSON file and keep the rest valid. Flipped bytes rarely get past a parser; a number that is set
// to an edge case does. For JSON, and for safetensors, whose header is JSON preceded by its length: the length is corrected.
//
// Usage in a target: LLVMFuzzerCustomMutator(…) { return change_numbers(…); }.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace clearhead {

/// Location of the JSON in an input.
enum class JsonPlace : uint8_t { kWhole, kHeader };

/// Half of the time, libFuzzer's own mutation. Otherwise one to three numbers become edge cases, or change by one.
inline size_t change_numbers(JsonPlace place, uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  if (random() % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  uint64_t length = size;
  const size_t begin = place == JsonPlace::kHeader ? sizeof length : 0;
  if (size < begin) return LLVMFuzzerMutate(data, size, max_size);
  if (begin > 0) std::memcpy(&length, data, sizeof length);
  length = std::min<uint64_t>(length, size - begin);
  std::string json(reinterpret_cast<const char*>(data) + begin, static_cast<size_t>(length));
  const std::string rest(reinterpret_cast<const char*>(data) + begin + json.size(), size - begin - json.size());
  for (auto changes = random() % 3 + 1; changes > 0; --changes) {
    const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
    const size_t from = json.empty() ? 0 : random() % json.size();
    size_t at = from;  // the first number from there on
    while (at < json.size() && !(is_digit(json[at]) && (at == 0 || !(std::isalnum(static_cast<unsigned char>(json[at - 1])))))) ++at;
    size_t end = at;
    while (end < json.size() && is_digit(json[end])) ++end;
    if (end == at) continue;
    static constexpr const char* kEdges[] = {"0",
                                             "-1",
                                             "1",
                                             "1000",
                                             "2147483647",
                                             "2147483648",
                                             "1099511627776",
                                             "4611686018427387904",
                                             "9223372036854775803",
                                             "9223372036854775807",
                                             "-9223372036854775808",
                                             "1e30",
                                             "0.5"};
    std::string edge = kEdges[random() % std::size(kEdges)];
    if (random() % 4 == 0 && end - at < 18) edge = std::to_string(std::stoll(json.substr(at, end - at)) + (random() % 2 == 0 ? 1 : -1));
    json.replace(at, end - at, edge);
  }
  if (begin + json.size() + rest.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  length = json.size();
  if (begin > 0) std::memcpy(data, &length, sizeof length);
  std::memcpy(data + begin, json.data(), json.size());
  std::memcpy(data + begin + json.size(), rest.data(), rest.size());
  return begin + json.size() + rest.size();
}

}  // namespace clearhead
