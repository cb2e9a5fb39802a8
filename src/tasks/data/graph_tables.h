// A graph in three tables: its edges, the features of its nodes, and its nodes with their classes and splits.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clearhead/model.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/schema.h"

namespace clearhead::tasks {

struct EdgeTable {
  std::string file{};
  std::string source = "1", target = "2";  // columns
  bool directed = false;                   // true: only the target attends to the source
};

struct FeatureTable {
  enum class Form : uint8_t {
    kIndices,  // a cell has the features that are not zero: "3 17 20", or "3:0.5 17:2" with values
    kColumns,  // every column except the node's is a number
  };
  std::string file{};
  Form form = Form::kIndices;
  std::string node = "1", column = "2";  // columns
  int64_t count = 0;                     // number of features; 0: the largest index + 1
};

struct NodeTable {
  std::string file{};
  std::string node = "1", label = "2", split = "3";  // columns
  std::string no_class = "-";                        // the label of a node whose class is not known
};

struct GraphTables {
  EdgeTable edges{};
  FeatureTable features{};
  NodeTable nodes{};
};

const Schema<GraphTables>& graph_schema();

/// A graph and the split of each node.
struct SplitGraph {
  NodeGraph graph{};
  std::vector<std::string> splits{};  // [node] "train", "valid", "test" or another word for none of them
  std::vector<std::string> where{};   // [node] "nodes.tsv, line 3"
};

/// Reads the three tables. Throws kNotFound with the file and where to get it; kFormat with file, line and column for a node that is not in
/// the table of nodes or occurs twice, an edge from a node to itself, an edge that is repeated, and a feature that is no finite number, is
/// repeated or out of range; kFormat for a node without features.   where: the recipe, for messages
SplitGraph read_graph_tables(const GraphTables& tables, const TextSource& source, const std::string& where);

}  // namespace clearhead::tasks
