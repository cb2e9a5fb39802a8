// Llama and models with the same structure: pre-norm layers with RMS norms, rotary positions, grouped-query attention, gated MLPs.
//
//   Llama    Touvron et al. 2023; Dubey et al. 2024 (rope_scaling "llama3"). Biases if attention_bias or mlp_bias is set.
//   Mistral  Jiang et al. 2023: a sliding window in every layer.
//   SmolLM3  Bakouch et al. 2025: some layers without rotary positions (Yang et al. 2025, "RoPE to NoPE and back again"); sliding windows,
//            if enabled, in the layers that layer_types names, or else in the layers without rotary positions.
//   Qwen2    Yang et al. 2024: biases on Q, K and V, but not on the output; sliding windows, if enabled, from layer max_window_layers on.
//
// The settings of rotary positions are in rope_theta and rope_scaling or, since transformers 5, together in rope_parameters.
#include <algorithm>

#include "base/format.h"
#include "models/families/facts.h"

namespace clearhead {
namespace {

NormFacts rms_norm(const std::string& name, double epsilon) { return {NormFacts::Kind::kRms, epsilon, name + ".weight", ""}; }

// The differences between the models of this family, and the defaults of transformers for fields that are missing in config.json.
struct Variant {
  const char* type;
  int64_t key_heads;  // 0: as many as query heads
  int64_t longest;
  double theta;
  std::optional<int64_t> window{};  // default of sliding_window; without a value: no window
  std::optional<int64_t> pad_token{};
  bool ties_embeddings = false;
  bool has_bias_flags = false;    // attention_bias and mlp_bias
  bool has_query_biases = false;  // on Q, K and V
  bool chooses_layers = false;    // use_sliding_window and layer_types choose the layers with a window
};

constexpr Variant kVariants[] = {
    {"llama", 0, 2048, 1e4, {}, {}, false, true},
    {"mistral", 8, 131072, 1e4, 4096},
    {"qwen2", 32, 32768, 1e4, 4096, {}, false, false, true, true},
    {"smollm3", 4, 32768, 2e6, {}, 128004, true, true, false, true},
};

const Variant& variant_of(const std::string& type) {
  const auto* found = std::find_if(std::begin(kVariants), std::end(kVariants), [&](const Variant& one) { return type == one.type; });
  return found == std::end(kVariants) ? kVariants[0] : *found;
}

double positive(Fields& fields, std::string_view name) {
  const double value = fields.number(name);
  if (!(value > 0)) fields.wrong(name, "a positive number", Json(value));
  return value;
}

// original_max_position_embeddings is read from config.json itself or from the rope object. If both lack it, it is
// max_position_embeddings, as in transformers.
RotaryPositions::Llama3 read_llama3(Config& config, Fields& fields, int64_t longest) {
  RotaryPositions::Llama3 llama3;
  llama3.factor = positive(fields, "factor");
  llama3.low_frequency_factor = positive(fields, "low_freq_factor");
  llama3.high_frequency_factor = positive(fields, "high_freq_factor");
  const int64_t nested = fields.integer_or("original_max_position_embeddings", longest);
  llama3.original_positions = config.size_or("original_max_position_embeddings", nested);
  if (llama3.original_positions < 1)
    fields.wrong("original_max_position_embeddings", "a positive integer", Json(llama3.original_positions));
  if (llama3.high_frequency_factor <= llama3.low_frequency_factor) {
    fields.wrong("high_freq_factor", "a number above low_freq_factor", Json(llama3.high_frequency_factor));
  }
  return llama3;
}

/// Reads the scaling from one rope object. Its "rope_type" was named "type" before transformers 4.43.
void read_scaling(Config& config, Fields& fields, std::string_view name, const Architecture& facts, RotaryPositions& rotary) {
  const std::string older = fields.string_or("type", "default");
  const std::string type = fields.string_or("rope_type", older);
  if (type == "default") {
    // no scaling
  } else if (type == "linear") {
    rotary.scaling = RotaryPositions::Linear{positive(fields, "factor")};
  } else if (type == "llama3") {
    rotary.scaling = read_llama3(config, fields, facts.longest);
  } else {
    fail(ErrorCode::kUnsupported, "{}: \"{}\": rope type \"{}\" is not supported; expected default, linear or llama3 (model: {})",
         config.where(), name, type, facts.model_type);
  }
  fields.refuse_rest();
}

// Reads rope_scaling if it is present and not empty, otherwise rope_parameters.
RotaryPositions read_rotary(Config& config, const Architecture& facts) {
  RotaryPositions rotary;
  rotary.theta = config.positive_or("rope_theta", variant_of(facts.model_type).theta);
  bool is_read = false;
  for (const std::string_view name : {"rope_scaling", "rope_parameters"}) {
    const Json* object = config.take(name);
    if (object == nullptr || object->is_null() || is_read) continue;
    if (!object->is_object()) config.refuse(name, format("expected an object or null, found {}", object->describe()));
    if (object->size() == 0) continue;
    Fields fields(*object, config.where(), name);
    if (const Json* theta = fields.take("rope_theta"); theta && !theta->is_null()) rotary.theta = positive(fields, "rope_theta");
    read_scaling(config, fields, name, facts, rotary);
    is_read = true;
  }
  return rotary;
}

/// SmolLM3: returns which layers use rotary positions. "no_rope_layers" has a 1 for each of these layers. Without it, all layers use
/// them except every no_rope_layer_interval-th.
std::vector<bool> read_turning(Config& config, int64_t layers) {
  const int64_t interval = config.size_or("no_rope_layer_interval", 4);
  const Json* given = config.take("no_rope_layers");
  std::vector<bool> turns;
  if (given == nullptr || given->is_null()) {
    for (int64_t layer = 0; layer < layers; ++layer) turns.push_back((layer + 1) % interval != 0);
    return turns;
  }
  const bool is_right = given->is_array() && static_cast<int64_t>(given->size()) == layers &&
                        std::all_of(given->items().begin(), given->items().end(),
                                    [](const Json& flag) { return flag.is_integer() && (flag.integer() == 0 || flag.integer() == 1); });
  if (!is_right) config.refuse("no_rope_layers", format("expected a 0 or 1 for each of {} layers", layers));
  for (const Json& flag : given->items()) turns.push_back(flag.integer() == 1);
  return turns;
}

std::optional<int64_t> read_window(Config& config, const Variant& variant) {
  if (variant.chooses_layers && !config.flag_or("use_sliding_window", false)) {
    config.harmless({"sliding_window"});
    return std::nullopt;
  }
  return config.take("sliding_window") == nullptr ? variant.window : config.optional_size("sliding_window");
}

/// Returns one entry per layer.
std::vector<AttentionFacts> read_attention(Config& config, const Architecture& facts) {
  const Variant& variant = variant_of(facts.model_type);
  const bool is_smol = facts.model_type == "smollm3";
  AttentionFacts whole;
  whole.causal = true;
  AttentionFacts windowed = whole;
  windowed.window = read_window(config, variant);
  const int64_t first_windowed = facts.model_type == "qwen2" ? config.integer_or("max_window_layers", 28) : 0;
  config.harmless({"max_window_layers"});
  const std::vector<bool> turns = is_smol ? read_turning(config, facts.layers) : std::vector<bool>(static_cast<size_t>(facts.layers), true);
  std::vector<AttentionFacts> layers;
  for (int64_t layer = 0; layer < facts.layers; ++layer) {
    const bool turning = turns[static_cast<size_t>(layer)];
    const bool slides = is_smol ? !turning : layer >= first_windowed;
    layers.push_back(slides ? windowed : whole);
    layers.back().turns = turning;
  }
  const Json* types = config.take("layer_types");
  if (types == nullptr || types->is_null()) return layers;
  if (!types->is_array() || static_cast<int64_t>(types->size()) != facts.layers) {
    config.refuse("layer_types", format("expected one entry for each of {} layers", facts.layers));
  }
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    const Json& type = types->items()[layer];
    const bool slides = type.is_string() && type.string() == "sliding_attention";
    if (!slides && !(type.is_string() && type.string() == "full_attention")) {
      config.refuse("layer_types", format("{} is neither full_attention nor sliding_attention", type.describe()));
    }
    if (!variant.chooses_layers && slides != layers[layer].window.has_value())
      config.refuse("layer_types",
                    format("it contradicts sliding_window, which alone decides for models of type \"{}\"", facts.model_type));
    if (slides && !windowed.window) config.refuse("layer_types", "it contains sliding_attention, but sliding_window is not set");
    layers[layer].window = slides ? windowed.window : std::nullopt;
  }
  return layers;
}

Architecture read_llama(const Json& json, const std::string& where) {
  const Json* model_type = json.find("model_type");
  const std::string type = model_type != nullptr && model_type->is_string() ? model_type->string() : "llama";
  const Variant& variant = variant_of(type);
  Config config(json, where, type);
  Architecture facts;
  facts.model_type = type;
  facts.architectures = config.architectures();
  facts.width = config.size("hidden_size");
  facts.layers = config.layers("num_hidden_layers");
  facts.heads = config.size("num_attention_heads");
  const bool names_key_heads = config.take("num_key_value_heads") != nullptr;
  const int64_t key_heads = names_key_heads || variant.key_heads == 0 ? facts.heads : variant.key_heads;
  facts.key_heads = config.size_or("num_key_value_heads", key_heads);
  const std::optional<int64_t> head_dim = config.optional_size("head_dim");
  if (!head_dim && facts.width % facts.heads != 0)
    config.refuse("num_attention_heads", format("it does not divide hidden_size {}", facts.width));
  facts.head_dim = head_dim.value_or(facts.width / facts.heads);
  facts.mlp_width = config.size("intermediate_size");
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.size_or("max_position_embeddings", variant.longest);
  facts.prefix = "model.";
  const double epsilon = config.positive_or("rms_norm_eps", 1e-6);
  const Activation activation = config.activation_or("hidden_act", Activation::kSilu);
  const bool attention_bias = variant.has_bias_flags && config.flag_or("attention_bias", false);
  const bool mlp_bias = variant.has_bias_flags && config.flag_or("mlp_bias", false);
  if (!variant.has_bias_flags) {
    config.only("attention_bias", {"false"});
    config.only("mlp_bias", {"false"});
  }
  if (type == "llama") config.only("sliding_window", {"null"});  // transformers ignores it, but a window may have been intended
  config.harmless({"pretraining_tp", "max_sequence_length", "is_llama_config", "is_decoder"});

  facts.embedding.tokens = "embed_tokens.weight";
  facts.positions = read_rotary(config, facts);
  facts.attention = read_attention(config, facts);
  const std::string layer = "layers.{}.";
  facts.layer.placement = LayerFacts::NormPlacement::kPre;
  facts.layer.attention_norm = rms_norm(layer + "input_layernorm", epsilon);
  facts.layer.projections = {linear(layer + "self_attn.q_proj", attention_bias || variant.has_query_biases),
                             linear(layer + "self_attn.k_proj", attention_bias || variant.has_query_biases),
                             linear(layer + "self_attn.v_proj", attention_bias || variant.has_query_biases),
                             {},
                             linear(layer + "self_attn.o_proj", attention_bias)};
  facts.unread = {"rotary_emb.inv_freq", "layers.*.self_attn.rotary_emb.inv_freq"};  // buffers of older versions
  facts.layer.mlp_norm = rms_norm(layer + "post_attention_layernorm", epsilon);
  facts.layer.mlp = {MlpFacts::Kind::kGated, activation, linear(layer + "mlp.gate_proj", mlp_bias), linear(layer + "mlp.up_proj", mlp_bias),
                     linear(layer + "mlp.down_proj", mlp_bias)};
  facts.final_norm = rms_norm("norm", epsilon);
  facts.labels = config.labels();
  set_decoder_head(config, facts, linear("score"), {variant.ties_embeddings, variant.pad_token});
  config.done();
  return facts;
}

}  // namespace

const Family& llama_family() {
  static const Family family{{"llama", "mistral", "qwen2", "smollm3"}, read_llama, {"Llama", "Mistral", "Qwen2", "SmolLM3"}};
  return family;
}

}  // namespace clearhead
