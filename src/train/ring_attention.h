// Ring attention, for a sequence that does not fit one process. Each of K processes stores one of K equal blocks of queries, keys
// and values. The blocks of keys and values travel around the ring of processes, and partial results are merged by row statistics
// (Liu, Zaharia & Abbeel 2023, §3; merging of partial softmaxes: Milakov & Gimelshein 2018, §3.1).
//
// Each block is sent while the previous one is used. Memory per process: its own tensors, and two blocks of keys and values (four
// in the backward pass, with their gradients). In the forward pass, a process sends (K − 1)/K of all keys and values; in the
// backward pass the same amount again, and their gradients once around the ring.
#pragma once

#include "clearhead/attend.h"
#include "comm/comm.h"

namespace clearhead {

struct RingAttended {
  Tensor out{};     ///< [batch, head, query, d_v]
  RowStats rows{};  ///< of these queries over all keys: the same as from attend() on the whole sequence
};

/// q, k, v: this process's block, as in attend(), f32, the same shape in all processes; the process of rank r stores block r.
/// spec: the description for the whole sequence.
///
/// Throws kShape if shapes differ between processes. Throws kUnsupported unless the description is a softmax without
/// sinks over dot products, soft caps and a band: other terms have operands along the whole sequence.
RingAttended ring_attend(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec);

/// As attend_gradients(), for this process's q, k and v.
AttendGradients ring_attend_gradients(Comm& comm, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
                                      const RingAttended& attended, const Tensor& d_out);

}  // namespace clearhead
