// Boxes, their overlap, and the average precision of an object detector.
//
//   IoU(a, b)  = |a ∩ b| / |a ∪ b|
//   GIoU(a, b) = IoU − (|c| − |a ∪ b|) / |c|        c: the smallest box around a and b (Rezatofighi et al. 2019)
//
//   mAP@t: for each class, its detections in all pictures are sorted by probability, and each is correct if there is a box of this class in
//   its picture with IoU ≥ t that no earlier detection has taken (the one with the largest IoU). Average precision is the area under
//   max_{r' ≥ r} precision(r') over the recall r, all points (Everingham et al. 2015, §4.2). Mean over the classes that have boxes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace clearhead::metrics {

/// A box by its centre and its sides, all in the same unit.
struct Box {
  double x = 0, y = 0, width = 0, height = 0;
  double left() const { return x - width / 2; }
  double right() const { return x + width / 2; }
  double top() const { return y - height / 2; }
  double bottom() const { return y + height / 2; }
};

struct LabelledBox {
  int32_t label = 0;
  Box box{};
  double probability = 1;  // of a detection
};

/// 0 if both boxes are empty.
double intersection_over_union(const Box& a, const Box& b);

struct GeneralisedIou {
  double value = 0;
  std::array<double, 4> gradient{};  // with respect to a: x, y, width, height
};
/// a or b must have an area.
GeneralisedIou generalised_iou(const Box& a, const Box& b);

/// found, expected: [picture]. Throws kInvalidArgument for different numbers of pictures. Returns 0 if there are no boxes.
double mean_average_precision(const std::vector<std::vector<LabelledBox>>& found, const std::vector<std::vector<LabelledBox>>& expected,
                              double least_iou = 0.5);

}  // namespace clearhead::metrics
