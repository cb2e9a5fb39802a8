// The bytes of a table of labelled files: every row has a path, a line and one of the labels; the labels are sorted and unique.
#include <algorithm>

#include "fuzz.h"
#include "io/labelled.h"

using namespace clearhead;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const LabelledColumns& columns : {LabelledColumns{}, LabelledColumns{.part_column = "part", .part = "train"}}) {
    allow_errors([&] {
      std::vector<std::string> labels;
      const auto rows = io::labelled_files_from({reinterpret_cast<const char*>(data), size}, "fuzz.tsv", "folder", columns, labels);
      must(!rows.empty() && std::is_sorted(labels.begin(), labels.end(), std::less_equal<>()) && !labels.front().empty());
      for (const LabelledFile& row : rows) {
        must(row.label >= 0 && static_cast<size_t>(row.label) < labels.size() && row.line > 1 && !row.path.empty());
      }
    });
  }
  return 0;
}
