// What a model's answer is on the text that is looked at, and that answer as something to explain (judge/subject.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "clearhead/model.h"
#include "judge/subject.h"
#include "viewer/loaded_trace.h"

namespace clearhead::questions {

enum class AnswerKind : uint8_t {
  kNone,     ///< numbers only: an embedding
  kClass,    ///< a class of the whole input
  kTag,      ///< a class of each token
  kNext,     ///< the next token
  kMasked,   ///< the word at the mask
  kWritten,  ///< each token of what is written from a text or a sound
};
AnswerKind answer_kind_of(const ModelInfo& info);
const char* to_string(AnswerKind kind);  ///< "class", "tag", "next", "masked", "written"

/// The source of an encoder-decoder's text, and what it wrote, its first token included.
struct SourceAndTarget {
  Encoding source{}, target{};
};
SourceAndTarget parts_of(const RunPlan& plan);
/// What was written, from a text or a sound. Throws kUnsupported where nothing was.
Encoding target_of(const RunPlan& plan);

/// `token`: the id of the text that is explained, of those before it; absent: what `asked` says, else what the model answers. Ids of the subject are those of
/// the text that is looked at, from its first on.
/// Throws NotKept without a model, kUnsupported where the model's answer cannot be explained or the text was read in parts, kInvalidArgument for a token that
/// is no answer, and what ask_about() throws.
std::unique_ptr<judge::Subject> subject_of(LoadedTrace& loaded, const judge::Asked& asked, std::optional<int64_t> token, bool gradients);

}  // namespace clearhead::questions
