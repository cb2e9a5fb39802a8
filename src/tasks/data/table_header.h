// Recognises a table's header line, which names the columns. If it were read as an example, its class would be "label".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clearhead::tasks {

/// Returns true if a cell is a usual name for a column of texts ("sentence"), or of labels ("label"); case-insensitive.
bool names_text_column(std::string_view cell);
bool names_label_column(std::string_view cell);
/// Returns true if both cells of a pair are usual column names: "source" and "target", or two languages.
bool names_pair_columns(std::string_view source, std::string_view target);

/// Returns true if a recipe gives a column by its number, not by its name; also for "" (no column).
bool is_column_number(std::string_view column);
/// The number of a column, from 1: given as a number, or found by name in the first row. field: the recipe's field, as in "task.text";
/// where: the recipe. Throws kFormat for 0, and for a name that the first row does not have, with the names that it has.
size_t column_of(const std::string& column, const std::string& field, const std::string& where,
                 const std::vector<std::string_view>& first_row, const std::string& path);

}  // namespace clearhead::tasks
