// What networks share that write step by step from what they have read: a memory, and attention over it.
#pragma once

#include "clearhead/model.h"
#include "clearhead/parts.h"

namespace clearhead {

/// What was read, one sequence for each that is written.
struct Memory {
  Layout layout{};
  Tensor rows{};   // [rows, width]: what a context is made of
  Tensor keys{};   // [rows, d]: what queries are compared with
  Tensor begin{};  // [batch, state]: the writer's first state
};

/// The rows of a cache's sources, a copy for each sequence that is written from them; keys are left to the network.
Memory memory_of(Compute& compute, const ModelCache& cache);

/// Contexts of queries [batch·n, d], n of each sequence: attention of one head over the memory, padding left out.
/// → [batch·n, width]
Tensor look(Compute& compute, const Memory& memory, const Tensor& queries, AttentionSpec spec, const Site& site);

}  // namespace clearhead
