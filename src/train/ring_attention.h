// Ring attention, for a sequence that is longer than one process can hold. Each of K processes holds an equal stretch
// of queries, keys and values. Keys and values travel round the ring of processes, and the partial results are merged
// by row statistics (Liu, Zaharia & Abbeel 2023, §3; merging of partial softmaxes: Milakov & Gimelshein 2018, §3.1).
//
// Each stretch is sent while the previous one is used. Memory per process: its own tensors, and two stretches of keys
// and values (four in the backward pass, with their gradients). A process sends (K − 1)/K of all keys and values
// forward; in the backward pass the same again, and their gradients once round.
#pragma once

#include "clearhead/attend.h"
#include "comm/comm.h"

namespace clearhead {

struct RingAttended {
  Tensor out{};     ///< [batch, head, query, d_v]
  RowStats rows{};  ///< of these queries over all keys: the same as from attend() on the whole sequence
};

/// q, k, v: this process's stretch, as in attend(), f32, the same shape in all processes; the process of rank r holds
/// stretch r. spec: of the whole sequence.
///
/// Throws kShape if shapes differ between processes. Throws kUnsupported unless the description is a softmax without
/// sinks over dot products, soft caps and a band: other parts have operands along the whole sequence.
RingAttended ring_attend(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec);

/// As attend_gradients(), for this process's q, k and v.
AttendGradients ring_attend_gradients(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
                                      const RingAttended& attended, const Tensor& d_out);

}  // namespace clearhead
