// Reads the nodes first, then edges and features, which name nodes.
#include "tasks/data/graph_tables.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <utility>

#include "base/format.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "models/input_graph.h"
#include "tasks/data/table_header.h"

namespace clearhead::tasks {
namespace {

using namespace schema;

constexpr int64_t kMostFeatures = 1 << 30;

const Schema<EdgeTable>& edge_schema() {
  static const Schema<EdgeTable> schema = {
      required_string("file", &EdgeTable::file, "the table of edges: *.csv with commas, others with tabs"),
      column("source", &EdgeTable::source, false, "the column of the first node of an edge"),
      column("target", &EdgeTable::target, false, "the column of its second node"),
      boolean("directed", &EdgeTable::directed,
              "the target attends to the source only; otherwise each node of an edge attends to the other"),
  };
  return schema;
}

const Schema<FeatureTable>& feature_schema() {
  using Form = FeatureTable::Form;
  static const Schema<FeatureTable> schema = {
      required_string("file", &FeatureTable::file, "the table of features, with a row for each node"),
      choice("form", &FeatureTable::form, {{"indices", Form::kIndices}, {"columns", Form::kColumns}},
             "indices: a cell lists the nonzero features, as in \"3 17\" or \"3:0.5 17:2\", counted from 0; columns: every column "
             "except the node's is a number"),
      column("node", &FeatureTable::node, false, "the column of the node"),
      column("column", &FeatureTable::column, false, "indices: the column with the features").when([](const FeatureTable& to) {
        return to.form == Form::kIndices;
      }),
      integer("count", &FeatureTable::count, {0, kMostFeatures}, "indices: the number of features; 0: the largest index + 1")
          .when([](const FeatureTable& to) { return to.form == Form::kIndices; }),
  };
  return schema;
}

const Schema<NodeTable>& node_schema() {
  static const Schema<NodeTable> schema = {
      required_string("file", &NodeTable::file, "the table of nodes"),
      column("node", &NodeTable::node, false, "the column of the node's name"),
      column("label", &NodeTable::label, false, "the column of its class"),
      column("split", &NodeTable::split, false, "the column with train, valid or test; a node with any other value belongs to no split"),
      string("no_class", &NodeTable::no_class, "the label of a node whose class is not known"),
  };
  return schema;
}

}  // namespace

const Schema<GraphTables>& graph_schema() {
  static const Schema<GraphTables> schema = {
      required_object("edges", &GraphTables::edges, edge_schema(), "the edges of the graph"),
      required_object("features", &GraphTables::features, feature_schema(), "the features of its nodes"),
      required_object("nodes", &GraphTables::nodes, node_schema(), "its nodes, their classes and splits"),
  };
  return schema;
}

namespace {

// A column as the recipe gives it (a name or a number), and its number in the table, counted from 1.
struct Column {
  const std::string* name;
  const char* field;  // "task.nodes.label"
  size_t number = 0;
};

// One row of a table: the cells of the columns, and the location of each for messages.
struct Row {
  const std::vector<std::string_view>& cells;
  const std::vector<Column>& columns;
  std::string where{};  // "edges.tsv, line 3"

  std::string_view operator[](size_t column) const { return cells[columns[column].number - 1]; }
  std::string at(size_t column) const { return format("{}, column {}", where, columns[column].number); }
};

// Calls take(row) for each row. The first row is a header if the recipe gives one of the columns by name, not by number.
void for_each_row_of(const std::string& file, const TextSource& source, const std::string& where, std::vector<Column> columns,
                     const std::function<void(const Row& row)>& take) {
  const SourceText opened = open_text(source, file);
  const bool has_header = std::any_of(columns.begin(), columns.end(), [](const Column& one) { return !is_column_number(*one.name); });
  size_t last = 0;
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    if (row.line == 1) {
      for (Column& one : columns) one.number = column_of(*one.name, one.field, where, row.cells, opened.path());
      for (const Column& one : columns) last = std::max(last, one.number);
      if (has_header) return;
    }
    const std::string line = format("{}, line {}", opened.path(), row.line);
    if (row.cells.size() < last)
      fail(ErrorCode::kFormat, "{}: expected {} columns separated by {}, found {}", line, last, separators_of(file), row.cells.size());
    take({row.cells, columns, line});
  });
}

