// Llama and what is built like it: RMS norms before the blocks, rotary positions, grouped query heads, a gated MLP.
//
//   Llama    Touvron et al. 2023; Dubey et al. 2024 (rope_scaling "llama3"). attention_bias and mlp_bias as the configuration says.
//   Mistral  Jiang et al. 2023: every layer sees a window.
//   SmolLM3  Bakouch et al. 2025: some layers without rotation (Yang et al. 2025, "RoPE to NoPE and back again"); windows where layer_types says so.
//   Qwen2    Yang et al. 2024: biases on Q, K and V, none on the output; a window from layer max_window_layers on, where asked for.
//
// Rotary facts stand in rope_theta and rope_scaling, or, since transformers 5, together in rope_parameters.
#include <algorithm>

#include "base/format.h"
#include "models/families/facts.h"

namespace clearhead {
namespace {

NormFacts rms_norm(const std::string& name, double epsilon) { return {NormFacts::Kind::kRms, epsilon, name + ".weight", ""}; }

double positive(Fields& fields, std::string_view name, double otherwise) {
  const double value = fields.number_or(name, otherwise);
  if (!(value > 0)) fields.wrong(name, "a positive number", Json(value));
  return value;
}

/// The scaling of one rope object; `type` is its "rope_type" ("type" before transformers 4.43).
void read_scaling(const Config& config, Fields& fields, std::string_view name, const std::string& model_type, RotaryPositions& rotary) {
  const std::string older = fields.string_or("type", "default");
  const std::string type = fields.string_or("rope_type", older);
  if (type == "default") {
    // nothing to scale
  } else if (type == "linear") {
    rotary.scaling = RotaryPositions::Linear{positive(fields, "factor", 1)};
  } else if (type == "llama3") {
    RotaryPositions::Llama3 llama3;
    llama3.factor = positive(fields, "factor", llama3.factor);
    llama3.low_frequency_factor = positive(fields, "low_freq_factor", llama3.low_frequency_factor);
    llama3.high_frequency_factor = positive(fields, "high_freq_factor", llama3.high_frequency_factor);
    llama3.original_positions = fields.integer_or("original_max_position_embeddings", llama3.original_positions);
    if (llama3.original_positions < 1)
      fields.wrong("original_max_position_embeddings", "a positive integer", Json(llama3.original_positions));
    if (llama3.high_frequency_factor <= llama3.low_frequency_factor) {
      fields.wrong("high_freq_factor", "a number above low_freq_factor", Json(llama3.high_frequency_factor));
    }
    rotary.scaling = llama3;
  } else {
    fail(ErrorCode::kUnsupported, "{}: \"{}\": rope type \"{}\" is not supported; understood: default, linear, llama3 (model: {})",
         config.where(), name, type, model_type);
  }
  fields.refuse_rest();
}

RotaryPositions read_rotary(Config& config, const std::string& model_type) {
  RotaryPositions rotary;
  rotary.theta = config.positive_or("rope_theta", model_type == "smollm3" ? 2e6 : rotary.theta);
  for (const std::string_view name : {"rope_scaling", "rope_parameters"}) {
    const Json* object = config.take(name);
    if (object == nullptr || object->is_null()) continue;
    if (!object->is_object()) config.refuse(name, format("expected an object or null, found {}", object->describe()));
    Fields fields(*object, config.where(), name);
    rotary.theta = positive(fields, "rope_theta", rotary.theta);
    read_scaling(config, fields, name, model_type, rotary);
  }
  return rotary;
}

/// SmolLM3: which layers turn. "no_rope_layers" has a 1 for those that do; without it every no_rope_layer_interval-th does not.
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

/// One fact for all layers, or one per layer where windows differ.
std::vector<AttentionFacts> read_attention(Config& config, const Architecture& facts) {
  AttentionFacts whole;
  whole.causal = true;
  AttentionFacts windowed = whole;
  windowed.window = config.optional_size("sliding_window");
  if (facts.model_type == "mistral" && config.take("sliding_window") == nullptr) windowed.window = 4096;  // absent is not null there
  const bool is_qwen = facts.model_type == "qwen2", is_smol = facts.model_type == "smollm3";
  const int64_t first_windowed = is_qwen ? config.integer_or("max_window_layers", 28) : 0;
  if ((is_qwen || is_smol) && !config.flag_or("use_sliding_window", false)) windowed.window.reset();
  const std::vector<bool> turns = is_smol ? read_turning(config, facts.layers) : std::vector<bool>(static_cast<size_t>(facts.layers), true);
  std::vector<AttentionFacts> layers;
  const auto add = [&](bool slides) {
    const bool turning = turns[layers.size()];
    layers.push_back(slides ? windowed : whole);
    layers.back().turns = turning;
  };
  const Json* types = config.take("layer_types");
  if (types == nullptr || types->is_null()) {
    for (int64_t layer = 0; layer < facts.layers; ++layer) add(is_smol ? !turns[static_cast<size_t>(layer)] : layer >= first_windowed);
    return layers;
  }
  if (!types->is_array() || static_cast<int64_t>(types->size()) != facts.layers) {
    config.refuse("layer_types", format("expected one entry for each of {} layers", facts.layers));
  }
  for (const Json& type : types->items()) {
    const bool slides = type.is_string() && type.string() == "sliding_attention";
    if (!slides && !(type.is_string() && type.string() == "full_attention")) {
      config.refuse("layer_types", format("{} is not understood (understood: full_attention, sliding_attention)", type.describe()));
    }
    if (slides && !windowed.window) config.refuse("layer_types", "a layer slides and there is no sliding_window");
    add(slides);
  }
  return layers;
}

Architecture read_llama(const Json& json, const std::string& where) {
  const Json* model_type = json.find("model_type");
  const std::string type = model_type != nullptr && model_type->is_string() ? model_type->string() : "llama";
  Config config(json, where, type);
  Architecture facts;
  facts.model_type = type;
  facts.architectures = config.architectures();
  facts.width = config.size("hidden_size");
  facts.layers = config.layers("num_hidden_layers");
  facts.heads = config.size("num_attention_heads");
  facts.key_heads = config.size_or("num_key_value_heads", type == "mistral" ? 8 : type == "smollm3" ? 4 : facts.heads);
  const std::optional<int64_t> head_dim = config.optional_size("head_dim");
  if (!head_dim && facts.width % facts.heads != 0)
    config.refuse("num_attention_heads", format("it does not divide hidden_size {}", facts.width));
  facts.head_dim = head_dim.value_or(facts.width / facts.heads);
  facts.inner = config.size("intermediate_size");
  facts.vocabulary = config.size("vocab_size");
  facts.longest = config.size_or("max_position_embeddings", type == "smollm3" ? 32768 : 2048);
  facts.prefix = "model.";
  const double epsilon = config.positive_or("rms_norm_eps", 1e-6);
  const Activation activation = config.activation_or("hidden_act", Activation::kSilu);
  const bool is_llama = type == "llama", is_qwen = type == "qwen2", is_smol = type == "smollm3";
  const bool tied = config.flag_or("tie_word_embeddings", is_smol);
  const bool has_bias_flags = is_llama || is_smol;
  const bool attention_bias = has_bias_flags && config.flag_or("attention_bias", false);
  const bool mlp_bias = has_bias_flags && config.flag_or("mlp_bias", false);
  if (!has_bias_flags) {
    config.only("attention_bias", {"false"});
    config.only("mlp_bias", {"false"});
  }
  if (is_llama) config.only("sliding_window", {"null"});  // the real Llama ignores it: which was meant?
  config.harmless({"pretraining_tp"});

  facts.embedding.tokens = "embed_tokens.weight";
  facts.positions = read_rotary(config, type);
  facts.attention = read_attention(config, facts);
  const std::string layer = "layers.{}.";
  facts.layer.placement = LayerFacts::NormPlacement::kPre;
  facts.layer.attention_norm = rms_norm(layer + "input_layernorm", epsilon);
  facts.layer.projections = {linear(layer + "self_attn.q_proj", attention_bias || is_qwen),
                             linear(layer + "self_attn.k_proj", attention_bias || is_qwen),
                             linear(layer + "self_attn.v_proj", attention_bias || is_qwen),
                             {},
                             linear(layer + "self_attn.o_proj", attention_bias)};
  facts.layer.mlp_norm = rms_norm(layer + "post_attention_layernorm", epsilon);
  facts.layer.mlp = {MlpFacts::Kind::kGated, activation, linear(layer + "mlp.gate_proj", mlp_bias), linear(layer + "mlp.up_proj", mlp_bias),
                     linear(layer + "mlp.down_proj", mlp_bias)};
  facts.final_norm = rms_norm("norm", epsilon);
  facts.labels = config.labels();
  set_decoder_head(facts, is_for(facts, "ForSequenceClassification"), tied);
  config.done();
  return facts;
}

}  // namespace

const Family& llama_family() {
  static const Family family{{"llama", "mistral", "qwen2", "smollm3"}, read_llama};
  return family;
}

}  // namespace clearhead
