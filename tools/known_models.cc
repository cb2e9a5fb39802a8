// Writes models with known attention (src/models/known_answers.h), and a text for which their answer is known.
#include <charconv>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "models/known_answers.h"

namespace {

using clearhead::ErrorCode;
using clearhead::fail;
using clearhead::Json;

constexpr const char* kUsage =
    "usage: clearhead-known-models causal DIRECTORY [--context 2] [--sharpness 80] [--seed 1] [--window 0]\n"
    "       clearhead-known-models bidirectional DIRECTORY [--back 3] [--sharpness 80] [--seed 1]\n"
    "       clearhead-known-models text FILE [--bytes 100000] [--seed 1]\n"
    "\n"
    "causal: two layers; L0.H0 looks one token back, L0.H1 two, L1.H0 at what followed the same `context` bytes before, L1.H1 at the first "
    "token.\n"
    "bidirectional: one layer; L0.H0 looks `back` tokens back, L0.H1 at equal bytes.\n"
    "text: made-up words with a passage that comes twice and a needle asked for at the end; where they stand is printed as JSON.\n";

class Arguments {
 public:
  explicit Arguments(const std::vector<std::string_view>& values) {
    for (size_t at = 0; at < values.size(); ++at) {
      if (!values[at].starts_with("--")) {
        positional.emplace_back(values[at]);
      } else if (at + 1 < values.size()) {
        named_[std::string(values[at].substr(2))] = std::string(values[at + 1]);
        ++at;
      } else {
        fail(ErrorCode::kInvalidArgument, "{} needs a value", values[at]);
      }
    }
  }
  template <class T>
  T take(const std::string& name, T otherwise) {
    const auto found = named_.find(name);
    if (found == named_.end()) return otherwise;
    T value{};
    const std::string text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      fail(ErrorCode::kInvalidArgument, "--{}: \"{}\" is no number", name, text);
    named_.erase(found);
    return value;
  }
  void refuse_rest() const {
    if (!named_.empty()) fail(ErrorCode::kInvalidArgument, "--{} is not known here", named_.begin()->first);
  }
  std::vector<std::string> positional{};

 private:
  std::map<std::string, std::string> named_;
};

Json range(const clearhead::Range& range) { return Json(Json::Array{Json(range.begin), Json(range.end)}); }

void write_text(const std::string& path, int64_t bytes, uint64_t seed) {
  const clearhead::KnownText known = clearhead::make_known_text(bytes, seed);
  clearhead::write_file(path, known.text);
  const Json where = Json::object({{"needle", range(known.needle)},
                                   {"answer", range(known.answer)},
                                   {"question", range(known.question)},
                                   {"first_passage", range(known.first_passage)},
                                   {"second_passage", range(known.second_passage)},
                                   {"answer_text", known.answer_text}});
  std::puts(where.dump().c_str());
}

int run(const std::vector<std::string_view>& values) {
  Arguments arguments(values);
  if (arguments.positional.size() != 2) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  const std::string what = arguments.positional[0], path = arguments.positional[1];
  const auto seed = arguments.take<uint64_t>("seed", 1);
  if (what == "causal") {
    const clearhead::KnownCausal options{arguments.take<int64_t>("context", 2), arguments.take<double>("sharpness", 80), seed,
                                         arguments.take<int64_t>("window", 0)};
    arguments.refuse_rest();
    clearhead::write_known_model(path, options);
  } else if (what == "bidirectional") {
    const clearhead::KnownBidirectional options{arguments.take<int64_t>("back", 3), arguments.take<double>("sharpness", 80), seed};
    arguments.refuse_rest();
    clearhead::write_known_model(path, options);
  } else if (what == "text") {
    const auto bytes = arguments.take<int64_t>("bytes", 100'000);
    arguments.refuse_rest();
    write_text(path, bytes, seed);
  } else {
    std::fputs(kUsage, stderr);
    return 2;
  }
  return 0;
}

}  // namespace

int main(int count, char** values) {
  try {
    return run({values + 1, values + count});
  } catch (const clearhead::Error& error) {
    std::fprintf(stderr, "clearhead-known-models: %s\n", error.what());
    return error.code() == ErrorCode::kInvalidArgument ? 2 : 1;
  }
}
