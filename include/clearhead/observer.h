// Implemented in src/ops.
// Observers, to which a run reports its attention calls, and interventions, which change them. A run without an observer
// has no overhead.
//
//   begin(plan)                          once, before anything is computed: throw here if the run would not fit
//   wants(site) → take(site, record)     for every wanted layer; step 0 is the prefill, then one step per generated token
//   generated(token)                     after each generated token
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/record.h"

namespace clearhead {

/// Identifies an attention call within a model. `family` names the kind of map: "enc", "dec" or "cross" in a
/// Transformer; other networks have further families, such as "pool".
struct Site {
  std::string family{};
  int layer = 0;
  int64_t step = 0;  ///< 0 for the prefill, then 1, 2, … for generated tokens
  /// What the queries (rows) and keys (columns) of the attention map stand for. Each is the name of a segment of the text
  /// ("source", "question"), or the kind of items of the text ("sentence", "patch"; see RunText::items), or empty for all
  /// tokens of the text.
  std::string queries{}, keys{};
  bool reported = true;  ///< false: interventions apply, but another call reports these rows to the observer
};

/// Norms of the value vectors; undefined if they were not computed.
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

/// A range of items: queries or keys of attention maps that are not tokens, such as sentences or patches. In the ids of a
/// text, items come after the tokens. The ranges of a text follow one another without gaps, up to its last id.
///
/// Sentences, dialogue turns and memory slots are spans of the text: their offsets are the bytes that they cover, and
/// overlap with the offsets of tokens. Patches and frames have no text, so their offsets are empty. Items such as a learned
/// query or a class token have empty offsets too.
struct ItemRange {
  std::string kind{};  ///< "sentence", "turn", "slot", "document", "node", "step", "patch", "frame", "interval", "person" or "query"
  int64_t begin = 0, end = 0;  ///< [begin, end) in ids
  int64_t rows = 0;            ///< number of rows of patches, which are in row-major order; 0 for other kinds
  /// The complete picture that patches or frames were cut from, u8 [height, width, 3], sides of 1 to 4,096: a picture, or
  /// a spectrogram with time from left to right, or a plane that items with boxes lie on. Undefined if there is none.
  Tensor picture{};
  /// The place of each item in the picture, f32 [item, 4]: left, top, width and height in pixels. Undefined for items that divide
  /// the picture among themselves, as patches and frames do.
  Tensor boxes{};
};

/// The text of a run and the position of each token in it.
struct RunText {
  /// UTF-8 as given. The second text of a pair follows after a line break.
  std::string text{};
  std::vector<int32_t> ids{};                     ///< [token]
  std::vector<std::array<int64_t, 2>> offsets{};  ///< [token] bytes [begin, end) of `text`; empty for special tokens
  std::vector<uint8_t> special{};                 ///< [token] 1 for tokens that the tokenizer added
  std::vector<std::string> pieces{};              ///< [token] spelling in the vocabulary
  std::vector<TextSegment> segments{};
  std::vector<ItemRange> items{};  ///< ids that are not tokens; an item has id −1, is not special, and its piece is its name

  /// Number of ids that are tokens: the ids before the first item.
  int64_t tokens() const { return items.empty() ? static_cast<int64_t>(ids.size()) : items.front().begin; }
  /// The range of items that contains the id at this index; null for a token.
  const ItemRange* items_of(int64_t id) const {
    for (const ItemRange& range : items) {
      if (id >= range.begin && id < range.end) return &range;
    }
    return nullptr;
  }
};

/// One family of attention maps in a run.
struct MapFamily {
  std::string name{};
  int layers = 0;
  int64_t heads = 0, key_heads = 0, d_k = 0;
  int64_t queries = 0, keys = 0;  ///< lengths in the prefill
  bool causal = false;
  /// True if rows and columns are ranges of the ids of the plan's text, starting at first_query and first_key
  /// (encoder-decoders, and maps of items).
  bool is_part = false;
  int64_t first_query = 0, first_key = 0;
  /// > 0: the model reads a text in segments of so many tokens, and the keys before a query's segment are its memory (Dai et al. 2019).
  int64_t segment_length = 0;

