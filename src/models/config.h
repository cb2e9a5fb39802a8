// Reads config.json strictly: a field that could change the result is either used, or refused with an error that names it.
//
//   Config config(json, "config.json", "bert");
//   facts.width = config.size("hidden_size");
//   config.only("position_embedding_type", {"absolute"});    // any other value: kUnsupported
//   config.harmless({"gradient_checkpointing"});
//   config.done();                                           // refuses unknown fields that are set
//
// A field that was not read is accepted if it is on the common list (provenance, training, output options, generation
// settings) or on the family's list of harmless fields, or if it is off: null, false, 0 or empty. All other fields are refused.
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
  /// An integer within ±(2³¹ − 1), so that the sum or product of two such values does not overflow.
  int64_t integer_or(std::string_view name, int64_t otherwise);
  double number_or(std::string_view name, double otherwise) { return known(name).number_or(name, otherwise); }
  std::optional<double> optional_number(std::string_view name);
  double positive_or(std::string_view name, double otherwise);
  bool flag_or(std::string_view name, bool otherwise) { return known(name).boolean_or(name, otherwise); }
  std::string text_or(std::string_view name, std::string_view otherwise) { return known(name).string_or(name, otherwise); }
  /// An activation: "gelu", "gelu_new", "relu", "silu" … For other names, throws kUnsupported with the list.
  Activation activation_or(std::string_view name, Activation otherwise);
  /// The labels in order of id: from "id2label"; without it, "LABEL_i" for each of "num_labels", by default 2.
  std::vector<std::string> labels();
  std::vector<std::string> architectures();
  /// The field itself, or null; marks it as used.
  const Json* take(std::string_view name) { return known(name).take(name); }

  /// Accepts the field if it is absent, null or one of these values; otherwise throws kUnsupported with the field's name.
  /// Booleans are written "false" and "true", numbers as in JSON.
  void only(std::string_view name, std::initializer_list<std::string_view> values);
  /// Checks another name of a size that has been read: the field must be absent, null or the same value.
  void same(std::string_view name, int64_t value);
  /// Marks fields that do not change what the model computes.
  void harmless(std::initializer_list<std::string_view> names);
  /// Throws kUnsupported for an unknown field that is set.
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
