#include "train/watch.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "clearhead/error.h"
#include "ops/run.h"

namespace clearhead {
namespace {

constexpr int64_t kMostTokens = 512;

std::vector<int64_t> steps_of(int64_t checkpoints, int64_t last) {
  std::vector<int64_t> steps{last};
  for (int64_t i = 0; i + 1 < checkpoints; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(checkpoints - 1);
    steps.push_back(std::llround(static_cast<double>(last) * share * share));
  }
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  return steps;
}

}  // namespace

Watch::Watch(const Recipe& recipe, const Architecture& facts, const Tokenizer& tokenizer) {
  const std::vector<std::string>& texts = recipe.watch.texts;
  if (texts.empty()) return;
  if (facts.encoder) fail(ErrorCode::kUnsupported, "{}: \"watch\": an encoder-decoder cannot be watched yet; remove it", recipe.where);
  steps_ = steps_of(recipe.watch.checkpoints, recipe.steps);
  std::vector<int32_t> documents;
  for (size_t at = 0; at < texts.size(); ++at) {
    const int64_t length = add_text(texts[at], tokenizer);
    if (texts[at].empty()) fail(ErrorCode::kInvalidArgument, "{}: \"watch.texts\": text {} is empty", recipe.where, at + 1);
    if (facts.longest > 0 && length > facts.longest) {
      fail(ErrorCode::kInvalidArgument, "{}: \"watch.texts\": text {} has {} tokens, the model's positions end at {}", recipe.where, at + 1,
           length, facts.longest);
    }
    documents.insert(documents.end(), static_cast<size_t>(length), static_cast<int32_t>(at));
  }
  const int64_t tokens = static_cast<int64_t>(documents.size());
  if (tokens > kMostTokens) {
    fail(ErrorCode::kInvalidArgument, "{}: \"watch.texts\" have {} tokens; expected at most {}", recipe.where, tokens, kMostTokens);
  }
  input_ = plain_input(1, tokens, plan_.text.ids);
  input_.positions = positions_;
  if (texts.size() > 1) {
    input_.segments = segments_of(1, tokens, input_.lengths, documents);
  } else {
    plan_.text.segments.clear();
  }
  plan_.model = facts.model_type;
  MapFamily& family = plan_.families.emplace_back();
  family.layers = static_cast<int>(facts.layers);
  family.heads = facts.heads;
  family.key_heads = facts.key_heads;
  family.d_k = facts.head_dim;
  family.queries = family.keys = tokens;
  family.causal = std::all_of(facts.attention.begin(), facts.attention.end(), [](const AttentionFacts& layer) { return layer.causal; });
}

// Its tokens, behind those that are there.
int64_t Watch::add_text(const std::string& text, const Tokenizer& tokenizer) {
  RunText& all = plan_.text;
  if (!all.ids.empty()) all.text += "\n";
  const int64_t shift = static_cast<int64_t>(all.text.size()), begin = static_cast<int64_t>(all.ids.size());
  all.text += text;
  const Encoding encoding = tokenizer.encode(text);
  for (size_t i = 0; i < encoding.size(); ++i) {
    const auto [from, to] = encoding.offsets[i];
    all.ids.push_back(encoding.ids[i]);
    all.offsets.push_back({from + shift, to + shift});
    all.special.push_back(encoding.is_special(i));
    all.pieces.emplace_back(tokenizer.token(encoding.ids[i]));
    positions_.push_back(static_cast<int32_t>(i));
  }
  const int64_t length = static_cast<int64_t>(encoding.size());
  all.segments.push_back({format("text {}", all.segments.size() + 1), "text", begin, begin + length});
  return length;
}

bool Watch::is_due(int64_t step) const { return std::binary_search(steps_.begin(), steps_.end(), step); }

std::string Watch::file_of(const std::string& directory, int64_t step) { return format("{}/step-{:06}.trace", folder_of(directory), step); }

Trace Watch::look(const Transformer& transformer, Arena& arena, int64_t step) const {
  RunPlan plan = plan_;
  plan.model += format(" after {} steps", step);
  plan.families[0].name = transformer.map_family();
  Trace trace;
  trace.begin(plan);
  Run run{arena, &trace};
  RunOptions options;
  options.logits = false;
  transformer.forward(run, input_, options);
  return trace;
}

}  // namespace clearhead
