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

/// Sets the logits of banned tokens to −∞.
void ban(const std::vector<int32_t>& banned, float* logits, int64_t vocabulary);

/// Beam search over a batch. Every sequence in the cache reads `prompt` after what the cache holds, and is then
/// continued by its beams. Results have token ids and probabilities, without pieces.
std::vector<Generated> search_beams(const Model& model, ModelCache cache, const std::vector<int32_t>& prompt,
                                    const GenerateOptions& options);

}  // namespace clearhead
