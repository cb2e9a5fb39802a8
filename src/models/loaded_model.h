// The Model that clearhead::load() returns: a Transformer, its tokenizer, and the sentence settings of its folder.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "models/sentence.h"
#include "models/transformer.h"

namespace clearhead {

class LoadedModel : public Model {
 public:
  LoadedModel(ModelInfo info, Transformer transformer, std::shared_ptr<const Tokenizer> tokenizer, SentenceFacts sentence);

  const ModelInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *shared_tokenizer(); }
  std::shared_ptr<const Tokenizer> shared_tokenizer() const override;

  RunResult run(const TokenBatch& tokens, const RunOptions& options) const override;
  RunResult run(const Encoding& encoding, const RunOptions& options) const override;
  RunResult run_from(const TokenBatch& source, const TokenBatch& target, const RunOptions& options) const override;
  RunResult run_from(const Encoding& source, const Encoding& target, const RunOptions& options) const override;
  ModelCache read(const TokenBatch& source, DType dtype, const Interventions& interventions) const override;
  RunResult step(const std::vector<int32_t>& ids, ModelCache& cache, const RunOptions& options) const override;
  RunPlan plan_of(const Encoding& encoding, const RunOptions& options) const override;

  Embedding embed(std::string_view text, const RunOptions& options) const override;
  std::vector<std::vector<Candidate>> fill_mask(std::string_view text, int64_t count, const Interventions& interventions) const override;
  std::vector<ClassScore> classify(std::string_view text, std::optional<std::string_view> pair,
                                   const Interventions& interventions) const override;
  std::vector<TaggedSpan> tag(std::string_view text, const Interventions& interventions) const override;
  TextAnswer answer(std::string_view question, std::string_view text, const std::optional<AnswerSettings>& settings,
                    const Interventions& interventions) const override;
  std::vector<Embedding> embed_all(const std::vector<std::string>& texts, const BatchOptions& options) const override;
  std::vector<std::vector<std::vector<Candidate>>> fill_all(const std::vector<std::string>& texts, int64_t count,
                                                            const BatchOptions& options) const override;
  std::vector<std::vector<ClassScore>> classify_all(const std::vector<std::string>& texts, std::optional<std::string_view> pair,
                                                    const BatchOptions& options) const override;

  const Transformer& transformer() const { return transformer_; }
  /// The input of a forward pass over these tokens. Throws as run().
  ForwardInput checked(const TokenBatch& tokens) const { return checked(tokens, transformer_.facts()); }
  /// The input of the encoder's forward pass. Throws as run_from().
  ForwardInput checked_source(const TokenBatch& tokens) const;
  RunResult compute(const ForwardInput& input, const RunOptions& options) const { return compute(transformer_, input, options); }

 private:
  // With the prompt, cut as sentence-transformers cuts it.
  Encoding encoded_sentence(std::string_view text, Embedding& result) const;
  int32_t checked_mask(int64_t count) const;
  Encoding encoded_masks(std::string_view text, int32_t mask) const;
  std::vector<Candidate> candidates(const float* logits, int64_t count) const;
  void check_classifies() const;
  void check_embeds() const;
  std::vector<Encoding> encoded(const std::vector<std::string>& texts, const BatchOptions& options,
                                const std::function<Encoding(size_t)>& encode) const;
  void run_all(const std::vector<Encoding>& texts, const BatchOptions& options, RunOptions run,
               const std::function<void(const std::vector<size_t>& which, const TokenBatch&, RunOptions&)>& prepare,
               const std::function<void(const std::vector<size_t>& which, const TokenBatch&, const RunResult&)>& answer) const;
  // `facts` are those of the stack that reads the tokens.
  ForwardInput checked(const TokenBatch& tokens, const Architecture& facts) const;
  RunPlan plan(RunText text) const;
  RunText text_of(const TokenBatch& tokens, const std::optional<std::string>& text) const;
  RunResult run_from(const ForwardInput& source, ForwardInput target, const RunOptions& options) const;
  RunResult compute(const Transformer& stack, const ForwardInput& input, const RunOptions& options) const;

  ModelInfo info_;
  Transformer transformer_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  SentenceFacts sentence_;
  std::shared_ptr<const Tokenizer> sentence_tokenizer_;
};

/// Returns the model if it is a Transformer. Throws kUnsupported for other models; `refusal` completes the sentence that begins
/// with the model: "fills no masks".
const LoadedModel& transformer_model(const Model& model, std::string_view refusal);

/// Throws kTooLong if `tokens` is more than `longest`; longest = 0: no limit.
void check_length(int64_t tokens, int64_t longest);
/// Throws as Model::run() for tokens that do not fit: their number, ids, lengths.
void check_tokens(const TokenBatch& tokens, int64_t vocabulary, int64_t longest);
TokenBatch batch_of(const std::vector<int32_t>& ids);
/// Held while a model computes: runs of a process take turns. Inside a parallel loop (for_batches) a thread has its own turn.
std::unique_lock<std::recursive_mutex> take_turn();
/// The scratch memory of the runs that take_turn() puts in order. Use it only while you hold that lock.
Arena& run_arena();
/// What Model::classify() says of them, best first.   logits: [labels]
std::vector<ClassScore> class_scores(const float* logits, const std::vector<std::string>& labels,
                                     ProblemType problem = ProblemType::kSingleLabel);

}  // namespace clearhead
