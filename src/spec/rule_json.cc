// Writes rules as lists of entries and parses them. A parsed rule has at most 1024 entries, which refer to earlier ones
// only. Equal leaves become one node.
#include "spec/rule_json.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "base/format.h"
#include "base/number.h"
#include "spec/rule_math.h"

namespace clearhead {
namespace {

constexpr size_t kMostEntries = 1024;

bool is_leaf(RuleOp op) { return facts_of(op).arguments == 0; }

Json argument_to_json(const RuleNode& node, const std::string& reference) {
  if (node.op != RuleOp::kConstant) return is_leaf(node.op) ? Json(facts_of(node.op).name) : Json(reference);
  if (std::isinf(node.value)) return node.value > 0 ? "inf" : "-inf";
  return shortest(node.value);
}

// Parses the entries of one rule.
class RuleParser {
 public:
  RuleParser(const std::string& where, const std::string& path, const std::function<Tensor(const std::string&)>& operand)
      : where_(where), path_(path), operand_(operand) {}

  Rule read(const Json& json) {
    if (!json.is_array() || json.size() == 0) wrong(path_, "an array of operations, the last of which is the result", json);
    if (json.size() > kMostEntries) {
      fail(ErrorCode::kUnsupported, "{}: \"{}\" has {} operations; this version supports at most {}", where_, path_,
           static_cast<int64_t>(json.size()), static_cast<int64_t>(kMostEntries));
    }
    int32_t last = -1;
    for (size_t i = 0; i < json.size(); ++i) {
      const Json& item = json.items()[i];
      const std::string at = path_ + "[" + std::to_string(i) + "]";
      last = item.is_array() ? read_operation(item, at) : read_argument(item, at);
      entries_.push_back(last);
    }
    rule_.nodes.resize(static_cast<size_t>(last) + 1);
    return canonical(rule_);
  }

 private:
  [[noreturn]] void wrong(const std::string& at, const char* expected, const Json& found) const {
    fail(ErrorCode::kFormat, "{}: \"{}\": expected {}, found {}", where_, at, expected, found.describe());
  }

  int32_t add(const RuleNode& node) {
    rule_.nodes.push_back(node);
    return static_cast<int32_t>(rule_.nodes.size()) - 1;
  }
  int32_t leaf(RuleOp op, float value = 0) {
    const auto [at, fresh] = leaves_.try_emplace({op, std::bit_cast<uint32_t>(value)}, -1);
    if (fresh) {
      RuleNode node;
      node.op = op;
      node.value = value;
      at->second = add(node);
    }
    return at->second;
  }

  int32_t read_argument(const Json& json, const std::string& at) {
    constexpr const char* kExpected =
        "\"score\", \"batch\", \"head\", \"query\", \"key\", a number, \"inf\", \"-inf\" or \"#n\" of an earlier operation";
    if (json.is_number()) {
      const float value = static_cast<float>(json.number());
      if (!std::isfinite(value)) wrong(at, "a number that f32 can hold", json);
      return leaf(RuleOp::kConstant, value);
    }
    if (!json.is_string()) wrong(at, kExpected, json);
    const std::string& text = json.string();
    if (text == "inf") return leaf(RuleOp::kConstant, std::numeric_limits<float>::infinity());
    if (text == "-inf") return leaf(RuleOp::kConstant, -std::numeric_limits<float>::infinity());
    for (int op = static_cast<int>(RuleOp::kScore); op <= static_cast<int>(RuleOp::kKey); ++op) {
      if (text == facts_of(static_cast<RuleOp>(op)).name) return leaf(static_cast<RuleOp>(op));
    }
    size_t index = 0;
    const auto parsed = std::from_chars(text.data() + std::min<size_t>(1, text.size()), text.data() + text.size(), index);
    const bool refers = text.size() > 1 && text[0] == '#' && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
    if (!refers || index >= entries_.size()) wrong(at, kExpected, json);
    return entries_[index];
  }

  int32_t read_operation(const Json& json, const std::string& at) {
    if (json.size() == 0 || !json.items()[0].is_string()) wrong(at, "an operation: [\"name\", argument, …]", json);
    const std::string& name = json.items()[0].string();
    RuleNode node;
    int op = static_cast<int>(RuleOp::kKey) + 1;
    while (op < kRuleOps && name != facts_of(static_cast<RuleOp>(op)).name) ++op;
    if (op == kRuleOps)
      fail(ErrorCode::kUnsupported, "{}: \"{}\": the operation \"{}\" is not understood by this version", where_, at, name);
    node.op = static_cast<RuleOp>(op);
    size_t next = 1, count = static_cast<size_t>(std::max(0, facts_of(node.op).arguments));
    if (node.op == RuleOp::kTable) {
      if (json.size() < 2 || !json.items()[1].is_string()) wrong(at, "[\"table\", \"name of a tensor\", index, …]", json);
      node.table = table(json.items()[1].string());
      count = static_cast<size_t>(rule_.tables[static_cast<size_t>(node.table)].rank());
      if (count < 1 || count > 4) wrong(at, "the name of a tensor with 1 to 4 axes", json.items()[1]);
      next = 2;
    }
    if (json.size() != next + count) {
      fail(ErrorCode::kFormat, "{}: \"{}\": \"{}\" takes {} arguments, found {}", where_, at, name, static_cast<int64_t>(count),
           static_cast<int64_t>(json.size()) - static_cast<int64_t>(next));
    }
    for (size_t i = 0; i < count; ++i) node.arguments[i] = read_argument(json.items()[next + i], at);
    return add(node);
  }

  int32_t table(const std::string& name) {
    const auto [at, fresh] = tables_.try_emplace(name, static_cast<int32_t>(rule_.tables.size()));
    if (fresh) rule_.tables.push_back(operand_(name));
    return at->second;
  }

  const std::string &where_, &path_;
  const std::function<Tensor(const std::string&)>& operand_;
  Rule rule_;
  std::vector<int32_t> entries_;  // the node of each entry
  std::map<std::pair<RuleOp, uint32_t>, int32_t> leaves_;
  std::map<std::string, int32_t> tables_;
};

}  // namespace

Json shortest(float value) { return leading_number(shortest_text(value))->value; }

Json rule_to_json(const Rule& rule, std::span<const std::string> tables) {
  Json entries = Json::array();
  std::vector<std::string> reference(rule.nodes.size());
  const auto argument = [&](int32_t node) {
    return argument_to_json(rule.nodes[static_cast<size_t>(node)], reference[static_cast<size_t>(node)]);
  };
  for (size_t n = 0; n < rule.nodes.size(); ++n) {
    const RuleNode& node = rule.nodes[n];
    if (is_leaf(node.op)) continue;
    Json entry = Json::array();
    entry.push(facts_of(node.op).name);
    if (node.op == RuleOp::kTable) entry.push(tables[static_cast<size_t>(node.table)]);
    for (size_t i = 0; i < 4 && node.arguments[i] >= 0; ++i) entry.push(argument(node.arguments[i]));
    reference[n] = "#" + std::to_string(entries.size());
    entries.push(entry);
  }
  if (!rule.nodes.empty() && is_leaf(rule.nodes.back().op)) entries.push(argument(static_cast<int32_t>(rule.nodes.size()) - 1));
  return entries;
}

Rule rule_from_json(const Json& json, const std::string& where, const std::string& path,
                    const std::function<Tensor(const std::string& name)>& operand) {
  return RuleParser(where, path, operand).read(json);
}

}  // namespace clearhead
