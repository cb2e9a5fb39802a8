// Lines that name the columns of a table. A table may have one as its first line; trained as an example, its class would be "label".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clearhead {

/// Whether a cell holds a usual name of a column of texts ("sentence"), or of labels ("label"), whatever its case.
bool names_text_column(std::string_view cell);
bool names_label_column(std::string_view cell);
/// Whether both cells of a pair are usual names of columns: "source" and "target", or two languages.
bool names_pair_columns(std::string_view source, std::string_view target);

/// A column by its number, counted from 1, or by its name in the first line. field: of the recipe, for messages.
/// Throws kFormat, naming the columns there are.
size_t column_in(const std::vector<std::string_view>& header, const std::string& name, const std::string& field, const std::string& where);

}  // namespace clearhead
