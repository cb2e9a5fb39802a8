// Code shared by maps of records and maps of traces: ranges, sweeps and heads.
#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clearhead/map.h"

namespace clearhead::python {

/// Converts (begin, end), a slice, a single index, or None (all `size`) to a range. Throws kInvalidArgument with the argument's name.
Range range_of(const nanobind::object& given, int64_t size, const char* name);

/// Returns an index of an axis of this size; negative indices count from the end. Throws OutOfRangeError (clearhead/errors.py) with the
/// name of the axis.
int64_t place_in(const char* axis, int64_t index, int64_t size);

/// Returns a numpy array, f32 [value].
nanobind::object floats(const std::vector<float>& values);

/// The parsed keyword arguments of sweep().
struct Sweep {
  ReductionRequest request{};
  LookOptions options{};
};
Sweep sweep_of(const std::vector<std::string>& statistics, int64_t top_k, const std::array<int64_t, 2>& cells,
               const nanobind::list& matches, int64_t offset_reach, const nanobind::object& heads, int64_t sampled_rows);
nanobind::dict dict_of(const ReductionResult& found);

/// One head of the map of a record or of a trace's layer. The functions are called without the GIL.
struct Head {
  std::function<MapRow(int64_t)> row;
  std::function<std::vector<float>(int64_t, Range)> column;
  std::function<Tile(const TileRequest&)> tile;
  int64_t queries = 0, keys = 0;
  std::string name{};  // "head 3 of layer 2"
  /// True if tile() returns the same weights as row(), except for hidden pairs. False for maps with unscored pairs and for gradients.
  bool has_whole_tiles = true;
};

/// Returns the weights of these rows and keys, f32 [row, key]; 0 for hidden pairs, NaN for pairs that were never scored. Throws kNotFound
/// for a row that was not kept.
Tensor weights_of(const Head& head, Range queries, Range keys);

}  // namespace clearhead::python
