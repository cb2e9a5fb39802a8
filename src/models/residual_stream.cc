// The functions of residual_stream.h. Each checks its arguments. Those that need a run make one, with an observer that keeps the rows they
// use. The algebra is in the Transformer (transformer_parts.cc).
#include "clearhead/residual_stream.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <utility>

#include "base/format.h"
#include "clearhead/map.h"
#include "models/loaded_model.h"

namespace clearhead {
namespace {

constexpr const char* kHasNoLayers = "has no Transformer layers, which this needs";

void check_token(int64_t token, const Encoding& text) {
  if (token < 0 || token >= static_cast<int64_t>(text.ids.size()))
    fail(ErrorCode::kInvalidArgument, "token {} is out of range: the text has {} tokens, counted from 0", token, text.ids.size());
}

// Returns the input of a run on one text. Throws kInvalidArgument for a layer or tokens that do not exist.
ForwardInput one_text(const LoadedModel& model, const Encoding& text, int layer, std::initializer_list<int64_t> tokens) {
  const ModelInfo& info = model.info();
  if (layer < 0 || layer >= info.layers)
    fail(ErrorCode::kInvalidArgument, "layer {} is out of range; {} has layers 0 to {}", layer, info.name, info.layers - 1);
  for (const int64_t token : tokens) check_token(token, text);
  Batch batch = batch_of(text.ids);
  if (info.type_count > 0) batch.type_ids = text.type_ids;
  return model.checked(batch);
}

// Keeps the outputs of the heads of every attention layer at the given rows of the source and of the target, [head, row, d_v], and whether
// the query of the score sees its key.
class HeadsAt final : public Observer {
 public:
  HeadsAt(const ScoreAt& at, std::vector<int64_t> source_rows, std::vector<int64_t> target_rows)
      : at_(at), source_rows_(std::move(source_rows)), target_rows_(std::move(target_rows)) {}
  void begin(const RunPlan&) override {}
  bool wants(const Site& site) override { return site.layer == at_.layer && (at_.family.empty() || site.family == at_.family); }
  void take(const Site&, const AttentionRecord& record, const KeyNorms&) override {
    const float score = AttentionMap(record).head(0, at_.head).row(at_.query).scores()[static_cast<size_t>(at_.key)];
    sees = score > -std::numeric_limits<float>::infinity();
  }
  bool wants_output(const Site& site) override { return !rows_of(site).empty(); }
  void take_output(const Site& site, const Tensor& out) override {
    const std::vector<int64_t>& rows = rows_of(site);
    const auto count = static_cast<int64_t>(rows.size());
    Tensor kept = Tensor::empty({out.size(1), count, out.size(3)});
    for (int64_t head = 0; head < out.size(1); ++head) {
      for (int64_t row = 0; row < count; ++row) {
        const Tensor from = out.select(0, 0).select(0, head).select(0, rows[static_cast<size_t>(row)]).contiguous();
        std::copy_n(from.data<float>(), out.size(3), kept.mutable_data<float>() + (head * count + row) * out.size(3));
      }
    }
    outputs[{site.family, site.layer}] = std::move(kept);
  }
  HeadOutputs outputs{};
  bool sees = false;

 private:
  const std::vector<int64_t>& rows_of(const Site& site) const { return site.family == "enc" ? source_rows_ : target_rows_; }
  ScoreAt at_;
  std::vector<int64_t> source_rows_, target_rows_;
};

// Keeps the map of one layer.
class MapOfLayer final : public Observer {
 public:
  explicit MapOfLayer(int layer) : layer_(layer) {}
  void begin(const RunPlan&) override {}
  bool wants(const Site& site) override { return site.layer == layer_; }
  void take(const Site&, const AttentionRecord& record, const KeyNorms&) override { map.emplace(AttentionMap(record.pin()).after()); }
  std::optional<AttentionMap> map{};

