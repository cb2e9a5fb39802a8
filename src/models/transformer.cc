// Builds a Transformer from its Architecture and runs it in the order given in architecture.h. The residual stream x is one buffer
// [rows, width], to which blocks add in place.
#include "models/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/format.h"
#include "models/phases.h"

namespace clearhead {
namespace {

AttentionSpec describe(const AttentionFacts& facts) {
  AttentionSpec spec;
  Dot dot;
  if (facts.scale) dot.scale = static_cast<float>(*facts.scale);
  spec.score = dot;
  spec.normaliser = facts.normaliser;
  spec.terms = facts.terms;
  if (facts.causal) {
    spec.topology = causal(facts.window ? std::optional<int64_t>(*facts.window - 1) : std::nullopt);
  } else if (facts.window) {
    spec.topology = window(*facts.window / 2, *facts.window / 2);
  }
  spec.topology.visible = facts.visible;
  if (facts.soft_cap) spec.terms.push_back(SoftCap{static_cast<float>(*facts.soft_cap)});
  return spec;
}

Tensor rows_at(Run& run, const Tensor& hidden, const std::vector<int32_t>& places) {
  Tensor rows = run.take({static_cast<int64_t>(places.size()), hidden.size(1)});
  ops::gather_rows(run, hidden, places, rows);
  return rows;
}

// Returns the position of the last token of a sequence that is not `pad`; 0 if all tokens are.
int64_t last_token(const ForwardInput& input, int64_t sequence, std::optional<int64_t> pad) {
  int64_t token = std::max(0, input.lengths[static_cast<size_t>(sequence)] - 1);
  while (pad && token > 0 && input.ids[static_cast<size_t>(sequence * input.length + token)] == *pad) --token;
  return token;
}

enum class Pick : uint8_t { kFirst, kLast };

// Returns the row of each sequence's first or last token; with `pad`, the last token that is not `pad`.
Tensor picked_rows(Run& run, const ForwardInput& input, const Tensor& hidden, Pick pick, std::optional<int64_t> pad = std::nullopt) {
  std::vector<int32_t> picked;
  for (int64_t b = 0; b < input.batch; ++b)
    picked.push_back(static_cast<int32_t>(b * input.length + (pick == Pick::kLast ? last_token(input, b, pad) : 0)));
  return rows_at(run, hidden, picked);
}

// Returns the input of a block that adds its output to x: x itself, because a block writes to x only after it has read it; a copy if the
// run is recorded, because the backward pass reads the input again.
Tensor read_apart(Run& run, const Tensor& x) {
  if (!run.recorder) return x;
  Tensor copy = run.take(x.shape());
  ops::copy(run, x, copy);
  return copy;
}

bool has_classifier(const Weights& weights, const std::optional<ClassifierFacts>& facts) {
  if (!facts || !weights.has(facts->out.weight)) return false;
  return facts->dense.weight.empty() || weights.has(facts->dense.weight);
}

constexpr const char* kCross = "cross";

}  // namespace

std::optional<Segments> segments_of(int64_t batch, int64_t length, const std::vector<int32_t>& lengths, std::vector<int32_t> documents) {
  const bool is_padded = std::any_of(lengths.begin(), lengths.end(), [&](int32_t of_one) { return of_one < length; });
  if (!is_padded && documents.empty()) return std::nullopt;
  documents.resize(static_cast<size_t>(batch * length), 0);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = lengths[static_cast<size_t>(b)]; i < length; ++i) documents[static_cast<size_t>(b * length + i)] = -1;
  }
  const Tensor segments = Tensor::from(documents, {batch, length});
  return Segments{segments, segments};
}

ForwardInput plain_input(int64_t batch, int64_t length, const std::vector<int32_t>& ids, const std::vector<int32_t>& lengths) {
  ForwardInput input{.batch = batch, .length = length, .ids = ids, .lengths = lengths};
  input.type_ids.assign(ids.size(), 0);
  input.lengths.resize(static_cast<size_t>(batch), static_cast<int32_t>(length));
  input.segments = segments_of(batch, length, input.lengths);
  for (int64_t row = 0; row < batch * length; ++row) input.positions.push_back(static_cast<int32_t>(row % length));
  return input;
}

