// Counts the words, and writes them as a WordPiece model whose continuations would begin with a blank: no word has a blank, so every token
// is a whole word.
#include "text/word_vocabulary.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/format.h"
#include "base/json.h"
#include "clearhead/error.h"

namespace clearhead {
namespace {

constexpr std::string_view kUnknown = "[UNK]", kBlanks = " \t\r\n";

}  // namespace

std::string word_tokenizer_json(const std::vector<std::string>& texts) {
  std::unordered_map<std::string_view, int64_t> counts;
  for (const std::string_view text : texts) {
    for (size_t begin = text.find_first_not_of(kBlanks); begin != std::string_view::npos;) {
      const size_t end = std::min(text.find_first_of(kBlanks, begin), text.size());
      ++counts[text.substr(begin, end - begin)];
      begin = text.find_first_not_of(kBlanks, end);
    }
  }
  counts.erase(kUnknown);
  if (counts.empty()) fail(ErrorCode::kInvalidArgument, "the texts contain no words to make a vocabulary of");
  std::vector<std::pair<int64_t, std::string_view>> order;  // minus the count, and the word
  for (const auto& [word, count] : counts) order.emplace_back(-count, word);
  std::sort(order.begin(), order.end());
  Json vocabulary = Json::object({{std::string(kUnknown), 0}});
  int64_t id = 0;
  for (const auto& [count, word] : order) vocabulary.fields().emplace_back(std::string(word), Json(++id));
  const Json unknown = Json::object({{"id", 0},
                                     {"content", std::string(kUnknown)},
                                     {"single_word", false},
                                     {"lstrip", false},
                                     {"rstrip", false},
                                     {"normalized", false},
                                     {"special", true}});
  return Json::object({{"version", "1.0"},
                       {"truncation", nullptr},
                       {"padding", nullptr},
                       {"added_tokens", Json(Json::Array{unknown})},
                       {"normalizer", nullptr},
                       {"pre_tokenizer", Json::object({{"type", "WhitespaceSplit"}})},
                       {"post_processor", nullptr},
                       {"decoder", Json::object({{"type", "WordPiece"}, {"prefix", " "}, {"cleanup", false}})},
                       {"model", Json::object({{"type", "WordPiece"},
                                               {"unk_token", std::string(kUnknown)},
                                               {"continuing_subword_prefix", " "},
                                               {"max_input_chars_per_word", 1000000},
                                               {"vocab", vocabulary}})}})
      .dump();
}

}  // namespace clearhead
