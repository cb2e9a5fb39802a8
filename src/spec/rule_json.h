// Rules as JSON: one entry per operation, in order; the last is the result.
//
//   [["subtract","query","key"], ["abs","#0"], ["table","rule.table","head"], ["multiply","#2","#1"],
//    ["subtract","score","#3"]]
//
// An argument is an input ("score", "batch", "head", "query", "key"), a number, "inf", "-inf", or "#n", the value
// of entry n. In a table lookup the first argument is the name of the table. A rule without operations is one
// argument: ["score"].
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/json.h"
#include "clearhead/rule.h"

namespace clearhead {

/// `tables`: the names of rule.tables.
Json rule_to_json(const Rule& rule, std::span<const std::string> tables);
/// `operand` returns the table with a given name. For error messages, `where` names the source and `path` the field.
/// Throws kFormat, or kUnsupported for an unknown operation.
Rule rule_from_json(const Json& json, const std::string& where, const std::string& path,
                    const std::function<Tensor(const std::string& name)>& operand);

/// The shortest decimal that reads back as the same float, so that 0.1f is written 0.1.
Json shortest(float value);

}  // namespace clearhead