 private:
  int layer_;
};

}  // namespace

Tensor logit_lens(const Model& model, const Tensor& hidden, const Tensor& at) {
  const Transformer& transformer = transformer_model(model, "has no language modelling head, which the logit lens needs").transformer();
  const auto turn = take_turn();
  Run run{.arena = run_arena()};
  return at.defined() ? transformer.logit_contributions(run, hidden, at) : transformer.logit_lens(run, hidden);
}

Tensor head_contributions(const Model& model, const std::string& family, int layer, const Tensor& outputs) {
  const Transformer& transformer = transformer_model(model, "has no residual stream that heads add to").transformer();
  const auto turn = take_turn();
  Run run{.arena = run_arena()};
  return transformer.head_contributions(run, family, layer, outputs);
}

ScoreSplit split_score(const Model& any_model, const Encoding& text, const ScoreAt& at, const std::optional<Encoding>& target) {
  const LoadedModel& model = transformer_model(any_model, kHasNoLayers);
  const ModelInfo& info = model.info();
  const Transformer &transformer = model.transformer(), *encoder = transformer.encoder();
  if (encoder && !target) fail(ErrorCode::kInvalidArgument, "score: {} is an encoder-decoder; give the ids of a target too", info.name);
  if (encoder ? at.family != "enc" && at.family != "dec" && at.family != "cross"
              : !at.family.empty() && at.family != transformer.map_family())
    fail(ErrorCode::kInvalidArgument, "score: {} has no attention \"{}\"; expected {}", info.name, at.family,
         encoder ? "enc, dec or cross" : transformer.map_family());
  const bool is_source = encoder && at.family == "enc", is_cross = encoder && at.family == "cross";
  const Encoding &query_text = encoder && !is_source ? *target : text, &key_text = is_cross ? text : query_text;
  check_token(at.query, query_text);
  check_token(at.key, key_text);
  const Architecture& facts = is_source ? encoder->facts() : transformer.facts();
  if (at.layer < 0 || at.layer >= facts.layers || at.head < 0 || at.head >= facts.heads)
    fail(ErrorCode::kInvalidArgument, "score: L{}.H{} is out of range; layers are 0 to {}, and heads are 0 to {}", at.layer, at.head,
         facts.layers - 1, facts.heads - 1);
  // In cross-attention the query is a row of the target and the key is a row of the source; otherwise both are rows of one text.
  const std::vector<int64_t> both{at.query, at.key}, none{};
  Streams source_streams{.rows = is_source  ? both
                                 : is_cross ? std::vector<int64_t>{at.key}
                                            : none},
      target_streams{.rows = is_cross ? std::vector<int64_t>{at.query} : both};
  HeadsAt heads(at, encoder ? source_streams.rows : both, is_source ? none : target_streams.rows);
  ForwardInput source, input = encoder ? model.checked(batch_of(target->ids)) : one_text(model, text, at.layer, {at.query, at.key});
  if (encoder) {
    source = model.checked_source(batch_of(text.ids));
    source.streams = &source_streams;
    input.source = &source;
  }
  if (!is_source) input.streams = &target_streams;
  const auto turn = take_turn();
  model.compute(input, {.observer = &heads, .logits = false});
  if (!heads.sees)
    fail(ErrorCode::kInvalidArgument, "score: token {} cannot attend to token {} in {}L{}.H{}", at.query, at.key,
         encoder ? at.family + "." : "", at.layer, at.head);
  Run run{.arena = run_arena(), .operands = info.precision};
  const auto position = [](const ForwardInput& of, int64_t token) { return of.positions[static_cast<size_t>(token)]; };
  const ForwardInput& queries = is_source ? source : input;
  const Transformer::ScoreRow query{is_source ? &source_streams : &target_streams, 0, position(queries, at.query)};
  const Transformer::ScoreRow key = is_cross ? Transformer::ScoreRow{&source_streams, 0, position(source, at.key)}
                                             : Transformer::ScoreRow{query.streams, 1, position(queries, at.key)};
  return transformer.split_score(run, at, query, key, heads.outputs);
}

struct TokenMixing::State {
  const LoadedModel& model;
  std::optional<AttentionMap> map{};
  Transformer::Mixing mixing{};
  Tensor weights{};  // f32 [key, row, head], if states_without_value() was called
};

TokenMixing::TokenMixing(const Model& any_model, const Encoding& text, int layer)
    : state_(std::make_unique<State>(State{transformer_model(any_model, kHasNoLayers)})) {
  const LoadedModel& model = state_->model;
  if (model.transformer().encoder())
    fail(ErrorCode::kUnsupported, "{}: the rows of a layer can be decomposed into tokens only for models that read a single text",
         model.info().name);
  ForwardInput input = one_text(model, text, layer, {0});
  Streams streams;
  for (int64_t row = 0; row < input.length; ++row) streams.rows.push_back(row);
  input.streams = &streams;
  MapOfLayer of_layer(layer);
  const auto turn = take_turn();
  model.compute(input, {.observer = &of_layer, .logits = false});
  Run run{.arena = run_arena(), .operands = model.info().precision};
  state_->mixing = model.transformer().mixing(run, layer, streams);
  state_->map = of_layer.map;
}

TokenMixing::~TokenMixing() = default;
TokenMixing::TokenMixing(TokenMixing&&) noexcept = default;
TokenMixing& TokenMixing::operator=(TokenMixing&&) noexcept = default;

Tensor TokenMixing::vectors(int64_t query) const {
  const int64_t rows = state_->mixing.stream.size(0);
  if (query < 0 || query >= rows) fail(ErrorCode::kInvalidArgument, "token {} is out of range: the text has {} tokens", query, rows);
  std::vector<std::vector<float>> weights;
  for (int64_t head = 0; head < state_->map->shape().heads; ++head) weights.push_back(state_->map->head(0, head).row(query).weights());
  const auto turn = take_turn();
  Run run{.arena = run_arena(), .operands = state_->model.info().precision};
  return state_->model.transformer().mixed_vectors(run, state_->mixing, query, weights);
}

Tensor TokenMixing::states_without_value(int64_t token) const {
  const int64_t rows = state_->mixing.stream.size(0), heads = state_->map->shape().heads;
  if (token < -1 || token >= rows) fail(ErrorCode::kInvalidArgument, "token {} is out of range: the text has {} tokens", token, rows);
  if (!state_->weights.defined()) {
    Tensor weights = Tensor::empty({rows, rows, heads});
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t row = 0; row < rows; ++row) {
        const std::vector<float> of_row = state_->map->head(0, head).row(row).weights();
        for (int64_t key = 0; key < rows; ++key)
          weights.mutable_data<float>()[(key * rows + row) * heads + head] = of_row[static_cast<size_t>(key)];
      }
    }
    state_->weights = std::move(weights);
  }
  const auto turn = take_turn();
  Run run{.arena = run_arena(), .operands = state_->model.info().precision};
  return state_->model.transformer().states_without_value(run, state_->mixing, token,
                                                          token < 0 ? Tensor() : state_->weights.select(0, token));
}

std::vector<double> norms_of_rows(const Tensor& vectors) {
  std::vector<double> norms;
  const int64_t width = vectors.size(1);
  for (int64_t row = 0; row < vectors.size(0); ++row) {
    double square = 0;
    for (int64_t c = 0; c < width; ++c) square += std::pow(static_cast<double>(vectors.data<float>()[row * width + c]), 2);
    norms.push_back(std::sqrt(square));
  }
  return norms;
}

std::vector<double> mixed_norms(const Model& model, const Encoding& text, int layer, int64_t query) {
  return norms_of_rows(TokenMixing(model, text, layer).vectors(query));
}

}  // namespace clearhead
