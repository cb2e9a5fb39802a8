// Attention over a sequence that is longer than one process holds: each of K processes holds an equal stretch of queries, keys and values, keys and values go
// round the ring of processes, and what each stretch of keys gives is merged by the row statistics (Liu, Zaharia & Abbeel 2023, §3; the merging of partial
// softmaxes: Milakov & Gimelshein 2018, §3.1).
//
// Each stretch travels while the one before is computed with. Memory a process: its own tensors, and two stretches of keys and values (four in the gradients, with
// theirs). A process sends (K − 1)/K of all keys and values forward, and backward as much again with their gradients once round.
#pragma once

#include "clearhead/attend.h"
#include "comm/comm.h"

namespace clearhead {

struct RingAttended {
  Tensor out{};     ///< [batch, head, query, d_v]
  RowStats rows{};  ///< of these queries over all keys: what attend() over the whole sequence keeps
};

/// q, k, v: this process's stretch, as in attend(), f32, of one shape in all processes; rank r's is the r-th. spec: of the whole sequence.
/// Throws kShape where shapes differ between processes, kUnsupported for descriptions other than a softmax without sinks over dot products, soft-caps and a band: what
/// else there is has operands along the whole sequence.
RingAttended ring_attend(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec);

/// As attend_gradients(), of this process's q, k and v.
AttendGradients ring_attend_gradients(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
                                      const RingAttended& attended, const Tensor& d_out);

}  // namespace clearhead
