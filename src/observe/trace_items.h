// The items of a trace's text: ids that are not tokens (observer.h). Plans from a model and plans from a file go through the
// same check.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "clearhead/observer.h"

namespace clearhead {

/// Describes the first problem with the items of a text, as a sentence without a full stop. Empty if there is none.
std::string problem_with_items(const RunText& text);

/// [{"kind", "begin", "end", "rows", "picture", "boxes": names of their tensors}]; the last three are present only where they apply.
Json items_to_json(const RunText& text);
std::string picture_name(size_t range);  ///< name of the tensor with the picture of the range of items with this index
std::string boxes_name(size_t range);    ///< the same for the boxes

/// Reads items back. `tensor` returns a tensor by name. Throws kFormat for malformed fields; the values of the fields are not
/// checked.
std::vector<ItemRange> items_from_json(const Json& items, const std::string& where,
                                       const std::function<Tensor(const std::string&)>& tensor);

}  // namespace clearhead
