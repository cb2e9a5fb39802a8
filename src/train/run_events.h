// What TensorBoard shows of a run (io/events.h): numbers at every report, histograms of weights and gradients at validation steps, the heads of each layer
// side by side where the run is watched.
//
//   loss/training, loss/validation (nats a token) · rate · gradient_norm · tokens_per_second · weights/NAME, gradients/NAME (before clipping) ·
//   attention/FAMILY/LAYER
//
// Steps count what has been done: step n stands behind the n-th update.
#pragma once

#include "autograd/tape.h"
#include "clearhead/trace.h"
#include "io/events.h"
#include "models/parameters.h"

namespace clearhead {

struct TrainingReport;

class RunEvents {
 public:
  RunEvents(const std::string& directory, int64_t first_step) : writer_(directory, first_step) {}
  void add(const TrainingReport& report);
  void add_gradients(const ModelParameters& parameters, Tape& tape);
  void add_weights(const ModelParameters& parameters);
  void add_maps(const Trace& trace);
  void write(int64_t step) { writer_.write(step); }

 private:
  EventWriter writer_;
};

}  // namespace clearhead
