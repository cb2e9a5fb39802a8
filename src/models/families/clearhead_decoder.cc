// Causal decoders whose position encoding, normaliser and sparsity are settings, for comparing them: pre-norm layers with layer norms and
// plain MLPs.
//
//   x = √width·tokens[id] (+ positions)     per layer: x += attention(norm(x));  x += mlp(norm(x))     logits = norm(x)·tokensᵀ
//
// Fields of config.json:
//   vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, hidden_act
//   max_position_embeddings   maximum number of tokens; 0: no limit, which learned and sinusoidal tables do not allow
//   positions                 one of kEncodings, below
//   position_reach            shaw: distances beyond it share an entry; 16 if absent
//   position_buckets, position_distance   t5: buckets, and the distance from which on the last one is used; 32 and 128 if absent
//   normaliser                softmax (if absent), sparsemax or entmax15
//   learned_temperature       true: each head divides its scores by a learned number
//   sliding_window            number of keys that a query sees, including its own; null: all
//   pattern                   full (if absent), strided or fixed (Child et al. 2019), or segments (Dai et al. 2019): which earlier keys a
//                             query sees
//   pattern_stride            strided, fixed: 16 if absent
//   segment_length            segments: a query sees the earlier keys of its segment of so many tokens; 64 if absent
//   memory_length             segments: and so many keys before the segment; 0 if absent. The keys of a layer are computed from hidden
//                             states that saw memory themselves, so the context grows with each layer. In training, gradients pass into
//                             the memory, which the paper stops at the start of the segment to save work.
//   top_keys                  each query attends to so many keys, those with the highest scores; absent: to all
//   adaptive_span             each head learns how far back it looks, as a multiple of so many keys; absent: all the way
//   adaptive_ramp             adaptive_span: number of keys over which a head's span ends; 32 if absent
#include <cmath>
#include <limits>

#include "base/format.h"
#include "models/families/facts.h"

