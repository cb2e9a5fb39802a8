// Room: observe.
// What a run leaves behind to look at: the text, and for every wanted layer K, row statistics and as much of Q as the budget allows.
//
// Policy: K, row statistics and norms of the wanted layers are always kept. Q of all rows is kept while the whole fits the budget; beyond that Q of
// watched rows (the last 1,024, all generated ones, those asked for), and the statistics of every row are computed during the run instead.
// If K and the statistics alone exceed the budget the run is refused before it starts. A trace pins what it keeps: nothing changes under it.
//
// File: safetensors (docs/trace.md). Metadata `clearhead_trace: 1` and the descriptions; anybody's safetensors reader opens it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clearhead/map.h"
#include "clearhead/observer.h"

namespace clearhead {

/// A stretch of a text's queries whose Q is kept, against the keys they could see.
struct Frame {
  Range queries{};              ///< of the text; as many as the record keeps rows
  AttentionRecord record{};     ///< its first_query counts in the run the frame comes from, which may be a window of the text
  std::vector<int64_t> keys{};  ///< record key → text key, for runs over windows; empty: the same
};

/// The map of one layer over one text (sequence 0), whatever frames it is kept in. Pairs that were never scored are NaN: not zero, unknown.
class LayerMap {
 public:
  LayerMap(std::vector<Frame> frames, int64_t queries, int64_t keys);

  int64_t queries() const { return queries_; }
  int64_t keys() const { return keys_; }
  int64_t heads() const;
  const std::vector<Frame>& frames() const { return frames_; }
  /// Is Q of this query kept?
  bool has_row(int64_t query) const;
  std::vector<Range> rows_kept() const;
  /// True when one frame holds every row against every key in text order.
  bool whole() const;

  /// Throws kNotFound, saying what would keep it, for a row whose Q was not kept.
  MapRow row(int64_t head, int64_t query) const;
  std::vector<float> column(int64_t head, int64_t key, Range queries) const;  ///< NaN where the row is not kept or was never scored
  Tile tile(int64_t head, const TileRequest& request, const LookOptions& options = {}) const;
  /// Σ_{i∈rows} Σ_{j∈keys} P_ij / |rows kept among them|, per head.  f32 [head]
  std::vector<float> mass(Range rows, Range keys, const LookOptions& options = {}) const;
  /// Statistics of the kept rows. Result rows are named by `queries`. Tags of matches are indexed by the text.
  ReductionResult reduce(const ReductionRequest& request, const LookOptions& options = {}) const;

 private:
  const Frame& frame_of(int64_t query) const;
  std::vector<Frame> frames_;  // ascending, disjoint in queries
  int64_t queries_ = 0, keys_ = 0;
};

struct TraceOptions {
  uint64_t budget_bytes = 2ull << 30;
  std::vector<Range> rows{};       ///< rows to watch besides the last `tail`
  int64_t tail = 1024;             ///< how many of the last rows are watched
  std::vector<int> layers{};       ///< wanted layers; empty: all
  bool statistics_in_run = false;  ///< also when every row is kept: what `atlas` and the demo need in one go
};

/// What one layer needs and how it was kept, for messages.
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

  /// Memory-maps a trace file. Throws kFormat naming the tensor or field, kNotFound, kIo.
  static Trace load(const std::string& path);
  /// Writes the whole or nothing.
  void save(const std::string& path) const;

  // Observer.
  void begin(const RunPlan& plan) override;
  bool wants(const Site& site) override;
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override;
  void generated(const GeneratedToken& token) override;

  /// What keeping this plan would take; nothing is run.
  static TraceSize size_of(const RunPlan& plan, const TraceOptions& options);

  const RunPlan& plan() const;  ///< text and ids grow with generated tokens
  const std::vector<GeneratedToken>& generated_tokens() const;
  std::vector<int> layers(const std::string& family) const;  ///< those kept
  /// The first family's name: "enc" or "dec".
  std::string main_family() const;

  /// Throws kNotFound naming one there is.
  const MapFamily& family(const std::string& name) const;
  LayerMap map(int layer) const { return map(main_family(), layer); }
  LayerMap map(const std::string& family, int layer) const;
  /// ‖v‖ [batch, key_head, key] and ‖v·W_O‖ [batch, head, key] of a layer.
  const KeyNorms& norms(const std::string& family, int layer) const;
  /// The statistics of every row (atlas.h's request): from the run when they were computed there, otherwise computed now and remembered.
  const ReductionResult& statistics(const std::string& family, int layer, const LookOptions& options = {}) const;
  bool has_statistics(const std::string& family, int layer) const;

  /// Names the parts of the text; replaces what the run gave.
  void set_segments(std::vector<TextSegment> segments);
  /// SHA-256-free identity of the text and the kept tensors, 16 hex digits: two traces of the same run agree.
  std::string id() const;

  /// One trace over a long text from runs over overlapping windows. Each part: its trace, where its tokens stand in the whole text, and which of its rows are shown.
  struct Window {
    const Trace* trace = nullptr;
    std::vector<int64_t> tokens{};  ///< window token → text token
    Range owned{};                  ///< window rows shown
  };
  static Trace from_windows(RunPlan whole, const std::vector<Window>& windows);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clearhead
