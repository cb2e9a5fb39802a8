// Rules as JSON: one entry per operation, in order; the last is the result.
//
//   [["subtract","query","key"],["abs","#0"],["table","rule.table","head"],["multiply","#2","#1"],["subtract","score","#3"]]
//
// An argument is a leaf ("score", "batch", "head", "query", "key"), a number, "inf", "-inf", or "#n", the value of entry n. The argument of a
// look-up after its operation's name is the name of the table. A rule without any operation is one argument: ["score"].
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/json.h"
#include "clearhead/rule.h"

namespace clearhead {

/// `tables` are the names of rule.tables.
Json rule_to_json(const Rule& rule, std::span<const std::string> tables);
/// `where` names the source, `path` the field, for errors. Throws kFormat, or kUnsupported for an operation that is not known.
Rule rule_from_json(const Json& json, const std::string& where, const std::string& path,
                    const std::function<Tensor(const std::string& name)>& operand);

/// The shortest decimal that reads back as the same float, so that 0.1f is written 0.1.
Json shortest(float value);

}  // namespace clearhead