namespace clearhead {
namespace {

const std::string kLayer = "layers.{}.";

void set_learned(Config&, Architecture& facts, AttentionFacts&) { facts.positions = LearnedPositions{"positions.weight"}; }
void set_sinusoidal(Config&, Architecture& facts, AttentionFacts&) { facts.positions = SinusoidalPositions{}; }
void set_scaled_sinusoidal(Config&, Architecture& facts, AttentionFacts&) {
  facts.positions = SinusoidalPositions{.gain = "positions.gain"};
}
void set_key_sinusoidal(Config&, Architecture& facts, AttentionFacts&) {
  facts.positions = LayerSinusoids{LayerSinusoids::Of::kKeys, kLayer + "attention.positions.weight"};
}
void set_transformer_xl(Config&, Architecture& facts, AttentionFacts&) {
  facts.positions = LayerSinusoids{LayerSinusoids::Of::kOffsets, kLayer + "attention.positions.weight", kLayer + "attention.query_bias"};
}
void set_rotary(Config&, Architecture& facts, AttentionFacts&) { facts.positions = RotaryPositions{}; }

// The slopes of Press et al. 2022, §3: 2^(−8/heads), 2^(−16/heads), … They use this formula if the number of heads is a power of two; here it
// holds for any number.
void set_alibi(Config&, Architecture& facts, AttentionFacts& attention) {
  std::vector<float> slopes;
  for (int64_t head = 1; head <= facts.heads; ++head)
    slopes.push_back(static_cast<float>(std::exp2(-8.0 * static_cast<double>(head) / static_cast<double>(facts.heads))));
  attention.terms.emplace_back(Alibi{Tensor::from(slopes, {facts.heads})});
}

void set_shaw(Config& config, Architecture& facts, AttentionFacts& attention) {
  const int64_t reach = config.size_or("position_reach", 16);
  const auto table = [&](const char* name, auto put) {
    attention.operands.push_back({.weight = kLayer + name, .shape = {1, 2 * reach + 1, facts.head_dim}, .deviation = 0.02, .add = put});
  };
  table("attention.relative_keys", [](AttentionSpec& spec, const Tensor& values) { spec.score = Relative{.keys = values}; });
  table("attention.relative_values", [](AttentionSpec& spec, const Tensor& values) { std::get<Relative>(spec.score).values = values; });
}

void set_t5(Config& config, Architecture& facts, AttentionFacts& attention) {
  const int64_t buckets = config.size_or("position_buckets", 32), distance = config.size_or("position_distance", 128);
  if (buckets < 2 || distance <= buckets / 2)
    config.refuse("position_distance",
                  format("expected a distance beyond {}, half of position_buckets, which must be 2 or more", buckets / 2));
  attention.operands.push_back({.weight = kLayer + "attention.relative_bias",
                                .shape = {buckets, facts.heads},
                                .deviation = 0.02,
                                .add = [distance](AttentionSpec& spec, const Tensor& values) {
                                  spec.terms.emplace_back(t5_bias(values, /*bidirectional=*/false, distance));
                                }});
}

struct PositionEncoding {
  const char* name;
  void (*set)(Config&, Architecture&, AttentionFacts&);  // null: no positions
  bool has_table = false;                                // of max_position_embeddings entries
};
constexpr PositionEncoding kEncodings[] = {
    {"none", nullptr},
    {"learned", set_learned, true},                      // Gehring et al. 2017; added to the embeddings
    {"sinusoidal", set_sinusoidal, true},                // Vaswani et al. 2017, §3.5; added to the embeddings
    {"scaled_sinusoidal", set_scaled_sinusoidal, true},  // the same with one learned factor (Li et al. 2019, eq. 4)
    {"key_sinusoidal", set_key_sinusoidal},              // added to the keys of each layer, after a projection of their own
    {"shaw", set_shaw},                                  // Shaw et al. 2018
    {"transformer_xl", set_transformer_xl},              // Dai et al. 2019
    {"t5", set_t5},                                      // Raffel et al. 2020
    {"alibi", set_alibi},                                // Press et al. 2022
    {"rotary", set_rotary},                              // Su et al. 2021
};

void set_positions(Config& config, Architecture& facts, AttentionFacts& attention) {
  const std::string name = config.text_or("positions", "none");
  std::string known;
  for (const PositionEncoding& encoding : kEncodings) {
    if (name == encoding.name) {
      if (encoding.has_table && facts.longest == 0)
        config.refuse("max_position_embeddings", format("positions \"{}\" need a maximum number of tokens", name));
      if (encoding.set) encoding.set(config, facts, attention);
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(encoding.name);
  }
  config.refuse("positions", format("found \"{}\"; expected one of {}", name, known));
}

Normaliser read_normaliser(Config& config) {
  const std::string name = config.text_or("normaliser", "softmax");
  if (name == "softmax") return Softmax{};
  if (name == "sparsemax") return Sparsemax{};
  if (name == "entmax15") return Entmax15{};
  config.refuse("normaliser", format("found \"{}\"; expected softmax, sparsemax or entmax15", name));
}

void set_segments(Config& config, AttentionFacts& attention) {
  const int64_t length = config.size_or("segment_length", 64), memory = config.integer_or("memory_length", 0);
  if (memory < 0) config.refuse("memory_length", "expected 0 or more");
  attention.segment_length = length;
  attention.visible = visible([&](RulePair at) { return at.key <= at.query && at.key >= floor(at.query / length) * length - memory; });
}

void set_pattern(Config& config, AttentionFacts& attention) {
  const std::string name = config.text_or("pattern", "full");
  if (name == "full") return;
  if (name == "segments") return set_segments(config, attention);
  if (name != "strided" && name != "fixed")
    config.refuse("pattern", format("found \"{}\"; expected full, strided, fixed or segments", name));
  const int64_t stride = config.size_or("pattern_stride", 16);
  attention.visible = name == "strided" ? strided(stride) : fixed(stride, /*summary=*/1);
}

// A head's span z (Sukhbaatar et al. 2019, §2.2): the weights of softmax are exp(s_ij)·m(i − j), divided by their sum, with
//   m(x) = min(max((ramp + z·unit − x) / ramp, 0), 1)
// The factor is added to the score as its logarithm. The query's own key always has m = 1, so that no row is empty. The paper keeps z
// within [0, 1] and spans short by a penalty in the loss. Here z starts at 0, with the ramp alone, and neither limit nor penalty is applied.
void set_adaptive_span(int64_t unit, int64_t ramp, const Architecture& facts, AttentionFacts& attention) {
  const auto add = [unit, ramp](AttentionSpec& spec, const Tensor& spans) {
    const RuleTable span = table(spans);
    spec.terms.emplace_back(rule([&](RuleValue s, RulePair at) {
      constexpr double kSmallest = 1e-30;  // the logarithm's slope must be finite where the factor is 0
      const RuleValue back = at.query - at.key;
      const RuleValue factor = min((span(at.head) * unit + (ramp - back)) / ramp, 1);
      return s + where(back <= 0, 0, where(factor > 0, log(max(factor, kSmallest)), -std::numeric_limits<double>::infinity()));
    }));
  };
  attention.operands.push_back({.weight = kLayer + "attention.span", .shape = {facts.heads}, .add = add});
}

AttentionFacts read_attention(Config& config, Architecture& facts) {
  AttentionFacts attention;
  attention.causal = true;
  attention.window = config.optional_size("sliding_window");
  set_pattern(config, attention);
  attention.top_keys = config.optional_size("top_keys").value_or(0);
  attention.normaliser = read_normaliser(config);
  set_positions(config, facts, attention);
  if (config.flag_or("learned_temperature", false)) {
    attention.operands.push_back({.weight = kLayer + "attention.temperature",
                                  .shape = {facts.heads},
                                  .mean = 1,
                                  .add = [](AttentionSpec& spec, const Tensor& values) { spec.terms.emplace_back(temperature(values)); }});
  }
  if (const auto unit = config.optional_size("adaptive_span"))
    set_adaptive_span(*unit, config.size_or("adaptive_ramp", 32), facts, attention);
  return attention;
}

Architecture read_clearhead_decoder(const Json& json, const std::string& where) {
  Config config(json, where, "clearhead-decoder");
  Architecture facts;
  facts.architectures = config.architectures();
  facts.width = config.size("hidden_size");
  facts.layers = config.layers("num_hidden_layers");
  read_heads(config, "num_attention_heads", "hidden_size", facts);
  facts.mlp_width = config.size_or("intermediate_size", 4 * facts.width);
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.integer_or("max_position_embeddings", 0);
  if (facts.longest < 0) config.refuse("max_position_embeddings", "expected 0 or more");
  const Activation activation = config.activation_or("hidden_act", Activation::kGeluTanh);
  const double epsilon = config.positive_or("layer_norm_eps", 1e-5);
  facts.embedding = {.tokens = "tokens.weight", .scale = std::sqrt(static_cast<double>(facts.width))};
  facts.attention = {read_attention(config, facts)};
  facts.layer.placement = LayerFacts::NormPlacement::kPre;
  facts.layer.attention_norm = layer_norm(kLayer + "attention_norm", epsilon);
  facts.layer.projections = {linear(kLayer + "attention.query"),
                             linear(kLayer + "attention.key"),
                             linear(kLayer + "attention.value"),
                             {},
                             linear(kLayer + "attention.output")};
  facts.layer.mlp_norm = layer_norm(kLayer + "mlp_norm", epsilon);
  facts.layer.mlp = {MlpFacts::Kind::kPlain, activation, {}, linear(kLayer + "mlp.up"), linear(kLayer + "mlp.down")};
  facts.final_norm = layer_norm("norm", epsilon);
  facts.causal = CausalHeadFacts{{"lm_head.weight", ""}, /*is_tied=*/true};
  facts.aliases.emplace_back(facts.embedding.tokens, "lm_head.weight");
  config.done();
  return facts;
}

}  // namespace

const Family& clearhead_decoder_family() {
  static const Family family{{"clearhead-decoder"}, read_clearhead_decoder};
  return family;
}

}  // namespace clearhead
