// Texts of like length side by side: what padding costs is bounded, and no order is lost since a batch names its texts.
//
// Texts are sorted by their tokens. A batch takes the next text while its tokens, padding included, stay within `most_tokens`; and, once it holds enough for
// a product to read its weights for many rows, only while padding stays a small share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/error.h"
#include "clearhead/model.h"

namespace clearhead {

/// Indices of `texts`, batch by batch, long texts first. A text longer than `most_tokens` is a batch of its own.
std::vector<std::vector<size_t>> batches_of(const std::vector<Encoding>& texts, int64_t most_tokens);

/// These texts padded at their ends; type ids where `typed`.
TokenBatch padded(const std::vector<Encoding>& texts, const std::vector<size_t>& which, bool typed = false);

/// Does something for one of the texts: what it throws names the text.
template <class Work>
void of_text(const BatchOptions& options, size_t index, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    throw Error(error.code(), (options.name ? options.name(index) : "text " + std::to_string(index)) + ": " + error.what());
  }
}

}  // namespace clearhead
