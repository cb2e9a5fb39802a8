// The class of one detected object, computed from the class logits of one query: the query whose object is the most probable, or, if a label
// is given, the query that assigns this label the highest probability. Items are the patches of the picture.
#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/answer_kind.h"
#include "explain/item_target.h"
#include "ops/ops.h"

namespace clearhead::explain {
namespace {

/// A query and the class that it predicts.
struct Chosen {
  int64_t query = 0;
  int32_t label = 0;
  double probability = -1;
};

// Returns the query with the highest probability of one label, or of any label if label < 0.   outputs: [query, classes + 1 + 4]
Chosen most_probable(const Tensor& outputs, int64_t classes, int32_t label) {
  Chosen out;
  for (int64_t query = 0; query < outputs.size(0); ++query) {
    const std::vector<double> probabilities = ops::softmax_of(outputs.data<float>() + query * outputs.size(1), classes + 1);
    for (int32_t one = 0; one < static_cast<int32_t>(classes); ++one) {
      const double probability = probabilities[static_cast<size_t>(one)];
      if ((label < 0 || one == label) && probability > out.probability) out = {query, one, probability};
    }
  }
  return out;
}

class ObjectTarget final : public ItemTarget {
 public:
  ObjectTarget(std::shared_ptr<const Model> model, const ModelInput& input, const TargetSpec& asked) : ItemTarget(std::move(model), input) {
    const ModelInfo& info = model_->info();
    const auto classes = static_cast<int64_t>(info.labels.size());
    int32_t label = asked.target.empty() ? -1 : label_named(info, asked.target);
    if (!asked.target_ids.empty()) label = asked.target_ids.front();
    if (label >= classes)
      fail(ErrorCode::kNotFound, "{}: there is no class {}; the model has {}, counted from 0", info.name, label, classes);
    find_items();
    const EncodedBatch batch = collate({&read_}, network_.facts().pad);
    const Chosen chosen = most_probable(network_.run_batch(batch.input, nullptr, {}).class_logits, classes, label);
    query_ = chosen.query;
    rows_ = {query_};
    answer_with_label(asked, info.labels[static_cast<size_t>(chosen.label)], "object", logits_of(read_, {}));
    answer_ += format(" of query {}", query_ + 1);
  }

 private:
  // The class logits of the query, [1, classes + 1].
  Tensor answer_row(const Tensor& outputs) const override {
    return outputs.slice(0, query_, query_ + 1).slice(1, 0, static_cast<int64_t>(model_->info().labels.size()) + 1);
  }

  int64_t query_ = 0;
};

// Returns, for each label, its highest probability among the queries.
Answers objects_of(const Model& model, const Tensor& outputs) {
  Answers out{.names = model.info().labels};
  if (!outputs.defined()) return {};
  const auto classes = static_cast<int64_t>(out.names.size());
  for (int32_t label = 0; label < static_cast<int32_t>(classes); ++label)
    out.probabilities.push_back(most_probable(outputs, classes, label).probability);
  return out;
}

}  // namespace

const AnswerKind& detected_object_answer() {
  static const AnswerKind kind{
      .name = "class",
      .applies = [](const ModelInfo& info) { return info.output == "boxes"; },
      .of_input = target_of_input<ObjectTarget>,
      .shown = [](const Model& model, const RunResult& result, const auto&) { return objects_of(model, result.class_logits); },
  };
  return kind;
}

}  // namespace clearhead::explain
