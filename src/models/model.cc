// Running a loaded model: what a caller gives is checked here, once, then computed by the Transformer.
#include <algorithm>
#include <numeric>

#include "base/format.h"
#include "models/loaded_model.h"

namespace clearhead {
namespace {

constexpr int64_t kScratchKept = int64_t{64} << 20;  // bytes between runs

// One engine computes at a time: its scratch memory, and the lock that is held meanwhile. An observer may run another model.
struct Engine {
  std::recursive_mutex turn;
  Arena arena;
  int depth = 0;

  static Engine& instance() {
    static Engine engine;
    return engine;
  }
};

TokenBatch batch_of(const std::vector<int32_t>& ids) {
  TokenBatch batch;
  batch.batch = 1;
  batch.length = static_cast<int64_t>(ids.size());
  batch.ids = ids;
  return batch;
}

void check_size(const char* what, const std::vector<int32_t>& values, int64_t expected) {
  if (values.empty() || static_cast<int64_t>(values.size()) == expected) return;
  fail(ErrorCode::kShape, "run: {} {} were given for {} tokens", values.size(), what, expected);
}

// Documents and padding as segments; absent where every token sees every other.
std::optional<Segments> segments_of(const TokenBatch& tokens, const std::vector<int32_t>& lengths) {
  const bool is_padded = std::any_of(lengths.begin(), lengths.end(), [&](int32_t length) { return length < tokens.length; });
  if (!is_padded && tokens.document_ids.empty()) return std::nullopt;
  std::vector<int32_t> ids = tokens.document_ids;
  ids.resize(static_cast<size_t>(tokens.batch * tokens.length), 0);
  for (int64_t b = 0; b < tokens.batch; ++b) {
    for (int64_t i = lengths[static_cast<size_t>(b)]; i < tokens.length; ++i) ids[static_cast<size_t>(b * tokens.length + i)] = -1;
  }
  const Tensor segments = Tensor::from(ids, {tokens.batch, tokens.length});
  return Segments{segments, segments};
}

}  // namespace

LoadedModel::LoadedModel(ModelInfo info, Transformer transformer, std::shared_ptr<const Tokenizer> tokenizer, SentenceFacts sentence)
    : info_(std::move(info)), transformer_(std::move(transformer)), tokenizer_(std::move(tokenizer)), sentence_(std::move(sentence)) {}

std::shared_ptr<const Tokenizer> LoadedModel::shared_tokenizer() const {
  if (!tokenizer_) fail(ErrorCode::kNotFound, "{}: the model was loaded without a tokenizer", info_.name);
  return tokenizer_;
}

void LoadedModel::check_length(int64_t tokens) const {
  if (info_.longest == 0 || tokens <= info_.longest) return;
  fail(ErrorCode::kTooLong,
       "text has {} tokens; this model's positions end at {}. Use --window {} to slide, --truncate to cut, or a model with longer "
       "positions.",
       with_commas(tokens), with_commas(info_.longest), info_.longest);
}

ForwardInput LoadedModel::checked(const TokenBatch& tokens) const {
  const int64_t rows = tokens.batch * tokens.length;
  if (tokens.batch < 1 || tokens.length < 1) fail(ErrorCode::kInvalidArgument, "run: there are no tokens; expected at least one");
  if (static_cast<int64_t>(tokens.ids.size()) != rows) {
    fail(ErrorCode::kShape, "run: {} ids for a batch of {} × {}", tokens.ids.size(), tokens.batch, tokens.length);
  }
  check_size("type ids", tokens.type_ids, rows);
  check_size("position ids", tokens.position_ids, rows);
  check_size("document ids", tokens.document_ids, rows);
  check_size("lengths", tokens.lengths, tokens.batch);
  check_length(tokens.length);
  ForwardInput input;
  input.batch = tokens.batch;
  input.length = tokens.length;
  input.ids = tokens.ids;
  for (const int32_t id : input.ids) {
    if (id < 0 || id >= info_.vocabulary) {
      fail(ErrorCode::kInvalidArgument, "run: token id {} is outside the model's {} words; is the tokenizer another model's?", id,
           with_commas(info_.vocabulary));
    }
  }
  input.type_ids = tokens.type_ids;
  input.type_ids.resize(static_cast<size_t>(rows), 0);
  input.positions = tokens.position_ids;
  if (input.positions.empty()) {
    input.positions.resize(static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) input.positions[static_cast<size_t>(row)] = static_cast<int32_t>(row % tokens.length);
  }
  for (const int32_t position : input.positions) {
    if (position < 0 || (info_.longest > 0 && position >= info_.longest)) {
      fail(ErrorCode::kInvalidArgument, "run: position {} is outside the model's {}", position, info_.longest);
    }
  }
  input.lengths = tokens.lengths;
  input.lengths.resize(static_cast<size_t>(tokens.batch), static_cast<int32_t>(tokens.length));
  for (const int32_t length : input.lengths) {
    if (length < 0 || length > tokens.length)
      fail(ErrorCode::kInvalidArgument, "run: a length of {} in a batch of {}", length, tokens.length);
  }
  input.segments = segments_of(tokens, input.lengths);
  return input;
}

RunResult LoadedModel::compute(const ForwardInput& input, const RunOptions& options) const {
  Engine& engine = Engine::instance();
  const std::lock_guard<std::recursive_mutex> turn(engine.turn);
  struct Depth {
    Engine& engine;
    ~Depth() {
      if (--engine.depth == 0) engine.arena.trim(kScratchKept);
    }
  };
  ++engine.depth;
  const Depth depth{engine};
  Run run{engine.arena, options.observer};
  return transformer_.forward(run, input, options);
}

RunResult LoadedModel::run(const TokenBatch& tokens, const RunOptions& options) const {
  const ForwardInput input = checked(tokens);
  if (options.observer) options.observer->begin(plan_of(tokens, options));
  return compute(input, options);
}

RunResult LoadedModel::run(const Encoding& encoding, const RunOptions& options) const {
  TokenBatch tokens = batch_of(encoding.ids);
  tokens.type_ids = encoding.type_ids;
  if (info_.type_count == 0) tokens.type_ids.clear();
  const ForwardInput input = checked(tokens);
  if (options.observer) options.observer->begin(plan_of(encoding, options));
  return compute(input, options);
}

RunResult Model::run(const std::vector<int32_t>& ids, const RunOptions& options) const { return run(batch_of(ids), options); }

RunResult LoadedModel::step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options) const {
  if (!info_.causal)
    fail(ErrorCode::kUnsupported, "{}: models of type \"{}\" see later tokens; they cannot run step by step", info_.name, info_.model_type);
  if (cache.layers.empty()) cache.layers.assign(static_cast<size_t>(info_.layers), KeyCache(cache.dtype));
  if (static_cast<int64_t>(cache.layers.size()) != info_.layers) {
    fail(ErrorCode::kInvalidArgument, "step: the cache has {} layers, the model {}; a cache belongs to one model", cache.layers.size(),
         info_.layers);
  }
  check_length(cache.length + static_cast<int64_t>(ids.size()));
  TokenBatch tokens = batch_of(ids);
  for (size_t i = 0; i < ids.size(); ++i) tokens.position_ids.push_back(static_cast<int32_t>(cache.length) + static_cast<int32_t>(i));
  ForwardInput input = checked(tokens);
  input.cache = &cache;
  input.step = cache.step;
  RunResult result = compute(input, options);
  cache.length += tokens.length;
  ++cache.step;
  return result;
}

}  // namespace clearhead
