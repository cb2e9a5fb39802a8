// What the viewer looks at: two sides and maps between them. One trace, a model if there is one, and the questions of docs/viewer-api.md
// answered as frames and JSON. No HTTP here; the server and the offline page are two ways of asking.
//
// Every number comes from the exact f32 weights of the trace's records; what does not says so in its badge. Not thread-safe: one thread (the
// server's engine) owns a source. A look that may take long takes LookOptions and stops with kCancelled.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "clearhead/atlas.h"
#include "clearhead/error.h"
#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "observe/picture.h"
#include "viewer/frame.h"

namespace clearhead {

inline constexpr int kViewerProtocol = 1;

enum class WeightKind : uint8_t { kRaw, kValue, kOutput };  ///< P, P·‖v‖, P·‖v·W_O‖

/// What a look was refused for because the trace does not hold it: kUnsupported with the command that would keep it.
class NotKept : public Error {
 public:
  NotKept(const std::string& message, std::string command) : Error(ErrorCode::kUnsupported, message), command_(std::move(command)) {}
  const std::string& command() const { return command_; }

 private:
  std::string command_;
};

/// One head under a weight kind and a sink rule.
struct HeadLook {
  std::string family{};
  int layer = 0;
  int64_t head = 0;
  WeightKind weight = WeightKind::kRaw;
  SinkRule sink = SinkRule::kMark;
};

/// A row (or several, added up) or a column.
struct LineLook {
  HeadLook at{};
  std::vector<Range> ranges{};  ///< queries of a row, keys of a column
  bool mean = false;            ///< over the rows or columns, instead of their sum
  int64_t top = 8;
  int64_t profile = 0;  ///< bins
  bool words = false;   ///< top over words
  static constexpr int64_t kAll = -1;
  Range values{0, 0};  ///< of the other side; {0, kAll}: all
};

struct TileLook {
  HeadLook at{};
  int z = 0;
  int64_t x = 0, y = 0;
  bool max = true, mean = true;
  bool f32 = false;
  bool exact = false;
};

struct MassLook {
  std::string family{};
  std::vector<Range> rows{}, keys{};
  WeightKind weight = WeightKind::kRaw;
  SinkRule sink = SinkRule::kMark;
};

struct VerifyLook {
  std::string family{};
  std::vector<std::pair<int, int64_t>> heads{};
  std::vector<Range> rows{}, keys{};
  WeightKind weight = WeightKind::kRaw;
};

/// Max and mean of cells of 2^z × 2^z weights, from a corner. NaN: hidden, −1: never scored.
struct Cells {
  int z = 0;
  Range queries{}, keys{};
  int64_t rows = 0, columns = 0;
  std::vector<float> max{}, mean{};  // [rows, columns]
  bool exact = true;
  int64_t sampled_rows = 0;
};

/// Names of the scores that are said of a head, strongest first; how much each is stands among its scores.
Json strongest_json(const HeadScores& head);
/// What a picture's header says of its codes: {"kind", "lo", "hi", "error"}.
Json codes_json(const Codes& codes);

/// A head's statistics on this text, as the atlas and the margins of the map need them.
struct HeadStatistics {
  HeadScores scores{};
  std::vector<float> entropy{}, distance{};  // [row looked at]
  std::vector<float> received{};             // [key]
  std::vector<int64_t> queries{};            // which query each row is
  std::vector<float> thumbnail{};            // [thumbnail rows, thumbnail columns], max
  int64_t thumbnail_rows = 0, thumbnail_columns = 0;
  bool exact = true;
  int64_t rows = 0;
};

/// What is known of a family of maps of this trace.
struct FamilyFacts {
  MapFamily shape{};
  int64_t queries = 0, keys = 0;
  std::vector<int> layers{};  ///< kept
  std::vector<Range> rows{};  ///< queries whose row can be recomputed, in every kept layer
  bool all_rows = true;
  bool value = false, output = false;  ///< norms were kept
  bool sums_to_one = true;
  std::vector<Range> windows{};  ///< empty: one run
  std::vector<int64_t> sinks{};
  int64_t sink_rows = 0;  ///< rows the sinks were found from, when not all
  std::string summary{};
  /// How far every layer's description lets a query see, back and ahead; empty where either way has no end, or the layer was not kept.
  std::vector<std::optional<std::pair<int64_t, int64_t>>> bands{};
};

using TakeFrame = std::function<void(ViewFrame)>;

class LiveSource {
 public:
  struct Options {
    std::string command{};                 ///< the command that shows this again
    std::shared_ptr<const Model> model{};  ///< for run(); may be absent
    TraceOptions trace{};                  ///< for run()
    std::string version = "0.1.0";
    struct Member {
      int64_t number = 0;  ///< what a question calls it by (`t`): a checkpoint's step, or its place in the row
      std::string id{}, name{};
      std::string state{};  ///< what it opens with, as in the page's address
    };
    std::vector<Member> together{};  ///< the traces that are looked at together, this one among them; empty: it is alone
    size_t at = 0;                   ///< which of them this is
    bool is_run = false;             ///< they are checkpoints of a training run that was watched, ascending
  };
  LiveSource(Trace trace, Options options);
  LiveSource(std::shared_ptr<const Trace> trace, Options options);

