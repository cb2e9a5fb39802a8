// Kinds of input. A kind defines the form in which a user gives an input, how it is encoded for a network, and the items of its
// attention maps. Each kind is one file in inputs/; no other code compares the names of kinds.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tokenizer.h"
#include "models/config.h"
#include "models/encoded_input.h"
#include "models/network.h"

namespace clearhead {

struct InputKind {
  /// The form in which a user gives an input.
  enum class Form : uint8_t {
    kText,     // one text or a pair of texts, which the tokenizer encodes
    kTexts,    // a list of texts, or one text that is split into sentences
    kPicture,  // a picture file, or pixels
    kSound,    // a sound file, or samples
    kNumbers,  // numbers, separated by spaces or commas, or a table
    kNode,     // the name of a node of a graph
  };

  std::string_view name{};  // the value of ModelInfo::reads
  Form form = Form::kText;
  bool has_question = false;  // the input includes a question
  bool has_target = false;    // the model generates a text from the input
  /// ItemRange::kind of the items that an attribution method may remove. Null: tokens or frames.
  const char* item = nullptr;
  const char* texts = "texts";  // name of the texts in messages

  /// Reads the fields of a network's config.json that define how inputs are encoded. Null: there are no such fields.
  void (*read_config)(Fields& config, NetworkFacts& to) = nullptr;
  /// Reads the numbers of an input, as ModelInput::series, from a text such as a table. Null if the form is not kNumbers.
  Tensor (*read_numbers)(const ModelInfo& info, std::string_view text) = nullptr;
  /// Encodes an input. Null for texts, which the tokenizer encodes.
  EncodedInput (*encode)(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) = nullptr;
  /// Replaces an item of `features` by a mean: for patches and intervals, of each channel of `read`, the features before any masking.
  /// Null if items are not parts of features.
  void (*mask)(const NetworkFacts& facts, int64_t item, const Tensor& read, Tensor& features) = nullptr;
  /// Returns the words of the input and the items of its maps. Null for plain texts, which
  /// run_text() describes, and for models that generate text from other inputs, which use describe_written.
  RunText (*describe)(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) = nullptr;
  /// Adds the items of the source to the words of a target that was generated from an input other than text. Null for all
  /// other kinds.
  RunText (*describe_written)(RunText target, const NetworkFacts& facts, const EncodedSide& source) = nullptr;
  /// The index, in the words of the input, of the item that the input names. Null if inputs name none.
  int64_t (*selected)(const NetworkFacts& facts, const ModelInput& input) = nullptr;

  bool is_text() const { return form == Form::kText; }
  /// True if the items of its maps are parts of texts.
  bool has_words() const { return form == Form::kText || form == Form::kTexts; }
  bool is_file() const { return form == Form::kPicture || form == Form::kSound; }
  /// "picture" or "sound", for a kind with is_file().
  const char* file() const { return form == Form::kSound ? "sound" : "picture"; }
};

/// All kinds; the build generates this list from the files in inputs/.
const std::vector<const InputKind*>& input_kinds();
/// Throws kInvalidArgument for an unknown name.
const InputKind& input_kind(std::string_view name);
inline const InputKind& input_kind(const ModelInfo& info) { return input_kind(info.reads); }

/// Encodes an input for a network. Throws kInvalidArgument if a part that the network reads is missing or a pixel or number is
/// not finite, kShape for a picture or series of another size, kUnsupported for plain texts and pairs.
EncodedInput encode_input(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input);
/// The words of an input and the items of its maps: sentences, statements ("slot"), patches or intervals, followed by the single item
/// that attends to them ("document" or "query"); or the steps of an episode; or all nodes of a graph. Throws as encode_input();
/// kUnsupported also for models that generate text from a sound.
RunText describe_input(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input);
/// The item that an input names, such as a node of a graph; nothing for models whose inputs name none. Throws as encode_input().
std::optional<int64_t> selected_item(const Model& model, const ModelInput& input);

}  // namespace clearhead
