// One question to one model on one input: "why this answer?" What attribution explains and judging removes parts of.
//
//   The answer is one number y: the logit of a class or of a token, or the difference of two. `probability` is what is
//   reported: softmax (sigmoid where labels stand by themselves, and of a difference). An answer of several tokens is a
//   span: y is the sum of the log-probabilities of its tokens, each given those before, and the probability is exp(y).
//
//   a classifier of texts   a class                      read from its first or last token (padding aside), or from all
//   a causal model          the next tokens              each read from the token before it
//   a masked model          the word at the mask         read from the mask
//   a tagger                the tag of one token         read from it
//   an encoder-decoder      tokens of what it writes     each read from the target's token before it, over the source
//
// Items are what is removed and what gets shares: ranges of ids of the text, each token by default. The token that the
// answer is read from is an item too. Where it is removed "unseen", no token attends to it, but it still reads the others.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "judge/input_tape.h"
#include "models/reading.h"

namespace clearhead::judge {

/// The question. `of`: a class's label, a word or several, or "token N" of the text (of an encoder-decoder: of what it writes);
/// empty: the model's own answer. `against`: a class or a word of one token, whose logit is subtracted.
///
/// Of a word's spellings in tokens, with a leading space or without, the one that the model finds more probable is explained. A
/// word after a word has a space unless that is a hundred times less probable. One that begins with a space is taken as it is.
struct Asked {
  std::string of{}, against{};
  std::vector<int32_t> of_ids{};        ///< instead of `of`: the number of a class, or the tokens of the answer
  std::optional<int32_t> against_id{};  ///< instead of `against`
};

/// How a part of the input is taken away. The two disagree, so both are always named.
///   kUnseen   no token attends to it; the rest of each row is renormalised
///   kMasked   each of its tokens is the mask token, else the unknown or padding token
enum class RemovedBy : uint8_t { kUnseen, kMasked };
const char* to_string(RemovedBy how);  ///< "unseen", "masked"
/// What kMasked puts in place of a token: the mask, unknown, padding or end token, the first that there is.
std::optional<int32_t> masking_token(const Tokenizer& tokenizer);

class Subject {
 public:
  virtual ~Subject() = default;

  /// Text and families of the run that is explained.
  const RunPlan& plan() const { return plan_; }
  /// What the answer is, for a person: class "positive", next token " cat".
  const std::string& answer() const { return answer_; }
  double probability() const { return probability_; }
  /// The number of the class, or the tokens of the answer: one for each of rows(), and several only of a span.
  const std::vector<int32_t>& answer_ids() const { return answer_ids_; }
  /// The only one of them. Throws kUnsupported for a span, with `what` is asked of one token only.
  int32_t answer_id(const char* what) const;
  int32_t against() const { return against_; }  ///< −1: nothing

  /// Ranges of ids of plan().text. Tokens that the tokenizer added, and those of the answer, are not among them.
  const std::vector<Range>& items() const { return items_; }
  /// Throws kInvalidArgument for a range that holds no token of items(), or overlaps another.
  void set_items(std::vector<Range> items);
  /// A share for each item: the sum over its tokens that may go.   of_ids: [id]
  std::vector<double> by_item(const std::vector<double>& of_ids) const;

  /// The side of maps that the answer is read from (sides.h), and the places there from which its tokens are read.
  const std::string& side() const { return side_; }
  const std::vector<int64_t>& rows() const { return rows_; }

  /// The answer's probability without these items.   removed: [set][item], 1: taken away
  virtual std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const = 0;
  struct Outcome {
    double y = 0, probability = 0;
  };
  /// One pass whose attention the observer sees, with these interventions.
  virtual Outcome run(Observer* observer, const Interventions& interventions = {}) const = 0;
  /// The residual stream at the first of rows(), before the first layer and after each: f32 [layers + 1, width].
  /// Throws kUnsupported for networks of parts.
  virtual Tensor states() const;
  /// Model::mixed_norms() of the rows that the answer is read from, on average. Throws kUnsupported for models that do not
  /// read one text.
  virtual std::vector<double> mixed_norms(int layer) const;
  /// What a backward pass starts from: y, or the logarithm of the probability that is reported.
  enum class Number : uint8_t { kY, kLogProbability };
  /// One pass with these interventions, forward and back from `number`, recorded by the tape; the observer hears
  /// gradients. Returns the number.
  virtual double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions = {},
                               Number number = Number::kY) const = 0;
  const Model& model() const { return *model_; }

 protected:
  explicit Subject(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  /// Throws kNotFound for answers that are not among `count`, kInvalidArgument for one against itself, kUnsupported for a
  /// span against something.
  void check_answer(int64_t count) const;
  /// logits: [row of the answer, count]
  Outcome outcome_of(const float* logits, int64_t count) const;
  double probability_of(const float* logits, int64_t count) const { return outcome_of(logits, count).probability; }
  /// The number as a recorded one, and its backward pass.   logits: a view [row of the answer, count]
  double backward(InputTape& tape, const Tensor& logits, Number number) const;
  /// The items before set_items(), which says what may be taken away at all.
  void begin_with(std::vector<Range> items);
  void begin_with_tokens(int64_t end);  // those before `end` that the tokenizer did not add
  int32_t hiding_token() const;         // kMasked; throws kUnsupported if the tokenizer has none
  std::vector<uint8_t> removed_ids(const std::vector<uint8_t>& removed) const;

  std::shared_ptr<const Model> model_;
  RunPlan plan_{};
  std::string answer_{}, side_{};
  std::vector<int64_t> rows_{};
  std::vector<Range> items_{};
  std::vector<uint8_t> may_go_{};  // [id]
  std::vector<int32_t> answer_ids_{};
  int32_t against_ = -1;
  double probability_ = 0;
  bool stands_alone_ = false;  // labels of which each has its own sigmoid
};

/// A source, and what an encoder-decoder writes from it (its default beams), or is to write where that is `given`.
struct ReadAndWritten {
  Encoding source{};
  WrittenText target{};  ///< its first token included
};
ReadAndWritten read_and_write(const Model& model, const std::string& source, const std::optional<std::string>& given);

/// A question to a model that reads a text (or two). The model must be loaded with LoadOptions::gradients for differentiate().
/// Throws kUnsupported for a model that gives no answer to explain, kNotFound, with what is near, for a class or word that is
/// not there, kTooLong.
std::unique_ptr<Subject> ask_about(std::shared_ptr<const Model> model, const std::string& text, const Asked& asked,
                                   const std::optional<std::string>& pair = {});
/// The same for ids, by a model that needs no tokenizer. Of an encoder-decoder `ids` is the source, and `written` what it wrote
/// before the tokens that are asked for, its first token included; absent for others.
std::unique_ptr<Subject> ask_about(std::shared_ptr<const Model> model, const Encoding& ids, const Asked& asked,
                                   const std::optional<Encoding>& written = {});

/// The same for a network of parts that is given an input: a document, a story, a picture, a scene. Items are its sentences,
/// statements or patches; of a sound its frames, and the answer is a token of what is written.
std::unique_ptr<Subject> ask_about(std::shared_ptr<const Model> model, const ModelInput& input, const Asked& asked);

/// The attention that the answer looks at its items with: cross-attention if there is one, of this layer or the last. Throws
/// kInvalidArgument for a layer that is not there, kUnsupported where no attention has the items as its keys.
Site looked_at(const Subject& subject, std::optional<int> layer);

/// The number of a class. Throws kNotFound with those there are, and what is near.
int32_t label_named(const ModelInfo& info, const std::string& name);

}  // namespace clearhead::judge
