// The table of labelled files, from strangers' bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "clearhead/data.h"

namespace clearhead {

/// The rows of a part, and in `labels` the labels of all parts, sorted. `where` names the table in errors; paths begin at `folder`.
/// Throws as LabelledFiles does when it is opened.
std::vector<LabelledFile> labelled_files_from(std::string_view table, const std::string& where, const std::string& folder,
                                              const LabelledColumns& columns, std::vector<std::string>& labels);

}  // namespace clearhead
