// Room: ops.
// What a run reports to. A run without an observer pays nothing.
//
//   begin(plan)                          once, before anything is computed: the place to refuse what would not fit
//   wants(site) → take(site, record)     for every layer that is wanted; step 0 is the prefill, then one step per generated token
//   generated(token)                     after each generated token
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "clearhead/record.h"

namespace clearhead {

/// Where in a model a call of attention stands. Families name maps: "enc", "dec", "cross".
struct Site {
  std::string family{};
  int layer = 0;
  int64_t step = 0;  ///< 0 for the prefill, then one per generated token
};

/// How long the values behind the keys are; undefined when they were not computed.
struct KeyNorms {
  Tensor value{};   ///< f32 [batch, key_head, key]  ‖v_j‖
  Tensor output{};  ///< f32 [batch, head, key]      ‖v_j·W_O^h‖ (Kobayashi et al. 2020, eq. 5)
};

/// A stretch of tokens with a name: a document, a role of a chat, the first or second text of a pair.
struct TextSegment {
  std::string name{};
  std::string role{};
  int64_t begin = 0, end = 0;  ///< tokens
};

/// The text of a run and where its tokens stand in it.
struct RunText {
  std::string text{};                             ///< UTF-8 as given; a pair's second text follows after a line break
  std::vector<int32_t> ids{};                     ///< [token]
  std::vector<std::array<int64_t, 2>> offsets{};  ///< [token] bytes of `text`, [begin, end); empty for special tokens
  std::vector<uint8_t> special{};                 ///< [token] 1 for tokens the tokenizer added
  std::vector<std::string> pieces{};              ///< [token] as the vocabulary spells it
  std::vector<TextSegment> segments{};
};

/// One family of maps of a run.
struct MapFamily {
  std::string name{};
  int layers = 0;
  int64_t heads = 0, key_heads = 0, d_k = 0;
  int64_t queries = 0, keys = 0;  ///< of the prefill
  bool causal = false;
  bool is_part = false;  ///< its rows and columns are stretches of the plan's text, which begin at:
  int64_t first_query = 0, first_key = 0;
};

struct RunPlan {
  std::string model{};  ///< as the user named it
  std::vector<MapFamily> families{};
  RunText
      text{};  ///< of an encoder-decoder: the source, then after a line break the target, each a segment of that name; families are parts of it
};

/// One generated token.
struct GeneratedToken {
  int32_t id = 0;
  std::string piece{};
  std::string bytes{};  ///< what it adds to the text
  float probability = 0;
};

class Observer {
 public:
  virtual ~Observer() = default;
  /// May throw kBudget: then nothing has been computed.
  virtual void begin(const RunPlan& plan) = 0;
  /// Asked before a layer runs: is anything of it wanted? A layer that is not wanted keeps no record and computes no norms.
  virtual bool wants(const Site& site) = 0;
  /// Called after the layer's attention, on the thread that runs the model. The record shares the layer's tensors: copy (pin) it, or look and let go.
  /// norms cover the keys new in this step (all, in the prefill).
  virtual void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) = 0;
  virtual void generated(const GeneratedToken&) {}
};

}  // namespace clearhead
