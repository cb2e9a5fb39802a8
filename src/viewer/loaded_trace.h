// A trace that is looked at, with what is remembered of it between questions: facts of its families, statistics of its heads. The questions
// themselves (docs/viewer-api.md) are functions over it, in viewer/questions/; this header knows none of them. No HTTP here: the server and
// the offline page are two ways of asking.
//
// Every number comes from the exact f32 weights of the trace's records; what does not says so in its badge. Not thread-safe: one thread (the
// server's engine) owns a loaded trace. A look that may take long takes LookOptions and stops with kCancelled.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "clearhead/error.h"
#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "models/example.h"
#include "viewer/family_facts.h"
#include "viewer/head_statistics.h"

namespace clearhead {

/// What a look was refused for because the trace does not hold it: kUnsupported with the command that would keep it.
class NotKept : public Error {
 public:
  NotKept(const std::string& message, std::string command) : Error(ErrorCode::kUnsupported, message), command_(std::move(command)) {}
  const std::string& command() const { return command_; }

 private:
  std::string command_;
};

/// A family is named as in its plan; an empty name is the main family's.
class LoadedTrace {
 public:
  struct Options {
    std::string command{};                 ///< the command that shows this again
    std::shared_ptr<const Model> model{};  ///< for run(); may be absent
    TraceOptions trace{};                  ///< for run()
    std::string version = "0.1.0";
    struct Member {
      int64_t number = 0;  ///< what a question calls it by (`t`): a checkpoint's step, or its place in the row
      std::string id{};
      std::string model{}, begins{};  ///< the model's name, and how the text begins; empty where it read none
      std::string state{};            ///< what it opens with, as in the page's address
      LookFor look_for{};             ///< where traces are shown as pictures to choose from
    };
    std::vector<Member> together{};  ///< the traces that are looked at together, this one among them; empty: it is alone
    size_t at = 0;                   ///< which of them this is
    bool is_run = false;             ///< they are checkpoints of a training run that was watched, ascending
  };
  explicit LoadedTrace(std::shared_ptr<const Trace> trace, Options options);

  const Trace& trace() const { return *trace_; }
  const Options& options() const { return options_; }
  const std::string& id() const { return id_; }
  const std::vector<int32_t>& words() const { return words_; }  ///< [token], as words_of() says
  /// Throws kNotFound naming those there are.
  const FamilyFacts& facts(const std::string& family);
  /// Exact statistics of heads [begin, end), remembered.
  void compute_statistics(const std::string& family, int layer, Range heads, const LookOptions& options);
  /// What compute_statistics() remembers of a head; null where nobody has asked for it yet.
  const HeadStatistics* find_statistics(const std::string& family, int layer, int64_t head);
  /// Mass at the sinks of every query of a head, before any rule, remembered. [query]
  const std::vector<float>& sink_masses(const std::string& family, int layer, int64_t head);

  /// Replaces the trace by one of the model on this text, and forgets what was remembered. A run that fails leaves what was there.
  void run(const std::string& text, const std::optional<std::string>& pair, const std::function<void(double, const std::string&)>& progress,
           const std::atomic<bool>* cancel = nullptr);

 private:
  std::shared_ptr<const Trace> trace_;
  Options options_;
  std::string id_;
  std::vector<int32_t> words_;
  std::map<std::string, FamilyFacts> facts_;
  using HeadKey = std::tuple<std::string, int, int64_t>;  // family, layer, head
  std::map<HeadKey, HeadStatistics> statistics_;
  std::map<HeadKey, std::vector<float>> sink_masses_;
};

/// What to call a plan's model: a hub name keeps its owner, a path is named by its folder.
std::string model_name(const RunPlan& plan);

}  // namespace clearhead
