// Packs the recipe's texts as segments of one run, and computes the steps at which traces are taken: n_max·(i/(c − 1))².
#include "train/watch.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/run_text.h"
#include "ops/run.h"

namespace clearhead::train {
namespace {

constexpr int64_t kMostTokens = 512;

}  // namespace

std::vector<int64_t> watched_steps(int64_t checkpoints, int64_t last) {
  std::vector<int64_t> steps{last};
  for (int64_t i = 0; i + 1 < checkpoints; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(checkpoints - 1);
    steps.push_back(std::llround(static_cast<double>(last) * share * share));
  }
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  return steps;
}

Watch::Watch(const tasks::Recipe& recipe, const Architecture& facts, const Tokenizer& tokenizer) {
  std::vector<std::string> texts = recipe.watch.texts, sources;
  if (texts.empty()) return;
  steps_ = watched_steps(recipe.watch.checkpoints, recipe.steps);
  const auto wrong = [&](size_t at, const char* what) {
    fail(ErrorCode::kInvalidArgument, "{}: \"watch.texts\": text {} {}", recipe.where, at + 1, what);
  };
  for (size_t at = 0; at < texts.size(); ++at) {
    if (texts[at].empty()) wrong(at, "is empty");
    if (!facts.encoder) continue;
    const size_t tab = texts[at].find('\t');
    const bool is_pair =
        tab != std::string::npos && tab > 0 && tab + 1 < texts[at].size() && texts[at].find('\t', tab + 1) == std::string::npos;
    if (!is_pair) wrong(at, "is not a pair; expected a source and its target, separated by a tab");
    sources.push_back(texts[at].substr(0, tab));
    texts[at].erase(0, tab + 1);
  }
  if (facts.encoder) {
    source_ = side_of(sources, "source", std::nullopt, tokenizer);
    check_lengths(*source_, *facts.encoder, recipe.where);
    side_ = side_of(texts, "target", facts.first_token, tokenizer);
  } else {
    side_ = side_of(texts, "text", std::nullopt, tokenizer);
    if (texts.size() == 1) side_.text.segments.clear();
  }
  check_lengths(side_, facts, recipe.where);
  const int64_t tokens = side_.tokens() + (source_ ? source_->tokens() : 0);
  if (tokens > kMostTokens) {
    fail(ErrorCode::kInvalidArgument, "{}: \"watch.texts\" have {} tokens; expected at most {}", recipe.where, tokens, kMostTokens);
  }
}

Watch::Side Watch::side_of(const std::vector<std::string>& texts, const char* name, std::optional<int32_t> first,
                           const Tokenizer& tokenizer) {
  Side side;
  RunText& all = side.text;
  for (size_t at = 0; at < texts.size(); ++at) {
    if (at > 0) all.text += "\n";
    const auto shift = static_cast<int64_t>(all.text.size()), begin = side.tokens();
    all.text += texts[at];
    const auto add = [&](int32_t id, std::array<int64_t, 2> bytes, bool is_special) {
      all.ids.push_back(id);
      all.offsets.push_back(bytes);
      all.special.push_back(is_special);
      all.pieces.emplace_back(tokenizer.token(id));
      side.positions.push_back(static_cast<int32_t>(side.tokens() - begin));
      side.documents.push_back(static_cast<int32_t>(at));
    };
    if (first) add(*first, {}, true);
    const Encoding encoding = tokenizer.encode(texts[at]);
    for (size_t i = 0; i < encoding.size(); ++i) {
      const auto [from, to] = encoding.offsets[i];
      add(encoding.ids[i], from == to ? std::array<int64_t, 2>{} : std::array{from + shift, to + shift}, encoding.is_special(i));
    }
    all.segments.push_back({format("{} {}", name, at + 1), "text", begin, side.tokens()});
  }
  return side;
}

void Watch::check_lengths(const Side& side, const Architecture& facts, const std::string& where) {
  std::vector<int64_t> lengths(side.documents.empty() ? 0 : static_cast<size_t>(side.documents.back()) + 1, 0);
  for (const int32_t document : side.documents) ++lengths[static_cast<size_t>(document)];
  for (size_t at = 0; at < lengths.size(); ++at) {
    if (facts.longest > 0 && lengths[at] > facts.longest) {
      fail(ErrorCode::kInvalidArgument,
           "{}: \"watch.texts\": text {} has {} tokens, but the model supports {} positions; give a shorter text", where, at + 1,
           lengths[at], facts.longest);
    }
  }
}

ForwardInput Watch::Side::input() const {
  ForwardInput input = plain_input(1, tokens(), text.ids);
  input.positions = positions;
  if (documents.back() > 0) input.segments = segments_of(1, tokens(), input.lengths, documents);
  return input;
}

RunPlan Watch::plan_of(const Transformer& transformer) const {
  if (!source_) {
    RunPlan plan{.model = transformer.facts().model_type, .families = {family_of(transformer, side_.tokens())}, .text = side_.text};
    return plan;
  }
  RunPlan plan = plan_of_pair(transformer, transformer.facts().model_type, joined(source_->text, side_.text));
  plan.text.segments = source_->text.segments;
  for (TextSegment segment : side_.text.segments) {
    segment.begin += source_->tokens();
    segment.end += source_->tokens();
    plan.text.segments.push_back(segment);
  }
  return plan;
}

bool Watch::is_due(int64_t step) const { return std::binary_search(steps_.begin(), steps_.end(), step); }

std::string Watch::file_of(const std::string& directory, int64_t step) { return format("{}/step-{:06}.trace", folder_of(directory), step); }

Trace Watch::look(const Transformer& transformer, Arena& arena, int64_t step) const {
  RunPlan plan = plan_of(transformer);
  plan.model += format(" after {} steps", step);
  Trace trace;
  trace.begin(plan);
  Run run{arena, &trace};
  RunOptions options;
  options.logits = false;
  ForwardInput input = side_.input(), source;
  if (source_) {
    source = source_->input();
    input.source = &source;
    if (source.segments) input.of_source = Segments{input.segments->queries, source.segments->keys};
  }
  transformer.forward(run, input, options);
  return trace;
}

}  // namespace clearhead::train
