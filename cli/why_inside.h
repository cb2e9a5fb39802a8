// clearhead why --inside and --score: heads and layers in place of words.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "clearhead/model.h"
#include "judge/subject.h"

namespace clearhead::cli {

struct InsideView {
  int64_t top = 12;
  bool json = false;
  const std::atomic<bool>* cancel = nullptr;
};
/// What the heads of a subject do for its answer, and what its layers would answer.
void print_inside(const judge::Subject& subject, const InsideView& view);
/// What each head of the clean text brings back of its answer, and the strongest one's places.
void print_patching(const judge::Subject& clean, const judge::Subject& corrupted, const InsideView& view);
/// One score, "QUERY/KEY@L3.H5", by what made its query and its key.
void print_score(const Model& model, const std::string& text, const std::optional<std::string>& pair, const std::string& place,
                 const InsideView& view);

}  // namespace clearhead::cli