HeadsInFile heads_in_file(const Architecture& facts, const io::SafeTensors& file) {
  const Weights weights(file, facts);
  HeadsInFile present;
  present.pooler = facts.pooler && weights.has(facts.pooler->dense.weight);
  present.masked = facts.masked && weights.has(facts.masked->transform.weight);
  present.classifier = has_classifier(weights, facts.classifier);
  present.next_sentence = has_classifier(weights, facts.next_sentence);
  present.causal = facts.causal && (facts.causal->is_tied || weights.has(facts.causal->out.weight));
  return present;
}

Transformer::Transformer(const Architecture& facts, const io::SafeTensors& file, StoredWeights stored, std::set<std::string>* read)
    : facts_(facts) {
  std::set<std::string> own;
  std::set<std::string>* names = read ? read : &own;
  if (facts_.encoder) encoder_ = std::make_shared<const Transformer>(*facts_.encoder, file, stored, names);
  Weights weights(file, facts_, stored, names);
  load(weights, heads_in_file(facts_, file));
  if (!read) refuse_unread(file, facts_, own);
}

Transformer::Transformer(const Architecture& facts, Parameters& parameters, const HeadsInFile& heads) : facts_(facts) {
  if (facts_.encoder) encoder_ = std::make_shared<const Transformer>(*facts_.encoder, parameters, HeadsInFile{});
  Weights weights(parameters, facts_);
  load(weights, heads);
}

void Transformer::load(Weights& weights, const HeadsInFile& heads) {
  embeddings_.tokens.weight = weights.table(facts_.embedding.tokens, facts_.vocabulary, facts_.width);
  embeddings_.scale = static_cast<float>(facts_.embedding.scale);
  if (!facts_.embedding.types.empty())
    embeddings_.types.weight = weights.table(facts_.embedding.types, facts_.embedding.type_count, facts_.width);
  std::visit([&](const auto& positions) { load_positions(weights, positions); }, facts_.positions);
  embedding_norm_ = weights.norm(facts_.embedding.norm, facts_.width);
  for (int64_t at = 0; at < facts_.layers; ++at) load_layer(weights, at);
  final_norm_ = weights.norm(facts_.final_norm, facts_.width);
  weights.enter_heads();
  load_heads(weights, heads);
}

bool Transformer::is_embedding(const Tensor& values) const {
  const auto is_same = [&](const auto& one) { return one.weight.defined() && one.weight.shares_storage_with(values); };
  return is_same(embeddings_.tokens) || is_same(embeddings_.types) || is_same(embeddings_.positions) ||
         (encoder_ && encoder_->is_embedding(values));
}

void Transformer::load_positions(const Weights&, const NoPositions&) {}

void Transformer::load_positions(const Weights& weights, const LearnedPositions& learned) {
  embeddings_.positions.weight = weights.table(learned.weight, facts_.longest + learned.offset, facts_.width);
  position_offset_ = learned.offset;
}

void Transformer::load_positions(const Weights& weights, const RotaryPositions& rotary) {
  if (!rotary.table.empty()) weights.check_same(rotary.table, sinusoidal_table(facts_.longest, facts_.head_dim));
  rotary_frequencies_ = rotary_frequencies(rotary, facts_.head_dim);
  rotary_is_interleaved_ = rotary.interleaved;
}

void Transformer::load_positions(const Weights& weights, const PhasePositions& phases) {
  phase_frequencies_ = phases.frequencies;
  phases_ = weights.linear(LinearNames{phases.weight, "", true}, 2 * static_cast<int64_t>(phases.frequencies.size()), facts_.width);
}

void Transformer::load_positions(const Weights& weights, const SinusoidalPositions& sinusoidal) {
  Tensor& table = sinusoidal.gain.empty() ? embeddings_.positions.weight : gained_positions_;
  table = sinusoidal_table(facts_.longest, facts_.width);
  weights.check_same(sinusoidal.weight, table);
  if (!sinusoidal.gain.empty()) position_gain_ = weights.vector(sinusoidal.gain, 1, 1);
}

