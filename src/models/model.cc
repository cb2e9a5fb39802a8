// Runs a loaded model: checks the caller's input once, then the Transformer computes.
#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include "base/format.h"
#include "base/parallel.h"
#include "models/loaded_model.h"
#include "models/loaded_network.h"
#include "models/run_text.h"

namespace clearhead {
namespace {

constexpr int64_t kScratchKept = int64_t{64} << 20;  // bytes of scratch memory that stay allocated between runs
constexpr int64_t kTokensKeptWhole = 4096;           // a run with gradients over more tokens uses activation checkpointing

// The scratch memory of the run that computes now, and the lock that it holds. Recursive, because an observer may run another model.
struct Engine {
  std::recursive_mutex turn;
  Arena arena;
  int depth = 0;

  /// The engine of the process, which runs use one at a time; inside a parallel loop (for_batches), the engine of the thread.
  static Engine& instance() {
    static Engine shared;
    thread_local Engine own;
    return in_parallel() ? own : shared;
  }
};

void check_size(const char* what, const std::vector<int32_t>& values, int64_t expected) {
  if (values.empty() || static_cast<int64_t>(values.size()) == expected) return;
  fail(ErrorCode::kShape, "run: {} {} were given; expected {}", values.size(), what, expected);
}

}  // namespace

Batch batch_of(const std::vector<int32_t>& ids) { return {.batch = 1, .length = static_cast<int64_t>(ids.size()), .ids = ids}; }

std::unique_lock<std::recursive_mutex> take_turn() { return std::unique_lock(Engine::instance().turn); }

Arena& run_arena() { return Engine::instance().arena; }

void check_length(int64_t tokens, int64_t longest) {
  if (longest == 0 || tokens <= longest) return;
  fail(ErrorCode::kTooLong,
       "the text has {} tokens, but the model supports {} positions; shorten the text, or use a model with more positions",
       with_commas(tokens), with_commas(longest));
}

LoadedModel::LoadedModel(ModelInfo info, Transformer transformer, std::shared_ptr<const Tokenizer> tokenizer, SentenceFacts sentence)
    : Model(std::move(info), std::move(tokenizer)),
      transformer_(std::move(transformer)),
      sentence_(std::move(sentence)),
      sentence_tokenizer_(clearhead::sentence_tokenizer(sentence_, info_.directory, tokenizer_)) {}

const Tokenizer& LoadedModel::sentence_tokenizer() const {
  (void)shared_tokenizer();  // throws if there is none
  return *sentence_tokenizer_;
}

void check_tokens(const Batch& tokens, int64_t vocabulary, int64_t longest) {
  const int64_t rows = tokens.batch * tokens.length;
  if (tokens.features.defined() || tokens.groups.length > 0)
    fail(ErrorCode::kUnsupported, "run: the batch contains features or groups, but this model reads token ids");
  if (tokens.batch < 1 || tokens.length < 1) fail(ErrorCode::kInvalidArgument, "run: there are no tokens; expected at least one");
  if (static_cast<int64_t>(tokens.ids.size()) != rows) {
    fail(ErrorCode::kShape, "run: {} ids for a batch of {} sequences of {} tokens", tokens.ids.size(), tokens.batch, tokens.length);
  }
  check_size("type ids", tokens.type_ids, rows);
  check_size("position ids", tokens.position_ids, rows);
  check_size("document ids", tokens.document_ids, rows);
  check_size("lengths", tokens.lengths, tokens.batch);
  check_length(tokens.length, longest);
  for (const int32_t id : tokens.ids) {
    if (id < 0 || id >= vocabulary) {
      fail(ErrorCode::kInvalidArgument,
           "run: token id {} is outside the model's vocabulary of {} tokens; does the tokenizer belong to another model?", id,
           with_commas(vocabulary));
    }
  }
  for (const int32_t length : tokens.lengths) {
    if (length < 0 || length > tokens.length)
      fail(ErrorCode::kInvalidArgument, "run: a sequence length of {}; expected 0 to {}", length, tokens.length);
  }
}

ForwardInput LoadedModel::checked(const Batch& tokens, const Architecture& facts) const {
  check_tokens(tokens, facts.vocabulary, facts.longest);
  const int64_t rows = tokens.batch * tokens.length;
  ForwardInput input;
  input.batch = tokens.batch;
  input.length = tokens.length;
  input.ids = tokens.ids;
  input.type_ids = tokens.type_ids;
  input.type_ids.resize(static_cast<size_t>(rows), 0);
  input.positions = tokens.position_ids;
  if (input.positions.empty()) {
    input.positions.resize(static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) input.positions[static_cast<size_t>(row)] = static_cast<int32_t>(row % tokens.length);
  }
  for (const int32_t position : input.positions) {
    if (position < 0 || (facts.longest > 0 && position >= facts.longest)) {
      fail(ErrorCode::kInvalidArgument, "run: position {}; expected {}", position,
           facts.longest > 0 ? format("0 to {}", facts.longest - 1) : "0 or more");
    }
  }
  input.lengths = tokens.lengths;
  input.lengths.resize(static_cast<size_t>(tokens.batch), static_cast<int32_t>(tokens.length));
  input.segments = segments_of(tokens.batch, tokens.length, input.lengths, tokens.document_ids);
  return input;
}

RunResult LoadedModel::compute(const Transformer& stack, const ForwardInput& input, const RunOptions& options) const {
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
  Run run{.arena = engine.arena,
          .observer = options.observer,
          .recorder = options.recorder,
          .operands = info_.precision,
          .patched = &options.interventions.patched,
          .eval_mode = true,
          // Not with interventions: a layer that runs again no longer has their descriptions.
          .checkpoints = options.recorder && options.interventions.empty() && input.batch * input.length > kTokensKeptWhole};
  return stack.forward(run, input, options);
}

ForwardInput LoadedModel::checked_source(const Batch& tokens) const {
  const Transformer* encoder = transformer_.encoder();
  if (!encoder)
    fail(ErrorCode::kUnsupported, "{}: models of type \"{}\" have no encoder that reads a source", info_.name, info_.model_type);
  return checked(tokens, encoder->facts());
}

RunResult LoadedModel::run_batch(const Batch& tokens, const Batch* source, const RunOptions& options) const {
  const bool has_plan = options.observer && options.plan_text;
  if (!source) {
    const ForwardInput input = checked(tokens);
    if (has_plan) options.observer->begin(plan(*options.plan_text, options.segments));
    return compute(input, options);
  }
  const ForwardInput read = checked_source(*source);
  ForwardInput input = checked(tokens);
  if (read.batch != input.batch) fail(ErrorCode::kShape, "run: {} targets for {} sources; expected one for each", input.batch, read.batch);
  if (has_plan) options.observer->begin(plan_of_pair(transformer_, info_.name, *options.plan_text));
  input.source = &read;
  return compute(input, options);
}

ModelCache LoadedModel::read(const Batch& source, DType dtype, const Interventions& interventions) const {
  const ForwardInput input = checked_source(source);
  ModelCache cache{.dtype = dtype, .batch = input.batch, .source_lengths = input.lengths};
  cache.source =
      compute(*transformer_.encoder(), input, {.logits = false, .interventions = transformer_.source_interventions(interventions)}).hidden;
  cache.memory.assign(static_cast<size_t>(info_.layers), KVCache(dtype));
  return cache;
}

void refuse(const Model& model, std::string_view refusal) {
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\", which reads a {}, {}", model.info().name, model.info().model_type,
       model.info().reads, refusal);
}

