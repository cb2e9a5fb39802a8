// Writes and reads a description as JSON (docs/spec.md). Operands are names of tensors. Optional fields that are not set are
// omitted when written, except the scale of a score and the limits of a band, which are null. When read, optional fields
// may be absent or null. An unknown field is never ignored: it throws kUnsupported
// with its path.
#include <algorithm>
#include <cmath>
#include <span>

#include "base/format.h"
#include "base/json.h"
#include "clearhead/spec.h"
#include "spec/rule_json.h"
#include "spec/rule_math.h"

namespace clearhead {
namespace {

using Operand = std::function<Tensor(const std::string& name)>;

Json band_to_json(const Band& band) {
  Json json = Json::object({{"back", band.back ? Json(*band.back) : Json()},
                            {"ahead", band.ahead ? Json(*band.ahead) : Json()},
                            {"align", band.align == Align::kEnd ? "end" : "start"}});
  if (band.offset != 0) json["offset"] = band.offset;
  return json;
}

struct ScoreToJson {
  Json operator()(const Dot& dot) const {
    return Json::object({{"dot", Json::object({{"scale", dot.scale ? shortest(*dot.scale) : Json()}})}});
  }
  Json operator()(const Additive& additive) const {
    Json body = Json::object({{"weight", "additive.weight"}, {"activation", "tanh"}});
    if (additive.activation == Additive::Activation::kLeakyRelu) {
      body["activation"] = "leaky_relu";
      body["slope"] = shortest(additive.slope);
    }
    return Json::object({{"additive", body}});
  }
  Json operator()(const Relative& relative) const {
    Json body = Json::object({{"scale", relative.scale ? shortest(*relative.scale) : Json()}, {"keys", "relative.keys"}});
    if (relative.queries) body["queries"] = "relative.queries";
    if (relative.query_bias) body["query_bias"] = "relative.query_bias";
    if (relative.values) body["values"] = "relative.values";
    return Json::object({{"relative", body}});
  }
};

struct TermToJson {
  std::span<const std::string> operands;  // names of the term's operands
  Json operator()(const Alibi&) const { return Json::object({{"alibi", Json::object({{"slopes", operands[0]}})}}); }
  Json operator()(const AttentionBias&) const { return Json::object({{"attention_bias", Json::object({{"bias", operands[0]}})}}); }
  Json operator()(const EdgeBias&) const { return Json::object({{"edge_bias", Json::object({{"bias", operands[0]}})}}); }
  Json operator()(const SoftCap& term) const { return Json::object({{"soft_cap", Json::object({{"cap", shortest(term.cap)}})}}); }
  Json operator()(const Rule& term) const { return Json::object({{"rule", rule_to_json(term, operands)}}); }
};
struct OperandsOfScore {
  size_t operator()(const Dot&) const { return 0; }
  size_t operator()(const Additive&) const { return 1; }
  size_t operator()(const Relative& relative) const {
    return 1 + size_t{relative.queries.has_value()} + size_t{relative.query_bias.has_value()} + size_t{relative.values.has_value()};
  }
};
struct OperandsOfTerm {
  size_t operator()(const Alibi&) const { return 1; }
  size_t operator()(const AttentionBias&) const { return 1; }
  size_t operator()(const EdgeBias&) const { return 1; }
  size_t operator()(const SoftCap&) const { return 0; }
  size_t operator()(const Rule& term) const { return term.tables.size(); }
};

struct NormaliserToJson {
  Json operator()(const Softmax& softmax) const {
    Json body = Json::object();
    if (softmax.sinks) body["sinks"] = "sinks";
    return Json::object({{"softmax", body}});
  }
  Json operator()(const Sparsemax&) const { return Json::object({{"sparsemax", Json::object()}}); }
  Json operator()(const Entmax15&) const { return Json::object({{"entmax15", Json::object()}}); }
  Json operator()(const Sigmoid& sigmoid) const { return Json::object({{"sigmoid", Json::object({{"bias", shortest(sigmoid.bias)}})}}); }
  Json operator()(const Hard& hard) const {
    Json body = Json::object({{"choice", hard.choice == Hard::Choice::kArgmax ? "argmax" : "sampled"},
                              {"gradient", hard.gradient == Hard::Gradient::kStraightThrough ? "straight_through" : "score_function"}});
    if (hard.choice == Hard::Choice::kSampled) body["seed"] = static_cast<int64_t>(hard.seed);
    return Json::object({{"hard", body}});
  }
  Json operator()(const LinearAttention&) const { return Json::object({{"linear_attention", Json::object()}}); }
};

Json after_to_json(const AfterNormaliser& after) {
  Json out = Json::object();
  if (after.dropout) {
    out["dropout"] = Json::object({{"rate", shortest(after.dropout->rate)}, {"seed", static_cast<int64_t>(after.dropout->seed)}});
  }
  if (after.head_mask) out["head_mask"] = "head_mask";
  if (after.gaussian) out["gaussian"] = Json::object({{"centres", "centres"}, {"sigma", shortest(after.gaussian->sigma)}});
  return out;
}

// Parses one description. Helpers receive the path of the field that they read, for error messages.
class Reader {
 public:
  Reader(const std::string& where, const Operand& operand) : where_(where), operand_(operand) {}

