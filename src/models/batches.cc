// Texts are taken from long to short, so the first text of a batch determines its length. A batch ends when it is full, or when
// it is large enough and padding would exceed a sixteenth of it.
#include "models/batches.h"

#include <algorithm>
#include <atomic>
#include <numeric>

#include "base/parallel.h"

namespace clearhead {
namespace {

constexpr int64_t kEnough = 256;         // tokens; with fewer rows, a matrix product mostly waits for its weights
constexpr int64_t kPaddingIsOneOf = 16;  // padding is at most a sixteenth of a batch that is large enough

}  // namespace

std::vector<std::vector<size_t>> batches_of(const std::vector<Encoding>& texts, int64_t most_tokens) {
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return texts[a].size() > texts[b].size(); });
  std::vector<std::vector<size_t>> batches;
  int64_t length = 0, held = 0;  // of the current batch: length of its longest text, number of tokens without padding
  for (const size_t index : order) {
    const auto tokens = static_cast<int64_t>(texts[index].size());
    if (!batches.empty()) {
      const auto rows = static_cast<int64_t>(batches.back().size()) + 1;
      const int64_t whole = rows * length, padding = whole - held - tokens;
      const bool is_full = whole > most_tokens, is_loose = held >= kEnough && padding * kPaddingIsOneOf > whole;
      if (is_full || is_loose) length = held = 0;
    }
    if (length == 0) {
      batches.emplace_back();
      length = std::max<int64_t>(1, tokens);
    }
    batches.back().push_back(index);
    held += tokens;
  }
  return batches;
}

void for_batches(const std::vector<std::vector<size_t>>& batches, const std::function<void(double)>& progress,
                 const std::function<void(const std::vector<size_t>&)>& body) {
  size_t texts = 0;
  for (const std::vector<size_t>& batch : batches) texts += batch.size();
  std::atomic<size_t> done = 0;
  const auto run = [&](const std::vector<size_t>& batch, bool is_caller) {
    body(batch);
    const size_t now = done += batch.size();
    if (progress && is_caller) progress(static_cast<double>(now) / static_cast<double>(texts));
  };
  if (batches.size() < 2 * static_cast<size_t>(threads())) {
    for (const std::vector<size_t>& batch : batches) run(batch, true);
    return;
  }
  parallel_for(static_cast<int64_t>(batches.size()), [&](int64_t at, int thread) { run(batches[static_cast<size_t>(at)], thread == 0); });
  if (progress) progress(1);
}

Batch padded(const std::vector<Encoding>& texts, const std::vector<size_t>& which, bool typed) {
  Batch batch{.batch = static_cast<int64_t>(which.size())};
  for (const size_t index : which) batch.length = std::max(batch.length, static_cast<int64_t>(texts[index].size()));
  const auto rows = static_cast<size_t>(batch.batch * batch.length);
  batch.ids.reserve(rows);
  if (typed) batch.type_ids.reserve(rows);
  for (const size_t index : which) {
    const Encoding& text = texts[index];
    batch.lengths.push_back(static_cast<int32_t>(text.size()));
    batch.ids.insert(batch.ids.end(), text.ids.begin(), text.ids.end());
    batch.ids.resize(batch.lengths.size() * static_cast<size_t>(batch.length), 0);
    if (!typed) continue;
    batch.type_ids.insert(batch.type_ids.end(), text.type_ids.begin(), text.type_ids.end());
    batch.type_ids.resize(batch.ids.size(), 0);
  }
  return batch;
}

}  // namespace clearhead