const LoadedModel& transformer_model(const Model& model, std::string_view refusal) {
  const auto* loaded = dynamic_cast<const LoadedModel*>(&model);
  if (!loaded) refuse(model, refusal);
  return *loaded;
}

std::shared_ptr<const Tokenizer> Model::shared_tokenizer() const {
  if (!tokenizer_ && info_.vocabulary == 0)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads a {}, not text", info_.name, info_.model_type, info_.reads);
  if (!tokenizer_) fail(ErrorCode::kNotFound, "{}: the model was loaded without a tokenizer", info_.name);
  return tokenizer_;
}

namespace {

// The text and the tokens of the first sequence of a batch. `tokens.ids` must have at least `tokens.length` elements.
RunText text_of(const Batch& tokens, const Tokenizer* tokenizer, const std::optional<std::string>& given) {
  RunText text;
  text.text = given.value_or("");
  text.ids.assign(tokens.ids.begin(), tokens.ids.begin() + tokens.length);
  text.offsets.resize(text.ids.size());
  text.special.resize(text.ids.size());
  for (size_t i = 0; i < text.ids.size(); ++i) {
    const bool is_known = tokenizer && text.ids[i] < tokenizer->vocabulary_size();
    text.pieces.push_back(is_known ? std::string(tokenizer->token(text.ids[i])) : std::to_string(text.ids[i]));
    text.special[i] = is_known && tokenizer->is_special(text.ids[i]);
  }
  return text;
}

}  // namespace

RunResult Model::run(const Batch& input, const RunOptions& options) const {
  if (!options.observer || options.plan_text || input.ids.empty() || input.groups.length > 0) return run_batch(input, nullptr, options);
  check_tokens(input, info_.vocabulary, info_.longest);
  RunOptions with_text = options;
  with_text.plan_text = text_of(input, tokenizer_.get(), options.text);
  return run_batch(input, nullptr, with_text);
}

RunResult Model::run(const Encoding& encoding, const RunOptions& options) const {
  Batch tokens = batch_of(encoding.ids);
  if (info_.type_count > 0) tokens.type_ids = encoding.type_ids;
  if (!options.observer) return run(tokens, options);
  RunOptions with_text = options;
  with_text.plan_text = run_text(encoding, tokenizer_.get(), options.text, options.pair);
  return run(tokens, with_text);
}

