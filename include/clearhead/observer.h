// Room: ops.
// The interface through which a run reports its attention calls. A run without an observer pays nothing for it.
//
//   begin(plan)                          once, before anything is computed: throw here if the run would not fit
//   wants(site) → take(site, record)     for every wanted layer; step 0 is the prefill, then one per generated token
//   generated(token)                     after each generated token
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/record.h"

namespace clearhead {

/// Identifies an attention call within a model. `family` names the kind of map: "enc", "dec" or "cross".
struct Site {
  std::string family{};
  int layer = 0;
  int64_t step = 0;  ///< 0 for the prefill, then 1, 2, … for generated tokens
};

/// Norms of the values behind the keys; undefined if they were not computed.
struct KeyNorms {
  Tensor value{};   ///< f32 [batch, key_head, key]  ‖v_j‖
  Tensor output{};  ///< f32 [batch, head, key]      ‖v_j·W_O^h‖ (Kobayashi et al. 2020, eq. 5)
};

/// A named range of tokens: a document, a role in a chat, the first or second text of a pair.
struct TextSegment {
  std::string name{};
  std::string role{};
  int64_t begin = 0, end = 0;  ///< [begin, end) in tokens
};

/// The text of a run and the place of each token in it.
struct RunText {
  /// UTF-8 as given. The second text of a pair follows after a line break.
  std::string text{};
  std::vector<int32_t> ids{};                     ///< [token]
  std::vector<std::array<int64_t, 2>> offsets{};  ///< [token] bytes [begin, end) of `text`; empty for special tokens
  std::vector<uint8_t> special{};                 ///< [token] 1 for tokens that the tokenizer added
  std::vector<std::string> pieces{};              ///< [token] spelling in the vocabulary
  std::vector<TextSegment> segments{};
};

/// One family of attention maps in a run.
struct MapFamily {
  std::string name{};
  int layers = 0;
  int64_t heads = 0, key_heads = 0, d_k = 0;
  int64_t queries = 0, keys = 0;  ///< lengths in the prefill
  bool causal = false;
  /// True if rows and columns are ranges of the plan's text, starting at first_query and first_key (encoder-decoder).
  bool is_part = false;
  int64_t first_query = 0, first_key = 0;
};

struct RunPlan {
  std::string model{};  ///< as the caller named it
  std::vector<MapFamily> families{};
  /// Of an encoder-decoder: the source, a line break, the target. Both are segments, and the families are
  /// parts of the text.
  RunText text{};
};

/// One generated token.
struct GeneratedToken {
  int32_t id = 0;
  std::string piece{};
  std::string bytes{};  ///< bytes that it adds to the text
  float probability = 0;
};

class Observer {
 public:
  virtual ~Observer() = default;
  /// May throw kBudget; nothing has been computed then.
  virtual void begin(const RunPlan& plan) = 0;
  /// Called before each layer: is anything of this site wanted? A layer that is not wanted keeps no record and
  /// computes no norms.
  virtual bool wants(const Site& site) = 0;
  /// Called after the layer's attention, on the thread that runs the model. The record shares the layer's tensors:
  /// pin() a copy to keep it, or look at it and let it go. `norms` cover the keys that are new in this step (in
  /// the prefill: all).
  virtual void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) = 0;
  virtual void generated(const GeneratedToken&) {}
};

}  // namespace clearhead