void Transformer::load_positions(const Weights&, const LayerSinusoids&) {
  phase_frequencies_ = ops::rotary_frequencies(10000, facts_.width);
}

void Transformer::load_layer(Weights& weights, int64_t at) {
  weights.set_layer(at);
  Layer layer;
  layer.attention_norm = weights.norm(facts_.layer.attention_norm, facts_.width);
  layer.mlp_norm = weights.norm(facts_.layer.mlp_norm, facts_.width);
  layer.attention = load_attention(weights, facts_.layer.projections, facts_.attention_of(at), false);
  if (const auto* sinusoids = std::get_if<LayerSinusoids>(&facts_.positions)) {
    const bool of_keys = sinusoids->of == LayerSinusoids::Of::kKeys;
    layer.sinusoids =
        weights.linear(LinearNames{sinusoids->weight}, facts_.width, (of_keys ? facts_.key_heads : facts_.heads) * facts_.head_dim);
    if (!of_keys) {
      layer.sinusoid_query_bias = weights.operand({.weight = sinusoids->query_bias, .shape = {facts_.heads, facts_.head_dim}});
      layer.attention.spec.score = Relative{};  // run_layer() computes its table
    }
  }
  if (const std::optional<CrossFacts>& cross = facts_.layer.cross) {
    layer.cross_norm = weights.norm(cross->norm, facts_.width);
    layer.cross = load_attention(weights, cross->projections, {}, true);
    layer.cross.spec.topology.band.align = Align::kStart;  // positions count from the start of each text
  }
  const MlpFacts& mlp = facts_.layer.mlp;
  if (mlp.kind != MlpFacts::Kind::kNone) {
    layer.mlp.activation = mlp.activation;
    layer.mlp.is_gated = mlp.kind == MlpFacts::Kind::kGated;
    layer.mlp.up = layer.mlp.is_gated ? weights.linear({{mlp.gate, facts_.mlp_width}, {mlp.up, facts_.mlp_width}}, facts_.width)
                                      : weights.linear(mlp.up, facts_.width, facts_.mlp_width);
    layer.mlp.down = weights.linear(mlp.down, facts_.mlp_width, facts_.width, last_narrower());
  }
  layers_.push_back(std::move(layer));
}

nn::Attention Transformer::load_attention(Weights& weights, const ProjectionNames& names, const AttentionFacts& facts,
                                          bool is_cross) const {
  nn::Attention attention;
  attention.heads = facts_.heads;
  attention.key_heads = facts_.key_heads;
  attention.head_dim = facts_.head_dim;
  const int64_t queries = facts_.heads * facts_.head_dim, keys = facts_.key_heads * facts_.head_dim;
  if (is_cross) {
    attention.projection = weights.linear(names.query, facts_.width, queries);
    attention.memory = weights.linear({{names.key, keys}, {names.value, keys}}, facts_.width);
  } else {
    attention.projection = names.fused.weight.empty()
                               ? weights.linear({{names.query, queries}, {names.key, keys}, {names.value, keys}}, facts_.width)
                               : weights.linear(names.fused, facts_.width, queries + 2 * keys);
  }
  attention.output = weights.linear(names.output, queries, facts_.width, last_narrower());
  attention.spec = describe(facts);
  for (const OperandFacts& operand : facts.operands) operand.add(attention.spec, weights.operand(operand));
  return attention;
}

