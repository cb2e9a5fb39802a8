// clearhead train --list: the recipes of a folder, and what each reached.
#pragma once

#include <string>

namespace clearhead::cli {

/// Reads FOLDER/table.tsv. Throws kNotFound without it, kFormat for a line with other than six cells.
void list_recipes(const std::string& folder, bool json);

}  // namespace clearhead::cli