int32_t node_at(const NodeGraph& graph, const Row& row, size_t column) {
  const auto found = graph.node_of.find(std::string(row[column]));
  if (found != graph.node_of.end()) return found->second;
  fail(ErrorCode::kFormat, "{}: \"{}\" is not in the table of nodes", row.at(column), row[column]);
}

void read_nodes(const NodeTable& table, const TextSource& source, const std::string& where, SplitGraph& to) {
  const std::vector<Column> columns = {
      {&table.node, "task.nodes.node"}, {&table.label, "task.nodes.label"}, {&table.split, "task.nodes.split"}};
  for_each_row_of(table.file, source, where, columns, [&](const Row& row) {
    NodeGraph& graph = to.graph;
    const std::string name(row[0]), split(row[2]);
    std::string label(row[1]);
    if (name.empty()) fail(ErrorCode::kFormat, "{}: the name of the node is empty", row.at(0));
    const auto [known, is_new] = graph.node_of.emplace(name, static_cast<int32_t>(graph.names.size()));
    if (!is_new)
      fail(ErrorCode::kFormat, "{}: node \"{}\" is already in {}; leave one out", row.at(0), name,
           to.where[static_cast<size_t>(known->second)]);
    if (label == table.no_class) label.clear();
    if (label.empty() && (split == "train" || split == "valid" || split == "test"))
      fail(ErrorCode::kFormat, "{}: node \"{}\" is in the split \"{}\" but has no class; give it a class, or leave its split empty",
           row.at(1), name, split);
    graph.names.push_back(name);
    graph.classes.push_back(std::move(label));
    to.splits.push_back(split);
    to.where.push_back(row.where);
  });
  if (to.graph.names.empty()) fail(ErrorCode::kFormat, "{}/{}: the table has no nodes", source.folder, table.file);
}

using Edges = std::vector<std::pair<int32_t, int32_t>>;

Edges read_edges(const EdgeTable& table, const TextSource& source, const std::string& where, const NodeGraph& graph) {
  Edges out;
  std::map<std::pair<int32_t, int32_t>, std::string> known;  // edge → location of its row
  const std::vector<Column> columns = {{&table.source, "task.edges.source"}, {&table.target, "task.edges.target"}};
  for_each_row_of(table.file, source, where, columns, [&](const Row& row) {
    const int32_t from = node_at(graph, row, 0), to = node_at(graph, row, 1);
    if (from == to) {
      fail(ErrorCode::kFormat, "{}: an edge from node \"{}\" to itself; every node already attends to itself: leave the edge out",
           row.at(1), row[1]);
    }
    const std::pair<int32_t, int32_t> key = table.directed ? std::pair(from, to) : std::pair(std::min(from, to), std::max(from, to));
    if (const auto [first, is_new] = known.emplace(key, row.where); !is_new)
      fail(ErrorCode::kFormat, "{}: the edge between \"{}\" and \"{}\" is already in {}; leave one out", row.at(0), row[0], row[1],
           first->second);
    out.emplace_back(to, from);
    if (!table.directed) out.emplace_back(from, to);
  });
  return out;
}

float number_of(std::string_view text, const std::string& where, const char* expected) {
  const std::string copy(text);
  char* end = nullptr;
  const float value = std::strtof(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || !std::isfinite(value))
    fail(ErrorCode::kFormat, "{}: expected {}, found \"{}\"", where, expected, copy);
  return value;
}