void Transformer::load_heads(Weights& weights, const HeadsInFile& present) {
  const int64_t width = facts_.width, labels = static_cast<int64_t>(facts_.labels.size());
  // As in transformers: a head in the file is used even if "tie_word_embeddings" is true.
  const auto or_embedding = [&](LinearNames names, bool is_tied) {
    if (is_tied && !weights.has_own(names.weight)) names.weight = facts_.embedding.tokens;
    return names;
  };
  const auto load_classifier = [&](const ClassifierFacts& facts, int64_t out, nn::Linear& dense, nn::Linear& last) {
    if (!facts.dense.weight.empty()) dense = weights.linear(facts.dense, width, width);
    last = weights.linear(facts.out, width, out);
  };
  if (present.pooler) pooler_ = weights.linear(facts_.pooler->dense, width, width);
  if (present.classifier) load_classifier(*facts_.classifier, labels, classifier_dense_, classifier_);
  if (present.next_sentence) load_classifier(*facts_.next_sentence, 2, next_dense_, next_);
  if (present.masked) {
    masked_transform_ = weights.linear(facts_.masked->transform, width, width);
    masked_norm_ = weights.norm(facts_.masked->norm, width);
    LinearNames decoder = or_embedding({facts_.masked->decoder, ""}, facts_.masked->is_tied);
    const std::string& bias = weights.first_of(facts_.masked->biases);
    if (weights.has(bias)) decoder.bias = bias;
    masked_decoder_ = weights.linear(decoder, width, facts_.vocabulary);
  }
  if (present.causal) {
    LinearNames out = or_embedding(facts_.causal->out, facts_.causal->is_tied);
    if (!weights.has(out.bias)) out.bias.clear();
    causal_ = weights.linear(out, width, facts_.vocabulary);
  }
}

const char* Transformer::map_family() const { return facts_.attention_of(0).causal ? "dec" : "enc"; }

void Transformer::embed(Run& run, const ForwardInput& input, Tensor& x) const {
  std::vector<int32_t> rows = input.positions;
  for (int32_t& row : rows) row += static_cast<int32_t>(position_offset_);
  nn::embed(run, embeddings_, {input.ids, rows, input.type_ids}, x);
  if (gained_positions_.defined()) {
    Tensor positions = run.take(x.shape()), scaled = run.take(x.shape());
    ops::gather_rows(run, gained_positions_, rows, positions);
    ops::multiply(run, positions, position_gain_.reshape({1, 1}).expand(x.shape()), scaled);
    ops::add(run, scaled, x);
  }
  if (phases_) nn::linear(run, phases_, phase_rows(phase_frequencies_, input.positions), x, {.accumulate = true});
  nn::normalise(run, embedding_norm_, x, x);
  if (run.drops()) ops::dropout(run, x, {.rate = run.dropout->rate, .seed = run.dropout->next()}, x);
  if (run.recorder) run.recorder->embedded(map_family(), x);
}

struct Transformer::Pass {
  ModelCache* cache = nullptr;
  Streams* streams = nullptr;
  int64_t step = 0;
  nn::Sequences self{};
  nn::Sequences cross{};
  Tensor memory{};  // [rows of the source, width]
  ops::RotaryAngles angles{};
  Tensor key_sinusoids{};  // [rows, width] for LayerSinusoids of keys
};

// Returns the table A of a relative score (spec.h) for offsets up to `reach`: f32 [head, 2·reach + 1, head_dim]. Row r is the offset
// reach − r from the query back to the key.
Tensor Transformer::offset_table(Run& run, const Layer& layer, int64_t reach) const {
  std::vector<int32_t> back;
  for (int64_t row = 0; row <= 2 * reach; ++row) back.push_back(static_cast<int32_t>(reach - row));
  Tensor projected = run.take({2 * reach + 1, facts_.heads * facts_.head_dim});
  nn::linear(run, layer.sinusoids, phase_rows(phase_frequencies_, back), projected);
  Tensor table = Tensor::empty({facts_.heads, 2 * reach + 1, facts_.head_dim});  // an observer may keep it
  ops::copy(run, projected.reshape({2 * reach + 1, facts_.heads, facts_.head_dim}).permute({1, 0, 2}), table);
  return table;
}

// Adds the output of one block to x, with the norm before the block or after the sum. add_to(input): adds the block's output to x.
template <class AddTo>
void Transformer::run_block(Run& run, const nn::Norm& norm, Streams* streams, Tensor& x, const AddTo& add_to) const {
  if (facts_.layer.placement == LayerFacts::NormPlacement::kPost) {
    add_to(read_apart(run, x));
    if (streams) streams->take(x);
    nn::normalise(run, norm, x, x);
    return;
  }
  const Arena::Scope scope(run.arena);
  if (norm) {
    Tensor normed = run.take(x.shape());
    nn::normalise(run, norm, x, normed);
    add_to(normed);
  } else {
    add_to(read_apart(run, x));
  }
  if (streams) streams->take(x);
}

