// A run: from a recipe to a model that every command accepts.
//
//   RUN/checkpoint.safetensors   parameters, the optimiser's sums, the tokenizer and the step: all that the next step depends on
//   RUN/best/                    the model with the lowest validation loss, in Hugging Face's form
//   RUN/log.csv                  step, loss, rate, gradient norm, validation loss
//   RUN/watch/                   traces of the recipe's texts on the way (train/watch.h)
//   RUN/lock                     which process trains here now
//   RUN/events.out.tfevents.…    the same and more, for TensorBoard; a file for each start
//
// What a step sees follows from the recipe and the step's number; so a run that was stopped anywhere goes on from its checkpoint with the same bits as one that
// was not. Files are written whole or not at all (events record by record).
//
// Processes share the parts of a step (comm/comm.h): as many as the recipe accumulates, or fewer. The bits are those of one process. The first one writes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "autograd/tape.h"
#include "base/file.h"
#include "comm/comm.h"
#include "models/parameters.h"
#include "models/transformer.h"
#include "train/average.h"
#include "train/examples.h"
#include "train/optimiser.h"
#include "train/recipe.h"
#include "train/run_events.h"
#include "train/step_gradient.h"
#include "train/watch.h"

namespace clearhead {

/// Of the steps since the last report.
struct TrainingReport {
  int64_t step = 0, steps = 0;  // done, in all
  double loss = 0;              // nats a token, mean
  double rate = 0, gradient_norm = 0;
  double tokens_per_second = 0, seconds_per_step = 0;
  std::optional<double> validation{};  // nats a token
  double bytes_per_token = 0;          // of the validation text; 0: not known
};

class Trainer {
 public:
  /// A new run. Throws kInvalidArgument where `directory` already holds a checkpoint, whatever the recipe, data or model refuse otherwise.
  /// Throws kInvalidArgument, too, where the processes cannot share the parts of a step evenly.
  Trainer(const Recipe& recipe, const std::string& directory, std::shared_ptr<Comm> comm = alone());
  /// Goes on from RUN/checkpoint.safetensors, with its recipe. Throws kInvalidArgument where the data is no longer what the checkpoint was made over, unless
  /// `data_changed` allows it: then bits are promised no more.
  static std::unique_ptr<Trainer> resume(const std::string& directory, std::shared_ptr<Comm> comm = alone(), bool data_changed = false);

  /// Until the recipe's last step, or until `cancel` is set in any of the processes: then a checkpoint is written and false returned. Alone it is looked at
  /// before each part of a step, and a step that was begun is dropped. `report` is called in the first of the processes.
  /// Throws kInvalidArgument for a loss that is no number, naming the step and the first op that gave none.
  bool run(const std::function<void(const TrainingReport&)>& report, const std::atomic<bool>* cancel = nullptr);

  const std::string& directory() const { return directory_; }
  int64_t step() const { return step_; }
  int64_t steps() const { return recipe_.steps; }
  int64_t parameter_count() const { return parameters_.count(); }
  int64_t training_tokens() const { return examples_->tokens(); }
  double best() const { return best_; }
  /// Whether the data is other than the checkpoint's; false where that does not say.
  bool data_has_changed() const { return data_has_changed_; }
  bool is_encoder_decoder() const { return facts_.encoder != nullptr; }

 private:
  Trainer(const Recipe& recipe, const std::string& directory, std::string tokenizer_json, const std::string& initial,
          std::shared_ptr<Comm> comm);
  bool writes() const { return comm_->rank() == 0; }
  bool any(bool here);
  bool is_due(int64_t every, int64_t step) const { return step % every == 0 || step == recipe_.steps; }
  double take_step();
  Tensor loss_of(Run& run, const Example& example, double smoothing, double divisor) const;
  double part_loss(int64_t part, bool checks);
  double validation_loss();
  void save_checkpoint() const;
  void read_checkpoint(const SafeTensors& file, bool data_changed);
  void check_cancel() const;
  bool take_step_or_drop();
  void require_best_of_ended() const;
  void save_model(const std::string& to) const;
  void log(const TrainingReport& report);
  void watch();

  Recipe recipe_;
  std::string directory_;
  DropoutRates dropout_;
  std::string tokenizer_json_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Architecture facts_;
  ModelParameters parameters_;
  Transformer transformer_;
  Watch watch_;
  std::unique_ptr<Examples> examples_;
  std::string data_digest_;  // theirs; every checkpoint has it
  std::vector<Example> held_;
  Optimiser optimiser_;
  WeightAverage average_;
  Tape tape_;
  Arena arena_;
  std::shared_ptr<Comm> comm_;
  StepGradient gradient_;
  int64_t step_ = 0;
  double gradient_norm_ = 0;
  double best_ = 1e30;
  double loss_sum_ = 0;  // of the steps since the last report
  int64_t summed_ = 0;
  int64_t tokens_read_ = 0;            // by either side and this process, since the last report
  std::string log_{};                  // all lines of log.csv
  std::optional<RunEvents> events_{};  // while it runs
  std::optional<FolderLock> lock_{};   // of the process that writes
  const std::atomic<bool>* cancel_ = nullptr;
  bool data_has_changed_ = false;
};

}  // namespace clearhead