// Reads "3 17" or "3:0.5 17:2".
std::vector<NodeFeature> features_in(std::string_view cell, int64_t count, const std::string& where) {
  std::vector<NodeFeature> out;
  while (!cell.empty()) {
    const size_t blank = std::min(cell.find(' '), cell.size());
    const std::string_view word = cell.substr(0, blank);
    cell.remove_prefix(std::min(blank + 1, cell.size()));
    if (word.empty()) continue;
    const size_t colon = std::min(word.find(':'), word.size());
    int64_t index = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + colon, index);
    if (error != std::errc() || end != word.data() + colon || index < 0)
      fail(ErrorCode::kFormat, "{}: expected the index of a feature, as in \"17\" or \"17:0.5\", found \"{}\"", where, word);
    if (const int64_t most = count > 0 ? count : kMostFeatures; index >= most)
      fail(ErrorCode::kFormat, "{}: feature {} is out of range; the features are 0 to {}", where, index, most - 1);
    const float value = colon == word.size() ? 1 : number_of(word.substr(colon + 1), where, "a finite number as the value of the feature");
    if (value != 0) out.push_back({static_cast<int32_t>(index), value});
  }
  std::sort(out.begin(), out.end(), [](const NodeFeature& a, const NodeFeature& b) { return a.index < b.index; });
  const auto twice =
      std::adjacent_find(out.begin(), out.end(), [](const NodeFeature& a, const NodeFeature& b) { return a.index == b.index; });
  if (twice != out.end()) fail(ErrorCode::kFormat, "{}: feature {} is repeated", where, twice->index);
  return out;
}

// Reads the numbers in all columns except the node's.
std::vector<NodeFeature> numbers_in(const Row& row) {
  std::vector<NodeFeature> out;
  int32_t index = 0;
  for (size_t column = 0; column < row.cells.size(); ++column) {
    if (column + 1 == row.columns[0].number) continue;
    const float value = number_of(row.cells[column], format("{}, column {}", row.where, column + 1), "a finite number");
    if (value != 0) out.push_back({index, value});
    ++index;
  }
  return out;
}

// Returns the features of each node, and sets the number of features of the graph.
std::vector<std::vector<NodeFeature>> read_features(const FeatureTable& table, const TextSource& source, const std::string& where,
                                                    SplitGraph& to) {
  const bool are_columns = table.form == FeatureTable::Form::kColumns;
  std::vector<std::vector<NodeFeature>> out(to.graph.names.size());
  std::vector<std::string> found(out.size());  // [node] location of its row; empty: no row yet
  std::vector<Column> columns = {{&table.node, "task.features.node"}};
  if (!are_columns) columns.push_back({&table.column, "task.features.column"});
  int64_t count = table.count;
  for_each_row_of(table.file, source, where, columns, [&](const Row& row) {
    const auto node = static_cast<size_t>(node_at(to.graph, row, 0));
    if (!found[node].empty())
      fail(ErrorCode::kFormat, "{}: the features of node \"{}\" are already in {}; leave one out", row.at(0), row[0], found[node]);
    found[node] = row.where;
    const auto cells = static_cast<int64_t>(row.cells.size()) - 1;
    if (are_columns && count > 0 && cells != count)
      fail(ErrorCode::kFormat, "{}: found {} features; expected {}, as in the first row", row.where, cells, count);
    out[node] = are_columns ? numbers_in(row) : features_in(row[1], table.count, row.at(1));
    if (are_columns) count = cells;
    if (!are_columns && table.count == 0 && !out[node].empty()) count = std::max<int64_t>(count, out[node].back().index + 1);
  });
  for (size_t node = 0; node < found.size(); ++node) {
    if (found[node].empty())
      fail(ErrorCode::kFormat, "{}/{}: there is no row for node \"{}\" ({}); expected one row for each node", source.folder, table.file,
           to.graph.names[node], to.where[node]);
  }
  if (count == 0) fail(ErrorCode::kFormat, "{}/{}: the nodes have no features", source.folder, table.file);
  to.graph.features = count;
  return out;
}

}  // namespace

SplitGraph read_graph_tables(const GraphTables& tables, const TextSource& source, const std::string& where) {
  SplitGraph out;
  read_nodes(tables.nodes, source, where, out);
  const Edges edges = read_edges(tables.edges, source, where, out.graph);
  const auto features = read_features(tables.features, source, where, out);
  fill_graph(out.graph, edges, features);
  return out;
}

}  // namespace clearhead::tasks
