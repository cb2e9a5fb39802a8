// Kinds of input: the form in which a person gives one, what a network reads of it, and the items of its maps. Each kind is one file of
// inputs/; nothing else tells them apart by name.
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
  /// The form in which a person gives an input.
  enum class Form : uint8_t {
    kText,     // a text, which the tokenizer encodes, with or without a second one
    kTexts,    // several texts, or one text that is split into sentences
    kPicture,  // a file, or pixels
    kSound,    // a file, or samples
  };

  std::string_view name{};  // as ModelInfo::reads
  Form form = Form::kText;
  bool has_question = false;  // a question is asked about the input
  bool has_target = false;    // the model writes a text from the input
  /// Kind of the items of its maps that an explanation may remove (ItemRange::kind). Null: its tokens or frames.
  const char* item = nullptr;
  const char* texts = "texts";  // what its texts are called in messages

  /// Reads the fields of a network's config.json that say how inputs are encoded. Null: there are none.
  void (*read_config)(Fields& config, NetworkFacts& to) = nullptr;
  /// Null for texts: the tokenizer encodes them.
  EncodedInput (*encode)(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) = nullptr;
  /// The words and the items of the input's maps. Null for texts and for models that write: their words are those of a run.
  RunText (*describe)(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input) = nullptr;
  /// The words that were written from an input that is no text, and the items of their source. Null for kinds without a target.
  RunText (*describe_written)(RunText target, const NetworkFacts& facts, const EncodedSide& source) = nullptr;

  bool is_text() const { return form == Form::kText; }
  bool is_file() const { return form == Form::kPicture || form == Form::kSound; }
  /// "picture" or "sound", of a kind that is given as a file.
  const char* file() const { return form == Form::kSound ? "sound" : "picture"; }
};

/// All kinds; the build writes the list from the files of inputs/.
const std::vector<const InputKind*>& input_kinds();
/// Throws kInvalidArgument for a name that no kind has.
const InputKind& input_kind(std::string_view name);
inline const InputKind& input_kind(const ModelInfo& info) { return input_kind(info.reads); }

/// Throws kInvalidArgument for an input without what the network reads, or with pixels that are not finite, kShape for a picture of
/// another size, kUnsupported for a kind that is not given input by input.
EncodedInput encode_input(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input);
/// The words of an input, and the items of its maps: sentences, statements ("slot"), patches, and the one item that asks ("document",
/// "query"). Throws as encode_input().
RunText describe_input(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input);

}  // namespace clearhead
