// A tokenizer, assembled from its five steps. The readers of tokenizer files fill `Steps`.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/tokenizer.h"
#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"

namespace clearhead::text {

struct Steps {
  std::unique_ptr<Normalizer> normalizer{};       // null: no change
  std::unique_ptr<PreTokenizer> pre_tokenizer{};  // null: the text is one word
  std::unique_ptr<Model> model{};
  std::unique_ptr<PostProcessor> post_processor{};  // null: nothing is inserted
  std::unique_ptr<Decoder> decoder{};               // null: tokens are joined with spaces
  std::vector<AddedToken> added{};
};

/// `config`: tokenizer_config.json or special_tokens_map.json, null if absent. It names bos_token and the
/// other special tokens.
std::shared_ptr<const Tokenizer> assemble(Steps steps, const Json& config);

}  // namespace clearhead::text
