// An open trace with cached results: the facts about its families and the statistics of its heads. The questions (docs/viewer-api.md)
// are functions that take it, in viewer/questions/; this header does not depend on them. There is no HTTP here: the server and the offline
// page call the same functions.
//
// Every number comes from the exact f32 weights of the trace's records, unless the badge of the answer says otherwise. Not thread-safe:
// one thread (the server's engine) owns a loaded trace. A copy shares the trace and the model, which are const, and may be used by
// another thread. A function that may take long takes LookOptions and stops with kCancelled.
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

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/model.h"
#include "clearhead/trace.h"
#include "explain/main_answers.h"
#include "models/example.h"
#include "viewer/family_facts.h"
#include "viewer/head_statistics.h"

namespace clearhead::viewer {

/// Thrown if the trace does not contain what a question needs. The code is kUnsupported, and command() is a command that
/// provides it.
class NotKept : public Error {
 public:
  NotKept(const std::string& message, std::string command) : Error(ErrorCode::kUnsupported, message), command_(std::move(command)) {}
  const std::string& command() const { return command_; }

 private:
  std::string command_;
};

/// Returns run(), which reads a text that was typed in the page. Throws the same errors, but the messages name no options of the command
/// line: kInvalidArgument for an empty text, kTooLong for one with more tokens than the model reads.
template <class Run>
auto reading_typed(const Model& model, const std::string& text, const Run& run) {
  if (text.empty()) fail(ErrorCode::kInvalidArgument, "The text is empty: write at least one word.");
  try {
    return run();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kTooLong || model.info().longest == 0) throw;
    fail(ErrorCode::kTooLong, "The text is too long: this model reads at most {} tokens. Shorten the text.", model.info().longest);
  }
}

/// A trace as one of several to choose from: the card of a gallery.
struct GalleryCard {
  Bilingual title{}, look_for{};       ///< a question, and what to look for in the maps to answer it
  std::string answer{};                ///< of the model; may be empty
  std::optional<WordChange> change{};  ///< if given, the following trace is that of the input with this word replaced
  bool given() const { return !title.en.empty(); }
};

/// A trace with its caches. A family is named as in its plan; an empty name means the main family.
class LoadedTrace {
 public:
  struct Options {
    std::string command{};                 ///< the command that shows this trace again
    std::shared_ptr<const Model> model{};  ///< for run() and explanations; may be absent
    LoadOptions load{};                    ///< how the model was loaded
    std::optional<ModelInput> input{};     ///< the model's input, if it is not a text
    TraceOptions trace{};                  ///< for run()
    std::string version = "0.1.0";
    struct Member {
      int64_t number = 0;  ///< the value of the parameter `t` in questions: the step of a checkpoint, or the index of the trace
      std::string id{};
      std::string model{}, begins{};  ///< the model's name, and the beginning of the text; empty if it read no text
      std::string state{};            ///< the initial state, as in the page's address
      GalleryCard card{};             ///< if traces are offered in a gallery
    };
    std::vector<Member> together{};  ///< the traces that were opened together, including this one; empty: there is only this one
    size_t at = 0;                   ///< the index of this trace in `together`
    std::vector<explain::ShownAnswer> answers{};  ///< of the model on this input, if they are known
    bool is_run = false;                          ///< whether they are checkpoints of a watched training run, in ascending order
  };
  explicit LoadedTrace(std::shared_ptr<const Trace> trace, Options options);

  const Trace& trace() const { return *trace_; }
  const Options& options() const { return options_; }
  const std::string& id() const { return id_; }
  const std::vector<int32_t>& words() const { return words_; }  ///< [token], see words_of()
  /// Throws kNotFound, with the names that exist.
  const FamilyFacts& facts(const std::string& family);
  /// Computes and caches exact statistics of heads [begin, end).
  void compute_statistics(const std::string& family, int layer, Range heads, const LookOptions& options);
  /// The cached statistics of a head; null if they have not been computed yet.
  const HeadStatistics* find_statistics(const std::string& family, int layer, int64_t head);
  /// The attention that each query of a head gives to the sinks, before any sink rule; cached. [query]
  const std::vector<float>& sink_masses(const std::string& family, int layer, int64_t head);

  /// The model. If gradients are needed and it was loaded without them, it is loaded again and replaces the first. Throws NotKept if
  /// there is no model, and what loading throws: kUnsupported for weights or a precision that gradients cannot pass through.
  std::shared_ptr<const Model> model(bool gradients = false);
  /// The model's input. A text is taken from the trace: as it was given, and the second text of a pair or the generated target.
  ModelInput given() const;

  /// The trace of the last edited run (questions/what_if.h), with its own maps. Throws kStale if it does not have this id any more.
  LoadedTrace& edited(const std::string& id) const;
  void keep_edited(std::shared_ptr<LoadedTrace> edited) { edited_ = std::move(edited); }

  /// Takes over the results of a copy of this trace that was made when its id was `id`. If run() has replaced the copy's trace, that trace
  /// replaces this one; otherwise takes the edited run and the model that was loaded for gradients.
  void adopt(LoadedTrace&& copy, const std::string& id);

  /// Runs the model on this text, replaces the trace by the new one and clears the caches. A run that fails changes nothing. For an
  /// encoder-decoder the text is the source, and the target is generated first. Throws kUnsupported for a model whose input is not a text.
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

/// The display name of a plan's model: a hub name keeps its owner, a path is reduced to its folder name.
std::string model_name(const RunPlan& plan);

}  // namespace clearhead::viewer