// Completes a layer without cross-attention, from the sum of the residual stream and attention. x: [row, width], in place.
void Transformer::run_after_attention(Run& run, int at, Tensor& x) const {
  const Layer& layer = layers_[static_cast<size_t>(at)];
  if (facts_.layer.placement == LayerFacts::NormPlacement::kPost) nn::normalise(run, layer.attention_norm, x, x);
  if (layer.mlp) run_block(run, layer.mlp_norm, nullptr, x, [&](const Tensor& read) { nn::add_feed_forward(run, layer.mlp, read, x); });
}

void Transformer::run_layer(Run& run, int64_t at, const Pass& pass, Tensor& x) const {
  const Layer& layer = layers_[static_cast<size_t>(at)];
  ModelCache* cache = pass.cache;
  const auto block = [&](const nn::Norm& norm, const auto& add_to) { run_block(run, norm, pass.streams, x, add_to); };
  const auto site = [&](const char* family) { return Site{family, static_cast<int>(at), pass.step}; };
  KVCache* own = cache ? &cache->layers[static_cast<size_t>(at)] : nullptr;
  nn::Sequences self = pass.self;
  if (!facts_.attention_of(at).turns) self.rotation = nullptr;
  self.top_keys = facts_.attention_of(at).top_keys;
  const Arena::Scope scope(run.arena);
  AttentionSpec described;
  Tensor key_rows;
  if (layer.sinusoid_query_bias.defined()) {
    described = self.described ? *self.described : layer.attention.spec;
    const int64_t keys = (cache ? cache->length : 0) + x.size(0) / self.batch;
    described.score = Relative{.keys = offset_table(run, layer, keys), .query_bias = layer.sinusoid_query_bias};
    self.described = &described;
  } else if (layer.sinusoids) {
    key_rows = run.take({x.size(0), layer.sinusoids.out()});
    nn::linear(run, layer.sinusoids, pass.key_sinusoids, key_rows);
    self.key_rows = &key_rows;
  }
  block(layer.attention_norm, [&](const Tensor& read) { nn::add_attention(run, layer.attention, site(map_family()), read, self, own, x); });
  if (layer.cross.projection) {
    KVCache* memory = cache ? &cache->memory[static_cast<size_t>(at)] : nullptr;
    block(layer.cross_norm, [&](const Tensor& read) { nn::add_attention(run, layer.cross, site(kCross), read, pass.cross, memory, x); });
  }
  if (layer.mlp) block(layer.mlp_norm, [&](const Tensor& read) { nn::add_feed_forward(run, layer.mlp, read, x); });
}

// Runs a layer as a checkpoint: the backward pass runs it again, with the same dropout, long after this function has returned.
void Transformer::run_layer_twice(Run& run, int64_t at, const std::shared_ptr<const Pass>& pass, Tensor& x) const {
  const auto drawn = std::make_shared<uint64_t>(0);
  const RunDropout dropout = run.dropout ? *run.dropout : RunDropout{};
  run.recorder->checkpoint(x, [this, run, at, pass, x, dropout, drawn, is_first = true]() mutable {
    Run again = run;
    again.is_recompute = !std::exchange(is_first, false);
    RunDropout dropping = dropout;
    if (run.dropout) again.dropout = &dropping;
    Tensor stream = x;
    run_layer(again, at, *pass, stream);
    *drawn = dropping.drawn;
  });
  if (run.dropout) run.dropout->drawn = *drawn;
}

