// What every way of generating shares.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"

namespace clearhead {

/// Null for a model loaded without one.
std::shared_ptr<const Tokenizer> tokenizer_of(const Model& model);

/// The token as it is given out.
GeneratedToken generated_token(const Tokenizer* tokenizer, int32_t id, float probability);

/// What the cache of a generation holds.
inline DType cache_dtype(const Model& model, const GenerateOptions& options) { return options.cache.value_or(model.info().precision); }

/// Logits of banned tokens become −∞.
void ban(const std::vector<int32_t>& banned, float* logits, int64_t vocabulary);

/// Beams over what a cache holds: `prompt` is read after it, by each of its sequences; then each is gone on with. Texts are ids, without their pieces.
std::vector<Generated> search_beams(const Model& model, ModelCache cache, const std::vector<int32_t>& prompt,
                                    const GenerateOptions& options);

}  // namespace clearhead
