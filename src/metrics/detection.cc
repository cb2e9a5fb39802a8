// Overlap of boxes, and average precision.
#include "metrics/detection.h"

#include <algorithm>
#include <map>

#include "base/format.h"
#include "clearhead/error.h"

namespace clearhead::metrics {
namespace {

struct Ranked {
  double probability = 0;
  size_t picture = 0;
  const Box* box = nullptr;
};

// Returns for each detection, in order of rank, whether it is correct.
std::vector<bool> judged(const std::vector<Ranked>& ranked, const std::vector<std::vector<const Box*>>& boxes, double least_iou) {
  std::vector<std::vector<bool>> is_taken;
  for (const auto& of_picture : boxes) is_taken.emplace_back(of_picture.size(), false);
  std::vector<bool> out;
  for (const Ranked& one : ranked) {
    const std::vector<const Box*>& candidates = boxes[one.picture];
    size_t best = candidates.size();
    double most = least_iou;
    for (size_t at = 0; at < candidates.size(); ++at) {
      if (is_taken[one.picture][at]) continue;
      const double iou = intersection_over_union(*one.box, *candidates[at]);
      if (iou > most || (best == candidates.size() && iou >= most)) {
        most = iou;
        best = at;
      }
    }
    out.push_back(best < candidates.size());
    if (out.back()) is_taken[one.picture][best] = true;
  }
  return out;
}

// The intersection of two boxes, whose sides are negative or 0 if they do not overlap, and the areas of intersection and union.
struct Overlap {
  double width = 0, height = 0, intersection = 0, all = 0;
  Overlap(const Box& a, const Box& b)
      : width(std::min(a.right(), b.right()) - std::max(a.left(), b.left())),
        height(std::min(a.bottom(), b.bottom()) - std::max(a.top(), b.top())),
        intersection(width > 0 && height > 0 ? width * height : 0),
        all(a.width * a.height + b.width * b.height - intersection) {}
};

double average_precision(const std::vector<bool>& is_correct, int64_t boxes) {
  std::vector<double> precision;
  int64_t correct = 0;
  for (size_t rank = 0; rank < is_correct.size(); ++rank) {
    correct += is_correct[rank] ? 1 : 0;
    precision.push_back(static_cast<double>(correct) / static_cast<double>(rank + 1));
  }
  double best = 0, sum = 0;
  for (size_t rank = is_correct.size(); rank-- > 0;) {
    best = std::max(best, precision[rank]);
    if (is_correct[rank]) sum += best;
  }
  return sum / static_cast<double>(boxes);
}

}  // namespace

double intersection_over_union(const Box& a, const Box& b) {
  const Overlap of(a, b);
  return of.all > 0 ? of.intersection / of.all : 0;
}

GeneralisedIou generalised_iou(const Box& a, const Box& b) {
  const Overlap of(a, b);
  const double wide = of.width, high = of.height, both = of.intersection, all = of.all;
  const bool overlaps = both > 0;
  const double around_wide = std::max(a.right(), b.right()) - std::min(a.left(), b.left()),
               around_high = std::max(a.bottom(), b.bottom()) - std::min(a.top(), b.top());
  const double around = around_wide * around_high;
  // GIoU = both/all + all/around − 1, where `all` is own area + other area − both.
  const auto change = [&](double of_both, double of_own, double of_around) {
    const double of_all = of_own - of_both;
    return of_both / all - both * of_all / (all * all) + of_all / around - all * of_around / (around * around);
  };
  const double left = change(overlaps && a.left() > b.left() ? -high : 0, -a.height, a.left() < b.left() ? -around_high : 0);
  const double right = change(overlaps && a.right() < b.right() ? high : 0, a.height, a.right() > b.right() ? around_high : 0);
  const double top = change(overlaps && a.top() > b.top() ? -wide : 0, -a.width, a.top() < b.top() ? -around_wide : 0);
  const double bottom = change(overlaps && a.bottom() < b.bottom() ? wide : 0, a.width, a.bottom() > b.bottom() ? around_wide : 0);
  return {both / all + all / around - 1, {left + right, top + bottom, (right - left) / 2, (bottom - top) / 2}};
}

double mean_average_precision(const std::vector<std::vector<LabelledBox>>& found, const std::vector<std::vector<LabelledBox>>& expected,
                              double least_iou) {
  if (found.size() != expected.size())
    fail(ErrorCode::kInvalidArgument, "mean_average_precision: detections in {} pictures, boxes in {}", found.size(), expected.size());
  struct OfClass {
    std::vector<Ranked> ranked{};
    std::vector<std::vector<const Box*>> boxes{};
    int64_t count = 0;
  };
  std::map<int32_t, OfClass> classes;
  for (size_t picture = 0; picture < expected.size(); ++picture) {
    for (const LabelledBox& one : expected[picture]) {
      OfClass& of = classes[one.label];
      of.boxes.resize(expected.size());
      of.boxes[picture].push_back(&one.box);
      ++of.count;
    }
  }
  for (size_t picture = 0; picture < found.size(); ++picture) {
    for (const LabelledBox& one : found[picture]) {
      if (const auto of = classes.find(one.label); of != classes.end()) of->second.ranked.push_back({one.probability, picture, &one.box});
    }
  }
  double sum = 0;
  for (auto& [label, of] : classes) {
    std::stable_sort(of.ranked.begin(), of.ranked.end(), [](const Ranked& a, const Ranked& b) { return a.probability > b.probability; });
    sum += average_precision(judged(of.ranked, of.boxes, least_iou), of.count);
  }
  return classes.empty() ? 0 : sum / static_cast<double>(classes.size());
}

}  // namespace clearhead::metrics