  const Trace& trace() const { return *trace_; }
  const Options& options() const { return options_; }
  const std::string& id() const { return id_; }
  std::string name() const;
  /// Throws kNotFound naming those there are.
  const FamilyFacts& facts(const std::string& family);
  std::string main_family() const { return trace_->main_family(); }

  Json info();
  ViewFrame text(int side, std::optional<Range> tokens = std::nullopt) const;
  Json segments(int side) const;
  ViewFrame row(const LineLook& look, const LookOptions& options = {});
  ViewFrame column(const LineLook& look, const LookOptions& options = {});
  ViewFrame stats(const HeadLook& at, int64_t bins, const LookOptions& options = {});
  ViewFrame tile(const TileLook& look, const LookOptions& options = {});
  /// Events "picture": sampled first where the map is large, exact last.
  void overview(const HeadLook& at, const TakeFrame& take, const LookOptions& options = {});
  /// Events "heads": sampled first where the maps are large, exact last.
  void atlas(const std::string& family, const TakeFrame& take, const LookOptions& options = {});
  ViewFrame mass(const MassLook& look, const LookOptions& options = {});
  Json verify(const VerifyLook& look, const LookOptions& options = {});

  /// Replaces the trace by one of the model on this text. A run that fails leaves what was there.
  void run(const std::string& text, const std::optional<std::string>& pair, const std::function<void(double, const std::string&)>& progress,
           const std::atomic<bool>* cancel = nullptr);

  // What the endpoints and the exports share.

  /// The sum (or mean) of rows or columns under kind and rule. Hidden and never-scored entries are 0 in `values`.
  struct Line {
    std::vector<float> values{};   // [key] or [query]
    std::vector<uint8_t> state{};  // 0 hidden, 1 visible, 2 never scored
    double total = 0, sink_mass = 0;
    int64_t count = 0;  ///< rows or columns added up
    std::optional<double> entropy{}, log_sum_exp{};
  };
  Line row_line(const LineLook& look, const LookOptions& options);
  Line column_line(const LineLook& look, const LookOptions& options);
  Cells cells(const HeadLook& at, int z, Range queries, Range keys, int64_t sampled_rows, const LookOptions& options);
  int overview_level(const FamilyFacts& facts, int64_t side) const;
  ViewFrame picture_frame(const HeadLook& at, const Cells& cells, bool max, bool mean, bool f32) const;
  const HeadStatistics& statistics(const std::string& family, int layer, int64_t head, const LookOptions& options);
  /// Exact statistics of heads [begin, end), remembered.
  void compute_statistics(const std::string& family, int layer, Range heads, const LookOptions& options);
  bool has_all_statistics(const std::string& family, int layer);
  ViewFrame heads_frame(const std::string& family, int layer, const std::vector<HeadStatistics>& heads) const;
  const std::vector<int32_t>& words() const { return words_; }
  /// ‖v_j‖ or ‖v_j·W_O‖ of a head [key]; empty for raw weights. Throws NotKept.
  std::vector<float> norms(const HeadLook& at);
  LayerMap map(const std::string& family, int layer) const { return trace_->map(family, layer); }

 private:
  struct Rows;  // source_lines.cc
  FamilyFacts find_facts(const MapFamily& family);
  std::vector<int64_t> find_family_sinks(FamilyFacts& facts);
  Json family_json(const FamilyFacts& known) const;
  void add_limits(const FamilyFacts& known, Json& missing, Json& notes) const;
  void check_head(const HeadLook& at);
  void check_rows(const HeadLook& at, const std::vector<Range>& ranges);
  void check_all_rows(const HeadLook& at, const char* what);
  std::string keep_command(const std::string& with) const;
  /// Mass at the sinks of every query of a head, before any rule. [query]
  const std::vector<float>& sink_masses(const HeadLook& at);
  std::vector<HeadStatistics> sweep_heads(const std::string& family, int layer, Range heads, int64_t sampled_rows,
                                          const LookOptions& options);
  HeadStatistics from_run(const std::string& family, int layer, int64_t head) const;
  ViewFrame line_frame(const LineLook& look, const Line& line, bool is_row);

  std::shared_ptr<const Trace> trace_;
  Options options_;
  std::string id_;
  std::vector<int32_t> words_;  // [token]
  std::map<std::string, FamilyFacts> facts_;
  using HeadKey = std::tuple<std::string, int, int64_t>;
  std::map<HeadKey, HeadStatistics> statistics_;
  std::map<HeadKey, std::vector<float>> sink_masses_;
};

/// What to call a plan's model: a hub name keeps its owner, a path is named by its folder.
std::string model_name(const RunPlan& plan);

/// "raw", "value", "output"; "mark", "hide", "renorm".
const char* to_string(WeightKind kind);
const char* to_string(SinkRule rule);

/// Index of the word each token belongs to, −1 for special tokens. Words are runs of letters and digits (an apostrophe between letters
/// joins), single ideographs, single marks.
std::vector<int32_t> words_of(const RunText& text);

/// "softmax(q·k/√32), every token sees every token": one sentence of a description.
std::string summary_of(const AttentionSpec& spec, int64_t d_k);

}  // namespace clearhead
