// An attribution target: one answer of one model on one input ("why this answer?"). Attribution explains it, and the measures of
// evaluate/ remove parts of its input.
//
//   The answer is one number y: the logit of a class or of a token, or the difference of two logits. The reported `probability` is
//   its softmax (sigmoid for independent labels and for a difference). An answer of several tokens is a span: y is the sum of the
//   log-probabilities of its tokens, each given those before, and the probability is exp(y).
//
//   A regression model answers with a number in its own unit (is_number()). Then y is this number, and it also takes the place of the
//   probability.
//
//   text classifier         a class, or a number         read from its first token, or from its last token that is not padding
//   forecast                a quantile                   read from the query
//   causal model            the next tokens              each read from the token before it
//   masked model            the word at the mask         read from the mask
//   token classifier        the tag of one token         read from that token
//   encoder-decoder         generated tokens             each read from the target's token before it, with the source
//
// Items are the units of removal and of attribution: ranges of positions in the text's ids, by default each token. The token from which the
// answer is read is an item too. If it is removed as "unseen", no token attends to it, but it still attends to the others.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "explain/input_tape.h"
#include "models/encoded_input.h"
#include "models/run_text.h"

namespace clearhead::explain {

/// The answer that is asked about. `target`: the label of a class, one or more words, or "token N" of the text (for an encoder-decoder, of
/// its output; for a model that labels tokens, also "token N LABEL"); empty: the model's own answer. `contrast`: a class or a word of one
/// token, whose logit is subtracted.
///
/// If a word has several tokenizations, with and without a leading space, the one that the model finds more probable is explained. Between
/// two words, the spelling with a space is chosen unless it is more than a hundred times less probable than the one without.
/// A word that starts with a space is used as it is.
struct TargetSpec {
  std::string target{}, contrast{};
  std::vector<int32_t> target_ids{};     ///< replaces `target`: the index of a class, or the tokens of the answer
  std::optional<int32_t> contrast_id{};  ///< replaces `contrast`
  /// For a causal model: y of several tokens is the sum of their logits, because the gradient of a log-probability vanishes where the model
  /// is certain. Not used with a contrast.
  bool sums_logits = false;
  /// For a causal model: the number of tokens before the first one that the model generated. Absent: all tokens before the answer.
  std::optional<int64_t> prompt_tokens{};
};

/// Method of removing a part of the input. The two methods give different results, so the one that was used is always reported.
///   kUnseen   no token attends to it; the rest of each row is renormalised
///   kMasked   each of its tokens is replaced by masking_token(); other items lose their content (answers/)
enum class RemovedBy : uint8_t { kUnseen, kMasked };
const char* to_string(RemovedBy how);  ///< "unseen", "masked"
/// The token that kMasked substitutes: the mask token or, if the tokenizer has none, the unknown, padding or end token.
std::optional<int32_t> masking_token(const Tokenizer& tokenizer);

class AttributionTarget {
 public:
  virtual ~AttributionTarget() = default;

  /// The run that is explained: its text and ids, and the families of its attention maps.
  const RunPlan& plan() const { return plan_; }
  /// A description of the answer for users: class "positive", next token " cat".
  const std::string& answer() const { return answer_; }
  double probability() const { return probability_; }
  bool is_number() const { return is_number_; }
  /// The index of the class, or the tokens of the answer: one for each of rows(). Only a span has several.
  const std::vector<int32_t>& answer_ids() const { return answer_ids_; }
  /// The only element of answer_ids(). Throws kUnsupported for a span, with the message that `what` needs an answer of one token.
  int32_t answer_id(const char* what) const;
  int32_t contrast() const { return contrast_; }  ///< −1: none

  /// Ranges of positions in plan().text.ids. They do not include tokens that the tokenizer added, nor the tokens of the answer.
  const std::vector<Range>& items() const { return items_; }
  /// Throws kInvalidArgument for a range that contains no removable token, or that overlaps another one.
  void set_items(std::vector<Range> items);
  /// A share for each item: the sum over its removable tokens.   of_ids: [position in plan().text.ids]
  std::vector<double> by_item(const std::vector<double>& of_ids) const;

  /// The side of maps from which the answer is read (sides.h), and the positions on it from which the answer's tokens are read.
  const std::string& side() const { return side_; }
  const std::vector<int64_t>& rows() const { return rows_; }
  /// The positions, on the answer's side, of the tokens that the model generated: those of the answer except its last one and, if known,
  /// those generated before it. Empty for an answer of one token and for answers that are not generated.
  const Range& written() const { return written_; }

