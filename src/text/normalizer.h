// The first step of encoding: the text becomes what the vocabulary was made from (lower case, no accents, a normal form …), aligned with
// the text given. "normalizer" of tokenizer.json; null changes nothing.
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

/// Null for null. Refuses what is not understood with kUnsupported, by name.
std::unique_ptr<Normalizer> read_normalizer(const Json& json, std::string_view where, std::string_view path);

}  // namespace clearhead::text
