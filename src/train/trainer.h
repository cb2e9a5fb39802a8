// A training run: from a recipe to a model that every command accepts.
//
//   RUN/checkpoint.safetensors   parameters, optimiser state, tokenizer and step: all that the next step depends on
//   RUN/best/                    the model with the lowest validation loss, or the best metric of a task, in Hugging
//                                Face's format; without validation data, the model after the last step
//   RUN/log.csv                  step, loss, learning rate, gradient norm, validation loss, metrics, losses on maps
//   RUN/watch/                   traces of the recipe's texts during the run (train/watch.h)
//   RUN/lock                     locked by the process that is training here
//   RUN/events.out.tfevents.…    the same metrics and more, for TensorBoard; one file per start
//
// The data of a step depends on the recipe and the step's number only. So a run that was stopped anywhere resumes
// from its checkpoint with the same bits as an uninterrupted run. Files are written completely or not at all,
// events record by record.
//
// Processes share the micro-batches of a step (comm/comm.h); there can be at most as many processes as the recipe accumulates
// micro-batches. The result has the bits of a single process. The first process writes the files.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "autograd/optimiser.h"
#include "autograd/tape.h"
#include "base/file.h"
#include "comm/comm.h"
#include "tasks/recipe/recipe.h"
#include "tasks/recipe/task.h"
#include "train/average.h"
#include "train/map_losses.h"
#include "train/run_events.h"
#include "train/step_gradient.h"
#include "train/trainable_model.h"

namespace clearhead::train {

/// Metrics of the steps since the last report.
struct TrainingReport {
  int64_t step = 0, steps = 0;  // steps done; total number of steps
  double loss = 0;              // mean loss of the task per target (language models: nats per token), without losses on maps
  double rate = 0, gradient_norm = 0;
  double tokens_per_second = 0, seconds_per_step = 0;
  std::optional<double> validation{};                     // validation loss, mean per target
  std::vector<std::pair<std::string, double>> metrics{};  // of the validation data, by name
  std::vector<std::pair<std::string, double>> maps{};     // means of the losses on maps, by name (train/map_losses.h)
  double bytes_per_token = 0;                             // of the validation text; 0: unknown
  std::string warning{};                                  // set if the metric that selects the best model does not change
};

class Trainer {
 public:
  /// Starts a new run. Throws kInvalidArgument if `directory` already has a checkpoint, if a file or folder that the run writes there
  /// is a symbolic link, or if the processes cannot share the micro-batches of a step evenly, and any errors of the recipe, data or
  /// model.
  Trainer(const tasks::Recipe& recipe, const std::string& directory, std::shared_ptr<Comm> comm = alone());
  struct ResumeOptions {
    std::string data{};         // the data's folder, if it was moved
    bool data_changed = false;  // continue although the data differs; results are then not bit-equal any more
  };
  /// Resumes from RUN/checkpoint.safetensors, with its recipe. A relative data folder is found through its path relative to the
  /// run's folder, so the working directory does not matter. Throws kInvalidArgument if the data differs from the checkpoint's.
  static std::unique_ptr<Trainer> resume(const std::string& directory, std::shared_ptr<Comm> comm, const ResumeOptions& options);
  static std::unique_ptr<Trainer> resume(const std::string& directory) { return resume(directory, alone(), {}); }

  /// Runs to the recipe's last step or until early stopping (TaskRecipe::patience), and returns true. If `cancel` is set in any of
  /// the processes, writes a checkpoint and returns false. A single process checks `cancel` before each micro-batch and drops an
  /// unfinished step. `report` is called in the first process.
  /// Throws kInvalidArgument for a loss or a gradient that is not finite, naming the step and the first op whose result or
  /// gradient is not finite, and for a gradient also the parameter.
  bool run(const std::function<void(const TrainingReport&)>& report, const std::atomic<bool>* cancel = nullptr);

  const std::string& directory() const { return directory_; }
  int64_t step() const { return step_; }
  int64_t steps() const { return recipe_.steps; }
  int64_t parameter_count() const { return model_->count(); }
  int64_t training_tokens() const { return task_->tokens(); }
  const tasks::Recipe& recipe() const { return recipe_; }
  /// Returns true if the data differs from the checkpoint's; false if the checkpoint does not record it.
  bool data_has_changed() const { return data_has_changed_; }
  /// Summaries of the training data and the validation data.
  std::vector<tasks::DataSummary> data() const { return task_->summary(); }

 private:
  Trainer(const tasks::Recipe& recipe, const std::string& directory, std::string tokenizer_json, bool is_new, std::shared_ptr<Comm> comm);
  bool writes() const { return comm_->rank() == 0; }
  bool any(bool here);
  bool is_due(int64_t every, int64_t step) const { return step % every == 0 || step == recipe_.steps; }
  std::vector<double> take_step();
  /// An example of the task, completed with the current weights (Task::complete).
  tasks::Example completed(tasks::Example example);
  struct Validation {
    double loss = 0;
    std::vector<double> metrics{};  // values of task_->metric_names()
  };
  Validation validate();
  std::optional<size_t> deciding_metric() const;
  void require_validation() const;
  std::string warning_of_metric(const std::string& name, double value);
  std::vector<Tensor> learning_leaves();
  std::string log_header() const;
  void take_means(TrainingReport& report);
  bool has_ended() const;
  /// Adds the gradients of batch number `number` to the tape's. Returns the batch's share of the step's task loss, then its shares of
  /// the losses on maps. counts: the sums of counts_of() over the whole step.
  std::vector<double> micro_batch_losses(int64_t number, const tasks::Example& example, const std::vector<double>& counts, bool checks);
  std::vector<double> counts_of(const tasks::Example& example) const;
  void count_tokens(const tasks::Example& example);
  void optimise(const std::vector<double>& counts);
  std::string source_of_gradient(const std::vector<double>& counts);
  void save_checkpoint() const;
  void read_checkpoint(const io::SafeTensors& file, bool data_changed);
  void check_cancel() const;
  bool take_step_or_drop();
  void require_best_of_ended() const;
  void save_model(const std::string& to) const;
  void log(const TrainingReport& report);
  void watch();

  tasks::Recipe recipe_;
  std::string directory_;
  tasks::DropoutRates dropout_;
  std::string tokenizer_json_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<TrainableModel> model_;
  std::unique_ptr<tasks::Task> task_;
  MapLosses map_losses_;
  std::string data_digest_;      // stored in every checkpoint
  std::string data_from_run_{};  // the data's folder, relative to the run's; empty if the recipe has an absolute path
  std::vector<tasks::Example> held_;
  Optimiser optimiser_;
  WeightAverage average_;
  Tape tape_;
  Arena arena_;
  std::shared_ptr<Comm> comm_;
  StepGradient gradient_;
  int64_t step_ = 0;
  double gradient_norm_ = 0;
  int64_t waited_ = 0;  // validations since the best one
  double best_ = 1e30;
  std::optional<double> constant_metric_{};  // the value of the deciding metric, as long as it has not changed since this start
  int64_t same_metric_ = 0;                  // number of validations since this start
  double loss_sum_ = 0;                      // sum over the steps since the last report
  std::vector<double> map_sums_{};           // the same for each of map_losses_.names()
  int64_t summed_ = 0;
  int64_t tokens_read_ = 0;            // by encoder and decoder, on this process, since the last report
  std::string log_{};                  // all lines of log.csv
  std::optional<RunEvents> events_{};  // set during run()
  std::optional<FolderLock> lock_{};   // held by the process that writes
  const std::atomic<bool>* cancel_ = nullptr;
  bool data_has_changed_ = false;
};

}  // namespace clearhead::train