  /// The number of keys before the segment of this query: those in memory, and those that no longer are. 0 without segments.
  int64_t keys_before_segment(int64_t query) const { return segment_length > 0 ? query - query % segment_length : 0; }
};

struct RunPlan {
  std::string model{};  ///< the model's name, as given by the caller
  std::vector<MapFamily> families{};
  /// For an encoder-decoder: the source, a line break, the target. Source and target are segments, and each family covers
  /// ranges of the text (MapFamily::is_part).
  RunText text{};
};

/// One generated token.
struct GeneratedToken {
  int32_t id = 0;
  std::string piece{};
  std::string bytes{};    ///< bytes that it adds to the text
  float probability = 0;  ///< NaN if unknown
};

class Observer {
 public:
  virtual ~Observer() = default;
  /// May throw kBudget, before anything is computed.
  virtual void begin(const RunPlan& plan) = 0;
  /// Called before each layer. Returns whether the observer wants this site. A layer that is not wanted keeps no record
  /// and computes no norms.
  virtual bool wants(const Site& site) = 0;
  /// Called after the layer's attention, on the thread that runs the model. The record shares the layer's tensors: read it
  /// during the call, or keep a copy made by pin(). `norms` cover the keys that are new in this step (in the prefill:
  /// all).
  virtual void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) = 0;
  virtual void generated(const GeneratedToken&) {}
  /// Returns whether the observer wants the output of the attention call at this site.
  virtual bool wants_output(const Site&) { return false; }
  /// Receives the outputs of the heads, before the output projection.
  /// out: [batch, head, query, d_v], valid during the call only
  virtual void take_output(const Site&, const Tensor&) {}
  /// In a run with gradients (RunOptions::recorder): returns whether the observer wants the gradient at this site. It
  /// is also called for sites with reported = false: a decoder that attends to its source step by step reports all
  /// steps as one call, but the gradients of the steps arrive one by one.
  virtual bool wants_gradient(const Site&) { return false; }
  /// Called in the backward pass, from the last attention call to the first, on the thread that runs it. Record and
  /// gradient share memory of the pass: read them during the call, or keep clones.
  virtual void take_gradient(const Site&, const AttentionRecord&, const OutputGradient&) {}
};

/// Changes to the attention of one run, to test what its output depends on. Most of them edit the AttentionSpec of the
/// calls, so they work at any length, and recomputed weights show their effect.
struct Interventions {
  struct Head {
    int layer = 0;
    int64_t head = 0;
    std::string family{};  ///< as in Site; required for an encoder-decoder, else optional (empty: every family)
  };
  /// Pairs of queries and keys, as ranges of their sequences (in cross-attention two different sequences). They apply to
  /// every layer and head, unless `layer` or `head` is given.
  struct Pairs {
    Range queries{}, keys{};
    std::optional<int> layer{};
    std::optional<int64_t> head{};
    std::string family{};  ///< as in Head
  };
  /// The head's output becomes zero; nothing is renormalised (Michel, Levy & Neubig 2019, eq. 2).
  std::vector<Head> ablated{};
  /// These queries no longer see these keys; the rest of each row is renormalised (Geva et al. 2023, §4).
  std::vector<Pairs> knockouts{};
  std::vector<Pairs> keep_only{};  ///< these queries see only these keys
  /// Replaces outputs of a head, for example by those for another text (activation patching: Vig et al. 2020).
  struct Patch {
    Head head{};
    Range queries{};  ///< indices within the attention call, the same in every sequence of the batch
    Tensor values{};  ///< f32 [queries, d_v]
  };
  std::vector<Patch> patched{};
  /// Adds numbers to the scores of a query, after all other terms. The row is normalised afterwards, so with softmax
  /// its weights still sum to one. A hidden pair stays hidden.
  struct Scores {
    int layer = 0;
    std::string family{};            ///< as in Head
    std::optional<int64_t> query{};  ///< absent: every query
    Tensor added{};                  ///< f32 [head, key]
    bool replaces = false;           ///< replace the scores instead: equal numbers give equal weights
  };
  std::vector<Scores> scores{};
  bool empty() const { return ablated.empty() && knockouts.empty() && keep_only.empty() && patched.empty() && scores.empty(); }
};
/// The attention layer of a model that a description (AttentionSpec) belongs to. It selects the interventions that apply.
struct InterventionSite {
  int layer = 0;
  int64_t heads = 0;
  std::string_view family{};  ///< interventions that name another family are skipped
  /// For cross-attention and for sites that name their queries or keys: positions of the queries within their sequence.
  /// A call may contain the queries of several sequences, one after another.
  std::optional<Range> cross_queries{};
};
/// Returns the description changed by the interventions. Throws kInvalidArgument, naming the intervention, for heads that
/// the layer does not have and for invalid ranges; kShape for Scores::added of another shape; kUnsupported for
/// cross-attention whose description depends on positions and does not count them from the beginning of both sequences
/// (Align::kStart without an offset).
AttentionSpec with_interventions(const AttentionSpec& spec, const Interventions& interventions, const InterventionSite& site);

}  // namespace clearhead
