// From what a network reads to the rows of a batch, and to the text that an observer is told of. One case for each value of
// NetworkFacts::reads; training and answers read alike.
//
//   "document"   input: the sentences of a document, grouped
//   "story"      source: its statements, or as many of the latest as the memory has slots, grouped; input: the question
//   "picture"    input: the picture
//   "scene"      source: the picture; input: the question
//   "sound"      source: its log-mel frames; the input is the text that is written
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "clearhead/tokenizer.h"
#include "models/network.h"
#include "models/rows.h"

namespace clearhead {

/// One side of an input, before it stands in a batch: sequences of ids, or features.
struct Reading {
  std::vector<std::vector<int32_t>> sequences{};
  bool is_group = false;  // the sequences belong together
  Tensor features{};      // [channels, height, width] of a picture, or [frames, width]
  int64_t cut = 0;        // sequences that lost their end: they have more tokens than the network reads of one
  int64_t left_out = 0;   // oldest sequences, for which a memory has no slot
  int64_t size() const;   // places that it takes: tokens, frames, or 1
};
struct ReadInput {
  Reading input{};
  std::optional<Reading> source{};
};

/// A picture file as the model reads it. One of another size than its config.json says is refused by the file's header, before it is
/// decoded. Throws as read_image().
Tensor read_picture(const ModelInfo& info, const std::string& path);

/// Throws kInvalidArgument for an input without what the network reads, or with pixels that are not finite, kShape for a picture of another size, kTooLong.
ReadInput read_input(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input);
/// What is read, with its words, and the items of its maps: sentences, statements ("slot"), patches, and the one item that asks
/// ("document", "query").
RunText run_text_of(const NetworkFacts& facts, const Tokenizer* tokenizer, const ModelInput& input);
/// A sound as a network reads it: log10 energies as Whisper scales them, (x + 4)/4, of the 8 decades below the loudest one, which counts
/// as 0. → [frames, mels]
Reading sound_of(const NetworkFacts& facts, const Sound& sound);
/// A text that is written from a sound, its segment "target", and its sound's frames, as read, as items under their spectrogram.
RunText with_frames(RunText target, const NetworkFacts& facts, const Tensor& frames);
/// Runs a loaded model over rows as training makes them.
/// options: masked rows; of networks of parts an observer, which gets no plan
RunResult run_rows(const Model& model, const Rows& input, const Rows* source, const RunOptions& options = {});
/// Readings of one kind as a batch, padded.
Rows rows_of(const std::vector<const Reading*>& readings, int32_t pad);

/// Sentences of a text: a line each, and cut where ., ! or ? is followed by a blank. For texts that come without them.
std::vector<std::string> sentences_of(const std::string& text);

/// A text's tokens as the observer is told of them.   given: the text, if known; pair: the second one
RunText run_text(const Encoding& encoding, const Tokenizer* tokenizer, const std::optional<std::string>& given = {},
                 const std::optional<std::string>& pair = {});
/// What a writer wrote, as the input of one run over the whole of it: its first token and these, and their text.
struct WrittenText {
  Encoding encoding{};
  std::string text{};
};
WrittenText written_text(int32_t first, const std::vector<int32_t>& ids, const Tokenizer* tokenizer);
/// Two texts as one, with the segments "source" and "target".
RunText joined(RunText source, const RunText& target);

}  // namespace clearhead
