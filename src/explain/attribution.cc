// The list of attribution methods, and the options that they use.
#include "explain/attribution.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/attribution_parts.h"

namespace clearhead::explain {

const std::vector<Method>& attribution_methods() {
  static const std::vector<Method> methods = [] {
    std::vector<Method> out;
    for (const Method* method : registered_methods()) out.push_back(*method);
    std::sort(out.begin(), out.end(), [](const Method& a, const Method& b) { return a.order < b.order; });
    return out;
  }();
  return methods;
}

const Method& method_named(const std::string& name) {
  std::string names;
  for (const Method& method : attribution_methods()) {
    if (name == method.name) return method;
    names += (names.empty() ? "" : ", ") + std::string(method.name);
  }
  fail(ErrorCode::kNotFound, "there is no method \"{}\"; the methods are {}", name, names);
}

void check_used(const AttributionOptions& options, const std::vector<Method>& methods, const AttributionTarget& target) {
  const auto check = [&](const char* what, bool Method::*uses) {
    if (std::any_of(methods.begin(), methods.end(), [&](const Method& info) { return info.*uses; })) return;
    std::string names;
    for (const Method& info : attribution_methods()) {
      if (info.*uses) names += (names.empty() ? "" : ", ") + std::string(info.name);
    }
    fail(ErrorCode::kInvalidArgument, "why: a {0} can be set only for the methods {1}; {2} uses every {0}", what, names,
         methods.size() == 1 ? methods[0].name : "each requested method");
  };
  if (options.layer) check("layer", &Method::of_a_layer);
  if (options.head) check("head", &Method::of_heads);
  if (options.layer) (void)looked_at(target, options.layer);
}

std::vector<double> attribute(const AttributionTarget& target, const Method& method, const AttributionOptions& options) {
  return method.of_ids ? target.by_item(method.of_ids(target, options)) : method.of_items(target, options);
}

int64_t runs_of(const AttributionTarget& target, const Method& method, const AttributionOptions& options) {
  constexpr int64_t kForwardAndBack = 3;
  return (method.runs ? method.runs(target, options) : 1) * (method.needs_gradients ? kForwardAndBack : 1);
}

}  // namespace clearhead::explain
