// The items of a trace's text (observer.h): ids that are no tokens. What a plan says of them is checked once, whether a model or a file says it.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "clearhead/observer.h"

namespace clearhead {

/// What is wrong with the items of a text, as a sentence without its full stop; empty: nothing.
std::string problem_with_items(const RunText& text);

/// [{"kind", "begin", "end", "rows", "picture": name of its tensor}], the last two where there are any.
Json items_to_json(const RunText& text);
std::string picture_name(size_t range);  ///< of the tensor that holds the picture of a range of items

/// Reads them back. `picture` gives a tensor by name. Throws kFormat for malformed fields; what they mean is not checked.
std::vector<ItemRange> items_from_json(const Json& items, const std::string& where,
                                       const std::function<Tensor(const std::string&)>& picture);

}  // namespace clearhead
