// Reads the weights that circuits need from a model's files, one layer at a time.
#pragma once

#include <memory>
#include <string>

#include "clearhead/model.h"
#include "explain/circuits.h"

namespace clearhead::explain {

class CircuitWeights {
 public:
  /// Opens a model by its name or directory, as load() does. Throws as load() does, and kUnsupported for a model whose circuits are not
  /// products of its weights: encoder-decoders, models without a next-token head, post-norm layers, scores that are not dot products.
  explicit CircuitWeights(const std::string& name);
  ~CircuitWeights();

  const ModelInfo& info() const;
  /// The embedding stays in the file; so does an unembedding that is tied to it.
  const VocabularyEnds& ends() const;
  /// Throws kInvalidArgument for a layer that does not exist.
  AttentionWeights layer(int64_t layer) const;
  /// The position encoding, which circuits leave out: "rotary", "learned", …; empty for none.
  std::string positions() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clearhead::explain