  AttentionSpec spec(const Json& json) const {
    Fields fields(json, where_);
    AttentionSpec spec;
    if (const Json* given = present(fields, "score")) spec.score = read_score(*given, "score");
    if (const Json* terms = present(fields, "terms")) {
      if (!terms->is_array()) fields.wrong("terms", "an array of terms", *terms);
      for (size_t i = 0; i < terms->size(); ++i) spec.terms.push_back(read_term(terms->items()[i], format("terms[{}]", i)));
    }
    if (const Json* topology = present(fields, "topology")) spec.topology = read_topology(*topology);
    if (const Json* normaliser = present(fields, "normaliser")) spec.normaliser = read_normaliser(*normaliser);
    if (const Json* after = present(fields, "after")) spec.after = read_after(*after);
    fields.refuse_rest();
    return spec;
  }

 private:
  static const Json* present(Fields& fields, const char* name) {
    const Json* found = fields.take(name);
    return found && !found->is_null() ? found : nullptr;
  }

  Tensor tensor(const Fields& fields, const char* name, const Json& value) const {
    if (!value.is_string()) fields.wrong(name, "the name of a tensor", value);
    return operand_(value.string());
  }

  Tensor tensor(Fields& fields, const char* name) const { return tensor(fields, name, fields.require(name)); }

  float real(const Fields& fields, const char* name, const Json& value) const {
    if (!value.is_number()) fields.wrong(name, "a number", value);
    const float narrow = static_cast<float>(value.number());
    if (!std::isfinite(narrow)) fields.wrong(name, "a number that f32 can hold", value);
    return narrow;
  }

  // Returns the only field of an object like {"dot": {…}}. `known` lists the possible names, for error messages.
  const std::pair<std::string, Json>& alternative(const Json& json, const std::string& path, const char* known) const {
    if (!json.is_object() || json.size() != 1) {
      fail(ErrorCode::kFormat, "{}: \"{}\": expected an object with exactly one field (one of {}), found {}", where_, path, known,
           json.is_object() && json.size() > 1 ? format("{} fields", json.size())
           : json.is_object()                  ? "no field"
                                               : json.describe());
    }
    return json.fields().front();
  }

  [[noreturn]] void unknown(const std::string& path, const std::string& kind, const char* known) const {
    fail(ErrorCode::kUnsupported, "{}: \"{}.{}\" is not understood; this version knows {}", where_, path, kind, known);
  }

  Score read_score(const Json& json, const std::string& path) const {
    constexpr const char* kKnown = "dot, additive, relative";
    const auto& [kind, body] = alternative(json, path, kKnown);
    Fields fields(body, where_, path + "." + kind);
    Score score;
    if (kind == "dot") {
      Dot dot;
      if (const Json* scale = present(fields, "scale")) dot.scale = real(fields, "scale", *scale);
      score = dot;
    } else if (kind == "additive") {
      score = read_additive(fields);
    } else if (kind == "relative") {
      score = read_relative(fields);
    } else {
      unknown(path, kind, kKnown);
    }
    fields.refuse_rest();
    return score;
  }

  Relative read_relative(Fields& fields) const {
    Relative relative;
    if (const Json* scale = present(fields, "scale")) relative.scale = real(fields, "scale", *scale);
    relative.keys = tensor(fields, "keys");
    if (const Json* queries = present(fields, "queries")) relative.queries = tensor(fields, "queries", *queries);
    if (const Json* bias = present(fields, "query_bias")) relative.query_bias = tensor(fields, "query_bias", *bias);
    if (const Json* values = present(fields, "values")) relative.values = tensor(fields, "values", *values);
    return relative;
  }

  Additive read_additive(Fields& fields) const {
    Additive additive;
    additive.weight = tensor(fields, "weight");
    const std::string activation = fields.string_or("activation", "tanh");
    if (activation != "tanh" && activation != "leaky_relu") fields.wrong("activation", "\"tanh\" or \"leaky_relu\"", activation);
    if (activation == "tanh") return additive;
    additive.activation = Additive::Activation::kLeakyRelu;
    if (const Json* slope = present(fields, "slope")) additive.slope = real(fields, "slope", *slope);
    return additive;
  }

