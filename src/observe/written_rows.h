// The rows of a map that write a token, and the token by which a row is named.
//
// A row is named by what its query does. If the model writes its text, the row that reads token r computes token r + 1 and is named by it.
// A row that only reads is named by its own token.
//
//   from                  the first row that writes: of a target, its start token; of a continued text, the last token of the prompt
//   named by row r        r + 1 if r ≥ from, else r. No row is named by the token `from`.
//
// Row ids in requests, states and trace files are positions of the tokens that the rows read. Only names follow this convention.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "clearhead/trace.h"

namespace clearhead {

struct WrittenRows {
  std::optional<int64_t> from{};  ///< the first row that writes; absent: all rows only read
  int64_t end = 0;                ///< the end of the ids that rows may write

  bool writes(int64_t row) const { return from && row >= *from && row < end; }
  /// The id that a row is named by; absent if the text does not contain what the row wrote.
  std::optional<int64_t> named_by(int64_t row) const;
  /// The ids that the rows of a range are named by, as one range. Empty if the text contains none of them.
  Range named_by(Range rows) const;
  /// The rows that are named by a range of ids. For the id `from` alone: the row that reads it, which writes the first token.
  Range rows_of(Range ids) const;
};

/// The rows of a family that write:
///   - rows of a segment "target" (encoder-decoders), all of them
///   - rows of a text whose last tokens were generated, from the row that wrote the first of them
///   - rows of a causal map of a grid of items with itself, by which a model draws a picture item by item
WrittenRows written_rows(const Trace& trace, const MapFamily& family);

/// The name of a row that writes a token which the text does not contain.
std::string_view name_of_unwritten(const RunText& text, const WrittenRows& written, int64_t row);

}  // namespace clearhead
