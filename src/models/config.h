// Reads a config.json strictly: a field that could change what is computed is either understood or refused by name.
//
//   Config config(json, "config.json", "bert");
//   facts.width = config.size("hidden_size");
//   config.only("position_embedding_type", {"absolute"});    // any other value: kUnsupported, by name
//   config.harmless({"gradient_checkpointing"});
//   config.done();                                           // refuses every field nobody asked for that could matter
//
// A field nobody asked for is let pass only if it is null, on the list every model has (versions, dropout rates, generation defaults), on the
// family's own list, or if its name speaks of nothing that a forward pass has: no word like "attn", "rope", "window", "scale", "norm" …
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
  int64_t layers(std::string_view name);                      ///< a required integer in 1 … 10,000: every layer has its facts
  int64_t size_or(std::string_view name, int64_t otherwise);  ///< absent or null: otherwise
  std::optional<int64_t> optional_size(std::string_view name);
  int64_t integer_or(std::string_view name, int64_t otherwise);  ///< within ±(2³¹ − 1), so that sums and products of two do not overflow
  double number_or(std::string_view name, double otherwise) { return known(name).number_or(name, otherwise); }
  std::optional<double> optional_number(std::string_view name);
  double positive_or(std::string_view name, double otherwise);
  bool flag_or(std::string_view name, bool otherwise) { return known(name).boolean_or(name, otherwise); }
  std::string text_or(std::string_view name, std::string_view otherwise) { return known(name).string_or(name, otherwise); }
  /// "gelu", "gelu_new", "relu", "silu" … Throws kUnsupported for others, with the list.
  Activation activation_or(std::string_view name, Activation otherwise);
  /// "id2label" in order of id, else "num_labels" many "LABEL_i", else two.
  std::vector<std::string> labels();
  std::vector<std::string> architectures();
  /// The field itself, or null; counts as understood.
  const Json* take(std::string_view name) { return known(name).take(name); }

  /// Absent, null or one of these values; anything else is refused by name. Bools: "false" / "true"; numbers as JSON writes them.
  void only(std::string_view name, std::initializer_list<std::string_view> values);
  void harmless(std::initializer_list<std::string_view> names);
  void done() const;

  const std::string& where() const { return where_; }
  [[noreturn]] void refuse(std::string_view name, std::string_view why) const;

 private:
  /// The fields, after noting that `name` is understood.
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
