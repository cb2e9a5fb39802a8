// Batches of texts of similar length, to bound the cost of padding.
//
// Texts are sorted by their number of tokens. A batch takes the next text if its tokens, with padding, stay within
// `most_tokens`. A batch that already has enough rows for fast matrix products also requires that padding stays a
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
TokenBatch padded(const std::vector<Encoding>& texts, const std::vector<size_t>& which, bool typed = false);

/// Runs body(texts) for each batch. With at least two batches a thread, the batches run at the same time, one thread each: their products
/// are small, so that the threads of one batch would mostly wait for each other. Otherwise one batch after another runs on all threads.
/// `progress`, if there is one, is called on the calling thread with the fraction of texts that are done.
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