  Term read_term(const Json& json, const std::string& path) const {
    constexpr const char* kKnown = "alibi, attention_bias, edge_bias, soft_cap, rule";
    const auto& [kind, body] = alternative(json, path, kKnown);
    Term term;
    if (kind == "rule") return read_rule(body, path + ".rule", false);
    if (kind != "alibi" && kind != "attention_bias" && kind != "edge_bias" && kind != "soft_cap") unknown(path, kind, kKnown);
    Fields fields(body, where_, path + "." + kind);
    if (kind == "alibi") {
      term = Alibi{tensor(fields, "slopes")};
    } else if (kind == "attention_bias") {
      term = AttentionBias{tensor(fields, "bias")};
    } else if (kind == "edge_bias") {
      term = EdgeBias{tensor(fields, "bias")};
    } else {
      const Json& cap = fields.require("cap");
      term = SoftCap{real(fields, "cap", cap)};
      if (!(std::get<SoftCap>(term).cap > 0)) fields.wrong("cap", "a positive number", cap);
    }
    fields.refuse_rest();
    return term;
  }

  Rule read_rule(const Json& json, const std::string& path, bool is_visibility) const {
    Rule rule = rule_from_json(json, where_, path, operand_);
    try {
      validate_rule(rule, is_visibility, path);
    } catch (const Error& error) {
      fail(ErrorCode::kFormat, "{}: {}", where_, error.what());
    }
    return rule;
  }

  std::optional<int64_t> limit(Fields& fields, const char* name) const {
    const Json* value = present(fields, name);
    if (!value) return std::nullopt;
    if (!value->is_integer() || value->integer() < 0) fields.wrong(name, "a count of keys, 0 or more, or null for no limit", *value);
    return value->integer();
  }

  int64_t block(Fields& fields, const char* name) const {
    const Json* value = present(fields, name);
    if (!value) return 1;
    if (!value->is_integer() || value->integer() < 1) fields.wrong(name, "a count of 1 or more", *value);
    return value->integer();
  }

  Topology read_topology(const Json& json) const {
    Fields fields(json, where_, "topology");
    Topology topology;
    if (const Json* band = present(fields, "band")) {
      Fields inner(*band, where_, "topology.band");
      topology.band.back = limit(inner, "back");
      topology.band.ahead = limit(inner, "ahead");
      const std::string align = inner.string_or("align", "end");
      if (align != "end" && align != "start") inner.wrong("align", "\"end\" or \"start\"", align);
      topology.band.align = align == "end" ? Align::kEnd : Align::kStart;
      if (const Json* offset = present(inner, "offset")) {
        if (!offset->is_integer()) inner.wrong("offset", "an integer number of keys, which may be negative", *offset);
        topology.band.offset = offset->integer();
      }
      inner.refuse_rest();
    }
    if (const Json* segments = present(fields, "segments")) {
      Fields inner(*segments, where_, "topology.segments");
      topology.segments = Segments{};
      topology.segments->queries = tensor(inner, "queries");
      topology.segments->keys = tensor(inner, "keys");
      inner.refuse_rest();
    }
    if (const Json* mask = present(fields, "mask")) topology.mask = Mask{tensor(fields, "mask", *mask)};
    if (const Json* rule = present(fields, "visible")) topology.visible = read_rule(*rule, "topology.visible", true);
    if (const Json* lists = present(fields, "block_sparse")) {
      Fields inner(*lists, where_, "topology.block_sparse");
      topology.block_sparse = BlockSparse{.query_block = block(inner, "query_block"), .key_block = block(inner, "key_block")};
      topology.block_sparse->offsets = tensor(inner, "offsets");
      topology.block_sparse->keys = tensor(inner, "keys");
      inner.refuse_rest();
    }
    fields.refuse_rest();
    return topology;
  }

  Normaliser read_normaliser(const Json& json) const {
    constexpr const char* kKnown = "softmax, sparsemax, entmax15, sigmoid, hard, linear_attention";
    const auto& [kind, body] = alternative(json, "normaliser", kKnown);
    Fields fields(body, where_, "normaliser." + kind);
    Normaliser normaliser;
    if (kind == "softmax") {
      Softmax softmax;
      if (const Json* sinks = present(fields, "sinks")) softmax.sinks = tensor(fields, "sinks", *sinks);
      normaliser = softmax;
    } else if (kind == "sparsemax") {
      normaliser = Sparsemax{};
    } else if (kind == "entmax15") {
      normaliser = Entmax15{};
    } else if (kind == "sigmoid") {
      Sigmoid sigmoid;
      if (const Json* bias = present(fields, "bias")) sigmoid.bias = real(fields, "bias", *bias);
      normaliser = sigmoid;
    } else if (kind == "hard") {
      normaliser = read_hard(fields);
    } else if (kind == "linear_attention") {
      normaliser = LinearAttention{};
    } else {
      unknown("normaliser", kind, kKnown);
    }
    fields.refuse_rest();
    return normaliser;
  }