void Transformer::check_interventions(const Interventions& interventions) const {
  const auto check = [&](const std::string& family, std::optional<int> layer, const char* what) {
    const bool is_known = family == map_family() || (encoder_ && (family == encoder_->map_family() || family == kCross));
    if (family.empty() ? encoder_ != nullptr : !is_known) {
      fail(ErrorCode::kInvalidArgument, "{} names {}; a model of type \"{}\" has the attention families {}", what,
           family.empty() ? "no family" : "family \"" + family + "\"", facts_.model_type, encoder_ ? "enc, dec and cross" : map_family());
    }
    const int64_t layers = encoder_ && family == encoder_->map_family() ? encoder_->facts_.layers : facts_.layers;
    if (layer && (*layer < 0 || *layer >= layers)) {
      fail(ErrorCode::kInvalidArgument, "{} names layer {}; this model's layers are 0 to {}", what, *layer, layers - 1);
    }
  };
  for (const Interventions::Head& head : interventions.ablated) check(head.family, head.layer, "an ablated head");
  for (const Interventions::Pairs& pairs : interventions.knockouts) check(pairs.family, pairs.layer, "an attention knockout");
  for (const Interventions::Pairs& pairs : interventions.keep_only) check(pairs.family, pairs.layer, "a keep-only");
  for (const Interventions::Patch& patch : interventions.patched) check(patch.head.family, patch.head.layer, "a patch");
  for (const Interventions::Scores& scores : interventions.scores) check(scores.family, scores.layer, "scores of a query");
}

Interventions Transformer::source_interventions(Interventions interventions) const {
  check_interventions(interventions);
  const auto is_other = [&](const auto& edit) { return edit.family != encoder_->map_family(); };
  std::erase_if(interventions.ablated, is_other);
  std::erase_if(interventions.knockouts, is_other);
  std::erase_if(interventions.keep_only, is_other);
  std::erase_if(interventions.patched, [&](const Interventions::Patch& patch) { return is_other(patch.head); });
  std::erase_if(interventions.scores, is_other);
  return interventions;
}

// Sets the memory of cross-attention to the encoder's output, from a run of the encoder or from the cache, and the source keys that each
// sequence sees.
void Transformer::read_source(Run& run, const ForwardInput& input, const RunOptions& options, Pass& pass, RunResult& result) const {
  const ForwardInput* source = input.source;
  ModelCache* cache = input.cache;
  if (!source && !(cache && cache->source.defined()))
    fail(ErrorCode::kInvalidArgument, "run: a model of type \"{}\" needs a source to read", facts_.model_type);
  if (source) {
    RunOptions reading = options;
    reading.logits = false;
    reading.interventions = source_interventions(options.interventions);
    RunResult read = encoder_->forward(run, *source, reading);
    result.source_hidden = std::move(read.hidden);
    result.all_source_hidden = std::move(read.all_hidden);
  }
  const Tensor& hidden = source ? result.source_hidden : cache->source;
  const int64_t batch = hidden.size(0), length = hidden.size(1), rows = input.batch * input.length;
  if (rows % batch != 0)
    fail(ErrorCode::kShape, "run: {} target sequences, {} tokens in all, cannot be divided evenly among {} sources", input.batch, rows,
         batch);
  pass.memory = hidden.reshape({batch * length, facts_.width});
  pass.cross.batch = batch;
  pass.cross.memory = &pass.memory;
  pass.cross.segments = segments_of(batch, length, source ? source->lengths : cache->source_lengths);
  if (input.of_source) {
    pass.cross.segments = input.of_source;
  } else if (pass.cross.segments) {
    pass.cross.segments->queries = Tensor::zeros({1, rows / batch}, DType::kI32);
  }
}

