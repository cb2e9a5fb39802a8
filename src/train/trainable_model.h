// The model that a run trains, with its parameters: a Transformer in Hugging Face's format, or a network from the literature. The trainer
// uses only this interface.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/optimiser.h"
#include "clearhead/nn.h"
#include "clearhead/trace.h"
#include "models/transformer.h"
#include "ops/run.h"
#include "tasks/recipe/recipe.h"
#include "tasks/recipe/task.h"

namespace clearhead::train {

class TrainableModel {
 public:
  /// One tensor for the optimiser; it stores one or more parameters one after another.
  struct Leaf {
    Tensor values{};
    bool decays = false;  // weight decay applies, unless a group says otherwise
    std::vector<Optimiser::Named> names{};
  };
  virtual ~TrainableModel() = default;
  const std::vector<Leaf>& leaves() const { return leaves_; }
  /// Trained parameters under their names in the model's file. They are views of the leaves.
  const io::NamedTensors& named() const { return named_; }
  /// Values that training changes without gradients (running statistics).
  const io::NamedTensors& buffers() const { return buffers_; }
  int64_t count() const;
  const tasks::TaskFacts& facts() const { return facts_; }

  virtual RunResult forward(Run& run, const tasks::Example& example) const = 0;
  /// The same with the output of a trained model (Network::logits), which may differ from the one that training reads
  /// (Network::training_output).
  virtual RunResult answer(Run& run, const tasks::Example& example) const { return forward(run, example); }
  /// Generates greedily from each source of an example. Returns ids [batch, most], −1 after the end of a text. Throws kUnsupported
  /// for models that cannot generate during training.
  virtual std::vector<double> write(Run& run, const tasks::Example& example, int64_t most) const;
  /// Copies the weights of the model that the recipe starts from. Weights of the task's head that its file lacks or has in
  /// another shape keep their initial values.
  virtual void begin_at(const std::string& model) = 0;
  /// Copies a tensor of another model's file into a parameter, or the weights of a BERT into an encoder of the model's config.
  /// Throws kNotFound with the known names, kShape, and kUnsupported for a BERT with other settings than the encoder's.
  void begin_at(const tasks::VectorsRecipe& vectors, const Json& model, const std::string& where);
  virtual bool is_watched(int64_t step) const = 0;
  /// A trace of the recipe's watched texts with the current weights.
  virtual Trace look(Arena& arena, int64_t step) const = 0;

 protected:
  /// Fills leaves(), named() and buffers(). decays: whether weight decay applies to a leaf
  void set_parameters(const Parameters& parameters, const std::function<bool(const Tensor& leaf)>& decays);

  std::vector<Leaf> leaves_{};
  io::NamedTensors named_{}, buffers_{};
  tasks::TaskFacts facts_{};

 private:
  void begin_encoder_at(const tasks::VectorsRecipe& vectors, const Json& model, const std::string& where);
};

/// Throws kBudget for a Transformer whose run does not fit this machine's memory, and what reading the recipe's model config throws.
std::unique_ptr<TrainableModel> make_trainable_model(const tasks::Recipe& recipe, const Tokenizer& tokenizer);
/// The same as make_trainable_model(…)->facts(), without allocating memory for a step.
tasks::TaskFacts task_facts(const tasks::Recipe& recipe);

}  // namespace clearhead::train
