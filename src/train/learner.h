// What a run trains: a Transformer in Hugging Face's form, or a network of parts; with its parameters. The trainer knows it by this
// interface only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "clearhead/trace.h"
#include "models/transformer.h"
#include "ops/run.h"
#include "train/optimiser.h"
#include "train/recipe.h"
#include "train/task.h"

namespace clearhead {

class Learner {
 public:
  /// One tensor for the optimiser, and the parameters that stand in it one after another.
  struct Leaf {
    Tensor values{};
    bool decays = false;  // weight decay applies, unless a group says otherwise
    std::vector<Optimiser::Named> names{};
  };
  virtual ~Learner() = default;
  const std::vector<Leaf>& leaves() const { return leaves_; }
  /// Trained parameters by name, as their file has them: views of the leaves.
  const NamedTensors& named() const { return named_; }
  /// Values that training changes without gradients (running statistics).
  const NamedTensors& buffers() const { return buffers_; }
  int64_t count() const;
  const TaskFacts& facts() const { return facts_; }

  virtual RunResult forward(Run& run, const Example& example) const = 0;
  /// What a network writes greedily from each source of an example: [batch, most] ids, −1 after the end of a text. Throws kUnsupported for
  /// other models.
  virtual std::vector<double> write(Run& run, const Example& example, int64_t most) const;
  /// Copies the weights of the model that the recipe starts from. What its file does not have of the task's head stays new.
  virtual void begin_at(const std::string& model) = 0;
  /// Copies a tensor of another model's file into a parameter, or a BERT's into an encoder of the model's config. Throws kNotFound with the names there are, kShape,
  /// kUnsupported for a BERT of another kind.
  void begin_at(const VectorsRecipe& vectors, const Json& model, const std::string& where);
  virtual bool is_watched(int64_t step) const = 0;
  /// A trace of the recipe's texts with the present weights.
  virtual Trace look(Arena& arena, int64_t step) const = 0;

 protected:
  std::vector<Leaf> leaves_{};
  NamedTensors named_{}, buffers_{};
  TaskFacts facts_{};

 private:
  void begin_encoder_at(const VectorsRecipe& vectors, const Json& model, const std::string& where);
};

/// Throws what the recipe's model config causes, and kBudget for a run that this machine's memory cannot hold.
std::unique_ptr<Learner> learner_of(const Recipe& recipe, const Tokenizer& tokenizer);
/// What learner_of(…)->facts() says, without weights for a step.
TaskFacts task_facts(const Recipe& recipe);

}  // namespace clearhead
