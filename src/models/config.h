// Reads config.json strictly: a field that could change the result is either used or refused, by name.
//
//   Config config(json, "config.json", "bert");
//   facts.width = config.size("hidden_size");
//   config.only("position_embedding_type", {"absolute"});    // any other value: kUnsupported, by name
//   config.harmless({"gradient_checkpointing"});
//   config.done();                                           // refuses fields that are not known and are set
//
// A field that was not asked for is accepted if it is on the common list (provenance, training, output switches, settings
// of generation) or on the family's, or if it switches nothing on: null, false, 0 or empty. Every other one is refused.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dense.h"
#include "base/json.h"

namespace clearhead {

class Config {
 public:
  enum class Form : uint8_t { kOneStack, kEncoderDecoder };
  Config(const Json& object, const std::string& where, const std::string& model_type, Form form = Form::kOneStack);

  int64_t size(std::string_view name);                        ///< a required integer in 1 … 2³¹ − 1
  int64_t layers(std::string_view name);                      ///< a required integer in 1 … 10,000
  int64_t size_or(std::string_view name, int64_t otherwise);  ///< `otherwise` if absent or null
  std::optional<int64_t> optional_size(std::string_view name);
  /// Within ±(2³¹ − 1), so that sums and products of two do not overflow.
  int64_t integer_or(std::string_view name, int64_t otherwise);
  double number_or(std::string_view name, double otherwise) { return known(name).number_or(name, otherwise); }
  std::optional<double> optional_number(std::string_view name);
  double positive_or(std::string_view name, double otherwise);
  bool flag_or(std::string_view name, bool otherwise) { return known(name).boolean_or(name, otherwise); }
  std::string text_or(std::string_view name, std::string_view otherwise) { return known(name).string_or(name, otherwise); }
  /// "gelu", "gelu_new", "relu", "silu" … Throws kUnsupported, with the list, for others.
  Activation activation_or(std::string_view name, Activation otherwise);
  /// Labels in order of id from "id2label", else "LABEL_i" for "num_labels", else two labels.
  std::vector<std::string> labels();
  std::vector<std::string> architectures();
  /// The field itself, or null; marks it as used.
  const Json* take(std::string_view name) { return known(name).take(name); }

  /// Accepts an absent or null field or one of these values; throws kUnsupported, by name, for others. Booleans are
  /// spelled "false" and "true", numbers as in JSON.
  void only(std::string_view name, std::initializer_list<std::string_view> values);
  /// Another spelling of a size that has been read: accepts an absent or null field or the same value.
  void same(std::string_view name, int64_t value);
  /// Fields that do not change what the model computes.
  void harmless(std::initializer_list<std::string_view> names);
  /// Throws kUnsupported for a field that is not known and is set.
  void done() const;

  const std::string& where() const { return where_; }
  [[noreturn]] void refuse(std::string_view name, std::string_view why) const;

 private:
  /// The fields, after marking `name` as used.
  Fields& known(std::string_view name) {
    known_.emplace_back(name);
    return fields_;
  }
  const Json& object_;
  std::string where_, model_type_;
  Fields fields_;
  std::vector<std::string> known_;
};

}  // namespace clearhead
