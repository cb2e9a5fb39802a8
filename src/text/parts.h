// Reads the parts of a "Sequence" in tokenizer.json.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/format.h"
#include "base/json.h"

namespace clearhead::text {

/// Calls read(item, path) on each object in the array `name` and returns the results.
template <class Part, class Read>
std::vector<std::unique_ptr<Part>> read_parts(Fields& fields, std::string_view name, const Read& read) {
  std::vector<std::unique_ptr<Part>> parts;
  for (const Json& item : fields.items(name)) {
    parts.push_back(read(item, format("{}[{}]", fields.path_of(name), parts.size())));
    if (!parts.back()) fields.wrong(name, "objects", item);
  }
  return parts;
}

}  // namespace clearhead::text
