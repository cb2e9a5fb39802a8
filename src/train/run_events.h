// Metrics of a run for TensorBoard (io/events.h): numbers at every report, histograms of weights and gradients at
// validation steps, and, if the run is watched, the attention maps of each layer's heads side by side.
//
//   loss/training, loss/validation (mean per target), loss/alignment, loss/entropy (map_losses.h) · validation/METRIC · rate (the learning
//   rate) · gradient_norm · tokens_per_second · weights/NAME, gradients/NAME (before clipping) · attention/FAMILY/LAYER
//
// Step n is the state after the n-th update.
#pragma once

#include "autograd/tape.h"
#include "clearhead/trace.h"
#include "io/events.h"
#include "io/safetensors.h"

namespace clearhead::train {

struct TrainingReport;

class RunEvents {
 public:
  RunEvents(const std::string& directory, int64_t first_step) : writer_(directory, first_step) {}
  void add(const TrainingReport& report);
  void add_gradients(const io::NamedTensors& parameters, Tape& tape);
  void add_weights(const io::NamedTensors& parameters);
  void add_maps(const Trace& trace);
  void write(int64_t step) { writer_.write(step); }

 private:
  io::EventWriter writer_;
};

}  // namespace clearhead::train