RunResult Transformer::forward(Run& run, const ForwardInput& input, const RunOptions& options) const {
  const Arena::Scope scope(run.arena);
  const int64_t rows = input.batch * input.length;
  const Shape shape = {input.batch, input.length, facts_.width};
  RunResult result;
  result.hidden = run.result(shape);
  Tensor x = result.hidden.reshape({rows, facts_.width});
  embed(run, input, x);
  if (input.streams) input.streams->take(x);
  const auto shared = std::make_shared<Pass>(Pass{input.cache, input.streams, input.step, {input.batch, input.segments}});
  Pass& pass = *shared;
  if (!rotary_frequencies_.empty()) {
    pass.angles = ops::rotary_angles(run, rotary_frequencies_, rotary_is_interleaved_, input.positions);
    pass.self.rotation = &pass.angles;
  }
  if (const auto* sinusoids = std::get_if<LayerSinusoids>(&facts_.positions); sinusoids && sinusoids->of == LayerSinusoids::Of::kKeys)
    pass.key_sinusoids = phase_rows(phase_frequencies_, input.positions);
  check_interventions(options.interventions);
  if (encoder_) read_source(run, input, options, pass, result);
  AttentionSpec described, described_cross;
  for (int64_t at = 0; at < facts_.layers; ++at) {
    if (!options.interventions.empty()) {
      const Layer& layer = layers_[static_cast<size_t>(at)];
      InterventionSite site{.layer = static_cast<int>(at), .heads = facts_.heads, .family = map_family()};
      described = with_interventions(layer.attention.spec, options.interventions, site);
      pass.self.described = &described;
      const int64_t first = input.cache ? input.cache->length : 0;
      site.family = kCross;
      site.cross_queries = Range{first, first + input.length};
      if (layer.cross.projection) described_cross = with_interventions(layer.cross.spec, options.interventions, site);
      pass.cross.described = &described_cross;
    }
    if (options.all_hidden) result.all_hidden.push_back(x.clone().reshape(shape));
    if (run.recorder && run.checkpoints) {
      run_layer_twice(run, at, shared, x);
    } else {
      run_layer(run, at, pass, x);
    }
  }
  if (options.all_hidden) result.residual = x.clone().reshape(shape);
  nn::normalise(run, final_norm_, x, x);
  if (options.all_hidden) result.all_hidden.push_back(x.clone().reshape(shape));
  run_heads(run, input, options, result);
  return result;
}

Tensor Transformer::logit_lens(Run& run, const Tensor& hidden) const {
  if (hidden.rank() != 2 || hidden.size(1) != facts_.width)
    fail(ErrorCode::kShape, "logit_lens: hidden is {}; expected [rows, {}]", to_string(hidden.shape()), facts_.width);
  if (!causal_ && !masked_transform_)
    fail(ErrorCode::kUnsupported, "logit_lens: a model of type \"{}\" has no head that predicts tokens", facts_.model_type);
  const ForwardInput input{.batch = 1, .length = hidden.size(0), .lengths = {static_cast<int32_t>(hidden.size(0))}};
  RunResult result{.hidden = Tensor::empty({1, hidden.size(0), facts_.width})};
  Tensor x = result.hidden.reshape(hidden.shape());
  const Arena::Scope scope(run.arena);
  nn::normalise(run, final_norm_, hidden.contiguous(), x);
  run_heads(run, input, {}, result);
  const Tensor& logits = causal_ ? result.causal_logits : result.masked_logits;
  return logits.reshape({hidden.size(0), facts_.vocabulary});
}

Tensor Transformer::logit_contributions(Run& run, const Tensor& parts, const Tensor& at) const {
  const int64_t width = facts_.width;
  if (parts.rank() != 2 || parts.size(1) != width || at.numel() != width)
    fail(ErrorCode::kShape, "logit_lens: parts are {} and `at` is {}; expected [rows, {}] and [1, {}]", to_string(parts.shape()),
         to_string(at.shape()), width, width);
  if (!causal_)
    fail(ErrorCode::kUnsupported, "logit_lens: contributions to logits need a causal head, which a model of type \"{}\" does not have",
         facts_.model_type);
  Tensor scaled = parts.clone();
  if (final_norm_) scale_as(nn::normalisation_of(final_norm_), at.contiguous().data<float>(), scaled);
  Tensor logits = Tensor::empty({parts.size(0), facts_.vocabulary});
  ops::linear(run, scaled, *causal_.weight, Tensor(), logits);
  return logits;
}