  /// The answer's probability without these items.   removed: [set][item], 1: removed
  virtual std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const = 0;
  /// The log-probability of each token of the answer, given those before it, without these items: [set][token].   removed: [set][item]
  /// Throws kUnsupported unless the model reads a single text and the answer consists of tokens.
  virtual std::vector<std::vector<double>> log_probabilities(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const;
  struct Outcome {
    double y = 0, probability = 0;
  };
  /// One run with these interventions; the observer receives its attention.
  virtual Outcome run(Observer* observer, const Interventions& interventions = {}) const = 0;
  /// The residual stream at the first of rows(), before the first layer and after each layer: f32 [layers + 1, width].
  /// Throws kUnsupported for networks from the literature.
  virtual Tensor states() const;
  /// TokenMixing::vectors() of a row of the answer's side: f32 [key of this side, width]. Rows of one layer are fastest one after another.
  /// Throws kUnsupported for models that do not read a single text.
  virtual Tensor mixed_vectors(int layer, int64_t row) const;
  /// TokenMixing::states_without_value() of the answer's side: f32 [row, width]. Throws as mixed_vectors() does.
  virtual Tensor states_without_value(int layer, int64_t token) const;
  /// The number that a backward pass starts from: y, or the logarithm of the reported probability.
  enum class Number : uint8_t { kY, kLogProbability };
  /// One forward and one backward pass with these interventions, starting from `number` and recorded by the tape; the observer receives
  /// the gradients. Returns the number.
  virtual double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions = {},
                               Number number = Number::kY) const = 0;
  /// False for a run that another library computed (replayed_target.h).
  bool has_model() const { return model_ != nullptr; }
  /// Throws kUnsupported if there is no model.
  const Model& model() const;
  /// The model's name, for messages.
  const std::string& name() const;
  /// The attention calls of a recorded run, in their order. Empty for a model: each family then has all layers from 0 on. Layers of a
  /// recorded model may have different shapes and thus different families.
  virtual std::vector<Site> sites() const { return {}; }

 protected:
  /// model: null for a run that another library computed
  explicit AttributionTarget(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  /// Throws kNotFound for answers outside [0, count), kInvalidArgument for an answer against itself, kUnsupported for a
  /// span against another answer.
  void check_answer(int64_t count) const;
  /// Sets the answer to asked.target_ids, else to `label`, or if that is empty to the most probable label; sets the contrast to that of
  /// `asked`. Describes both as "class \"a\" against \"b\"", with `what` in place of "class".   logits: [1, label]
  void answer_with_label(const TargetSpec& asked, const std::string& label, const char* what, const Tensor& logits);
  /// Sets the answer to the number offset + factor·outputs[0][output], and its description.   outputs: [1, count]
  /// Throws kUnsupported if `asked` has a contrast.
  void answer_with_number(const TargetSpec& asked, int32_t output, std::string description, const Tensor& outputs, double offset = 0,
                          double factor = 1);
  /// The answer is a number in its own unit, which a derived class computes.
  void set_is_number() { is_number_ = true; }
  /// logits: [row of the answer, count]
  Outcome outcome_of(const float* logits, int64_t count) const;
  /// The log-probability of each token of the answer.   logits: [row of the answer, count]
  std::vector<double> log_probabilities_of(const float* logits, int64_t count) const;
  double probability_of(const float* logits, int64_t count) const { return outcome_of(logits, count).probability; }
  /// Computes the number with recorded operations and runs its backward pass.   logits: a view [row of the answer, count]
  double backward(InputTape& tape, const Tensor& logits, Number number) const;
  /// The initial items, which determine what can be removed at all; set_items() can only group them.
  void begin_with(std::vector<Range> items);
  void begin_with_tokens(int64_t end);  // all tokens before `end` that the tokenizer did not add
  int32_t hiding_token() const;         // for kMasked; throws kUnsupported if the tokenizer has none
  std::vector<uint8_t> removed_ids(const std::vector<uint8_t>& removed) const;

  std::shared_ptr<const Model> model_;
  RunPlan plan_{};
  std::string answer_{}, side_{};
  std::vector<int64_t> rows_{};
  std::vector<Range> items_{};
  std::vector<uint8_t> may_go_{};  // [position in plan_.text.ids] whether the token can be removed
  std::vector<int32_t> answer_ids_{};
  int32_t contrast_ = -1;
  Range written_{};
  double probability_ = 0;
  bool stands_alone_ = false;  // independent labels, each with its own sigmoid
  bool sums_logits_ = false;   // of a span

 private:
  bool is_number_ = false;
  double offset_ = 0, factor_ = 1;  // of the number
};

/// A source and the target that an encoder-decoder generates from it (with its default beams), or the `given` target.
struct ReadAndWritten {
  Encoding source{};
  WrittenText target{};  ///< including its first token
};
ReadAndWritten read_and_write(const Model& model, const std::string& source, const std::optional<std::string>& given);

/// An attribution target for an answer about one input. differentiate() needs a model loaded with LoadOptions::gradients. For a text its items
/// are tokens; for other inputs sentences, statements, patches, intervals, frames or nodes.
/// Throws kUnsupported for a model without an answer that can be explained (explain/answer_kind.h), kNotFound, with similar names, for a
/// class or word that does not exist, and kTooLong.
std::unique_ptr<AttributionTarget> make_target(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked);
/// The same for ids, for a model that needs no tokenizer. For an encoder-decoder `ids` is the source, and `written` the target that was
/// generated before the tokens that are asked for, including its first token; absent for other models.
std::unique_ptr<AttributionTarget> make_target(std::shared_ptr<const Model> model, const Encoding& ids, const TargetSpec& asked,
                                               const std::optional<Encoding>& written = {});

/// The site of the attention through which the answer sees the items, in this layer or the last one: cross-attention if there is
/// one, else the first attention whose keys include the items. Throws kInvalidArgument for a layer that does not exist, kUnsupported
/// if no attention has the items as its keys.
Site looked_at(const AttributionTarget& target, std::optional<int> layer);

/// The index of a class. Throws kNotFound with the existing labels and similar names.
int32_t label_named(const ModelInfo& info, const std::string& name);

}  // namespace clearhead::explain
