// The Vision Transformer, for networks of several kinds of input that become pictures.
#pragma once

#include <memory>

#include "models/networks/networks.h"

namespace clearhead {

/// Builds a Vision Transformer over facts.picture (vision_transformer.cc). Throws kFormat with the name of the field.
std::unique_ptr<Network> make_vision_transformer(Fields& config, NetworkFacts facts, const Scope& scope);

}  // namespace clearhead
