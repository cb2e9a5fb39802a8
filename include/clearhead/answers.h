// Implemented in src/models.
// A model's answers about texts: sentence embeddings, masked words, classes, entities, and spans that answer a question.
//
//   embed(*model, "A cat sleeps.").values;                             // [width], as sentence-transformers computes it
//   classify(*model, "I loved it.")[0].label;                          // the most probable label
//   answer(*model, "Who sleeps?", "A cat sleeps on the mat.").begin;   // byte where the answer begins
//
// The model needs its tokenizer and the output head in question. The functions throw kUnsupported for a model without this
// head or one that does not read texts, kNotFound for a model without a tokenizer, kTooLong for a text with more tokens
// than the model has positions, unless noted.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/model.h"

namespace clearhead {

/// A sentence embedding.
struct Embedding {
  std::vector<float> values{};  ///< [width]
  int64_t tokens = 0;           ///< number of tokens of the text, special tokens included
  int64_t used = 0;             ///< less than `tokens` if the text was truncated to the model's max_seq_length
};

/// A candidate for a mask token.
struct Candidate {
  int32_t id = 0;
  std::string token{};
  float probability = 0;
};

/// A label of a classifier.
struct ClassScore {
  std::string label{};
  float probability = 0;  ///< with ProblemType::kRegression: the predicted value
};

/// A span of a text with the entity type that a token classifier assigns to it.
struct TaggedSpan {
  std::string type{};          ///< "person" for the tag "B-person" or "I-person"; label_tokens(): the complete label
  int64_t begin = 0, end = 0;  ///< bytes of the text
  float probability = 0;       ///< mean probability of the tags of its words
};

/// The best span of a text as the answer to a question. Each score is a sum of two logits from one window:
/// score = start_i + end_j of the span's first and last token; null_score = start_0 + end_0 of the first special token,
/// the smallest over all windows (Devlin et al. 2019, section 4.3).
struct TextAnswer {
  bool found = false;          ///< true if null_score − score ≤ threshold: the text contains the answer
  int64_t begin = 0, end = 0;  ///< bytes of the text: the best span, even if found is false; 0, 0 for a text without tokens
  double score = 0, null_score = 0;
  float probability = 0;       ///< softmax of the starts at i times softmax of the ends at j, over the tokens of the window
  float null_probability = 0;  ///< the same for the null score
};

/// The sentence embedding as computed by sentence-transformers (modules.json: pooling, normalisation, max_seq_length).
/// For models without modules.json, the mean over all tokens, not normalised. A text with more tokens than
/// max_seq_length or than the model has positions is truncated.
/// Throws kUnsupported for an encoder-decoder and for settings that this library does not have, kInvalidArgument for a text
/// without tokens.
Embedding embed(const Model& model, std::string_view text, const RunOptions& options = {});

/// The `count` most probable tokens for every mask token of the text, best first.
/// Throws kInvalidArgument if the text has no mask token or count < 1.
std::vector<std::vector<Candidate>> fill_mask(const Model& model, std::string_view text, int64_t count = 5,
                                              const Interventions& interventions = {});

/// Probability of every label of a text classifier, best first. With ProblemType::kMultiLabel labels are independent; with
/// kRegression the scores are the predicted values.
///   pair: the second text of a pair
std::vector<ClassScore> classify(const Model& model, std::string_view text, std::optional<std::string_view> pair = std::nullopt,
                                 const Interventions& interventions = {});

/// The entities that a token classifier finds in a text, in order of appearance. A word has the tag of its first token,
/// or every token has its own tag (ModelInfo::tags_words). B-TYPE starts an entity, I-TYPE continues an entity of the
/// same type or else starts one, and O is outside of entities. A tag without a prefix counts as I-.
std::vector<TaggedSpan> tag(const Model& model, std::string_view text, const Interventions& interventions = {});

/// The most probable label of every token that is not a special token, by a token classifier, in order of appearance.
std::vector<TaggedSpan> label_tokens(const Model& model, std::string_view text, const Interventions& interventions = {});

/// The answer to a question as a span of a text. A long text is read in overlapping windows; a question of more than
/// half a window is truncated at its end. Default settings: ModelInfo::answers.
/// Throws kUnsupported for a tokenizer that does not begin with a special token, kInvalidArgument for a window in which the
/// text has no room for more tokens than the overlap.
TextAnswer answer(const Model& model, std::string_view question, std::string_view text,
                  const std::optional<AnswerSettings>& settings = std::nullopt, const Interventions& interventions = {});

/// Options of functions that take many texts.
struct BatchOptions {
  Interventions interventions{};  ///< applied to every text
  /// Returns the name of a text for error messages. Absent: "text 3", counted from 0.
  std::function<std::string(size_t index)> name{};
  std::function<void(double fraction)> progress{};
};

/// embed(), fill_mask() and classify() for many texts; results are in the order of the texts. Texts of similar length run
/// in one batch, with almost no padding. Results equal those of single texts up to the order of sums in matrix products
/// (1e-5 for a vector of length 1). Error messages name the text. A text without tokens is an error (kInvalidArgument).
///   pair: the second text, the same for every text
std::vector<Embedding> embed_all(const Model& model, const std::vector<std::string>& texts, const BatchOptions& options = {});
std::vector<std::vector<std::vector<Candidate>>> fill_all(const Model& model, const std::vector<std::string>& texts, int64_t count = 5,
                                                          const BatchOptions& options = {});
std::vector<std::vector<ClassScore>> classify_all(const Model& model, const std::vector<std::string>& texts,
                                                  std::optional<std::string_view> pair = std::nullopt, const BatchOptions& options = {});

// Models whose input is not a text (ModelInfo::reads). All throw kUnsupported for a model that reads something else, and any
// error of reading the input.

/// Probability of every label, best first, for each input.
std::vector<std::vector<ClassScore>> classify_inputs(const Model& model, const std::vector<ModelInput>& inputs,
                                                     const Interventions& interventions = {});
/// Extractive summary: the sentences of a document with the weights that the document's attention gives them, largest
/// first. Throws kUnsupported unless info().output is "sentence".
std::vector<ClassScore> summarise(const Model& model, const ModelInput& document, const Interventions& interventions = {});
/// Model::run_from() and Model::read() with sounds as sources, for models that transcribe them.
RunResult run_from_input(const Model& model, const ModelInput& source, const Encoding& target, const RunOptions& options = {});
ModelCache read_inputs(const Model& model, const std::vector<ModelInput>& sources, DType dtype = DType::kF32,
                       const Interventions& interventions = {});
/// Runs the model on one input and reports its attention. A model that transcribes a sound first generates its text
/// greedily, and then reports and returns a run over the complete text.
RunResult observe(const Model& model, const ModelInput& input, Observer& observer, const Interventions& interventions = {});

}  // namespace clearhead
