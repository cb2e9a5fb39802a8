// The normalizer step of encoding: changes the text as the vocabulary expects it (lower case, no accents, a Unicode
// normal form …) and keeps it aligned with the original text. "normalizer" of tokenizer.json; null changes nothing.
#pragma once

#include <memory>
#include <string_view>

#include "base/json.h"
#include "text/aligned.h"

namespace clearhead::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Aligned& text) const = 0;
};

struct BertNormalizerOptions {
  bool clean_text = true, handle_chinese_chars = true, strip_accents = true, lowercase = true;
};
std::unique_ptr<Normalizer> make_bert_normalizer(const BertNormalizerOptions& options);

/// Returns null for null. Throws kUnsupported, by name, for unknown settings.
std::unique_ptr<Normalizer> read_normalizer(const Json& json, std::string_view where, std::string_view path);

}  // namespace clearhead::text
