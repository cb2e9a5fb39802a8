// Reads a config.json with its family, and checks the sizes of the resulting Architecture.
#include <algorithm>

#include "base/format.h"
#include "models/architecture.h"
#include "models/network.h"

namespace clearhead {

namespace {

void check(const Architecture& facts, const std::string& where) {
  const auto wrong = [&](std::string_view what) {
    fail(ErrorCode::kFormat, "{}: the sizes are inconsistent: {} (model: {})", where, what, facts.model_type);
  };
  const struct {
    const char* name;
    int64_t value, most;
  } sizes[] = {{"the hidden size", facts.width, 1 << 20},
               {"the number of heads", facts.heads, 1 << 16},
               {"the number of key heads", facts.key_heads, 1 << 16},
               {"the head dimension", facts.head_dim, 1 << 16},
               {"the vocabulary size", facts.vocabulary, INT32_MAX}};
  for (const auto& [name, value, most] : sizes) {
    if (value < 1 || value > most) wrong(format("{}: expected 1 to {}, found {}", name, most, value));
  }
  if (facts.heads % facts.key_heads != 0) {
    wrong(format("{} query heads are not a multiple of {} key heads", facts.heads, facts.key_heads));
  }
  if (facts.attention.size() != 1 && facts.attention.size() != static_cast<size_t>(facts.layers))
    wrong("the attention of some layers is missing; expected one description for all layers, or one for each");
  if (const auto* rotary = std::get_if<RotaryPositions>(&facts.positions)) {
    const int64_t dims = rotary->dims == 0 ? facts.head_dim : rotary->dims;
    if (dims % 2 != 0 || dims < 2 || dims > facts.head_dim)
      wrong(
          format("rotary embeddings rotate {} of {} channels; expected an even number from 2 to the head dimension", dims, facts.head_dim));
  }
  if (std::holds_alternative<LayerSinusoids>(facts.positions) && facts.width % 2 != 0)
    wrong(format("the hidden size is {}; expected an even number, because every sine of a position has its cosine", facts.width));
  if (facts.layer.mlp.kind != MlpFacts::Kind::kNone && facts.mlp_width < 1)
    wrong(format("the width of the MLP: expected 1 or more, found {}", facts.mlp_width));
}

// As in transformers: without "problem_type", a classifier with a single label is multi-label (sigmoid).
ProblemType problem_of(const Json& config, const std::string& where, size_t labels) {
  const Json* given = config.find("problem_type");
  if (!given || given->is_null()) return labels == 1 ? ProblemType::kMultiLabel : ProblemType::kSingleLabel;
  Fields fields(config, where);
  const std::string name = fields.string("problem_type");
  if (name == "single_label_classification") return ProblemType::kSingleLabel;
  if (name == "multi_label_classification") return ProblemType::kMultiLabel;
  if (name != "regression") fields.wrong("problem_type", "single_label_classification, multi_label_classification or regression", *given);
  return ProblemType::kRegression;
}

}  // namespace

Architecture read_architecture(const Json& config, const std::string& where) {
  const Json* type = config.find("model_type");
  if (!type || !type->is_string())
    fail(ErrorCode::kFormat, "{}: field \"model_type\" is missing or not a string; expected the type of the model, as in \"bert\"", where);
  std::string known;
  for (const Family* family : families()) {
    for (const char* name : family->model_types) {
      if (type->string() == name) {
        Architecture facts = family->read(config, where);
        facts.model_type = name;
        facts.problem = problem_of(config, where, facts.labels.size());
        check(facts, where);
        if (facts.encoder) check(*facts.encoder, where);
        return facts;
      }
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
  }
  fail(ErrorCode::kUnsupported, "{}: \"model_type\": \"{}\" is not supported; expected one of: {}, {}", where, type->string(), known,
       network_types());
}

}  // namespace clearhead
