// For an encoder-decoder the question uses the ids of the open text. Other texts are tokenized again and must give the same ids.
#include "viewer/questions/subject.h"

#include <algorithm>

#include "base/format.h"

namespace clearhead::questions {
namespace {

const TextSegment* segment_of(const RunPlan& plan, const char* name) {
  for (const TextSegment& segment : plan.text.segments) {
    if (segment.name == name) return &segment;
  }
  return nullptr;
}

Encoding encoding_of(const RunText& text, Range ids) {
  Encoding out;
  for (int64_t id = ids.begin; id < ids.end; ++id) {
    const auto at = static_cast<size_t>(id);
    out.ids.push_back(text.ids[at]);
    out.type_ids.push_back(0);
    out.offsets.push_back({0, 0});  // the trace has the text itself
    out.segment.push_back(text.special[at] ? Encoding::kSpecial : 0);
  }
  return out;
}

std::unique_ptr<judge::Subject> written_token(LoadedTrace& loaded, judge::Asked asked, std::optional<int64_t> token,
                                              std::shared_ptr<const Model> model) {
  const RunPlan& plan = loaded.trace().plan();
  SourceAndTarget parts = parts_of(plan);
  const auto sources = static_cast<int64_t>(parts.source.size()), targets = static_cast<int64_t>(parts.target.size());
  const int64_t at = token.value_or(sources + 1) - sources;
  if (at < 1 || at >= targets) {
    fail(ErrorCode::kInvalidArgument, "token {}: expected one that was written, {} to {}; those before are read, not answered.",
         at + sources, sources + 1, sources + targets - 1);
  }
  Encoding before;
  const auto count = static_cast<std::ptrdiff_t>(at);
  before.ids.assign(parts.target.ids.begin(), parts.target.ids.begin() + count);
  before.type_ids.assign(static_cast<size_t>(at), 0);
  before.offsets.assign(static_cast<size_t>(at), {0, 0});
  before.segment.assign(parts.target.segment.begin(), parts.target.segment.begin() + count);
  asked.of.clear();
  asked.of_ids = {parts.target.ids[static_cast<size_t>(at)]};
  return judge::ask_about(std::move(model), parts.source, asked, before);
}

// Checks that the subject reads the ids of the open text, up to the answer.
void check_same(const RunText& looked_at, const judge::Subject& subject) {
  const RunText& read = subject.plan().text;
  const size_t before = read.ids.size() - (subject.answer_ids().size() - 1), count = std::min(looked_at.ids.size(), before);
  if (before <= looked_at.ids.size() &&
      std::equal(read.ids.begin(), read.ids.begin() + static_cast<std::ptrdiff_t>(count), looked_at.ids.begin()))
    return;
  fail(ErrorCode::kUnsupported,
       "The text that is looked at was cut, or read in windows: an answer is explained of a text that is read whole. Start with a shorter "
       "text.");
}

}  // namespace

AnswerKind answer_kind_of(const ModelInfo& info) {
  if (info.reads == "sound") return AnswerKind::kWritten;
  if (!reads_texts(info)) return info.labels.empty() ? AnswerKind::kNone : AnswerKind::kClass;
  if (info.reads == "pair" || info.encoder_layers > 0) return AnswerKind::kWritten;
  if (info.has_classifier && info.tags) return AnswerKind::kTag;
  if (info.has_classifier && !info.answers) return info.problem == ProblemType::kRegression ? AnswerKind::kNone : AnswerKind::kClass;
  if (info.has_causal) return AnswerKind::kNext;
  return info.has_masked ? AnswerKind::kMasked : AnswerKind::kNone;
}

const char* to_string(AnswerKind kind) {
  switch (kind) {
    case AnswerKind::kClass: return "class";
    case AnswerKind::kTag: return "tag";
    case AnswerKind::kNext: return "next";
    case AnswerKind::kMasked: return "masked";
    case AnswerKind::kWritten: return "written";
    case AnswerKind::kNone: break;
  }
  return "none";
}

SourceAndTarget parts_of(const RunPlan& plan) {
  const TextSegment* source = segment_of(plan, "source");
  const TextSegment* target = segment_of(plan, "target");
  if (!source || !target) fail(ErrorCode::kUnsupported, "This text has no source and target: it is not one that an encoder-decoder wrote.");
  return {encoding_of(plan.text, {source->begin, source->end}), encoding_of(plan.text, {target->begin, target->end})};
}

Encoding target_of(const RunPlan& plan) {
  const TextSegment* target = segment_of(plan, "target");
  if (!target) fail(ErrorCode::kUnsupported, "This text has no target: it is not one that a model wrote.");
  return encoding_of(plan.text, {target->begin, target->end});
}

std::unique_ptr<judge::Subject> subject_of(LoadedTrace& loaded, const judge::Asked& asked, std::optional<int64_t> token, bool gradients) {
  std::shared_ptr<const Model> model = loaded.model(gradients);
  const AnswerKind kind = answer_kind_of(model->info());
  if (loaded.options().input) {
    judge::Asked of = asked;  // the generated text precedes the frames of the sound and follows the model's first token
    if (kind == AnswerKind::kWritten && token) of.of = format("token {}", *token - 1);
    return judge::ask_about(std::move(model), *loaded.options().input, of);
  }
  if (kind == AnswerKind::kWritten) return written_token(loaded, asked, token, std::move(model));
  judge::Asked of = asked;
  if (token && (kind == AnswerKind::kNext || kind == AnswerKind::kTag)) of.of = format("token {}", *token);
  const auto [text, pair] = loaded.given();
  std::unique_ptr<judge::Subject> subject = judge::ask_about(std::move(model), text, of, pair);
  check_same(loaded.trace().plan().text, *subject);
  return subject;
}

}  // namespace clearhead::questions
