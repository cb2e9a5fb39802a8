// Parses the table of LabelledFiles from untrusted bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "clearhead/data.h"

namespace clearhead::io {

/// Returns the rows of the chosen split (LabelledColumns::part), and in `labels` the sorted labels of all splits. `where`
/// names the table in error messages; paths are relative to `folder`. Throws as the constructor of LabelledFiles.
std::vector<LabelledFile> labelled_files_from(std::string_view table, const std::string& where, const std::string& folder,
                                              const LabelledColumns& columns, std::vector<std::string>& labels);

}  // namespace clearhead::io
