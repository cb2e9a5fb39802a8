// TensorBoard event files: the metrics of a run, for TensorBoard's plots.
//
//   file     events.out.tfevents.SECONDS.NUMBER: records of u64 length · u32 masked CRC of it · data · u32 masked CRC
//            of the data (little-endian)
//   data     the protobuf Event (with field numbers): 1 wall_time f64 · 2 step · 3 file_version "brain.Event:2" | 5 summary |
//            7 session_log
//   summary  1 values: 1 tag, and 2 a number f32, 4 an image (height, width, colours, PNG), or 5 a histogram
//
// A resumed run starts another file, with a SessionLog START at the first step it will report. Readers then discard
// that step and later ones from earlier files. Each write() is one record and reaches the file at once; a reader stops
// at a truncated record.
// Sources: tensorflow/core/util/event.proto, framework/summary.proto, lib/io/record_writer.h.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/tensor.h"

namespace clearhead::io {

/// Counts of values in buckets, by the upper bits of the floats: eight buckets per factor of 2. Non-finite
/// values are left out.
struct Histogram {
  double least = 0, most = 0, count = 0, sum = 0, sum_of_squares = 0;
  std::vector<double> limits{}, counts{};     // ascending: bucket i lies between limits[i − 1] and limits[i]
  static Histogram of(const Tensor& values);  // f32, any strides
};

class EventWriter {
 public:
  /// Creates a file that sorts after those in `directory`. Throws kIo.
  EventWriter(const std::string& directory, int64_t first_step);

  void add_number(std::string_view tag, double value);
  void add_histogram(std::string_view tag, const Histogram& histogram);
  /// png: a complete PNG file of RGB pixels.
  void add_image(std::string_view tag, int64_t width, int64_t height, std::string_view png);
  /// Writes everything added since the last write, if anything. Throws kIo.
  void write(int64_t step);

 private:
  void record(std::string_view event);
  std::string path_;
  std::ofstream file_;
  std::string summary_{};
};

}  // namespace clearhead::io
