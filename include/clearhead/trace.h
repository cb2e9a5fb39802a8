// Implemented in src/observe.
// Traces: the data of a run that is kept for later looks at its attention. A trace has the text and, for each wanted
// layer, K, row statistics, norms and as much of Q as the budget allows.
//
// K, row statistics and norms of the wanted layers are always kept. Q of all rows is kept if everything fits the budget.
// Otherwise Q is kept for watched rows only (the last 1,024, all generated ones, and requested ones), and the statistics
// of every row are computed during the run. A run is refused before it starts if K, statistics and watched rows exceed
// the budget. Encoder-decoders and models with items (MapFamily::is_part) need room for all rows. The data that a trace
// keeps does not change afterwards.
//
// File format: safetensors (docs/trace.md) with metadata `clearhead_trace: 1` and the descriptions; every safetensors
// reader can open it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/map.h"
#include "clearhead/observer.h"

namespace clearhead {

/// A range of consecutive queries of a text whose Q is kept, with the keys that they could see.
struct Frame {
  Range queries{};  ///< queries of the text, one for each row of the record
  /// record.first_query counts within the run that made the record, which may have read only a window of the text.
  AttentionRecord record{};
  /// The text's key for each key of the record, for windows and ranges of a text; empty: the same keys.
  std::vector<int64_t> keys{};
  OutputGradient gradient{};  ///< for the record's rows; d_out is undefined if gradients were not kept
};

/// The attention map of one layer over one text (sequence 0), assembled from frames. A pair that is in no frame has the
/// weight NaN (unknown, not zero). A pooled cell is −1 if no frame contains any of its pairs, and NaN if the description
/// hides all pairs that frames contain.
class LayerMap {
 public:
  LayerMap(std::vector<Frame> frames, int64_t queries, int64_t keys);

  int64_t queries() const { return queries_; }
  int64_t keys() const { return keys_; }
  int64_t heads() const;
  const std::vector<Frame>& frames() const { return frames_; }
  /// True if Q of this query is kept.
  bool has_row(int64_t query) const;
  std::vector<Range> rows_kept() const;
  /// True if one frame contains every row and every key in the text's order.
  bool whole() const;

  /// The same map, showing gradients of weights (GradientMap) instead of weights. Rows, columns and tiles are supported;
  /// mass and reduce throw kUnsupported. The scores of a row are the magnitudes of its values, so that top_k returns the
  /// largest. Throws kNotFound if a frame has no gradient; the message says how to keep gradients.
  LayerMap with(GradientLook look) const;
  std::optional<GradientLook> look() const { return look_; }  ///< absent: weights

  /// Throws kNotFound for a row whose Q was not kept; the message says how to keep it.
  MapRow row(int64_t head, int64_t query) const;
  /// Weights of one key. NaN for rows that are not kept and pairs that are in no frame.
  std::vector<float> column(int64_t head, int64_t key, Range queries) const;
  Tile tile(int64_t head, const TileRequest& request, const LookOptions& options = {}) const;
  /// Mean weight that these rows give to these keys, per head: Σ_{i∈rows} Σ_{j∈keys} P_ij / |rows that are kept|.  → [head]
  std::vector<float> mass(Range rows, Range keys, const LookOptions& options = {}) const;
  /// Statistics of the kept rows. ReductionResult::queries contains the query of each row. Tags of matches are indexed by
  /// tokens of the text.
  ReductionResult reduce(const ReductionRequest& request, const LookOptions& options = {}) const;

 private:
  const Frame& frame_of(int64_t query) const;
  std::vector<Frame> frames_;  // ascending, without overlap in queries
  int64_t queries_ = 0, keys_ = 0;
  std::optional<GradientLook> look_{};
};

struct TraceOptions {
  uint64_t budget_bytes = 2ull << 30;
  std::vector<Range> rows{};  ///< rows to watch, in addition to the last `tail` rows
  int64_t tail = 1024;        ///< number of last rows that are watched
  std::vector<int> layers{};  ///< layers to keep; empty: all
  /// Compute statistics during the run even if every row is kept, for callers that want them at once
  /// (`atlas`, the demo).
  bool statistics_in_run = false;
  /// For a run with gradients (RunOptions::recorder): a description, such as "class \"positive\"", of the scalar
  /// whose gradients are kept with each record. Empty: no gradients are kept.
  std::string gradients_of{};
};

/// Bytes needed by keys and norms, by Q and by statistics, for messages. With gradients, `keys` includes the values and
/// `queries` the gradients of the outputs.
struct TraceSize {
  uint64_t keys = 0, queries = 0, statistics = 0;
  bool all_rows = true;
};

class Trace final : public Observer {
 public:
  explicit Trace(TraceOptions options = {});
  ~Trace() override;
  Trace(Trace&&) noexcept;
  Trace& operator=(Trace&&) noexcept;

