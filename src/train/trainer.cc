// The training loop: step, average, report, watch, validate, checkpoint. A step has one or more micro-batches, whose gradients are
// added in a fixed order. Cancelling drops the step in progress, because a checkpoint is a state between steps.
#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <utility>

#include "base/file.h"
#include "base/format.h"
#include "base/own_file.h"
#include "base/random.h"
#include "clearhead/error.h"
#include "io/safetensors.h"
#include "models/find_model.h"
#include "ops/ops.h"
#include "tensor/convert.h"
#include "text/tokenizer_json.h"
#include "train/watch.h"

namespace clearhead::train {
namespace {

constexpr uint64_t kDropoutSeed = 0x64726F70;

std::string checkpoint_of(const std::string& directory) { return directory + "/checkpoint.safetensors"; }

std::string tokenizer_of_new(const tasks::Recipe& recipe, const std::string& directory) {
  std::error_code ignored;
  if (std::filesystem::exists(checkpoint_of(directory), ignored)) {
    fail(ErrorCode::kInvalidArgument, "{} already contains a run; continue it with --resume, or give another folder", directory);
  }
  return tasks::tokenizer_json_of(recipe);
}

// The number of a step's micro-batches that one process computes.
int64_t micro_batches_of_one(const tasks::Recipe& recipe, const Comm& comm) {
  const int64_t micro_batches = recipe.accumulate / comm.size();
  if (micro_batches * comm.size() == recipe.accumulate && (comm.size() == 1 || (micro_batches & (micro_batches - 1)) == 0))
    return micro_batches;
  fail(ErrorCode::kInvalidArgument,
       "{}: a step has {} micro-batch(es) (\"accumulate\") and there are {} processes; each process must run 1, 2, 4, 8 … of "
       "them: give accumulate={}, or "
       "start a different number of processes",
       recipe.where, recipe.accumulate, comm.size(), comm.size());
}

std::unique_ptr<TrainableModel> model_at_start(const tasks::Recipe& recipe, const Tokenizer& tokenizer, bool is_new) {
  std::unique_ptr<TrainableModel> model = make_trainable_model(recipe, tokenizer);
  if (is_new && !recipe.initial.empty()) model->begin_at(recipe.initial);
  if (is_new && recipe.vectors) model->begin_at(*recipe.vectors, recipe.model, recipe.where);
  return model;
}

std::string metadata_of(const io::SafeTensors& file, const std::string& name) {
  const auto found = file.metadata().find(name);
  if (found == file.metadata().end())
    fail(ErrorCode::kFormat, "{}: no \"{}\" in its metadata; expected a checkpoint of a training run", file.where(), name);
  return found->second;
}

// The data folder as written in the recipe.
std::string fields_folder(const tasks::Recipe& recipe) {
  const Json* data = recipe.text.find("data");
  return data && data->is_string() ? data->string() : ".";
}

// The checkpoint's recipe, with the data folder `data` if given. A relative data folder is resolved through its path relative to the
// run's folder, so the run can be resumed from any working directory.
tasks::Recipe recipe_of_checkpoint(const io::SafeTensors& file, const std::string& directory, const std::string& data) {
  Json json = Json::parse(metadata_of(file, "recipe"), file.where());
  if (!data.empty()) json["data"] = data;
  tasks::Recipe recipe = tasks::Recipe::from(json, file.where());
  // Checkpoints of earlier versions have neither "data_from_run" nor "given_files".
  if (const auto from_run = file.metadata().find("data_from_run");
      data.empty() && from_run != file.metadata().end() && !from_run->second.empty())
    recipe.source.folder = (std::filesystem::path(directory) / from_run->second).lexically_normal().string();
  if (const auto given = file.metadata().find("given_files"); given != file.metadata().end()) {
    for (const Json& name : Json::parse(given->second, file.where()).items()) recipe.source.given_files.push_back(name.string());
  }
  return recipe;
}

// Formats numbers as a JSON array.
std::string joined(const std::vector<double>& numbers) {
  std::string out;
  for (const double number : numbers) out += format("{}{:.17g}", out.empty() ? "" : ",", number);
  return "[" + out + "]";
}

std::vector<double> numbers_in(const std::string& text, size_t count, const std::string& where) {
  std::vector<double> out;
  const Json json = Json::parse(text, where);
  if (json.is_array()) {
    for (const Json& number : json.items()) out.push_back(number.is_number() ? number.number() : std::nan(""));
  }
  if (out.size() != count) fail(ErrorCode::kFormat, "{}: \"map_sums\" has {} numbers; expected {}", where, out.size(), count);
  return out;
}

size_t bytes_of(const tasks::Example& example) {
  size_t out = sizeof example + (example.targets.size() + example.values.size()) * sizeof(int32_t);
  for (const Batch* rows : {&example.input, example.source ? &*example.source : nullptr}) {
    if (rows) out += rows->ids.size() * sizeof(int32_t) + (rows->features.defined() ? rows->features.bytes() : 0);
  }
  return out;
}

}  // namespace

Trainer::Trainer(const tasks::Recipe& recipe, const std::string& directory, std::shared_ptr<Comm> comm)
    : Trainer(tasks::fitted_to_task(recipe), directory, tokenizer_of_new(recipe, directory), /*is_new=*/true, std::move(comm)) {}

Trainer::Trainer(const tasks::Recipe& recipe, const std::string& directory, std::string tokenizer_json, bool is_new,
                 std::shared_ptr<Comm> comm)
    : recipe_(recipe),
      directory_(directory),
      dropout_(recipe.dropout_rates()),
      tokenizer_json_(std::move(tokenizer_json)),
      tokenizer_(Tokenizer::from_json(tokenizer_json_)),
      model_(model_at_start(recipe_, *tokenizer_, is_new)),
      task_(tasks::task_of(recipe_, *tokenizer_, model_->facts())),
      map_losses_(recipe_),
      data_digest_(task_->digest()),
      held_(task_->validation_batches()),
      optimiser_(recipe.optimiser),
      average_(recipe.ema_decay),
      comm_(std::move(comm)),
      gradient_(tape_, *comm_, learning_leaves(), micro_batches_of_one(recipe, *comm_)) {
  map_sums_.assign(map_losses_.names().size(), 0);
  optimiser_.check_groups();
  static_cast<void>(deciding_metric());  // throws if the metric does not exist
  require_validation();
  if (!writes()) return;
  make_folder(directory);
  for (const char* name : {"/checkpoint.safetensors", "/log.csv", "/best", "/watch"}) without_link(directory + name);
  for (const char* name : {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json"})
    without_link(directory + "/best/" + name);
  lock_.emplace(directory, "lock");
  if (const std::filesystem::path data = fields_folder(recipe_); data.is_relative())
    data_from_run_ = std::filesystem::relative(recipe_.source.folder, directory).string();
}

std::unique_ptr<Trainer> Trainer::resume(const std::string& directory, std::shared_ptr<Comm> comm, const ResumeOptions& options) {
  const io::SafeTensors file = io::SafeTensors::open(checkpoint_of(directory));
  const tasks::Recipe recipe = tasks::fitted_to_task(recipe_of_checkpoint(file, directory, options.data));
  std::unique_ptr<Trainer> trainer(new Trainer(recipe, directory, metadata_of(file, "tokenizer"), /*is_new=*/false, std::move(comm)));
  trainer->read_checkpoint(file, options.data_changed);
  return trainer;
}

// Only for a single process. Several processes agree on cancelling between steps (see run), because they wait for each other.
void Trainer::check_cancel() const {
  if (comm_->size() == 1 && cancel_ && cancel_->load()) fail(ErrorCode::kCancelled, "training was stopped");
}

// The denominators of a batch's losses: number of targets, then number of rows for each loss on maps.
std::vector<double> Trainer::counts_of(const tasks::Example& example) const {
  std::vector<double> out = {static_cast<double>(example.counted)};
  const std::vector<double> rows = map_losses_.rows_of(example);
  out.insert(out.end(), rows.begin(), rows.end());
  return out;
}

std::vector<double> Trainer::micro_batch_losses(int64_t number, const tasks::Example& example, const std::vector<double>& counts,
                                                bool checks) {
  tape_.check_finite(checks);
  RunDropout dropout{static_cast<float>(dropout_.residual), static_cast<float>(dropout_.attention),
                     random_bits(random_bits(recipe_.seed, kDropoutSeed), static_cast<uint64_t>(number))};
  Run run{.arena = arena_,
          .recorder = &tape_,
          .dropout = &dropout,
          .operands = recipe_.precision,
          .checkpoints = recipe_.gradient_checkpointing};
  MapLosses::Captured captured(recipe_);
  if (map_losses_.any()) run.capture = captured.capture();
  const RunResult result = model_->forward(run, example);
  const Tensor of_task = task_->loss(run, result, example, recipe_.smoothing, std::max(1.0, counts.front()));
  std::vector<double> values = {static_cast<double>(*of_task.data<float>())};
  const Tensor loss = map_losses_.add_to(run, of_task, captured, example, std::span(counts).subspan(1), values);
  check_cancel();
  if (std::isfinite(*loss.data<float>())) {
    tape_.backward(loss);
    return values;
  }
  tape_.clear();
  if (!checks) {
    try {
      return micro_batch_losses(number, example, counts, true);
    } catch (const Error& error) {
      fail(ErrorCode::kInvalidArgument,
           "step {}: the loss is not finite; {}. The last checkpoint is not affected; try a smaller learning rate", step_, error.what());
    }
  }
  fail(ErrorCode::kInvalidArgument, "cross_entropy gave a value that is not finite");
}

tasks::Example Trainer::completed(tasks::Example example) {
  return task_->complete(std::move(example), [&](const tasks::Example& one) {
    Run run{.arena = arena_, .operands = recipe_.precision};
    return model_->answer(run, one);
  });
}

// Computes the losses and gradients of the step as if its batches were one: each sum is divided by the counts of the whole step, so
// a batch with few targets has as little weight as inside a large batch. Then updates the weights and their average. Returns the step's
// losses, as micro_batch_losses().
std::vector<double> Trainer::take_step() {
  const int64_t micro_batches = gradient_.micro_batches(), first = step_ * recipe_.accumulate + comm_->rank() * micro_batches;
  constexpr size_t kMostKept =
      size_t{64} << 20;  // bytes of batches that are kept between counting and training; batches beyond this are made twice
  size_t kept = 0;
  std::vector<tasks::Example> examples;
  std::vector<double> counts(1 + map_losses_.names().size(), 0);
  const auto add_to = [](std::vector<double>& sums, const std::vector<double>& values) {
    for (size_t at = 0; at < values.size(); ++at) sums[at % sums.size()] += values[at];
  };
  for (int64_t micro_batch = 0; micro_batch < micro_batches; ++micro_batch) {
    check_cancel();
    tasks::Example example = completed(task_->batch(first + micro_batch));
    add_to(counts, counts_of(example));
    kept += bytes_of(example);
    if (kept <= kMostKept) examples.push_back(std::move(example));
  }
  const std::vector<std::vector<double>> of_processes = comm_->gather(counts);
  counts.assign(counts.size(), 0);
  for (const std::vector<double>& of_process : of_processes) add_to(counts, of_process);
  std::vector<double> losses;
  for (int64_t micro_batch = 0; micro_batch < micro_batches; ++micro_batch) {
    check_cancel();
    gradient_.begin(micro_batch);
    const bool is_kept = static_cast<size_t>(micro_batch) < examples.size();
    const tasks::Example example =
        is_kept ? std::move(examples[static_cast<size_t>(micro_batch)]) : completed(task_->batch(first + micro_batch));
    count_tokens(example);
    const std::vector<double> its_losses = micro_batch_losses(first + micro_batch, example, counts, false);
    losses.insert(losses.end(), its_losses.begin(), its_losses.end());
  }
  gradient_.finish();
  std::vector<double> sums(counts.size(), 0);
  for (const std::vector<double>& of_process : comm_->gather(losses)) add_to(sums, of_process);
  if (writes() && is_due(recipe_.validate, step_ + 1)) events_->add_gradients(model_->named(), tape_);
  optimise(counts);
  average_.follow(step_);
  ++step_;
  return sums;
}

void Trainer::optimise(const std::vector<double>& counts) {
  try {
    gradient_norm_ = optimiser_.step(tape_, recipe_.schedule.at(step_));
  } catch (const Error& error) {
    fail(error.code(), "{}; {}. The last checkpoint is not affected; try a smaller learning rate", error.what(),
         source_of_gradient(counts));
  }
}

// Finds the first op in this process's batches whose gradient is not finite, by computing the step again; the run ends afterwards.
std::string Trainer::source_of_gradient(const std::vector<double>& counts) {
  tape_.on_settled({});  // do not add these gradients to those of other batches and processes
  const int64_t micro_batches = gradient_.micro_batches(), first = step_ * recipe_.accumulate + comm_->rank() * micro_batches;
  for (int64_t micro_batch = 0; micro_batch < micro_batches; ++micro_batch) {
    tape_.clear_gradients();
    try {
      micro_batch_losses(first + micro_batch, completed(task_->batch(first + micro_batch)), counts, true);
    } catch (const Error& error) {
      return error.what();
    }
  }
  return comm_->size() > 1 ? "the gradients of this process's batches are finite"
                           : "each batch has a finite gradient, but their sum is not finite";
}

// Counts the tokens that encoder and decoder read, for tokens_per_second.
void Trainer::count_tokens(const tasks::Example& example) {
  const std::vector<int32_t>& lengths = example.input.lengths;
  tokens_read_ = recipe_.task ? std::accumulate(lengths.begin(), lengths.end(), tokens_read_) : tokens_read_ + example.counted;
  if (example.source) tokens_read_ = std::accumulate(example.source->lengths.begin(), example.source->lengths.end(), tokens_read_);
}

Trainer::Validation Trainer::validate() {
  const auto processes = static_cast<size_t>(comm_->size());
  std::vector<double> said;  // for each example: its loss, the number of predictions, the predictions
  for (size_t at = static_cast<size_t>(comm_->rank()); at < held_.size(); at += processes) {
    const tasks::Example example = completed(held_[at]);
    Maps maps;
    Run run{arena_, task_->reads_maps() ? &maps : nullptr};
    const RunResult result = model_->forward(run, example);
    said.push_back(static_cast<double>(*task_->loss(run, result, example, 0, 1).data<float>()));
    const std::vector<double> predictions =
        task_->writes() > 0 ? model_->write(run, example, task_->writes()) : task_->predictions(result, maps, example);
    said.push_back(static_cast<double>(predictions.size()));
    said.insert(said.end(), predictions.begin(), predictions.end());
  }
  const std::vector<std::vector<double>> all = comm_->gather(said);
  double sum = 0;
  int64_t counted = 0;
  std::vector<std::vector<double>> predictions;
  std::vector<size_t> next(processes, 0);
  for (size_t at = 0; at < held_.size(); ++at) {
    const double* of = all[at % processes].data() + next[at % processes];
    sum += of[0];
    counted += held_[at].counted;
    predictions.emplace_back(of + 2, of + 2 + static_cast<int64_t>(of[1]));
    next[at % processes] += 2 + predictions.back().size();
  }
  return {sum / static_cast<double>(counted), task_->metrics(held_, predictions)};
}

// The index of the metric that selects the best model; std::nullopt if the loss does. Throws kInvalidArgument for a metric that the
// task does not have.
std::optional<size_t> Trainer::deciding_metric() const {
  const std::vector<std::string> names = task_->metric_names();
  const std::string wanted = recipe_.task ? recipe_.task->best : recipe_.pairs ? recipe_.pairs->best : "";
  if (names.empty() || wanted == "loss") return std::nullopt;
  const auto found = wanted.empty() ? names.begin() : std::find(names.begin(), names.end(), wanted);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  std::string known = "loss";
  for (const std::string& name : names) known += ", " + name;
  fail(ErrorCode::kInvalidArgument, "{}: \"{}.best\" is \"{}\"; expected one of: {}", recipe_.where, recipe_.task ? "task" : "pairs",
       wanted, known);
}

// A metric with the same value at every validation cannot select a model: best/ keeps the first one. Returns a warning at the third
// validation, and at the end.
std::string Trainer::warning_of_metric(const std::string& name, double value) {
  constexpr int64_t kSuspicious = 3;
  if (same_metric_ > 0 && constant_metric_ != value) constant_metric_.reset();
  if (same_metric_ == 0) constant_metric_ = value;
  ++same_metric_;
  if (!constant_metric_ || (same_metric_ != kSuspicious && !(has_ended() && same_metric_ > kSuspicious))) return "";
  return format(
      "{} was {:.2f} % at each of {} validations, so best/ keeps the first model; does this metric fit the data? \"best\": \"loss\" lets "
      "the "
      "validation loss decide",
      name, value * 100, same_metric_);
}

// Refuses a validation file without examples. Exceptions: texts may be too short for a window, and folds need not validate.
void Trainer::require_validation() const {
  const bool needs = recipe_.pairs || (recipe_.task && recipe_.task->data.needs_validation());
  if (!needs || !held_.empty()) return;
  const tasks::DataSummary held = task_->summary().back();
  std::string why;
  for (const std::string& note : held.notes) why += "; " + note;
  fail(ErrorCode::kInvalidArgument,
       "{}: there are no {} to validate on in {}{}; the best model is selected on the validation data: give a file that has some",
       recipe_.where, held.of, held.files, why);
}

bool Trainer::has_ended() const {
  return step_ >= recipe_.steps || (recipe_.task && recipe_.task->patience > 0 && waited_ >= recipe_.task->patience);
}

bool Trainer::any(bool here) {
  const std::vector<std::vector<double>> said = comm_->gather({here ? 1.0 : 0.0});
  return std::any_of(said.begin(), said.end(), [](const std::vector<double>& one) { return one.front() > 0; });
}

// Returns true if the step was taken, false if it was dropped because the run was cancelled.
bool Trainer::take_step_or_drop() {
  try {
    const std::vector<double> losses = take_step();
    loss_sum_ += losses.front();
    for (size_t at = 0; at < map_sums_.size(); ++at) map_sums_[at] += losses[at + 1];
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    tape_.clear();
    tape_.clear_gradients();
    return false;
  }
}

void Trainer::require_best_of_ended() const {
  const std::string best = directory_ + "/best/model.safetensors";
  if (std::error_code ignored; !writes() || !has_ended() || held_.empty() || std::filesystem::exists(best, ignored)) return;
  fail(ErrorCode::kNotFound,
       "{}: the run has ended, and its best model is gone; the checkpoint has the last step's weights. Train again to have it", best);
}

bool Trainer::run(const std::function<void(const TrainingReport&)>& report, const std::atomic<bool>* cancel) {
  using Clock = std::chrono::steady_clock;
  cancel_ = cancel;
  require_best_of_ended();
  auto since = Clock::now();
  int64_t timed = 0;
  tokens_read_ = 0;
  const bool validates = !held_.empty();
  const std::optional<size_t> deciding = deciding_metric();
  if (log_.empty()) log_ = log_header();
  if (writes()) events_.emplace(directory_, step_ == 0 ? 0 : step_ + 1);
  if (writes() && step_ == 0) {
    watch();
    events_->write(step_);
  }
  while (!has_ended()) {
    if (any(cancel && cancel->load())) {
      if (writes()) save_checkpoint();
      return false;
    }
    TrainingReport now{.steps = recipe_.steps, .rate = recipe_.schedule.at(step_)};
    if (!take_step_or_drop()) continue;  // the step was dropped; the check above ends the run
    ++summed_;
    ++timed;
    now.step = step_;
    const auto due = [&](int64_t every) { return is_due(every, step_); };
    const double seconds = std::chrono::duration<double>(Clock::now() - since).count();
    const bool is_validated = validates && due(recipe_.validate);
    if (is_validated) {
      const WeightAverage::Shown averaged(average_);
      const Validation found = validate();
      now.validation = found.loss;
      for (size_t at = 0; at < found.metrics.size(); ++at) now.metrics.emplace_back(task_->metric_names()[at], found.metrics[at]);
      now.bytes_per_token = task_->held_bytes_per_token();
      if (deciding) now.warning = warning_of_metric(task_->metric_names()[*deciding], found.metrics[*deciding]);
      ++waited_;
      if (const double figure = deciding ? -found.metrics[*deciding] : found.loss; figure < best_) {
        best_ = figure;
        waited_ = 0;
        if (writes()) save_model(directory_ + "/best");
      }
    }
    const bool reports = due(recipe_.report) || is_validated;
    if (reports) {
      take_means(now);
      now.gradient_norm = gradient_norm_;
      double tokens = 0;
      for (const std::vector<double>& read : comm_->gather({static_cast<double>(tokens_read_)})) tokens += read.front();
      now.tokens_per_second = tokens / std::max(seconds, 1e-9);
      now.seconds_per_step = seconds / static_cast<double>(timed);
      if (writes()) {
        log(now);
        events_->add(now);
      }
      timed = tokens_read_ = 0;
      since = Clock::now();
    }
    if (!writes()) continue;
    if (due(recipe_.validate)) events_->add_weights(model_->named());
    watch();
    events_->write(step_);
    if (reports && report) report(now);  // after the files are written, so that reported values are in them
    if (due(recipe_.checkpoint)) save_checkpoint();
  }
  if (!validates && writes()) {
    const WeightAverage::Shown averaged(average_);
    save_model(directory_ + "/best");
  }
  return true;
}

// Stores the mean losses since the last report, and resets the sums.
void Trainer::take_means(TrainingReport& report) {
  const auto count = static_cast<double>(std::exchange(summed_, 0));
  report.loss = std::exchange(loss_sum_, 0) / count;
  for (size_t at = 0; at < map_sums_.size(); ++at)
    report.maps.emplace_back(map_losses_.names()[at], std::exchange(map_sums_[at], 0) / count);
}

std::string Trainer::log_header() const {
  std::string out = "step,loss,rate,gradient_norm,validation_loss";
  for (const std::string& name : task_->metric_names()) out += "," + name;
  for (const std::string& name : map_losses_.names()) out += "," + name;
  return out + "\n";
}

// Appends a line and rewrites log.csv. After a resume, this drops the lines that were written after the checkpoint.
void Trainer::log(const TrainingReport& report) {
  log_ += format("{},{:.6f},{:.6g},{:.6g},{}", report.step, report.loss, report.rate, report.gradient_norm,
                 report.validation ? format("{:.6f}", *report.validation) : "");
  for (size_t at = 0; at < task_->metric_names().size(); ++at)
    log_ += report.metrics.empty() ? "," : format(",{:.6f}", report.metrics[at].second);
  for (const auto& [name, value] : report.maps) log_ += format(",{:.6f}", value);
  log_ += '\n';
  write_file(without_link(directory_ + "/log.csv"), log_);
}

// Adds all parameters to the optimiser. Those that are not frozen are also averaged and watched by the tape; returns these.
std::vector<Tensor> Trainer::learning_leaves() {
  std::vector<Tensor> leaves;
  for (const TrainableModel::Leaf& leaf : model_->leaves()) {
    const bool moves = optimiser_.add(leaf.values, leaf.decays, leaf.names);
    average_.add(leaf.values, moves);
    if (!moves) continue;
    tape_.watch(leaf.values);
    leaves.push_back(leaf.values);
  }
  return leaves;
}

// Writes a trace. Called before the step's checkpoint, so that a run that resumes from it has all traces up to it.
void Trainer::watch() {
  if (!model_->is_watched(step_)) return;
  make_folder(without_link(Watch::folder_of(directory_)));
  const WeightAverage::Shown averaged(average_);
  const Trace trace = model_->look(arena_, step_);
  trace.save(without_link(Watch::file_of(directory_, step_)));
  events_->add_maps(trace);
}

void Trainer::save_checkpoint() const {
  io::NamedTensors tensors;
  const auto name = [](const char* what, size_t at) { return format("{}.{}", what, at); };
  for (size_t at = 0; at < model_->leaves().size(); ++at) {
    tensors.emplace_back(name("values", at), model_->leaves()[at].values);
    for (const auto& [what, sum] : optimiser_.sums(at)) tensors.emplace_back(name(what, at), sum);
    if (average_.mean(at).defined()) tensors.emplace_back(name("mean", at), average_.mean(at));
  }
  for (size_t at = 0; at < model_->buffers().size(); ++at) tensors.emplace_back(name("buffer", at), model_->buffers()[at].second);
  const std::vector<std::string>& given = recipe_.source.given_files;
  io::write_safetensors(without_link(checkpoint_of(directory_)), tensors,
                        {{"clearhead_checkpoint", "1"},
                         {"recipe", recipe_.text.dump()},
                         {"data_from_run", data_from_run_},
                         {"given_files", Json(Json::Array(given.begin(), given.end())).dump()},
                         {"tokenizer", tokenizer_json_},
                         {"step", std::to_string(step_)},
                         {"best", format("{:.17g}", best_)},
                         {"waited", std::to_string(waited_)},
                         {"loss_sum", format("{:.17g}", loss_sum_)},
                         {"map_sums", joined(map_sums_)},
                         {"summed", std::to_string(summed_)},
                         {"data", data_digest_},
                         {"log", log_}});
}

void Trainer::read_checkpoint(const io::SafeTensors& file, bool data_changed) {
  const auto data = file.metadata().find("data");  // checkpoints of earlier versions have none
  data_has_changed_ = data != file.metadata().end() && data->second != data_digest_;
  if (data_has_changed_ && !data_changed) {
    fail(ErrorCode::kInvalidArgument,
         "{}: the data in {} is not what this run was training on, so the result would differ. Restore it, give its folder with "
         "data=DIR, or continue with --data-changed",
         file.where(), recipe_.source.folder);
  }
  const auto read = [&](const char* what, size_t at, Tensor to) {
    const Tensor from = file.get(format("{}.{}", what, at));
    if (from.shape() != to.shape()) {
      fail(ErrorCode::kShape, "{}: \"{}.{}\" has the shape {}, but the model's has {}; resume with the recipe of this run", file.where(),
           what, at, to_string(from.shape()), to_string(to.shape()));
    }
    convert(from, to);
  };
  for (size_t at = 0; at < model_->leaves().size(); ++at) {
    read("values", at, model_->leaves()[at].values);
    for (const auto& [what, sum] : optimiser_.sums(at)) read(what, at, sum);
    if (average_.mean(at).defined()) read("mean", at, average_.mean(at));
  }
  for (size_t at = 0; at < model_->buffers().size(); ++at) read("buffer", at, model_->buffers()[at].second);
  Json numbers = Json::object();
  for (const char* name : {"step", "best", "loss_sum", "summed"}) numbers[name] = Json::parse(metadata_of(file, name), file.where());
  Fields fields(numbers, file.where(), "metadata");
  step_ = fields.integer("step");
  best_ = fields.number("best");
  loss_sum_ = fields.number("loss_sum");
  summed_ = fields.integer("summed");
  if (const auto waited = file.metadata().find("waited"); waited != file.metadata().end())  // checkpoints of earlier versions have none
    waited_ = std::stoll(waited->second);
  if (!map_sums_.empty()) map_sums_ = numbers_in(metadata_of(file, "map_sums"), map_sums_.size(), file.where());
  log_ = metadata_of(file, "log");
  optimiser_.go_on_from(step_);
}

void Trainer::save_model(const std::string& to) const {
  make_folder(without_link(to));
  io::NamedTensors saved = model_->named();
  saved.insert(saved.end(), model_->buffers().begin(), model_->buffers().end());
  Json config = recipe_.model;
  task_->describe(config);
  if (recipe_.task && recipe_.task->data.examples) recipe_.task->data.examples->save(to, config);
  if (recipe_.save != DType::kF32) {
    for (auto& [name, values] : saved) values = to_dtype(values, recipe_.save);
    config["torch_dtype"] = "bfloat16";
  }
  io::write_safetensors(without_link(to + "/model.safetensors"), saved, {{"format", "pt"}});
  write_file(without_link(to + "/config.json"), config.dump(2) + "\n");
  if (Json generation = recipe_.generation; !generation.is_null()) {
    // If generation_config.json exists, the end token of config.json is not read.
    if (const Json* end = config.find("eos_token_id"); end && !generation.find("eos_token_id")) generation["eos_token_id"] = *end;
    write_file(without_link(to + "/generation_config.json"), generation.dump(2) + "\n");
  }
  if (model_->facts().vocabulary > 0)
    write_file(without_link(to + "/tokenizer.json"), tokenizer_json_);  // a model that does not read tokens needs no tokenizer
}

}  // namespace clearhead::train
