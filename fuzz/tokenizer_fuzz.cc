// The first byte selects a reader; then follow the bytes of a tokenizer file, a zero byte, and a text. A tokenizer that loads must encode
// any text with offsets inside it, decode the encoding, and stream the same bytes.
#include <string>

#include "clearhead/tokenizer.h"
#include "fuzz.h"
#include "numbers.h"

using namespace clearhead;

namespace {

void check(const std::shared_ptr<const Tokenizer>& tokenizer, std::string_view text) {
  const size_t half = text.size() / 2;
  const std::string_view first = text.substr(0, half), second = text.substr(half);
  const Encoding encoding = tokenizer->encode(first, {.pair = second});
  must(encoding.type_ids.size() == encoding.size() && encoding.offsets.size() == encoding.size() &&
       encoding.segment.size() == encoding.size());
  for (size_t i = 0; i < encoding.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    const size_t limit = encoding.is_special(i) ? 0 : encoding.segment[i] == 1 ? second.size() : first.size();
    must(0 <= begin && begin <= end && static_cast<size_t>(end) <= limit);
    tokenizer->token_bytes(encoding.ids[i]);
  }
  const std::string decoded = tokenizer->decode(encoding.ids);
  must(valid_utf8_prefix(decoded) == decoded.size());
  TokenStream stream(tokenizer);
  std::string streamed;
  for (const int32_t id : encoding.ids) streamed += stream.push(id);
  streamed += stream.finish();
  must(valid_utf8_prefix(streamed) == streamed.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t cut = bytes.find('\0');
  const std::string_view file = bytes.substr(0, cut);
  std::string_view text = cut == std::string_view::npos ? std::string_view() : bytes.substr(cut + 1);
  if (text.empty()) text = "It's a t\xC3\xA9st \xE7\x8C\xAB 123 \xFF <s> [MASK]\n\n x";
  allow_errors([&] {
    std::shared_ptr<const Tokenizer> tokenizer;
    if (data[0] % 3 == 0) {
      tokenizer = Tokenizer::from_json(file);
    } else if (data[0] % 3 == 1) {
      tokenizer = Tokenizer::from_wordpiece(file, text.starts_with("{") ? text : std::string_view());
    } else {
      const size_t line = file.find('\n');  // vocab.json on the first line, merges.txt after it
      tokenizer = Tokenizer::from_bpe(file.substr(0, line), line == std::string_view::npos ? std::string_view() : file.substr(line + 1));
    }
    check(tokenizer, text);
  });
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return change_numbers(JsonPlace::kWhole, data, size, max_size, seed);
}