  /// Memory-maps a trace file. Throws kNotFound, kIo, or kFormat with the name of the tensor or field.
  static Trace load(const std::string& path);
  /// Writes the complete file or nothing.
  void save(const std::string& path) const;

  // Observer.
  void begin(const RunPlan& plan) override;
  bool wants(const Site& site) override;
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override;
  void generated(const GeneratedToken& token) override;
  bool wants_gradient(const Site& site) override;
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override;

  /// Size of a trace of this plan, without running anything.
  static TraceSize size_of(const RunPlan& plan, const TraceOptions& options);

  const RunPlan& plan() const;  ///< text and ids grow with generated tokens
  const std::vector<GeneratedToken>& generated_tokens() const;
  std::vector<int> layers(const std::string& family) const;  ///< layers that were kept
  /// The scalar whose gradients were kept (TraceOptions::gradients_of); empty: none.
  const std::string& gradients_of() const;
  /// Name of the first family in the plan: "enc", "dec", or "cross" for an encoder-decoder.
  std::string main_family() const;

  /// Throws kNotFound for an unknown family; the message names an existing one.
  const MapFamily& family(const std::string& name) const;
  LayerMap map(int layer) const { return map(main_family(), layer); }
  LayerMap map(const std::string& family, int layer) const;
  /// ‖v‖ [batch, key_head, key] and ‖v·W_O‖ [batch, head, key] of a layer.
  const KeyNorms& norms(const std::string& family, int layer) const;
  /// Statistics of every row, as requested by atlas_request (atlas.h). They are computed during the run, or on the first
  /// call and then cached.
  const ReductionResult& statistics(const std::string& family, int layer, const LookOptions& options = {}) const;
  bool has_statistics(const std::string& family, int layer) const;

  /// Replaces the segments of the text.
  void set_segments(std::vector<TextSegment> segments);
  /// Records that the last tokens of the text were generated. Unlike generated(), it adds no text. It is meant for runs
  /// over a complete text, such as those of an encoder-decoder. Throws kInvalidArgument for more tokens than the text has,
  /// or for ids that differ from the text's.
  void set_generated(std::vector<GeneratedToken> tokens);
  /// Path of the module that computed a layer, for models of other libraries; empty: unknown. Throws kNotFound for a layer
  /// that was not kept.
  void set_module(const std::string& family, int layer, std::string path);
  const std::string& module_of(const std::string& family, int layer) const;
  /// A hash of the model's name, the text, the ids and the rows' m: 16 hex digits. Two traces of the same run have the same
  /// id.
  std::string id() const;

  /// A run over one window of a long text, for from_windows().
  struct Window {
    const Trace* trace = nullptr;
    std::vector<int64_t> tokens{};  ///< [window token] index of the token in the text
    Range owned{};                  ///< rows of the combined trace that come from this window, since windows overlap
  };
  /// Combines runs over windows into one trace. Throws kInvalidArgument if a window's trace does not keep all its rows.
  static Trace from_windows(RunPlan whole, const std::vector<Window>& windows);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The plan of a run of a network from the literature, found by running it once. The sites of its attention calls name
/// their queries and keys (Site::queries, Site::keys).
///
///   RunPlan plan = plan_of_run("mine", text, [&](Observer& observer) { Compute compute({.observer = &observer}); … });
///
/// The plan describes the first sequence of a batch. Throws kInvalidArgument, naming the family, for a site whose queries
/// or keys are not a segment or items of the text, or whose number of queries or keys differs from theirs.
RunPlan plan_of_run(const std::string& model, RunText text, const std::function<void(Observer&)>& run);

}  // namespace clearhead
