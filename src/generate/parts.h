// Shared by sampling and beam search.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// Null for a model loaded without a tokenizer.
std::shared_ptr<const Tokenizer> tokenizer_of(const Model& model);

/// The token with its piece and bytes; both stay empty without a tokenizer.
GeneratedToken generated_token(const Tokenizer* tokenizer, int32_t id, float probability);

/// Dtype of the KV cache of a generation.
inline DType cache_dtype(const Model& model, const GenerateOptions& options) { return options.cache.value_or(model.info().precision); }

/// Throws kBudget if this machine's memory cannot hold that many beams of one sentence.
void check_beams(const Model& model, int64_t beams, DType cache);

/// The prompt of a batch, and the source of each of its sequences.
struct SearchTexts {
  std::vector<int32_t> prompt{};                ///< read after the tokens in the cache
  std::vector<std::vector<int32_t>> sources{};  ///< by sequence, for GenerationRules
};
/// Beam search over a batch. Every sequence in the cache reads the prompt, and is then continued by its beams. Results
/// have token ids and probabilities, without pieces.
std::vector<Generated> search_beams(const Model& model, ModelCache cache, const SearchTexts& texts, const GenerateOptions& options);

}  // namespace clearhead
