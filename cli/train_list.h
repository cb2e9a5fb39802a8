// clearhead train --list: prints the recipes of a folder with their results.
#pragma once

#include <string>

namespace clearhead::cli {

/// Prints FOLDER/table.tsv, grouped by field. Throws kNotFound if it does not exist, kFormat for a line without exactly eight cells.
void list_recipes(const std::string& folder, bool json);

}  // namespace clearhead::cli
