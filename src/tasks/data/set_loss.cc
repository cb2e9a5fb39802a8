// The set loss and its gradient, computed in double.
#include "tasks/data/set_loss.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/format.h"
#include "clearhead/error.h"
#include "metrics/assignment.h"
#include "ops/ops.h"

namespace clearhead::tasks {
namespace {

using metrics::Box;

std::array<double, 4> numbers_of(const Box& box) { return {box.x, box.y, box.width, box.height}; }

double distance(const Box& a, const Box& b) {
  const auto of_a = numbers_of(a), of_b = numbers_of(b);
  double sum = 0;
  for (size_t at = 0; at < of_a.size(); ++at) sum += std::abs(of_a[at] - of_b[at]);
  return sum;
}

}  // namespace

Box box_of(const float* row, int64_t classes) {
  const float* box = row + classes + 1;
  return {static_cast<double>(box[0]), static_cast<double>(box[1]), static_cast<double>(box[2]), static_cast<double>(box[3])};
}

SetLoss set_loss(const float* outputs, int64_t queries, int64_t classes, const std::vector<metrics::LabelledBox>& objects,
                 const SetLossOptions& options) {
  const int64_t numbers = classes + 5;
  if (!std::all_of(outputs, outputs + queries * numbers, [](float one) { return std::isfinite(one); }))
    fail(ErrorCode::kInvalidArgument, "the outputs of the detector are not finite; training may need a smaller learning rate");
  std::vector<std::vector<double>> probabilities;
  for (int64_t query = 0; query < queries; ++query) probabilities.push_back(ops::softmax_of(outputs + query * numbers, classes + 1));
  std::vector<double> cost;
  for (const metrics::LabelledBox& object : objects) {
    for (int64_t query = 0; query < queries; ++query) {
      const Box box = box_of(outputs + query * numbers, classes);
      cost.push_back(options.box * distance(box, object.box) - options.overlap * metrics::generalised_iou(box, object.box).value -
                     options.class_cost * probabilities[static_cast<size_t>(query)][static_cast<size_t>(object.label)]);
    }
  }
  SetLoss out{.gradient = std::vector<float>(static_cast<size_t>(queries * numbers), 0),
              .query_of = metrics::assign(cost, static_cast<int64_t>(objects.size()), queries)};
  std::vector<int64_t> target(static_cast<size_t>(queries), classes);
  for (size_t at = 0; at < objects.size(); ++at) {
    const int64_t query = out.query_of[at];
    target[static_cast<size_t>(query)] = objects[at].label;
    const Box box = box_of(outputs + query * numbers, classes);
    const auto found = numbers_of(box), expected = numbers_of(objects[at].box);
    const metrics::GeneralisedIou overlap = metrics::generalised_iou(box, objects[at].box);
    out.value += options.box * distance(box, objects[at].box) + options.overlap * (1 - overlap.value);
    for (size_t number = 0; number < found.size(); ++number) {
      const double sign = found[number] > expected[number] ? 1 : found[number] < expected[number] ? -1 : 0;
      out.gradient[static_cast<size_t>(query * numbers + classes + 1) + number] =
          static_cast<float>(options.box * sign - options.overlap * overlap.gradient[number]);
    }
  }
  for (int64_t query = 0; query < queries; ++query) {
    const auto row = static_cast<size_t>(query), chosen = static_cast<size_t>(target[row]);
    const double weight = target[row] == classes ? options.no_object : 1;
    out.value +=
        weight * (ops::log_sum_exp(outputs + query * numbers, classes + 1) - static_cast<double>(outputs[query * numbers + target[row]]));
    for (size_t one = 0; one <= static_cast<size_t>(classes); ++one)
      out.gradient[row * static_cast<size_t>(numbers) + one] =
          static_cast<float>(weight * (probabilities[row][one] - (one == chosen ? 1 : 0)));
  }
  return out;
}

}  // namespace clearhead::tasks