// Multiplies W_O by one row per head, which contains that head's output and zeros elsewhere.
Tensor Transformer::head_contributions(Run& run, const std::string& family, int layer, const Tensor& outputs) const {
  if (encoder_ && family == encoder_->map_family()) return encoder_->head_contributions(run, family, layer, outputs);
  if (layer < 0 || layer >= facts_.layers || (family != map_family() && family != kCross))
    fail(ErrorCode::kInvalidArgument, "head_contributions: there is no attention of family \"{}\" in layer {}", family, layer);
  const Layer& of = layers_[static_cast<size_t>(layer)];
  const nn::Attention& attention = family == kCross ? of.cross : of.attention;
  if (!attention.projection) fail(ErrorCode::kInvalidArgument, "head_contributions: this model has no cross-attention");
  if (outputs.rank() != 2 || outputs.size(0) != attention.heads || outputs.size(1) != attention.head_dim)
    fail(ErrorCode::kShape, "head_contributions: outputs are {}; expected [{}, {}]", to_string(outputs.shape()), attention.heads,
         attention.head_dim);
  const Arena::Scope scope(run.arena);
  const int64_t heads = attention.heads, width = attention.head_dim;
  Tensor apart = Tensor::zeros({heads, heads * width}), out = Tensor::empty({heads, facts_.width});
  for (int64_t head = 0; head < heads; ++head)
    std::copy_n(outputs.contiguous().data<float>() + head * width, width,
                apart.mutable_data<float>() + head * heads * width + head * width);
  ops::linear(run, apart, *attention.output.weight, Tensor(), out);
  return out;
}

Tensor Transformer::classify(Run& run, const ClassifierFacts& facts, const nn::Linear& dense, const nn::Linear& out,
                             const ForwardInput& input, const Tensor& hidden) const {
  const bool every = is_by_token(facts);
  const Pick pick = facts.where == ClassifierFacts::Where::kLast ? Pick::kLast : Pick::kFirst;
  Tensor x = every ? hidden : picked_rows(run, input, hidden, pick, facts.pad_token);
  if (dense) {
    Tensor pooled = run.take(x.shape());
    nn::linear(run, dense, x, pooled, {.activation = facts.activation});
    x = pooled;
  }
  if (run.drops()) {
    Tensor dropped = run.take(x.shape());
    ops::dropout(run, x, {.rate = run.dropout->rate, .seed = run.dropout->next()}, dropped);
    x = dropped;
  }
  Tensor logits = run.result({x.size(0), out.out()});
  nn::linear(run, out, x, logits);
  return every ? logits.reshape({input.batch, input.length, out.out()}) : logits;
}

void Transformer::run_heads(Run& run, const ForwardInput& input, const RunOptions& options, RunResult& result) const {
  const Tensor hidden = result.hidden.reshape({input.batch * input.length, facts_.width});
  if (pooler_) {
    result.pooled = run.result({input.batch, facts_.width});
    nn::linear(run, pooler_, picked_rows(run, input, hidden, Pick::kFirst), result.pooled, {.activation = facts_.pooler->activation});
  }
  if (!options.logits) return;
  if (classifier_) result.class_logits = classify(run, *facts_.classifier, classifier_dense_, classifier_, input, hidden);
  if (next_) result.next_sentence_logits = classify(run, *facts_.next_sentence, next_dense_, next_, input, hidden);
  if (masked_transform_) {
    const Tensor read = options.masked_rows ? rows_at(run, hidden, *options.masked_rows) : hidden;
    Tensor transformed = run.take(read.shape());
    nn::linear(run, masked_transform_, read, transformed, {.activation = facts_.masked->activation});
    nn::normalise(run, masked_norm_, transformed, transformed);
    Tensor logits = run.result({read.size(0), facts_.vocabulary});
    nn::linear(run, masked_decoder_, transformed, logits);
    result.masked_logits = options.masked_rows ? logits : logits.reshape({input.batch, input.length, facts_.vocabulary});
  }
  if (causal_) {
    Tensor x = options.last_logits_only ? picked_rows(run, input, hidden, Pick::kLast) : hidden;
    if (options.masked_rows) x = rows_at(run, hidden, *options.masked_rows);
    Tensor logits = run.result({x.size(0), facts_.vocabulary});
    nn::linear(run, causal_, x, logits);
    result.causal_logits = options.masked_rows ? logits : logits.reshape({input.batch, x.size(0) / input.batch, facts_.vocabulary});
  }
}

}  // namespace clearhead