  Hard read_hard(Fields& fields) const {
    Hard hard;
    const std::string choice = fields.string_or("choice", "argmax"), gradient = fields.string_or("gradient", "straight_through");
    if (choice != "argmax" && choice != "sampled") fields.wrong("choice", "\"argmax\" or \"sampled\"", choice);
    if (gradient != "straight_through" && gradient != "score_function")
      fields.wrong("gradient", "\"straight_through\" or \"score_function\"", gradient);
    hard.choice = choice == "argmax" ? Hard::Choice::kArgmax : Hard::Choice::kSampled;
    hard.gradient = gradient == "straight_through" ? Hard::Gradient::kStraightThrough : Hard::Gradient::kScoreFunction;
    const Json* seed = present(fields, "seed");
    if (seed && !seed->is_integer()) fields.wrong("seed", "an integer", *seed);
    if (seed) hard.seed = static_cast<uint64_t>(seed->integer());
    return hard;
  }

  AfterNormaliser read_after(const Json& json) const {
    Fields fields(json, where_, "after");
    AfterNormaliser after;
    if (const Json* dropout = present(fields, "dropout")) {
      Fields inner(*dropout, where_, "after.dropout");
      const Json &rate = inner.require("rate"), &seed = inner.require("seed");
      after.dropout = Dropout{.rate = real(inner, "rate", rate)};
      if (!(after.dropout->rate >= 0 && after.dropout->rate < 1)) inner.wrong("rate", "a number in [0, 1)", rate);
      if (!seed.is_integer()) inner.wrong("seed", "an integer", seed);
      after.dropout->seed = static_cast<uint64_t>(seed.integer());
      inner.refuse_rest();
    }
    if (const Json* mask = present(fields, "head_mask")) after.head_mask = tensor(fields, "head_mask", *mask);
    if (const Json* gaussian = present(fields, "gaussian")) {
      Fields inner(*gaussian, where_, "after.gaussian");
      const Json& sigma = inner.require("sigma");
      after.gaussian = LocalGaussian{.centres = tensor(inner, "centres"), .sigma = real(inner, "sigma", sigma)};
      if (!(after.gaussian->sigma > 0)) inner.wrong("sigma", "a positive number", sigma);
      inner.refuse_rest();
    }
    fields.refuse_rest();
    return after;
  }

  const std::string& where_;
  const Operand& operand_;
};

}  // namespace

std::string to_json(const AttentionSpec& spec) {
  std::vector<std::string> names;  // of all operands in order: first the score's, then each term's
  for_each_operand(spec, [&](const std::string& name, const Tensor&) { names.push_back(name); });
  Json terms = Json::array();
  size_t next = std::visit(OperandsOfScore{}, spec.score);
  for (const Term& term : spec.terms) {
    const size_t count = std::visit(OperandsOfTerm{}, term);
    terms.push(std::visit(TermToJson{std::span(names).subspan(next, count)}, term));
    next += count;
  }
  Json topology = Json::object({{"band", band_to_json(spec.topology.band)}});
  if (spec.topology.segments) topology["segments"] = Json::object({{"queries", "segments.queries"}, {"keys", "segments.keys"}});
  if (spec.topology.mask) topology["mask"] = "mask";
  if (const auto& lists = spec.topology.block_sparse) {
    topology["block_sparse"] = Json::object({{"query_block", lists->query_block},
                                             {"key_block", lists->key_block},
                                             {"offsets", "block_sparse.offsets"},
                                             {"keys", "block_sparse.keys"}});
  }
  if (spec.topology.visible) {
    const auto first = std::find(names.begin(), names.end(), "visible.table") - names.begin();
    const size_t count = spec.topology.visible->tables.size();
    topology["visible"] = rule_to_json(
        *spec.topology.visible, count > 0 ? std::span(names).subspan(static_cast<size_t>(first), count) : std::span<const std::string>());
  }
  Json out = Json::object({{"score", std::visit(ScoreToJson{}, spec.score)},
                           {"terms", terms},
                           {"topology", topology},
                           {"normaliser", std::visit(NormaliserToJson{}, spec.normaliser)}});
  const AfterNormaliser& after = spec.after;
  if (after.dropout || after.head_mask || after.gaussian) out["after"] = after_to_json(after);
  return out.dump();
}

AttentionSpec spec_from_json(const std::string& text, const std::string& where, const Operand& operand) {
  return Reader(where, operand).spec(Json::parse(text, where));
}

}  // namespace clearhead
