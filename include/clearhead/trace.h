// Room: observe.
// What a run keeps for later looks: the text, and for each wanted layer K, row statistics, norms and as much of Q as
// the budget allows.
//
// K, row statistics and norms of the wanted layers are always kept. Q of all rows is kept if everything fits the
// budget. Otherwise Q is kept for watched rows only (the last 1,024, all generated ones, those asked for), and the
// statistics of every row are computed during the run. A run is refused before it starts if K, statistics and
// watched rows exceed the budget; a run of an encoder-decoder also if not all rows fit. What a trace keeps does
// not change under it.
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

/// A range of consecutive queries of a text whose Q is kept, and the keys that they could see.
struct Frame {
  Range queries{};  ///< queries of the text; as many as the record has rows
  /// The record. Its first_query counts in the run it comes from, which may have read a window of the text.
  AttentionRecord record{};
  /// Record key → text key, for windows and parts of a text; empty: the same.
  std::vector<int64_t> keys{};
  OutputGradient gradient{};  ///< of the record's rows; d_out undefined: not kept
};

/// The attention map of one layer over one text (sequence 0), assembled from frames. Weights of pairs that no frame
/// scored are NaN (unknown, not zero); in pooled cells they are −1, and NaN means that the description hides all pairs.
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
  /// True if one frame holds every row and every key in the text's order.
  bool whole() const;

  /// The same places, showing gradients of weights (GradientMap) in place of weights: rows, columns and tiles do; mass and
  /// reduce throw kUnsupported. Scores of a row are the sizes of its values, so that top_k gives the largest. Throws kNotFound,
  /// saying how to keep them, if a frame has no gradient.
  LayerMap with(GradientLook look) const;
  std::optional<GradientLook> look() const { return look_; }  ///< nothing: weights

  /// Throws kNotFound, saying how to keep it, for a row whose Q was not kept.
  MapRow row(int64_t head, int64_t query) const;
  /// Weights of one key. NaN for rows that are not kept or never scored.
  std::vector<float> column(int64_t head, int64_t key, Range queries) const;
  Tile tile(int64_t head, const TileRequest& request, const LookOptions& options = {}) const;
  /// Mean weight that these rows give to these keys: Σ_{i∈rows} Σ_{j∈keys} P_ij / |rows kept among them|,
  /// per head. f32 [head]
  std::vector<float> mass(Range rows, Range keys, const LookOptions& options = {}) const;
  /// Statistics of the kept rows. ReductionResult::queries says which query each row is. Tags of matches are indexed by
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
  std::vector<Range> rows{};  ///< rows to watch, besides the last `tail`
  int64_t tail = 1024;        ///< number of last rows that are watched
  std::vector<int> layers{};  ///< layers to keep; empty: all
  /// Compute statistics during the run even if every row is kept, for callers that want them at once
  /// (`atlas`, the demo).
  bool statistics_in_run = false;
  /// Of a run with gradients (RunOptions::recorder): the gradients of what number, in words ("class \"positive\""), are kept
  /// beside each record. Empty: none are.
  std::string gradients_of{};
};

/// Bytes needed by keys and norms, by Q and by statistics, for messages; with gradients also by values, counted with the keys,
/// and by the outputs' gradients, counted with Q.
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

  /// Size of a trace of this plan. Nothing is run.
  static TraceSize size_of(const RunPlan& plan, const TraceOptions& options);

  const RunPlan& plan() const;  ///< text and ids grow with generated tokens
  const std::vector<GeneratedToken>& generated_tokens() const;
  std::vector<int> layers(const std::string& family) const;  ///< layers that were kept
  /// What gradients were kept of (TraceOptions::gradients_of); empty: none.
  const std::string& gradients_of() const;
  /// Name of the first family in the plan: "enc", "dec", or "cross" for an encoder-decoder.
  std::string main_family() const;

  /// Throws kNotFound, naming an existing family, for an unknown one.
  const MapFamily& family(const std::string& name) const;
  LayerMap map(int layer) const { return map(main_family(), layer); }
  LayerMap map(const std::string& family, int layer) const;
  /// ‖v‖ [batch, key_head, key] and ‖v·W_O‖ [batch, head, key] of a layer.
  const KeyNorms& norms(const std::string& family, int layer) const;
  /// Statistics of every row, as requested by atlas_request (atlas.h). Computed during the run, or on the first
  /// call and then kept.
  const ReductionResult& statistics(const std::string& family, int layer, const LookOptions& options = {}) const;
  bool has_statistics(const std::string& family, int layer) const;

  /// Names the segments of the text; replaces those of the run.
  void set_segments(std::vector<TextSegment> segments);
  /// Records that the last tokens of the text were generated. Unlike generated(), it adds no text: for runs that are traced at once, such as
  /// those of an encoder-decoder. Throws kInvalidArgument for more tokens than the text has, or other ids.
  void set_generated(std::vector<GeneratedToken> tokens);
  /// Path of the module that computed a layer, for models of other libraries; empty: not known. Throws kNotFound for a layer that was not kept.
  void set_module(const std::string& family, int layer, std::string path);
  const std::string& module_of(const std::string& family, int layer) const;
  /// A hash of the model's name, the text, the ids and the rows' m: 16 hex digits. Two traces of the same run agree.
  std::string id() const;

  /// The run over one window of a long text, for from_windows().
  struct Window {
    const Trace* trace = nullptr;
    std::vector<int64_t> tokens{};  ///< window token → text token
    Range owned{};                  ///< rows that the combined trace takes from this window; windows overlap
  };
  /// Combines such runs into one trace. Throws kInvalidArgument if a window's trace does not keep all its rows.
  static Trace from_windows(RunPlan whole, const std::vector<Window>& windows);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The plan of a run over a network of parts (parts.h), found by running it once. The sites of its attention calls say
/// what their queries and keys are.
///
///   RunPlan plan = plan_of_run("mine", text, [&](Observer& observer) { Compute compute({.observer = &observer}); … });
///
/// Of a batch, the first sequence is described. Throws kInvalidArgument, naming the family, for a site that names no
/// segment or items of the text, or has more or fewer queries or keys than these.
RunPlan plan_of_run(const std::string& model, RunText text, const std::function<void(Observer&)>& run);

}  // namespace clearhead
