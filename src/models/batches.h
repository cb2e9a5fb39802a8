// Batches of texts of similar length, so that little is computed on padding.
//
// Texts are sorted by their number of tokens. The next text joins the current batch if the batch then has at most
// `most_tokens` tokens, including padding. Once a batch has enough tokens for fast matrix products, padding must also remain a
// small share of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "clearhead/model.h"

namespace clearhead {

/// Indices of `texts` for each batch, long texts first. A text longer than `most_tokens` gets its own batch.
std::vector<std::vector<size_t>> batches_of(const std::vector<Encoding>& texts, int64_t most_tokens);

/// The chosen texts, padded at the end; with type ids if `typed`.
Batch padded(const std::vector<Encoding>& texts, const std::vector<size_t>& which, bool typed = false);

/// Runs body(texts) for each batch. If there are at least two batches per thread, batches run in parallel, each on one thread:
/// their matrix products are small, so the threads of one batch would mostly wait for each other. Otherwise batches run one
/// after another, each on all threads. `progress`, if set, is called on the calling thread with the fraction of finished texts.
void for_batches(const std::vector<std::vector<size_t>>& batches, const std::function<void(double)>& progress,
                 const std::function<void(const std::vector<size_t>& texts)>& body);

/// Runs `work` for one text, and adds the text's name to the message of an Error that it throws.
template <class Work>
void of_text(const BatchOptions& options, size_t index, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    throw Error(error.code(), (options.name ? options.name(index) : "text " + std::to_string(index)) + ": " + error.what());
  }
}

}  // namespace clearhead
