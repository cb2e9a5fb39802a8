// The Model that clearhead::load() returns for a Transformer: its weights, its tokenizer, and the settings for sentence embeddings.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "clearhead/answers.h"
#include "clearhead/model.h"
#include "models/sentence.h"
#include "models/transformer.h"

namespace clearhead {

class LoadedModel : public Model {
 public:
  LoadedModel(ModelInfo info, Transformer transformer, std::shared_ptr<const Tokenizer> tokenizer, SentenceFacts sentence);

  RunResult run_batch(const Batch& input, const Batch* source, const RunOptions& options) const override;
  ModelCache read(const Batch& source, DType dtype, const Interventions& interventions) const override;
  RunResult step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options) const override;
  RunPlan plan_of(const Encoding& encoding, const RunOptions& options) const;

  const Transformer& transformer() const { return transformer_; }
  /// The input of a forward pass over these tokens. Throws as run().
  ForwardInput checked(const Batch& tokens) const { return checked(tokens, transformer_.facts()); }
  /// The input of the encoder's forward pass. Throws as run_from().
  ForwardInput checked_source(const Batch& tokens) const;
  const SentenceFacts& sentence() const { return sentence_; }
  /// The tokenizer for sentence embeddings. Throws as tokenizer().
  const Tokenizer& sentence_tokenizer() const;
  RunResult compute(const ForwardInput& input, const RunOptions& options) const { return compute(transformer_, input, options); }

 private:
  // facts: of the encoder or of the decoder, whichever reads the tokens
  ForwardInput checked(const Batch& tokens, const Architecture& facts) const;
  RunPlan plan(RunText text, const std::vector<TextSegment>& segments) const;
  RunResult compute(const Transformer& stack, const ForwardInput& input, const RunOptions& options) const;

  Transformer transformer_;
  SentenceFacts sentence_;
  std::shared_ptr<const Tokenizer> sentence_tokenizer_;
};

/// Returns the model if it is a Transformer. Throws kUnsupported for other models; `refusal` completes the sentence that begins
/// with the model: "fills no masks".
const LoadedModel& transformer_model(const Model& model, std::string_view refusal);

/// Throws kUnsupported: "NAME: a model of type "TYPE", which reads a KIND, REFUSAL".
[[noreturn]] void refuse(const Model& model, std::string_view refusal);
/// Throws kTooLong if `tokens` is more than `longest`; longest = 0: no limit.
void check_length(int64_t tokens, int64_t longest);
/// Throws as Model::run() for tokens that do not fit: their number, ids, lengths.
void check_tokens(const Batch& tokens, int64_t vocabulary, int64_t longest);
Batch batch_of(const std::vector<int32_t>& ids);
/// A lock that is held while a model computes, so that runs of a process are sequential. Inside a parallel loop (for_batches) each
/// thread has its own lock.
std::unique_lock<std::recursive_mutex> take_turn();
/// The scratch memory of the run that holds the lock of take_turn(). Use it only while you hold that lock.
Arena& run_arena();
/// The scores that classify() returns.   logits: [labels]
std::vector<ClassScore> class_scores(const float* logits, const std::vector<std::string>& labels,
                                     ProblemType problem = ProblemType::kSingleLabel);

}  // namespace clearhead
