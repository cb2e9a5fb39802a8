// A trace that is looked at, with what is remembered of it between questions: facts of its families, statistics of its heads. The questions
// themselves (docs/viewer-api.md) are functions over it, in viewer/questions/; this header knows none of them. No HTTP here: the server and
// the offline page are two ways of asking.
//
// Every number comes from the exact f32 weights of the trace's records; what does not says so in its badge. Not thread-safe: one thread (the
// server's engine) owns a loaded trace; a copy shares trace and model, which are const, and may be used by another thread. A look that may take long takes LookOptions and stops with kCancelled.
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
    std::shared_ptr<const Model> model{};  ///< for run() and what explains; may be absent
    LoadOptions load{};                    ///< how it was loaded
    std::optional<ModelInput> input{};     ///< what it was given, where it reads no text
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

  /// The model, which for gradients is loaded again where it was loaded without them, and then takes the other's place. Throws NotKept where there is none;
  /// what loading throws: kUnsupported for weights or a precision that gradients cannot pass through.
  std::shared_ptr<const Model> model(bool gradients = false);
  /// The text as it was given, and the second one of a pair.
  std::pair<std::string, std::optional<std::string>> given() const;

  /// The run that was made of an edit last (questions/what_if.h), with maps of its own. Throws kStale where there is none of that id by now.
  LoadedTrace& edited(const std::string& id) const;
  void keep_edited(std::shared_ptr<LoadedTrace> edited) { edited_ = std::move(edited); }

  /// Takes what a copy of this trace found that was `id` when it was made: another trace that run() put in its place; else the run of an edit, and
  /// the weights for gradients.
  void adopt(LoadedTrace&& copy, const std::string& id);

  /// Replaces the trace by one of the model on this text, and forgets what was remembered. A run that fails leaves what was there. Of an encoder-decoder
  /// the text is the source: it writes the target first. Throws kUnsupported for a model that reads something else.
  void run(const std::string& text, const std::optional<std::string>& pair, const std::function<void(double, const std::string&)>& progress,
           const std::atomic<bool>* cancel = nullptr);

 private:
  std::shared_ptr<const Trace> trace_;
  Options options_;
  std::string id_;
  std::vector<int32_t> words_;
  bool has_gradients_ = false;
  std::shared_ptr<LoadedTrace> edited_{};
  std::map<std::string, FamilyFacts> facts_;
  using HeadKey = std::tuple<std::string, int, int64_t>;  // family, layer, head
  std::map<HeadKey, HeadStatistics> statistics_;
  std::map<HeadKey, std::vector<float>> sink_masses_;
};

/// Whether a model reads a text, or writes one from a text, so that it can be given another.
bool reads_texts(const ModelInfo& info);

/// Hands everything on to an observer, if there is one, reports each layer and stops where the token is set.
class WatchedRun final : public Observer {
 public:
  using Tell = std::function<void(double done, const std::string& what)>;
  WatchedRun(Observer* inner, const Tell& tell, const std::atomic<bool>* cancel) : inner_(inner), tell_(tell), cancel_(cancel) {}
  void begin(const RunPlan& plan) override;
  bool wants(const Site& site) override;
  void take(const Site& site, const AttentionRecord& record, const KeyNorms& norms) override { inner_->take(site, record, norms); }

 private:
  Observer* inner_;
  const Tell& tell_;
  const std::atomic<bool>* cancel_;
  int64_t layers_ = 0, done_ = 0;
};

/// What to call a plan's model: a hub name keeps its owner, a path is named by its folder.
std::string model_name(const RunPlan& plan);

}  // namespace clearhead