RunResult Model::run(const std::vector<int32_t>& ids, const RunOptions& options) const { return run(batch_of(ids), options); }

RunResult Model::run_from(const Batch& source, const Batch& target, const RunOptions& options) const {
  if (!options.observer || options.plan_text || source.ids.empty()) return run_batch(target, &source, options);
  check_tokens(source, std::numeric_limits<int32_t>::max(), 0);  // the encoder may have a vocabulary of its own
  check_tokens(target, info_.vocabulary, info_.longest);
  RunOptions with_text = options;
  with_text.plan_text = joined(text_of(source, tokenizer_.get(), options.source), text_of(target, tokenizer_.get(), options.text));
  return run_batch(target, &source, with_text);
}

RunResult Model::run_from(const Encoding& source, const Encoding& target, const RunOptions& options) const {
  if (!options.observer) return run_from(batch_of(source.ids), batch_of(target.ids), options);
  RunOptions with_text = options;
  with_text.plan_text = joined(run_text(source, tokenizer_.get(), options.source), run_text(target, tokenizer_.get(), options.text));
  return run_from(batch_of(source.ids), batch_of(target.ids), with_text);
}

RunPlan plan_of(const Model& model, const Encoding& encoding, const RunOptions& options) {
  if (const auto* network = dynamic_cast<const LoadedNetwork*>(&model)) return network->plan_of(encoding, options);
  return transformer_model(model, "cannot run over a single sequence of token ids").plan_of(encoding, options);
}

void ModelCache::select(const std::vector<int64_t>& rows) {
  std::vector<int64_t> sources, shares;  // indices of the sources that stay, and the number of rows of each
  const int64_t each = source.defined() ? batch / source.size(0) : 1;
  for (const int64_t row : rows) {
    if (row < 0 || row >= batch)
      fail(ErrorCode::kInvalidArgument, "select: row {} is out of range: the batch has {} rows, counted from 0", row, batch);
    if (sources.empty() || sources.back() != row / each) {
      sources.push_back(row / each);
      shares.push_back(0);
    }
    ++shares.back();
  }
  if (source.defined()) {
    if (std::adjacent_find(shares.begin(), shares.end(), std::not_equal_to<>()) != shares.end())
      fail(ErrorCode::kInvalidArgument, "select: expected the same number of rows for each source");
    Tensor kept = Tensor::empty({static_cast<int64_t>(sources.size()), source.size(1), source.size(2)});
    std::vector<int32_t> lengths;
    for (size_t i = 0; i < sources.size(); ++i) {
      Tensor to = kept.select(0, static_cast<int64_t>(i));
      const Tensor from = source.select(0, sources[i]);
      std::memcpy(to.mutable_raw(), from.raw(), from.bytes());
      lengths.push_back(source_lengths[static_cast<size_t>(sources[i])]);
    }
    source = kept;
    source_lengths = std::move(lengths);
    for (KVCache& keys : memory) {
      if (keys.length() > 0) keys.select(sources);
    }
  }
  for (KVCache& keys : layers) keys.select(rows);
  for (Tensor& state : states) {
    const Tensor from = state.contiguous();
    state = Tensor::empty({static_cast<int64_t>(rows.size()), from.size(1)});
    for (size_t i = 0; i < rows.size(); ++i)
      std::memcpy(state.select(0, static_cast<int64_t>(i)).mutable_raw(), from.select(0, rows[i]).raw(), from.bytes() / from.size(0));
  }
  batch = static_cast<int64_t>(rows.size());
}

RunResult LoadedModel::step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options) const {
  if (!info_.causal)
    fail(ErrorCode::kUnsupported, "{}: models of type \"{}\" are not causal, so they cannot run step by step", info_.name,
         info_.model_type);
  if (cache.layers.empty()) cache.layers.assign(static_cast<size_t>(info_.layers), KVCache(cache.dtype));
  if (static_cast<int64_t>(cache.layers.size()) != info_.layers) {
    fail(ErrorCode::kInvalidArgument, "step: the cache has {} layers, but the model has {}; use a cache of this model", cache.layers.size(),
         info_.layers);
  }
  const int64_t added = static_cast<int64_t>(ids.size()) / std::max<int64_t>(1, cache.batch);
  if (added * cache.batch != static_cast<int64_t>(ids.size()))
    fail(ErrorCode::kShape, "step: {} ids for {} sequences; expected the same number for each", ids.size(), cache.batch);
  check_length(cache.length + added, info_.longest);
  Batch tokens{.batch = cache.batch, .length = added, .ids = ids};
  for (size_t i = 0; i < ids.size(); ++i)
    tokens.position_ids.push_back(static_cast<int32_t>(cache.length + static_cast<int64_t>(i) % added));
  ForwardInput input = checked(tokens);
  input.cache = &cache;
  input.step = cache.step;
  RunResult result = compute(input, options);
  cache.length += tokens.length;
  ++cache.step;
  return result;
}

}  // namespace clearhead
