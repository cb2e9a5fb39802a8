// The C++ object behind a Python Model.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "clearhead/model.h"

namespace clearhead::python {

using SharedModel = std::shared_ptr<const Model>;

/// The same model with weights that support gradients. Loaded on first use. Safe to use from several threads.
class ForGradients {
 public:
  ForGradients(std::string name, LoadOptions options) : name_(std::move(name)), options_(options) { options_.gradients = true; }
  const LoadOptions& options() const { return options_; }
  SharedModel get() {
    const std::lock_guard lock(mutex_);
    if (!model_) model_ = load(name_, options_);
    return model_;
  }

 private:
  std::string name_;
  LoadOptions options_;
  std::mutex mutex_{};
  SharedModel model_{};
};

struct Loaded {
  SharedModel model;
  std::shared_ptr<ForGradients> gradients;
};

}  // namespace clearhead::python
