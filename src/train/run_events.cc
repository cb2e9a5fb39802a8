#include "train/run_events.h"

#include "train/trainer.h"

namespace clearhead {

void RunEvents::add(const TrainingReport& report) {
  writer_.add_number("loss/training", report.loss);
  if (report.validation) writer_.add_number("loss/validation", *report.validation);
  writer_.add_number("rate", report.rate);
  writer_.add_number("gradient_norm", report.gradient_norm);
  writer_.add_number("tokens_per_second", report.tokens_per_second);
}

void RunEvents::add_gradients(const ModelParameters& parameters, Tape& tape) {
  for (const auto& [name, values] : parameters.named()) writer_.add_histogram("gradients/" + name, Histogram::of(tape.gradient(values)));
}

void RunEvents::add_weights(const ModelParameters& parameters) {
  for (const auto& [name, values] : parameters.named()) writer_.add_histogram("weights/" + name, Histogram::of(values));
}

}  // namespace clearhead
