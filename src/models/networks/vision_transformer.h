// The Vision Transformer, for inputs that are pictures or can be read as pictures; and its layers after the embedding of patches, for
// networks that embed other items.
#pragma once

#include <memory>
#include <vector>

#include "models/networks/networks.h"

namespace clearhead {

/// Builds a Vision Transformer over facts.picture (vision_transformer.cc). Throws kFormat with the name of the field.
std::unique_ptr<Network> make_vision_transformer(Fields& config, NetworkFacts facts, const Scope& scope);

/// Maps the embeddings of items to the logits of the labels: positions, Transformer layers, a norm, pooling by a learned query, a linear
/// classifier. Its attention maps have the families "enc" (from items to items) and "pool" (from the query to items).
class ItemClassifier {
 public:
  ItemClassifier() = default;
  /// Reads the sizes from the config, and sets the layers and heads of `facts`, which must already have the labels and the width.
  /// items: number of items; item: their kind in RunText. Throws kFormat with the name of the field.
  ItemClassifier(Fields& config, NetworkFacts& facts, const Scope& scope, int64_t items, const char* item);
  /// embedded: [batch·items, width] → [batch, label]
  Tensor operator()(Compute& compute, const Tensor& embedded) const;

 private:
  int64_t items_ = 0;
  double dropout_ = 0;
  nn::Positions positions_{};
  std::vector<nn::TransformerLayer> layers_{};
  nn::LayerNorm norm_{};
  nn::Pooling pool_{};
  nn::Linear classifier_{};
};

}  // namespace clearhead
